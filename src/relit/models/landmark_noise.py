"""What the landmark detector gets wrong, as it does so: many landmarks of a photo err together."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from relit.models.identity import NOISE
from relit.models.registry import load_tensors


@dataclass(frozen=True)
class LandmarkNoise:
    """A Gaussian of the detector's errors in the picture, metres at the head, x and y along the head's own axes.

    `whiten @ (error - mean).flatten()` has unit variance.
    """

    index: Int[Tensor, "n"]  # the landmarks it speaks of: none of the oval, whose points slide, and no iris
    mean: Float[Tensor, "n 2"]
    whiten: Float[Tensor, "2n 2n"]

    def deviation(
        self, error_px: Float[Tensor, "478 2"], turn: Float[Tensor, "3 3"], metre_px: Float[Tensor, ""]
    ) -> Float[Tensor, "n 2"]:
        """The model's points less the detected ones in standard deviations that are independent of each other. Differentiable.

        Args:
            turn: rotation camera <- head, of which the roll counts.
            metre_px: pixels per metre at the head.
        """
        cosine, sine = torch.nn.functional.normalize(turn[:2, 0], dim=0)
        upright = torch.stack([torch.stack([cosine, -sine]), torch.stack([sine, cosine])])
        error = error_px[self.index] @ upright / metre_px + self.mean.to(error_px)  # the mean is of detected less true
        return (self.whiten.to(error_px) @ error.flatten()).view(-1, 2)


def landmark_noise(
    index: Int[Tensor, "n"], mean: Float[Tensor, "n 2"], factors: Float[Tensor, "r n 2"], rest: Float[Tensor, "n 2"]
) -> LandmarkNoise:
    """The noise of covariance sum_r f_r f_r^T + diag(rest^2), in double precision; all in metres.

    Source: the symmetric inverse root of identity plus low rank, by the singular values of the scaled factors.
    """
    mean, factors, rest = mean.double(), factors.double().flatten(1), rest.double().flatten()
    vectors, values, _ = torch.linalg.svd((factors / rest).T, full_matrices=False)
    shrink = 1 / (1 + values**2).sqrt() - 1
    whiten = torch.eye(len(rest), dtype=torch.float64) + (vectors * shrink) @ vectors.T
    return LandmarkNoise(index.long(), mean, whiten / rest)


@lru_cache(maxsize=1)
def load_landmark_noise() -> LandmarkNoise:
    """The noise of the shipped detector, measured on synthetic photographs.

    Raises:
        AssetMissing, AssetCorrupt: the file is not there or not the recorded one.
    """
    kept = load_tensors(NOISE)
    metres = lambda name: kept[f"landmark_{name}_mm"].double() / 1000  # noqa: E731
    return landmark_noise(kept["landmark_index"], metres("mean"), metres("factors"), metres("rest"))
