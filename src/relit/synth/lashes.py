"""The lashes of a synthetic subject: long or short, made up or not."""

import numpy as np
import torch

from relit.models.head import HeadModel
from relit.render.cards import Cards
from relit.render.lashes import LashForm, grown_lashes, natural_colour
from relit.synth.geometry import Posed
from relit.synth.subject import Subject

_MASCARA = np.array([0.006, 0.005, 0.005], np.float32)


def lashes_of(subject: Subject, posed: Posed, model: HeadModel) -> tuple[Cards, torch.Tensor, np.ndarray]:
    """The lashes on a posed head, their vertices (N, 3) and their colour (3,) linear."""
    rng = subject.rng(26)
    made_up = subject.marks.eye_makeup
    length = rng.uniform(0.6, 1.0) + 0.3 * made_up - 0.1 * (subject.marks.shave_shadow > 0)
    curl, thickness = rng.uniform(0.25, 0.75), rng.uniform(0.75, 1.1) + 0.6 * made_up
    cards, vertices = grown_lashes(model, posed.vertices, LashForm(length, curl, thickness), rng)
    natural = natural_colour(torch.as_tensor(subject.hair_colour)).numpy()
    return cards, vertices, (natural + min(made_up, 1.0) * (_MASCARA - natural)).astype(np.float32)
