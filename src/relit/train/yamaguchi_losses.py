"""What the networks of `relit.train.yamaguchi` are to minimise."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from relit.appearance.colour import linear_from_srgb, srgb_from_linear
from relit.models.completion import COARSE, Completed, mean_of_seen
from relit.models.delighting import BRIGHTEST, DARKEST
from relit.models.texture_inference import FLAT, Near, window_of
from relit.train.delight import cross_entropy
from relit.train.spoil import Planes

UNSEEN_WEIGHT = 0.15  # of what the camera does not see, in the surface
SEEN_WEIGHT = 0.5  # of what was seen, against what is completed


@dataclass(frozen=True)
class Task:
    """A batch as a completion network meets it, (B, C, h, w)."""

    seen: Tensor
    known: Tensor
    true: Tensor
    tone: Tensor  # (B, C, 1, 1) what `true` is relative to


def diffuse_losses(found: Near, planes: Planes) -> dict[str, Tensor]:
    """Mean absolute errors of the coded albedo where skin is seen: texel, surroundings, gradients; and what lies before."""
    here = {name: window_of(planes[name]) for name in ("albedo", "visible", "bare", "inside")}
    weight = here["inside"] * here["visible"] * here["bare"]
    share = weight.mean().clamp_min(0.05)
    error = (srgb_from_linear(found.albedo) - here["albedo"]) * weight
    return {
        "texel": error.abs().mean() / share,
        "tone": 0.7 * avg_pool2d(error, 32).abs().mean() / share,
        "edge": _edges(error) / share,
        "bare": 0.05 * cross_entropy(found.bare, here["bare"], here["visible"]),
    }


def surface_losses(found: Tensor, planes: Planes) -> dict[str, Tensor]:
    """Mean absolute errors of specular albedo and of both bands of the relief, and of their gradients."""
    seen, inside = window_of(planes["visible"] * planes["bare"]), window_of(planes["inside"])
    weight = inside * (UNSEEN_WEIGHT + (1 - UNSEEN_WEIGHT) * seen)
    share = weight.mean().clamp_min(0.05)
    error = (found - _surface(planes)) * weight
    return {"texel": error.abs().mean() / share, "edge": _edges(error) / share}


def task_of(part: str, near: Near, planes: Planes, surface: Tensor | None = None) -> Task:
    """What inference networks made of a batch, against the truth."""
    known = window_of(planes["visible"]) * near.bare
    if part == "surface":
        flat = surface.new_tensor(FLAT)[:, None, None]
        return Task(surface - flat, known, _surface(planes) - flat, torch.zeros_like(surface[..., :1, :1]))
    log = lambda albedo: albedo.clamp(DARKEST, BRIGHTEST).log()  # noqa: E731
    seen, true = log(near.albedo), log(linear_from_srgb(window_of(planes["albedo"])))
    tone = mean_of_seen(true, known)
    return Task(seen - mean_of_seen(seen, known), known, true - tone, tone)


def completion_losses(part: str, found: Completed, task: Task, face: Tensor) -> dict[str, Tensor]:
    """Mean absolute errors of both stages, and of the gradients of the fine one."""
    weight = face * (1 - (1 - SEEN_WEIGHT) * task.known)
    share = weight.mean()
    error = (coded(part, found.fine, task.tone) - coded(part, task.true, task.tone)) * weight
    small = coded(part, found.coarse, task.tone) - coded(part, avg_pool2d(task.true, COARSE), task.tone)
    return {
        "texel": error.abs().mean() / share,
        "edge": _edges(error) / share,
        "coarse": 0.5 * (small * avg_pool2d(weight, COARSE)).abs().mean() / share,
    }


def coded(part: str, picture: Tensor, tone: Tensor) -> Tensor:
    """A picture as errors in it count: sRGB-coded albedo, or the surface as it is."""
    return srgb_from_linear((picture + tone).clamp(-6, 0).exp()) if part == "diffuse" else picture


def _surface(planes: Planes) -> Tensor:
    return torch.cat([window_of(planes[name]) for name in ("specular", "mid", "high")], 1)


def _edges(error: Tensor) -> Tensor:
    return sum(error.diff(dim=axis).abs().mean() for axis in (2, 3))
