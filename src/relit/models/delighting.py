"""The de-lighting network: the lit texture of a face and its geometry in, the diffuse albedo out.

It says three things of every texel: the light that falls on it, which varies slowly; the albedo that it would have if the
photo were not there; and how far to trust the photo. Where it does, the albedo is the photo over the light, so that lips,
brows, beards and freckles stay as they are; elsewhere (hair, glare, rims of glasses, the unseen side) it is the network's own.

Source: AvatarMe (Lattas et al. 2020), section 3.3: de-lighting from the texture and the object-space geometry.
Differs: albedo as a quotient by a smooth light (Land & McCann 1971) instead of pictures out of the network's last layer:
a small network then has no detail to carry. It works at the size at which light varies.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from relit.appearance.colour import linear_from_srgb
from relit.errors import InputError
from relit.models.registry import load_tensors
from relit.models.unet import UNet, UNetShape, unet_from

SIZE, ROWS = 256, slice(32, 224)  # of the layout that the network sees: from the crown to the collar
INPUTS, OUTPUTS = 10, 7
TYPICAL = 0.25  # linear albedo for which the network says 0
DARKEST, BRIGHTEST = 0.004, 0.95  # linear
COARSE = 16  # texels along an edge that share one light: finer, and it would take away lips and beards that are not typical
SEEN = 0.3  # visibility that at least one texel must reach
TRUSTING = 2.0  # log odds of the trust for which the network says 0


class Delit(NamedTuple):
    """What is known once the light is gone, each (B, C, H, W)."""

    albedo: Tensor  # linear
    light: Tensor  # log of what a white surface would show
    own: Tensor  # linear, without the photo's detail
    trust: Tensor  # [0, 1] in the photo
    bare: Tensor  # [0, 1] probability that nothing lies before the skin


def delighting_input(lit: Tensor, visible: Tensor, normal: Tensor, position_m: Tensor) -> Tensor:
    """(B, 10, H, W) what the network reads.

    Args:
        lit: (B, 3, H, W) the photo at each texel, sRGB-coded, [0, 1].
        visible: (B, 1, H, W) [0, 1] trust that it shows skin.
        normal: (B, 3, H, W) unit, head frame, of the posed head without relief; 0 outside.
        position_m: (B, 3, H, W) head frame.
    """
    return torch.cat([(lit - 0.5) * visible * 4, visible, normal, position_m * 10], 1)


def delit(prediction: Tensor, lit: Tensor, visible: Tensor) -> Delit:
    """The albedo that the network's output stands for.

    Args:
        prediction: (B, 7, H, W) log light, log own albedo, log odds of trust.
        lit, visible: as in `delighting_input`.
    """
    light, own, odds = prediction.split((3, 3, 1), 1)
    bare = torch.sigmoid(odds + TRUSTING)
    light = interpolate(avg_pool2d(light, COARSE), scale_factor=COARSE, mode="bicubic", align_corners=False)
    own = own.clamp(-4, 1.3) + torch.tensor(TYPICAL).log()
    # Not learned from the albedo: a network that may choose trusts its own plain skin more than any photo.
    trust = visible * bare.detach()
    seen = linear_from_srgb(lit).clamp_min(DARKEST).log() - light
    albedo = own + trust * (seen - own)
    physical = lambda logs: logs.exp().clamp(DARKEST, BRIGHTEST)  # noqa: E731
    return Delit(physical(albedo), light, physical(own), trust, bare)


def delight_texture(network: UNet, lit: Tensor, visible: Tensor, normal: Tensor, position_m: Tensor) -> Delit:
    """What the network says of unwrapped photos; arguments as in `delighting_input`, H and W the network's rows and `SIZE`.

    Raises:
        InputError: a texture has the wrong size, holds values that are no numbers, is constant, or nothing of it is seen.
    """
    rows, count = ROWS.stop - ROWS.start, len(lit)
    given = {"lit": (lit, 3), "visible": (visible, 1), "normal": (normal, 3), "position": (position_m, 3)}
    for name, (texture, channels) in given.items():
        if texture.shape != (count, channels, rows, SIZE):
            raise InputError(f"the {name} texture must be {channels} x {rows} x {SIZE}, got {tuple(texture.shape[1:])}")
        if not torch.isfinite(texture).all():
            raise InputError(f"the {name} texture holds values that are no numbers")
    if (visible.amax((1, 2, 3)) < SEEN).any():
        raise InputError("nothing of the face is seen in the lit texture; use a photo that shows it uncovered")
    if ((lit.amax((2, 3)) - lit.amin((2, 3))).amax(1) <= 0).any():
        raise InputError("the lit texture has one colour everywhere; use a photo of a face")
    read = delighting_input(lit, visible, normal, position_m).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        return delit(network(read), lit, visible)


def new_delighting(widths: tuple[int, ...]) -> UNet:
    """An untrained network."""
    return UNet(UNetShape(INPUTS, OUTPUTS, widths))


@lru_cache(maxsize=1)
def load_delighting() -> UNet:
    """The shipped network, in single precision, for inference."""
    return unet_from(load_tensors("delighting"), INPUTS, OUTPUTS)
