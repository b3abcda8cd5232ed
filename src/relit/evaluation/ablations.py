"""Methods with a part left out or changed, for `relit evaluate`: `--method relit.evaluation.ablations:without_tuning`."""

from collections.abc import Callable
from dataclasses import replace

from relit import __version__ as released
from relit.evaluation import contenders
from relit.methods import WEIGHTS, fitme, ganfit
from relit.models.registry import assets_digest
from relit.progress import Stopwatch
from relit.types import FitResult, Photo

__all__ = [
    "ganfit_as_published",
    "pca_instead_of_gan",
    "without_identity",
    "without_occlusion",
    "without_specular",
    "without_told",
    "without_tuning",
]
__version__ = f"{released}+{assets_digest((*contenders.SHARED, *WEIGHTS['fitme'], *WEIGHTS['ganfit']))}"


def _ablated(about: str, method=fitme, **changed) -> Callable[[list[Photo], tuple[int, int]], FitResult]:
    def run(photos: list[Photo], size: tuple[int, int]) -> FitResult:
        start, _ = contenders.started(tuple(photos))
        return method.finish(start, size, 0, Stopwatch(), replace(method.OPTIONS, **changed))

    run.__doc__ = about
    return run


without_identity = _ablated("fitme without the terms of the recognition network", identity_network=0.0, content=0.0)
without_tuning = _ablated("fitme with the generator as it was trained", tuning_steps=0)
without_specular = _ablated("fitme with matt skin in the render that is compared", specular=False)
without_occlusion = _ablated("fitme with light that nothing hides", occlusion=False)
without_told = _ablated("fitme that may leave the albedo that the de-lighting network tells", told=0.0)
pca_instead_of_gan = _ablated("fitme with principal components in place of the generator", linear=True)
# GANFIT, section 4.2, for colours from 0 to 255: in the units of the pixel term of `relit.fit.inversion` the others count so.
ganfit_as_published = _ablated(
    "ganfit with the weights of its paper",
    ganfit,
    identity_network=8.0,
    other_view=200.0,
    content=39.0,
    landmark=0.1,
    identity_prior=0.4,
    expression_prior=0.1,
    told=0.0,
)
