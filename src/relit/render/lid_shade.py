"""The dark line where upper lashes grow, and the shade of the lids on the eyeball: soft strips that go with the lids."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from relit.geometry.transforms import unit
from relit.models.head import HeadModel, eyeball_radius_mm
from relit.render.eye_light import lid_edges_from_nose, posed_eye_centres

# Upper and lower lid, from the margin's outer edge across it and down the eyeball. Places: from the inner edge of the
# margin away from the eyeball, and from there towards the opening, in mm. Coverage: a row for each place, by eye and as
# portraits are darker there (docs/fitting.md).
_UPPER = ((2.6, -0.8), (2.6, -0.1), (2.8, 0.5), (0.0, 1.0), (0.0, 2.2), (0.0, 4.5)), (0.0, 0.6, 0.85, 0.6, 0.25, 0.0)
_LOWER = ((1.2, -0.5), (0.8, 0.0), (0.0, 0.4), (0.0, 1.4)), (0.0, 0.2, 0.35, 0.0)
LIDS = _UPPER, _LOWER
_ABOVE_EYE_MM = 0.15  # in front of the eyeball's surface
_POINTS, _BEYOND = 25, 0.12  # along a lid; and its share by which strips go on into the corners
COLUMNS = 12  # texels along a lid: only its ends fade


def lid_shades(
    model: HeadModel, vertices: Float[Tensor, "V 3"]
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 2"], Int[np.ndarray, "T 3"]]:
    """The strips of all lids of a posed head: points, their places in the picture of `shade_coverage`, triangles."""
    edges = lid_edges_from_nose(model, vertices)
    centres = posed_eye_centres(model, vertices).double().numpy()
    poles = vertices[model.eye_vertices[:, 0]].double().numpy()
    points, uv, triangles, count = [], [], [], 0
    for eye, lid in ((0, 0), (0, 1), (1, 0), (1, 1)):
        strip = _strip(edges[eye, lid], centres[eye], unit(poles[eye] - centres[eye]), lid)
        rows, columns = strip.shape[:2]
        v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
        index = count + np.arange(rows * columns).reshape(rows, columns)
        a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
        triangles.append(np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3))
        points.append(strip.reshape(-1, 3))
        uv.append(np.stack([(u + lid) / len(LIDS), v], -1).reshape(-1, 2))
        count += rows * columns
    return np.concatenate(points), np.concatenate(uv), np.concatenate(triangles)


def along_edge(edge: Float[np.ndarray, "M 3"]) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """Points (N, 3) at shares (N,) of an edge's length, straight on beyond its ends; and that length."""
    far = np.r_[0, np.cumsum(np.linalg.norm(np.diff(edge, axis=0), axis=1))]
    ends = unit(edge[0] - edge[2]), unit(edge[-1] - edge[-3])

    def at(shares: np.ndarray) -> np.ndarray:
        along = np.stack([np.interp(shares * far[-1], far, edge[:, k]) for k in range(3)], 1)
        before, after = (beyond.clip(0)[:, None] * far[-1] for beyond in (-shares, shares - 1))
        return along + before * ends[0] + after * ends[1]

    return at, far[-1]


def _strip(edge: np.ndarray, centre: np.ndarray, ahead: np.ndarray, lid: int) -> np.ndarray:
    """(rows, points, 3) along the inner edge (M, 3) of a lid, on an eyeball about `centre` that looks `ahead`."""
    at, _ = along_edge(edge)
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
