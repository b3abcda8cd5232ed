"""The dark line where upper lashes grow, and the shade of the lids on the eyeball: soft strips that go with the lids."""

import numpy as np
from jaxtyping import Float

from relit.geometry.transforms import unit
from relit.models.head import eyeball_radius_mm

# Upper and lower lid, from the margin's outer edge across it and down the eyeball. Places: from the inner edge of the
# margin away from the eyeball, and from there towards the opening, in mm. Coverage: a row for each place, by eye and as
# portraits are darker there (docs/fitting.md).
_UPPER = ((2.6, -0.8), (2.6, -0.1), (2.8, 0.5), (0.0, 1.0), (0.0, 2.2), (0.0, 4.5)), (0.0, 0.6, 0.85, 0.6, 0.25, 0.0)
_LOWER = ((1.2, -0.5), (0.8, 0.0), (0.0, 0.4), (0.0, 1.4)), (0.0, 0.2, 0.35, 0.0)
LIDS = _UPPER, _LOWER
_ABOVE_EYE_MM = 0.15  # in front of the eyeball's surface
_POINTS, _BEYOND = 25, 0.12  # along a lid; and its share by which strips go on into the corners
COLUMNS = 12  # texels along a lid: only its ends fade


def shade_strip(
    edge: Float[np.ndarray, "M 3"], centre: Float[np.ndarray, "3"], ahead: Float[np.ndarray, "3"], lid: int
) -> Float[np.ndarray, "rows points 3"]:
    """Points of a strip along the inner edge of a lid.

    Args:
        edge: of the lid, from the nose outwards.
        centre: of the eyeball.
        ahead: where it looks, unit.
        lid: 0 for the upper one, 1 for the lower one.
    """
    far = np.r_[0, np.cumsum(np.linalg.norm(np.diff(edge, axis=0), axis=1))]
    along = lambda shares: np.stack([np.interp(shares * far[-1], far, edge[:, k]) for k in range(3)], 1)  # noqa: E731
    at = lambda shares: along(shares) + (shares - shares.clip(0, 1))[:, None] * np.where(  # noqa: E731
        shares[:, None] < 0, edge[2] - edge[0], edge[-1] - edge[-3]
    ) * far[-1] / np.linalg.norm(edge[2] - edge[0])
    place = np.linspace(-_BEYOND, 1 + _BEYOND, _POINTS)
    inner = at(place)
    out = unit(inner - centre)
    away = unit(np.cross(at(place + 0.03) - at(place - 0.03), out))
    away *= np.sign(away[:, 1:2]) * (1 - 2 * lid)
    rows = []
    for lifted_mm, below_mm in LIDS[lid][0]:
        point = inner + (lifted_mm * out - below_mm * away) / 1000
        direction = unit(point - centre)
        least = eyeball_radius_mm(direction @ ahead) + _ABOVE_EYE_MM
        rows.append(centre + direction * np.maximum(np.linalg.norm(point - centre, axis=1), least / 1000)[:, None])
    return np.stack(rows)


def shade_coverage(rows: int, scale: int = 1) -> Float[np.ndarray, "rows columns"]:
    """[0, 1] the coverage of the strips of the upper and of the lower lid, side by side, margin above."""
    v = (np.arange(rows * scale) + 0.5) / (rows * scale)
    ends = np.sin(np.linspace(0, np.pi, COLUMNS * scale)).clip(0) ** 0.6
    return np.concatenate([np.interp(v, np.linspace(0, 1, len(told)), told)[:, None] * ends for _, told in LIDS], 1)
