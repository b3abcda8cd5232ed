"""How the lids lie when the face is at rest."""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from relit.models.head import ARKIT_NAMES, HeadModel, expression_morphs, neutral_vertices
from relit.types import FaceFit

MOST = 0.35  # weight; lids that are closed farther blink
_pair = lambda name: [ARKIT_NAMES.index(f"{name}{side}") for side in ("Left", "Right")]  # noqa: E731
SMILES = _pair("mouthSmile")
# What narrows the eyes, and the share of it that a full smile explains.
NARROWING = (_pair("eyeBlink"), 0.3), (_pair("eyeSquint"), 1.0)


def with_own_lids(model: HeadModel, fits: tuple[FaceFit, ...]) -> tuple[FaceFit, ...]:
    """The fits of one person with lids of the neutral head as all photos show them; in its poses the head stays as it is.

    Faces hold their eyes open to different degrees. A fit tells that by the lids' blendshapes, since the prior of the shape
    keeps to the usual opening: left there, the neutral head of narrow eyes would stare.
    """
    own = [MOST] * len(NARROWING)
    for fit in fits:
        smile = fit.expression[SMILES].mean()
        shown = (float(fit.expression[pair].min() * (1 - smiled * smile)) for pair, smiled in NARROWING)
        own = [min(least, one) for least, one in zip(own, shown, strict=True)]
    if max(own) <= 0:
        return fits
    neutral = neutral_vertices(model, fits[0].identity, fits[0].vertex_offset)
    offset = fits[0].vertex_offset + sum(
        share * expression_morphs(model, neutral, tuple(pair)).sum(0) for share, (pair, _) in zip(own, NARROWING, strict=True)
    )
    return tuple(replace(fit, vertex_offset=offset, expression=_less(fit.expression, own)) for fit in fits)


def _less(expression: Float[Tensor, "52"], own: list[float]) -> Float[Tensor, "52"]:
    """The weights that are left; a blink's count from the narrower lids to closed ones, as before."""
    (blinks, _), (squints, _) = NARROWING
    result = expression.clone()
    result[blinks] = (expression[blinks] - own[0]) / (1 - own[0])
    result[squints] = expression[squints] - own[1]
    return result.clamp(0, 1)
