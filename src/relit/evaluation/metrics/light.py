"""Recovered heads under lights that the photo does not show, and in the photos themselves."""

from statistics import fmean

import numpy as np

from relit.evaluation.case import Case, coded_8bit
from relit.evaluation.metrics.registry import metric
from relit.evaluation.pictures import psnr, ssim
from relit.evaluation.testset import TruePhoto
from relit.evaluation.views import SEEN


@metric("relighting", "dB", "high")
def relit_psnr(case: Case) -> dict[str, float]:
    """PSNR between renders of the recovered and of the true head in four new lights, sRGB-coded 8-bit, data range 255.

    Both are drawn by relit's renderer where the photo shows them: the true head in the true camera, the recovered one in
    the camera that was fitted; the lights stand fixed to the camera. Compared are the pixels that show the face in both.
    dB, [0, 100].

    Source: as FitMe and Relightify judge relighting on rendered truth.
    Differs: one renderer draws both, so that only the heads differ.
    """
    return _over_lights(case, psnr)


@metric("relighting", "", "high")
def relit_ssim(case: Case) -> dict[str, float]:
    """SSIM of the same renders and pixels, data range 255; [-1, 1]."""
    return _over_lights(case, ssim)


@metric("texture swap", "dB", "high", needs="target")
def texture_swap(case: Case) -> dict[str, float]:
    """How well maps recovered under hard shadow explain a photo of the same person in soft light.

    "source": PSNR of the recovered head in its own camera and light against the hard-shadow photo; "target": PSNR of the
    same maps on the shape, camera, expression and light fitted to the soft-light photo, against that photo; "loss": source
    minus target, which shadows baked into the maps make large; "own": the target photo's own maps, the best to be hoped
    for. sRGB-coded 8-bit, data range 255, over pixels where the photo shows bare skin of the face. dB, [0, 100].

    Source: in the manner of DeFace, Huang et al. 2024 (NeurIPS), source and target PSNR.
    Differs: rendered subjects; the target's camera, shape and light are fitted to the target photo, maps excepted.
    """
    source = _against_photo(case.reference.photos[0], case.own_picture, case.reference.bare[0])
    target = _against_photo(case.reference.target, case.swapped_picture, case.reference.bare[1])
    own = _against_photo(case.reference.target, case.target_picture, case.reference.bare[1])
    return {"source": source, "target": target, "loss": source - target, "own": own}


def _over_lights(case: Case, compare) -> dict[str, float]:
    found = {}
    for light, (recovered, true) in case.relit_pairs.items():
        mask = case.relit_mask & (recovered[..., 3] > SEEN) & (true[..., 3] > SEEN)
        found[light] = compare(coded_8bit(recovered[..., :3]), coded_8bit(true[..., :3]), mask, 255.0)
    return {"mean": fmean(found.values()), **found}


def _against_photo(photo: TruePhoto, rendered: np.ndarray, bare: np.ndarray) -> float:
    """PSNR of an RGBA render against a photo over its bare skin."""
    truth = coded_8bit(photo.photo.linear.numpy())
    return psnr(coded_8bit(rendered[..., :3]), truth, bare & (rendered[..., 3] > SEEN), 255.0)
