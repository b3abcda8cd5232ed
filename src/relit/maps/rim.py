"""The rim of what a photo shows: skin seen at a slant, where shade and hair are taken for its colour."""

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.geometry.smoothstep import smoothstep
from relit.maps.mesostructure import face_texel_mm
from relit.maps.pyramid import blur, weighted_blur

SEEN = 0.5  # confidence of what has a rim
RIM_MM = (6.0, 22.0)  # from the edge: all rim, and none
LINE_MM = 9.0  # what is narrower has no rim
STRAND_MM, BESIDE_MM = 0.25, 2.5  # standard deviations of the blurs whose difference is the width of a strand of hair
MARGIN_MM = 1.2  # beside a strand, mixed with it
ENDS_MM = (6.0, 12.0)  # from the edge, over which strands end
# Log brightness against the skin beside a strand, in units of what lines of plain skin have, ridges between wrinkles too, and
# the least such unit; log blue over red.
BRIGHT, LEAST_LINE, GREYER = (2.0, 4.0), 0.03, (0.03, 0.10)
LOCAL_MM = 2.0  # standard deviation of the blur in which tone is told from moles and lines
# Between skin and surely none: log brightness below the person's own, log hue off it, and log green above red and blue, which
# neither skin nor hair has.
DARK, OFF, GREEN = (0.10, 0.35), (0.05, 0.15), (0.02, 0.08)


def rim_trust(
    ratio: Float[Tensor, "H W 3"], confidence: Float[Tensor, "H W"], plain: Float[Tensor, "H W"], skin: Float[Tensor, "H W"]
) -> Float[Tensor, "H W"]:
    """[0, 1] how far the rim is to be believed: less where it is darker or greyer than the middle of the face.

    Args:
        ratio: log albedo over the typical one.
        plain: [0, 1] where skin has the person's own tone.
        skin: [0, 1] where it should go on as that does; features and beards do not.
    """
    seen = confidence > SEEN
    certain = seen & (plain > 0.5)
    if not certain.any():
        return torch.ones_like(confidence)
    texel_mm = face_texel_mm(*seen.shape)[0]
    # eyes, nostrils and highlights are holes, and rims of glasses and strands of hair are lines: no edges
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(LINE_MM / 2 / texel_mm) + 1,) * 2)
    outside = cv2.morphologyEx((~seen).to(torch.uint8).numpy(), cv2.MORPH_OPEN, disc)
    _, labels = cv2.connectedComponents(outside, connectivity=4)
    touching = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    outer = np.isin(labels, touching[touching > 0])
    away_mm = texel_mm * cv2.distanceTransform((~outer).astype(np.uint8), cv2.DIST_L2, 5)
    rim = torch.from_numpy(1 - smoothstep(*RIM_MM, away_mm))
    middle = ratio[certain][::7].median(0).values
    tone = torch.from_numpy(weighted_blur(ratio.numpy(), confidence.numpy(), LOCAL_MM / texel_mm)) - middle
    light = tone.mean(-1)
    off = (tone - light[..., None]).abs().amax(-1)
    strange = skin * torch.maximum(smoothstep(*DARK, -light), smoothstep(*OFF, off))
    green = smoothstep(*GREEN, tone[..., 1] - torch.maximum(tone[..., 0], tone[..., 2]))
    ends = skin * torch.from_numpy(1 - smoothstep(*ENDS_MM, away_mm))
    return (1 - rim * torch.maximum(strange, green)) * (1 - ends * _strands(ratio, confidence, certain, texel_mm))


def _strands(ratio: Tensor, confidence: Tensor, certain: Tensor, texel_mm: float) -> Tensor:
    """(H, W) [0, 1] lines brighter and greyer than the skin beside them, with their margin: single grey hairs.

    Args:
        certain: (H, W, bool) plain skin.
    """
    read = (confidence > 0.02).float()
    plane = torch.stack([ratio.mean(-1), ratio[..., 2] - ratio[..., 0]], -1).numpy()
    fine = weighted_blur(plane, read.numpy(), STRAND_MM / texel_mm)
    beside = weighted_blur(plane, (confidence + 1e-3 * read).numpy(), BESIDE_MM / texel_mm)
    light, blue = torch.from_numpy(fine - beside).unbind(-1)
    usual = light[certain][::7].abs().median().clamp_min(LEAST_LINE)
    found = smoothstep(*BRIGHT, light / usual) * smoothstep(*GREYER, blue) * read
    margin = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(MARGIN_MM / texel_mm) + 1,) * 2)
    return torch.from_numpy(blur(cv2.dilate(found.numpy(), margin), 0.5 * MARGIN_MM / texel_mm))
