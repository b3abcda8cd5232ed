"""Tie points: places on the skin that two photos of one person show, found by what their textures have in common."""

from dataclasses import dataclass, replace
from itertools import combinations

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import normalize

from relit.fit.crop import crop_picture, face_crop_px
from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_normals
from relit.geometry.uv import rasterise_uv
from relit.models.head import HeadModel
from relit.render.rasterise import Fragments, interpolate, sample
from relit.types import Camera, Observation

TEXELS = 1024  # of the layout: about 0.3 mm each on the face
CROP_PX = 768  # of the photo, whose texels then are as fine
FINE, COARSE = 1.0, 8.0  # texels: pattern between these scales is the skin's own rather than light
PATCH, REACH, STEP = 14, 16, 10  # texels: half a patch, how far it is looked for, from one patch to the next
SEEN = 0.3  # cosine to the camera
COVERED = 0.9  # of a patch that must be bare skin in both photos
ALIKE = 0.5  # correlation of a patch with what is found
UNIQUE = 0.1  # less correlation anywhere else
NEIGHBOURS, APART = 8, 2.5  # a match that differs from its neighbours' median by so many texels is none
MOST, MOST_OF_ALL = 200, 900  # for each pair of photos, and of all pairs
ERROR_M = 0.0004  # standard deviation of a match, at the head
WRONG = 2.0, 1.5  # standard deviations, and medians of all, at which a match counts half: the larger
STRIDE_M = 1e-4
SeenHead = tuple[Float[Tensor, "V 3"], Camera]  # posed vertices of the head model, and what sees them


@dataclass(frozen=True)
class TiePoints:
    """What two photos show of the same n places of the skin, in pixels of each whole photo."""

    photos: tuple[int, int]
    first_px: Float[Tensor, "n 2"]
    second_px: Float[Tensor, "n 2"]


@dataclass(frozen=True)
class LinkedTies:
    """Tie points at vertices near them; which place of the skin it is does not count, only that it is the same.

    The deviation of a vertex from the second photo's point, less what its deviation from the first photo's comes to there
    when it slides on the surface.
    """

    photos: tuple[int, int]
    vertex: Int[Tensor, "n"]
    first_px: Float[Tensor, "n 2"]
    second_px: Float[Tensor, "n 2"]
    carry: Float[Tensor, "n 2 2"]  # pixels of the second photo per pixel of the first, along the surface
    sd_px: Float[Tensor, "n"]  # in the second photo; larger where the match is doubtful

    def deviation(self, first: Float[Tensor, "n 2"], second: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """In standard deviations, of the vertices' pixels in both photos. Differentiable."""
        slid = (self.carry.to(first) @ (first - self.first_px)[..., None])[..., 0]
        return (second - self.second_px - slid) / self.sd_px[:, None]


def find_ties(
    model: HeadModel, observations: tuple[Observation, ...], heads: tuple[SeenHead, ...]
) -> tuple[TiePoints, ...]:
    """Tie points of every two photos.

    Each photo is carried to the layout by what is known of the head, and patches of its fine pattern are looked for in
    the others nearby.

    Args:
        heads: of each photo, as far as known.

    Source: normalised cross-correlation (Lewis 1995), peaks to a fraction of a texel by parabolas.
    """
    if len(observations) < 2:
        return ()
    triangle, barycentric = rasterise_uv(model.uv, model.render_triangles, TEXELS, TEXELS)
    sheets = [
        _sheet(model, observation, head, Fragments(triangle, barycentric, torch.zeros(())))
        for observation, head in zip(observations, heads, strict=True)
    ]
    pairs = list(combinations(range(len(sheets)), 2))
    most = min(MOST, MOST_OF_ALL // len(pairs))
    found = [_matches((i, j), sheets[i], sheets[j], most) for i, j in pairs]
    return tuple(ties for ties in found if len(ties.first_px))


def linked(model: HeadModel, ties: TiePoints, heads: tuple[SeenHead, SeenHead]) -> LinkedTies:
    """The ties of two photos at the vertices that now lie nearest to them in the first.

    A match whose deviation stands out counts less (Geman & McClure 1985).
    """
    skin = torch.zeros(len(model.mean), dtype=torch.bool)
    skin[model.triangles[model.part == 0].flatten()] = True
    normals = [vertex_normals(vertices, model.triangles) for vertices, _ in heads]
    facing = [_facing(vertices, normal, camera) for (vertices, camera), normal in zip(heads, normals, strict=True)]
    listed = (skin & (torch.stack(facing).amin(0) > SEEN / 2)).nonzero()[:, 0]
    pixels = [project(camera, vertices[listed])[:, :2] for vertices, camera in heads]
    nearest = torch.from_numpy(cKDTree(pixels[0].numpy()).query(ties.first_px.numpy())[1])
    vertex = listed[nearest]
    along, across = (
        _pixels_per_metre(vertices[vertex], normal[vertex], camera)
        for (vertices, camera), normal in zip(heads, normals, strict=True)
    )
    carry = across @ torch.linalg.inv(along)
    scale, other_scale = (camera.focal_px / camera.camera_from_head[2, 3] for _, camera in heads)
    variance = other_scale**2 + (carry**2).sum((1, 2)) / 2 * scale**2
    found = LinkedTies(ties.photos, vertex, ties.first_px, ties.second_px, carry, ERROR_M * variance.sqrt())
    size = found.deviation(pixels[0][nearest], pixels[1][nearest]).norm(dim=1)
    half = max(WRONG[0], WRONG[1] * float(size.median()))
    return replace(found, sd_px=found.sd_px * (1 + (size / half) ** 2))


@dataclass(frozen=True)
class _Sheet:
    """A photo's fine pattern in the layout."""

    pixels: np.ndarray  # (S, S, 2) in the whole photo
    pattern: np.ndarray  # (S, S)
    bare: np.ndarray  # (S, S) bool


def _sheet(model: HeadModel, observation: Observation, head: SeenHead, texels: Fragments) -> _Sheet:
    vertices, camera = head
    facing = _facing(vertices, vertex_normals(vertices, model.triangles), camera)
    values = torch.cat([project(camera, vertices)[:, :2], facing[:, None], model.face_weight[:, None]], 1)
    values = interpolate(values, model.triangles, texels)
    box = face_crop_px(observation)
    crop = crop_picture(torch.cat([observation.photo.linear, observation.skin_mask[..., None]], 2), box, CROP_PX)
    seen = sample(crop, (values[..., :2] - torch.tensor(box[:2])) / (box[2] - box[0])).numpy()
    skin = (texels.triangle >= 0) & (model.part[texels.triangle.clamp_min(0)] == 0)
    bare = (skin & (values[..., 2] > SEEN) & (values[..., 3] > 0.1)).numpy() & (seen[..., 3] > 0.5)
    weight, level = bare.astype(np.float32), np.log(np.maximum(seen[..., :3], 1e-3)).mean(-1)
    blurred = lambda values, size: cv2.GaussianBlur(values * weight, (0, 0), size) / np.maximum(  # noqa: E731
        cv2.GaussianBlur(weight, (0, 0), size), 1e-3
    )
    band = (blurred(level, FINE) - blurred(level, COARSE)) * weight
    return _Sheet(values[..., :2].numpy(), band / (np.sqrt(blurred(band**2, COARSE)) + 0.004), bare)


def _matches(photos: tuple[int, int], one: _Sheet, other: _Sheet, most: int) -> TiePoints:
    both = one.bare & other.bare
    share = cv2.blur(both.astype(np.float32), (2 * PATCH + 1,) * 2)
    edge = PATCH + REACH
    rows, columns = np.mgrid[edge : TEXELS - edge : STEP, edge : TEXELS - edge : STEP].reshape(2, -1)
    keep = both[rows, columns] & (share[rows, columns] > COVERED)
    places = np.stack([columns[keep], rows[keep]], 1)
    shift = np.array([_shift(one.pattern, other.pattern, int(x), int(y)) for x, y in places]).reshape(-1, 2)
    places, shift = places[np.isfinite(shift[:, 0])], shift[np.isfinite(shift[:, 0])]
    chosen = np.zeros(0, int)
    if len(places) > NEIGHBOURS:
        near = cKDTree(places).query(places, NEIGHBOURS + 1)[1][:, 1:]
        chosen = np.flatnonzero(np.linalg.norm(shift - np.median(shift[near], 1), axis=1) < APART)
    if len(chosen) <= NEIGHBOURS:  # so few agree by chance
        return TiePoints(photos, torch.zeros(0, 2), torch.zeros(0, 2))
    if len(chosen) > most:
        chosen = chosen[np.linspace(0, len(chosen) - 1, most).round().astype(int)]
    places, shift = places[chosen], shift[chosen]
    return TiePoints(photos, _pixels_at(one, places), _pixels_at(other, places + shift))


def _pixels_at(sheet: _Sheet, places: np.ndarray) -> Tensor:
    x, y = places.astype(np.float32).T
    return torch.from_numpy(cv2.remap(sheet.pixels, x[:, None], y[:, None], cv2.INTER_LINEAR)[:, 0])


def _shift(pattern: np.ndarray, other: np.ndarray, x: int, y: int) -> tuple[float, float]:
    """Where the patch at x, y of one pattern lies in the other one, texels from there; NaN if nowhere or in two places."""
    patch = pattern[y - PATCH : y + PATCH + 1, x - PATCH : x + PATCH + 1]
    edge = PATCH + REACH
    score = cv2.matchTemplate(other[y - edge : y + edge + 1, x - edge : x + edge + 1], patch, cv2.TM_CCOEFF_NORMED)
    _, best, _, (column, row) = cv2.minMaxLoc(score)
    if best < ALIKE or not (0 < column < 2 * REACH and 0 < row < 2 * REACH):
        return np.nan, np.nan
    elsewhere = score.copy()
    elsewhere[max(0, row - 4) : row + 5, max(0, column - 4) : column + 5] = -1
    if best - elsewhere.max() < UNIQUE:
        return np.nan, np.nan
    return (
        column - REACH + _peak(*score[row, column - 1 : column + 2].tolist()),
        row - REACH + _peak(*score[row - 1 : row + 2, column].tolist()),
    )


def _peak(before: float, top: float, after: float) -> float:
    """Where the parabola through three values one step apart is highest, steps from the middle one."""
    return 0.5 * (before - after) / min(before - 2 * top + after, -1e-6)


def _facing(vertices: Tensor, normals: Tensor, camera: Camera) -> Tensor:
    return (normals * normalize(camera_centre(camera) - vertices, dim=-1)).sum(-1)


def _pixels_per_metre(points: Tensor, normals: Tensor, camera: Camera) -> Tensor:
    """[n, 2, 2] how a point's pixel moves with steps along two tangents, the same two of every surface in every pose."""
    sideways = normalize(torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]).expand_as(normals), normals), dim=1)
    upwards = torch.linalg.cross(normals, sideways)
    start = project(camera, points)[:, :2]
    steps = [(project(camera, points + STRIDE_M * t)[:, :2] - start) / STRIDE_M for t in (sideways, upwards)]
    return torch.stack(steps, 2)
