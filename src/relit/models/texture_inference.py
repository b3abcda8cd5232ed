"""The inference networks: the unwrapped, masked texture of a face in, its reflectance out. No geometry of the person.

Two stages. The first is the de-lighting network, given the mean head's geometry in place of the person's: it reads the
texture at half its size and says what varies slowly, the light, a first guess of the skin, what lies before it. Two U-Nets,
alike, read the face at 512 x 512 beside that. One takes the rest of the light away: highlights, edges of shadows, the shade
of folds. The other says specular albedo and relief.

Source: Yamaguchi et al., "High-fidelity facial reflectance and geometry inference from an unconstrained image", SIGGRAPH
2018, section 4: one network for diffuse albedo, one of the same shape for specular albedo and displacement in two bands.
Differs: a first stage at half size, as the global generator of pix2pixHD (Wang et al. 2018). The diffuse network's output
is not the picture but what light added and took: highlights by the dichromatic model (Shafer 1985), shade as a factor.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, normalize

from relit.appearance.colour import linear_from_srgb
from relit.errors import InputError
from relit.geometry.mesh import vertex_normals
from relit.geometry.uv import rasterise_uv
from relit.models.delighting import DARKEST, Delit, delighting_input, delit
from relit.models.head import load_head_model
from relit.models.registry import load_tensors
from relit.models.unet import UNet, UNetShape, unet_from

SIZE = 512  # of the layout
ROWS = slice(64, 448)  # that the first stage reads, at half size; from the crown to the collar
WINDOW = slice(72, 360), slice(48, 464)  # rows and columns that the second stage reads: the face, symmetric about u = 0.5
F0_SPAN, MID_SPAN_MM, HIGH_SPAN_MM = 0.08, 0.3, 0.1  # what 1 stands for in the surface's channels
MID_MM = 1.6  # the relief blurred by this distance is its middle band, the rest the high one
NEAR_INPUTS = 14
OUTPUTS = {"diffuse": 6, "surface": 3}
FLAT = (0.35, 0.5, 0.5)  # in these channels: F0 0.028, no relief
SEEN = 0.3  # visibility that at least one texel must reach
SHADE, HUE, SHADE_TEXELS = 1.2, 0.15, 4  # bounds of the second stage's log shade and its hue, and what shares one
STRANGE, LIGHTNESS = 2.0, (-2.0, 1.2)  # bounds of log ratios to the first stage's guess, as read and as said
GLOSS, MATT = 0.95, 3.0  # most of a texel that may be highlight; log odds against it for which the network says 0


class Whole(NamedTuple):
    """What the first stage says, (B, C, H, W) at half size."""

    light: Tensor  # log of what a white surface would show
    own: Tensor  # log albedo, without the photo's detail
    bare: Tensor  # [0, 1] probability that nothing lies before the skin


class Near(NamedTuple):
    """What is known of the window once the light is gone, (B, C, h, w)."""

    albedo: Tensor  # linear
    light: Tensor  # log of what a white surface would show, highlights included
    bare: Tensor  # [0, 1]


def new_near(part: str, widths: tuple[int, ...]) -> UNet:
    """An untrained second stage; `part` is a key of OUTPUTS."""
    return UNet(UNetShape(NEAR_INPUTS, OUTPUTS[part], widths))


def inference_from(tensors: dict[str, Tensor], part: str) -> UNet:
    """A second stage with stored weights, for inference; `part` is a key of OUTPUTS.

    Raises:
        AssetCorrupt: the weights are those of another architecture.
    """
    return unet_from(tensors, NEAR_INPUTS, OUTPUTS[part])


@lru_cache(maxsize=2)
def load_inference(part: str) -> UNet:
    """The shipped one."""
    return inference_from(load_tensors(f"yamaguchi_{part}"), part)


def halved(texture: Tensor) -> Tensor:
    """(B, C, H / 2, W / 2)."""
    return avg_pool2d(texture, 2)


def window_of(texture: Tensor) -> Tensor:
    """The second stage's part of a texture that has `ROWS` rows, at full size or at half of it."""
    fold = SIZE // texture.shape[-1]
    parts = zip(WINDOW, (ROWS.start, 0), strict=True)
    rows, columns = (slice((part.start - first) // fold, (part.stop - first) // fold) for part, first in parts)
    return texture[..., rows, columns]


def _doubled(texture: Tensor) -> Tensor:
    return interpolate(texture, scale_factor=2, mode="bilinear", align_corners=False)


def read_whole(network: UNet, lit: Tensor, visible: Tensor) -> tuple[Whole, Delit]:
    """What the first stage says.

    Args:
        lit: (B, 3, H, W) sRGB-coded texture at half size.
        visible: (B, 1, H, W) [0, 1] trust that it shows skin.
    """
    read = delighting_input(lit, visible, *(plane.to(lit.device).expand(len(lit), -1, -1, -1) for plane in _place()))
    out = network(read.contiguous(memory_format=torch.channels_last)).float()
    with torch.autocast(out.device.type, enabled=False):
        found = delit(out, lit, visible)
    return Whole(found.light, found.own.log(), found.bare), found


def near_input(lit: Tensor, visible: Tensor, whole: Whole) -> Tensor:
    """(B, 14, h, w) what the second stage reads of the window, from textures (B, C, H, W) of `ROWS` rows.

    What the light and the guess of the first stage leave of the photo unexplained stands for the photo: log ratios.
    """
    place = _place()[1].to(lit.device).expand(len(lit), -1, -1, -1) * 10
    beside = torch.cat([whole.light, whole.own, whole.bare * 2 - 1, place], 1).detach()
    beside, visible = _doubled(window_of(beside)), window_of(visible)
    left = _log_photo(window_of(lit)) - beside[:, :3] - beside[:, 3:6]
    read = [left.clamp(-STRANGE, STRANGE) * visible, visible, beside]
    return torch.cat(read, 1).contiguous(memory_format=torch.channels_last)


def _log_photo(lit: Tensor) -> Tensor:
    return linear_from_srgb(lit).clamp_min(DARKEST).log()


def near_albedo(prediction: Tensor, lit: Tensor, whole: Whole) -> Near:
    """The albedo that the diffuse network's output (B, 6, h, w) stands for: highlight taken off, then divided by light."""
    gloss, shade, hue, odds = prediction.split((1, 1, 3, 1), 1)
    known = torch.cat([whole.light, whole.own, whole.bare.clamp(1e-3, 1 - 1e-3).logit()], 1).detach()
    light, own, before = _doubled(window_of(known)).split((3, 3, 1), 1)
    pooled = avg_pool2d(torch.cat([shade, hue], 1), SHADE_TEXELS)
    smooth = interpolate(pooled, scale_factor=SHADE_TEXELS, mode="bilinear", align_corners=False)
    shade, hue = SHADE * torch.tanh(smooth[:, :1] / SHADE), HUE * torch.tanh(smooth[:, 1:] / HUE)
    photo = _log_photo(window_of(lit)).exp()
    colour = (light - light.mean(1, keepdim=True)).exp()
    white = (photo / colour).amin(1, keepdim=True)  # most that can be the reflection of the light
    matt = photo - GLOSS * torch.sigmoid(gloss - MATT) * white * colour
    left = matt.clamp_min(1e-3).log() - light - shade - hue - own
    albedo = (own + left.clamp(*LIGHTNESS)).exp().clamp(DARKEST, 1)
    return Near(albedo, photo.log() - albedo.log(), torch.sigmoid(before + odds))


def surface_planes(prediction: Tensor) -> Tensor:
    """(B, 3, h, w) specular albedo and both bands of the relief in shares of their spans, as training stores them.

    Relief: 0 and 1 are the span down and up, 0.5 is flat. The surface network's output 0 stands for flat, typical skin.
    """
    return prediction + prediction.new_tensor(FLAT)[:, None, None]


def check_texture(lit: Tensor, visible: Tensor) -> None:
    """Refuses textures that the networks cannot read.

    Args:
        lit, visible: (1, 3, H, W) and (1, 1, H, W), H and W those of `ROWS` and `SIZE`.

    Raises:
        InputError: a texture has the wrong size, holds values that are no numbers, is constant, or nothing of it is seen.
    """
    for name, texture, channels in (("lit", lit, 3), ("visible", visible, 1)):
        wanted = (len(lit), channels, ROWS.stop - ROWS.start, SIZE)
        if texture.shape != wanted:
            raise InputError(f"the {name} texture must be {wanted[1:]}, got {tuple(texture.shape[1:])}")
        if not torch.isfinite(texture).all():
            raise InputError(f"the {name} texture holds values that are no numbers")
    if visible.amax() < SEEN:
        raise InputError("nothing of the face is seen in the lit texture; use a photo that shows it uncovered")
    if (lit.amax((2, 3)) - lit.amin((2, 3))).max() <= 0:
        raise InputError("the lit texture has one colour everywhere; use a photo of a face")


@lru_cache(maxsize=1)
def _place() -> tuple[Tensor, Tensor]:
    """(1, 3, H, W) normals and positions of the mean head at half size: where in the layout a texel is, the same for all."""
    model, size = load_head_model(), SIZE // 2
    triangle, barycentric = rasterise_uv(model.uv, model.render_triangles, size, size)
    values = torch.cat([vertex_normals(model.mean, model.triangles), model.mean], 1)
    sheet = (values[model.triangles[triangle.clamp_min(0)]] * barycentric[..., None]).sum(2) * (triangle >= 0)[..., None]
    planes = sheet[ROWS.start // 2 : ROWS.stop // 2].permute(2, 0, 1)[None]
    return normalize(planes[:, :3], dim=1), planes[:, 3:].contiguous()
