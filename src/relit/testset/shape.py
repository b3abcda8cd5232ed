"""The true shape of test subjects: an identity of the head model, and on the face what no mode of it can say."""

import numpy as np
import torch
from torch import Tensor

from relit.geometry.mesh import vertex_normals
from relit.models.contours import LIPS, MOUTH
from relit.models.head import HeadModel, lid_edge_points
from relit.synth.subject import Subject, neutral_of

DEVIATION_M = 0.0004  # standard deviation along the normal
WAVELENGTH_M = (0.016, 0.028)
WAVES = 96
NOSTRILS = (98, 327, 2, 64, 294, 240, 460)
_SHAPE = 63  # purpose of random numbers


def true_neutral(subject: Subject, model: HeadModel) -> Tensor:
    """(V, 3) the neutral head of a test subject."""
    plain = neutral_of(subject, model)
    return plain + deviation(plain, model, subject.rng(_SHAPE))[:, None] * vertex_normals(plain, model.triangles)


def deviation(neutral: Tensor, model: HeadModel, rng: np.random.Generator) -> Tensor:
    """(V,) metres along the normal: a random field on the face, none at the edges of lids, lips and nostrils.

    Source: a sum of cosines of random direction and phase is a stationary Gaussian field in the limit (Shinozuka,
    "Simulation of multivariate and multidimensional random processes", J. Acoustical Society of America 49, 1971).
    """
    axes = rng.standard_normal((WAVES, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    waves = torch.from_numpy(axes * (2 * np.pi / rng.uniform(*WAVELENGTH_M, (WAVES, 1)))).float()
    phase = torch.from_numpy(rng.uniform(0, 2 * np.pi, WAVES)).float()
    field = torch.cos(neutral @ waves.T + phase).sum(1) * (2 / WAVES) ** 0.5
    corners = neutral[model.landmark_triangles]
    marks = (corners * model.landmark_barycentric[..., None]).sum(1)
    free = model.face_weight.clone()
    for points, none_m, full_m in (
        (lid_edge_points(model, neutral).reshape(-1, 3), 0.003, 0.012),
        (marks[list(LIPS + MOUTH)], 0.003, 0.010),
        (marks[list(NOSTRILS)], 0.003, 0.008),
    ):
        away = torch.cdist(neutral, points).amin(1)
        share = ((away - none_m) / (full_m - none_m)).clamp(0, 1)
        free = free * share * share * (3 - 2 * share)
    skin = torch.zeros(len(neutral))
    skin[model.triangles[model.part == 0].unique()] = 1
    for part in model.part.unique().tolist():
        if part:
            skin[model.triangles[model.part == part].unique()] = 0
    return DEVIATION_M * field * free * skin
