"""Photos with their fits, as everything starts from them that makes maps."""

from dataclasses import dataclass

from relit.maps.bare_skin import SIDE, BareSkin, find_bare_skin
from relit.maps.unwrap import Unwrapped, View, texels, unwrap, view_of
from relit.models.head import HeadModel
from relit.types import FaceFit, Observation


@dataclass(frozen=True)
class Sighting:
    """One photo with its fit: the head as the camera sees it, and where that is bare skin."""

    model: HeadModel
    observation: Observation
    fit: FaceFit
    view: View
    bare: BareSkin

    def unwrapped(self, rows: int, columns: int) -> Unwrapped:
        """The photo in the layout; see `relit.maps.unwrap.unwrap`."""
        return unwrap(self.model, self.observation, self.view, texels(self.model, rows, columns))


def sighted(model: HeadModel, observations: tuple[Observation, ...], fits: tuple[FaceFit, ...]) -> tuple[Sighting, ...]:
    """The photos with their fits, one for each."""
    small, found = texels(model, SIDE, SIDE), []
    for observation, fit in zip(observations, fits, strict=True):
        view = view_of(model, fit)
        found.append(Sighting(model, observation, fit, view, find_bare_skin(unwrap(model, observation, view, small))))
    return tuple(found)
