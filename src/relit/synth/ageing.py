"""How age changes the shape of a face: lids, cheeks, jowls, lips, nose and ears."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from relit.geometry.subdivision import catmull_clark
from relit.models.head import HeadModel
from relit.models.registry import load_tensors

YOUNG_YEARS, OLD_YEARS = 25.0, 90.0  # that the stored change leads from and to
MEAN_YEARS = 32.0  # at which the head model's mean face counts
_RIDGE = 0.3  # of identity modes against their own spread, where the change is expressed in them


def aged(identity: Tensor, model: HeadModel, age_years: float, male: float) -> tuple[Tensor, Tensor]:
    """(K,) the identity without the age that is in it by chance, and (V, 3) metres that the given age adds.

    Args:
        identity: (K,) in standard deviations.
        male: [0, 1] how the change of women and of men are mixed.

    Source: the change from young to old adults of MakeHuman's macro targets.
    """
    change = male * _change(model)[1] + (1 - male) * _change(model)[0]
    along = _direction(model)
    amount = (age_years - MEAN_YEARS) / (OLD_YEARS - YOUNG_YEARS)
    return identity - (identity @ along) * along, amount * change


@lru_cache(maxsize=1)
def _change(model: HeadModel) -> Tensor:
    """(2, V, 3) metres from young to old: of women, of men."""
    stored, quads = load_tensors("age"), load_tensors("head")["quads"].long().numpy()
    control = np.stack([stored[f"{sex}_mm"].float().numpy() for sex in ("female", "male")])
    smooth, _ = catmull_clark(quads, control.shape[1])
    change = np.zeros((2, len(model.mean), 3), np.float32)
    for field, own in zip(change, control, strict=True):
        field[: smooth.shape[0]] = smooth @ own / 1000
    return torch.from_numpy(change)


@lru_cache(maxsize=1)
def _direction(model: HeadModel) -> Tensor:
    """(K,) unit: identities that differ along it look older or younger."""
    weight = model.face_weight.sqrt()[:, None]
    modes = (model.identity_modes * weight).flatten(1)
    change = (_change(model).mean(0) * weight).flatten()
    gram = modes @ modes.T
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    found = torch.linalg.solve(gram + ridge, modes @ change)
    return found / found.norm()
