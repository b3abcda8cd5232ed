"""How people's shapes vary, and what the recognition network's embedding says about a shape."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from relit.models.registry import load_tensors

NOISE = "observation_noise"
# The noise is not Gaussian, and the population wider than any group of people. Part of the information that counts.
TRUST = 0.7


@dataclass(frozen=True)
class IdentityPrior:
    """A Gaussian of identity coefficients: `whiten @ (identity - mean)` has unit variance."""

    mean: Float[Tensor, "K"]
    whiten: Float[Tensor, "K K"]

    def deviation(self, identity: Float[Tensor, "K"]) -> Float[Tensor, "K"]:
        """The identity in standard deviations from the mean. Differentiable."""
        return self.whiten.to(identity) @ (identity - self.mean.to(identity))


@dataclass(frozen=True)
class IdentityStatistics:
    """The population, and the embedding as a linear measurement of the identity with Gaussian noise."""

    mean: Float[Tensor, "K"]
    covariance: Float[Tensor, "K K"]
    response: Float[Tensor, "D K"]  # embedding per standard deviation of an identity mode
    embedding: Float[Tensor, "D"]  # of identity 0
    noise: Float[Tensor, "D D"]  # mean square of what photos add: skin, light, pose, hair, and what the response is not


@lru_cache(maxsize=1)
def load_identity_statistics() -> IdentityStatistics:
    """The shipped statistics, in the coordinates of the shipped head model.

    Raises:
        AssetMissing, AssetCorrupt: the file is not there or not the recorded one.
    """
    return IdentityStatistics(**load_tensors("identity") | {"noise": load_tensors(NOISE)["embedding"]})


def identity_prior(
    statistics: IdentityStatistics, embeddings: tuple[Float[Tensor, "D"], ...] = (), trust: float = TRUST
) -> IdentityPrior:
    """The population given the embeddings of photos of one person; without embeddings, the population itself.

    Photos of one person share most of what the linear response leaves out, so their mean counts as one measurement.

    Source: Gaussian conditioning; that recognition features tell shape, Zielonka et al. 2022 (MICA), who train a
    network for it.
    """
    precision = torch.linalg.inv(statistics.covariance.double())
    pull = precision @ statistics.mean.double()
    if embeddings:
        seen = torch.stack(embeddings).double().mean(0) - statistics.embedding.double()
        weight = statistics.response.double().T @ torch.linalg.inv(statistics.noise.double()) * trust
        precision, pull = precision + weight @ statistics.response.double(), pull + weight @ seen
    mean = torch.linalg.solve(precision, pull)
    return IdentityPrior(mean.float(), torch.linalg.cholesky(precision).T.float().contiguous())
