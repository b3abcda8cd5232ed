"""The light that reaches an eyeball between its lids: contact shadows finer than the mesh, and the shade of the lashes."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, normalize

from relit.models.head import EYE_RADIUS_MM, PARTS, HeadModel, lid_edge_points
from relit.render.occlusion import DIRECTIONS, ambient_occlusion, hidden, transfer_at

ROWS, COLUMNS = 40, 56  # of the grid of directions from the eyeball's centre: half a millimetre apart
HEIGHT_RAD, WIDTH_RAD = 0.80, 1.15  # half the grid's extent
LASHES = ((8.0, 0.6), (4.5, 0.25))  # length in mm and opacity of the upper and the lower lid's lashes
LASH_ROOT_MM = 1.6  # from the inner edge of the lid, where the eyeball ends, to the lashes
LEAST_VISIBILITY = 0.2  # less of the sky is seen only from places that a lid covers
EDGE_GAP_M = 4e-4  # vertices of the lids nearer than this to the eyeball form their wet inner edge
INTO_OPENING = (0.92, 0.80, 1.0)  # from there to the visible eyeball beside it
EYES = (PARTS.index("left_eye"), PARTS.index("right_eye"))


def eye_transfer(
    model: HeadModel, vertices: Float[Tensor, "V 3"], centres: Float[Tensor, "2 3"], rays: int = DIRECTIONS
) -> Float[Tensor, "2 81 rows columns"]:
    """The light transfer without bounces on a grid over the front of both eyeballs, for `at_eye`."""
    points, normals = eye_grid(centres)
    skin = model.triangles[~torch.isin(model.part, torch.tensor(EYES))]
    occluders = ((vertices, skin, 1.0), *lashes(model, vertices, centres))
    flat = transfer_at(points.flatten(0, 2), normals.expand_as(points).flatten(0, 2), occluders, rays)
    return _continued(flat.view(2, ROWS, COLUMNS, 81).permute(0, 3, 1, 2), ambient_occlusion(flat).view(2, 1, ROWS, COLUMNS))


def _continued(grid: Tensor, visibility: Tensor) -> Tensor:
    """The grid with what lies inside the lids replaced by the nearest open places, so that their edges stay clean."""
    known = (visibility > LEAST_VISIBILITY).float()
    for _ in range(4):
        near = avg_pool2d(known, 3, 1, 1)
        spread = avg_pool2d(grid * known, 3, 1, 1) / near.clamp_min(1e-6)
        grid = torch.where(known > 0, grid, torch.where(near > 1e-3, spread, grid))
        known = (near > 1e-3).float()
    return grid


def posed_eye_centres(model: HeadModel, vertices: Float[Tensor, "V 3"]) -> Float[Tensor, "2 3"]:
    """The centres of eyeballs that may be turned: behind their pole, by as much as in the template."""
    pole = vertices[model.eye_vertices[:, 0]]
    ahead = normalize(pole - vertices[model.eye_vertices].mean(1), dim=1)
    return pole - model.eye_template[0, 2] * ahead


def with_wet_edges(
    model: HeadModel,
    transfer: Float[Tensor, "V 81"],
    grid: Float[Tensor, "2 81 rows columns"],
    vertices: Float[Tensor, "V 3"],
    centres: Float[Tensor, "2 3"],
) -> Float[Tensor, "V 81"]:
    """The vertices' light transfer with that of the eyeball beside them along the lids' inner edges.

    There lid and eyeball touch: a ray from a vertex hits the other at once.
    """
    edge = model.lid_gap < EDGE_GAP_M
    out = transfer.clone()
    for side, ids in enumerate(model.lid_vertices[:, edge]):
        beside = (vertices[ids] - centres[side]) * torch.tensor(INTO_OPENING)
        out[ids] = at_eye(grid, beside, torch.full_like(ids, side))
    return out


def lash_shade(
    model: HeadModel, vertices: Float[Tensor, "V 3"], centres: Float[Tensor, "2 3"], direction: Float[Tensor, "3"]
) -> Float[Tensor, "2 1 rows columns"]:
    """The fraction of a distant light that the lashes let through, on the grid of `eye_transfer`."""
    points, _ = eye_grid(centres)
    points = points.flatten(0, 2)
    passed = torch.ones(len(points), 1)
    for fringe, triangles, opacity in lashes(model, vertices, centres):
        asked = torch.ones(len(points), 1, dtype=torch.bool)
        passed -= passed * opacity * hidden(points, direction[None], asked, fringe, triangles)
    return passed.view(2, 1, ROWS, COLUMNS)


def at_eye(
    grid: Float[Tensor, "2 C rows columns"], offset: Float[Tensor, "P 3"], side: Int[Tensor, "P"]
) -> Float[Tensor, "P C"]:
    """The grid's values at points of an eyeball.

    Args:
        offset: from the eyeball's centre, in the head frame.
        side: 0 for the left eye, 1 for the right one.
    """
    direction = normalize(offset, dim=1)
    yaw = torch.atan2(direction[:, 0], direction[:, 2])
    place = torch.stack([yaw / WIDTH_RAD, direction[:, 1].clamp(-1, 1).asin() / HEIGHT_RAD], 1)
    out = offset.new_zeros(len(offset), grid.shape[1])
    for eye in (0, 1):
        own = side == eye
        found = grid_sample(grid[eye][None], place[own][None, None], padding_mode="border", align_corners=True)
        out[own] = found[0, :, 0].T
    return out


def eye_grid(centres: Float[Tensor, "2 3"]) -> tuple[Float[Tensor, "2 rows columns 3"], Float[Tensor, "rows columns 3"]]:
    """Points on the front of the eyeballs' spheres and their unit normals: rows run up, columns to the subject's left."""
    elevation = torch.linspace(-HEIGHT_RAD, HEIGHT_RAD, ROWS)[:, None]
    yaw = torch.linspace(-WIDTH_RAD, WIDTH_RAD, COLUMNS)[None]
    parts = elevation.cos() * yaw.sin(), elevation.sin().expand(ROWS, COLUMNS), elevation.cos() * yaw.cos()
    normals = torch.stack(parts, -1)
    return centres[:, None, None] + EYE_RADIUS_MM / 1000 * normals, normals


def lid_edges_from_nose(model: HeadModel, vertices: Float[Tensor, "V 3"]) -> Float[np.ndarray, "2 2 M 3"]:
    """Points along the inner edges of the lids, (left, right) x (upper, lower), each from the nose outwards."""
    edges = lid_edge_points(model, vertices).double().numpy()
    inwards = np.abs(edges[..., :1, :1]) > np.abs(edges[..., -1:, :1])
    return np.where(inwards, edges[:, :, ::-1], edges)


def lashes(
    model: HeadModel, vertices: Float[Tensor, "V 3"], centres: Float[Tensor, "2 3"]
) -> tuple[tuple[Tensor, Tensor, float], ...]:
    """The lashes as translucent fringes, upper and lower: vertices, triangles, opacity. They curve away from the eye.

    Source: length and number of lashes after Na et al. 2006: about 8 mm, 5 to 6 per mm, 0.07 mm thick, in 2 rows; seen
    along their rows they cover about half.
    """
    edges = lid_edge_points(model, vertices) - centres[:, None, None]  # [eye, lid, M, 3]
    out_of_eye = normalize(edges, dim=-1)
    count = edges.shape[2]
    strips = []
    for lid, (length_mm, opacity) in enumerate(LASHES):
        along = out_of_eye[:, lid] + torch.tensor([0.0, 0.2 * lid - 0.15, 0.0])
        curved = along + torch.tensor([0.0, 0.4 - 0.9 * lid, 0.0])
        root = edges[:, lid] + LASH_ROOT_MM / 1000 * out_of_eye[:, lid]
        middle = root + 0.5 * length_mm / 1000 * normalize(along, dim=-1)
        tip = middle + 0.5 * length_mm / 1000 * normalize(curved, dim=-1)
        fringe = torch.stack([root, middle, tip], 1) + centres[:, None, None]  # [eye, 3, M, 3]
        index = torch.arange(2 * 3 * count).view(2, 3, count)
        a, b, c, d = index[:, :-1, :-1], index[:, :-1, 1:], index[:, 1:, 1:], index[:, 1:, :-1]
        triangles = torch.stack([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)]).reshape(-1, 3)
        strips.append((fringe.reshape(-1, 3), triangles, opacity))
    return tuple(strips)
