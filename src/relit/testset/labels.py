"""What each pixel of a test photo shows, from the same geometry the path tracer saw."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from relit.appearance.lighting import uniform_lighting
from relit.geometry.camera import project
from relit.models.head import load_head_model
from relit.render.cards import drawn_cards
from relit.render.rasterise import interpolate, rasterise, sample
from relit.synth.geometry import Posed
from relit.synth.hair_cards import load_style, worn
from relit.synth.photo import GARMENT
from relit.synth.solids import Prop
from relit.synth.subject import Subject
from relit.synth.worn import pressed
from relit.types import Camera


@dataclass(frozen=True)
class Labels:
    """Labels of a photo's pixel centres."""

    part: np.ndarray  # (H, W) uint8: 0 background, 1 + index into PARTS, GARMENT where cloth covers the skin
    hair: np.ndarray  # (H, W) [0, 1] of hair before everything else
    occluder: np.ndarray  # (H, W) [0, 1] opacity of what is worn before the head


def labels_of(subject: Subject, posed: Posed, camera: Camera, cloth: np.ndarray, props: tuple[Prop, ...]) -> Labels:
    """The labels of a photo of a posed subject.

    Args:
        cloth: (S, S) [0, 1] where cloth covers the skin, in the UV layout.
    """
    model = load_head_model()
    fragments = rasterise(project(camera, posed.vertices), model.triangles, camera.size_px)
    seen = fragments.triangle >= 0
    uv = interpolate(model.uv, model.render_triangles, fragments)
    part = torch.where(seen, model.part[fragments.triangle.clamp_min(0)] + 1, 0)
    covered = sample(torch.from_numpy(cloth)[..., None], uv)[..., 0] > 0.5
    hair = np.zeros(seen.shape, np.float32)
    if subject.hair_style:
        style = load_style(subject.hair_style)
        place = pressed(worn(style, model, posed), posed, props)
        hair = drawn_cards(style, place, subject.hair_colour, camera, uniform_lighting(), fragments.depth)[..., 3]
    return Labels(
        part=torch.where(seen & covered, GARMENT, part).numpy().astype(np.uint8),
        hair=hair,
        occluder=_occluder(props, camera, fragments.depth, seen),
    )


def _occluder(props: tuple[Prop, ...], camera: Camera, depth: Tensor, seen: Tensor) -> np.ndarray:
    through = torch.ones(seen.shape)
    for prop in props:
        here = rasterise(project(camera, prop.vertices_m), prop.triangles, camera.size_px)
        before = seen & (here.triangle >= 0) & (here.depth < depth)
        through *= 1 - prop.opacity * before.float()
    return (1 - through).numpy()
