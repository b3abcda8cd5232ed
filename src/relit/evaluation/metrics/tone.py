"""Whether skin is as dark or light as it is, for everybody alike."""

import numpy as np
import torch

from relit.appearance.colour import typology_angle_deg
from relit.evaluation.case import Case
from relit.evaluation.metrics.registry import metric
from relit.models.regions import region_masks

NOT_SKIN = ("brows", "lips", "eyelids")


@metric("skin tone", "degrees", "low")
def ita_error(case: Case) -> dict[str, float]:
    """Difference of the individual typology angle (ITA) of the mean albedo of the face, recovered and true.

    ITA = atan2(L* - 50, b*) of the linear mean over the face without brows, lips and lids. "absolute": |difference|,
    [0, 180] degrees; "signed": recovered minus true, positive where skin comes out too light.

    Source: Chardon et al. 1991; FAIR benchmark of TRUST, Feng et al. 2022, "Towards racially unbiased skin tone
    estimation via scene disambiguation".
    Differs: the angle of the mean colour, not the mean of angles.
    """
    difference = face_ita_deg(case, case.found_maps) - true_ita_deg(case)
    return {"absolute": abs(difference), "signed": difference}


def face_ita_deg(case: Case, maps: dict[str, np.ndarray]) -> float:
    """The individual typology angle of the mean albedo of plain facial skin, degrees."""
    size = len(case.reference.face)
    masks = region_masks(size, size)
    plain = case.reference.face & (sum(masks[name] for name in NOT_SKIN) < 0.5).numpy()
    mean = maps["diffuse_albedo"][plain].mean(0, dtype=float)
    return float(typology_angle_deg(torch.from_numpy(mean).float()))


def true_ita_deg(case: Case) -> float:
    """The angle of the true face, by which people are grouped."""
    return face_ita_deg(case, case.reference.maps)
