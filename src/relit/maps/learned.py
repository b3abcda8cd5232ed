"""Takes the light out of unwrapped photos with the de-lighting network: an albedo at the size at which light varies, then
the photos' own detail on top of it.

Source: AvatarMe (Lattas et al. 2020), section 3.3; see `relit.models.delighting` for the differences.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from relit.appearance.colour import srgb_from_linear
from relit.geometry.mesh import vertex_normals
from relit.maps.pyramid import fill, weighted_blur
from relit.maps.unwrap import Unwrapped, smoothstep
from relit.models.delighting import DARKEST, ROWS, SIZE, TYPICAL, delighting_input, delit
from relit.models.head import HeadModel, neutral_vertices, posed_vertices
from relit.models.regions import region_masks
from relit.models.unet import UNet
from relit.render.rasterise import Fragments, interpolate
from relit.types import FaceFit

CLIPPED = (0.94, 1.0)  # sensor value between no doubt and full doubt about a texel's colour
DETAIL, HUE = 0.5, 0.05  # bounds of the log ratio and of its colour, where photos are noisier than in brightness
WIDTH = 0.8  # texels of the network: what is coarser is its own
# One photo does not tell tone from light. The network and the statistical fit err in different directions: it on photos
# exposed and graded otherwise than those it learned from, the fit in strong and coloured light.
ANCHOR = 0.35  # share of the fit in the tone
SURE = 0.3  # trust from which a texel of the photo takes part in the mean around it


@dataclass(frozen=True)
class LowPass:
    """What the network says about one photo, `SIZE` x `SIZE`."""

    albedo: Float[Tensor, "S S 3"]  # linear
    trust: Float[Tensor, "S S"]  # [0, 1] how far the texel is the photo's


def low_pass(model: HeadModel, network: UNet, fit: FaceFit, seen: Unwrapped, fragments: Fragments) -> LowPass:
    """The network's albedo of one photo.

    Args:
        seen: the photo unwrapped to `SIZE` x `SIZE`.
        fragments: the layout at that size.
    """
    neutral = neutral_vertices(model, fit.identity, fit.vertex_offset)
    vertices = posed_vertices(model, neutral, fit.expression, fit.gaze_rad)
    geometry = torch.cat([vertex_normals(vertices, model.triangles), vertices], 1)
    normal, position = interpolate(geometry, model.triangles, fragments).split((3, 3), 2)
    inside = (fragments.triangle >= 0)[..., None]
    planes = lambda texture: texture[ROWS].permute(2, 0, 1)[None]  # noqa: E731
    lit = planes(srgb_from_linear((seen.radiance * fit.exposure).clamp(0, 1)))
    visible = planes(seen.confidence[..., None])
    with torch.no_grad():
        planes_in = delighting_input(lit, visible, planes(normalize(normal, dim=2) * inside), planes(position * inside))
        found = delit(network(planes_in.contiguous(memory_format=torch.channels_last)), lit, visible)
    albedo, trust = torch.full((SIZE, SIZE, 3), TYPICAL), torch.zeros(SIZE, SIZE)
    albedo[ROWS] = found.albedo[0].permute(1, 2, 0)
    trust[ROWS] = found.trust[0, 0]
    return LowPass(albedo, trust)


def merged_albedo(
    photos: list[LowPass], statistical: Float[Tensor, "S S 3"], skin: Bool[Tensor, "S S"]
) -> Float[Tensor, "S S 3"]:
    """One albedo from all photos; beyond the network's rows, in holes, and on the scalp, the statistical one in its tone.

    Args:
        skin: texels of skin.
    """
    weight = torch.stack([photo.trust**2 + 0.02 for photo in photos])[..., None]
    logs = torch.stack([photo.albedo.clamp_min(1e-3).log() for photo in photos])
    ratio = (logs * weight).sum(0) / weight.sum(0) - statistical.log()
    known = torch.zeros(SIZE, SIZE)
    known[ROWS.start + 2 : ROWS.stop - 2] = 1
    known *= 1 - region_masks(SIZE, SIZE)["scalp"]
    known *= torch.from_numpy(cv2.erode(skin.numpy().astype(np.uint8), np.ones((3, 3), np.uint8)))
    known_skin = (known > 0.5) & (torch.stack([photo.trust for photo in photos]).amax(0) > 0.3)
    middle = ratio[known_skin if known_skin.sum() > 100 else known > 0.5].median(0).values
    ratio = ratio - ANCHOR * middle
    middle = (1 - ANCHOR) * middle
    filled = fill(ratio.numpy(), known.numpy(), middle.numpy(), 0.05)
    return (statistical.log() + torch.from_numpy(filled)).exp().clamp(0, 1)


def detail_of(
    seen: Unwrapped, exposure: Tensor, trust: Float[Tensor, "H W"]
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"]]:
    """What of the photo is finer than the network sees, as a log ratio, and its confidence.

    Args:
        trust: of the network in the photo, at the size of the maps.
    """
    linear = (seen.radiance * exposure).clamp_min(DARKEST)
    logs, known = linear.log().numpy(), (seen.confidence > SURE).float().numpy()
    ratio = torch.from_numpy(logs - weighted_blur(logs, known, WIDTH * logs.shape[1] / SIZE))
    light = ratio.mean(-1, keepdim=True)
    ratio = light + HUE * torch.tanh((ratio - light) / HUE)
    doubt = smoothstep(*CLIPPED, linear.amax(-1)) * 0.8
    return ratio.clamp(-DETAIL, DETAIL), seen.confidence * trust * (1 - doubt)
