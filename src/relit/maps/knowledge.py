"""What a method knows beyond photos and fits: how light is told from skin, and what no photo shows."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from relit.maps.delight import Regions, delight
from relit.maps.unwrap import Unwrapped
from relit.types import FaceFit


class KnownSurface(NamedTuple):
    """Specular albedo and relief, each (H, W)."""

    specular: Tensor  # F0
    mid_mm: Tensor  # relief in two bands; the expression of a photo may have made the middle one
    high_mm: Tensor
    whole: bool = False  # see `relit.maps.infer.Known`


class Completed(NamedTuple):
    """Maps of the whole face."""

    ratio: Tensor  # log ratio of the albedo to the typical one, (H, W, 3)
    share: Tensor  # [0, 1] where they count, (H, W)
    surface: KnownSurface | None


class Knowledge(Protocol):
    """What a method says of one person."""

    @property
    def tone(self) -> Float[Tensor, "3"]:
        """Log ratio of the person's skin to the statistical albedo of the fit."""

    def typical(self, statistical: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W 3"]:
        """The albedo that photos are compared with, given the statistical one of the right tone."""

    def ratio(
        self, index: int, seen: Unwrapped, fit: FaceFit, base: Float[Tensor, "H W 3"], regions: Regions
    ) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"]]:
        """The log ratio between the albedo in a photo and the typical one, and its confidence."""

    def completed(self, base: Float[Tensor, "H W 3"]) -> Completed | None:
        """Maps for what no photo shows, given the typical albedo; None leaves that to symmetry and statistics."""

    def specular_factor(self, albedo: Float[Tensor, "H W 3"], confidence: Float[Tensor, "H W"]) -> Float[Tensor, "H W"] | None:
        """The factor on the specular albedo of each region that goes with the finished albedo; None for 1."""


@dataclass(frozen=True)
class FittedLight:
    """Nothing but the fit: its light is taken out of the photos."""

    tone: Tensor = field(default_factory=lambda: torch.zeros(3))

    def typical(self, statistical: Tensor) -> Tensor:
        return statistical

    def ratio(self, index: int, seen: Unwrapped, fit: FaceFit, base: Tensor, regions: Regions) -> tuple[Tensor, Tensor]:
        return delight(seen, base, regions)

    def completed(self, base: Tensor) -> None:
        return None

    def specular_factor(self, albedo: Tensor, confidence: Tensor) -> None:
        return None


FITTED_LIGHT = FittedLight()
