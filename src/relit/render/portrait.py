"""The final picture of a head: maps, self-shadowing, soft shadows, wet eyes, light below the skin."""

import math
from dataclasses import fields, replace
from functools import lru_cache

import cv2
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from relit.appearance.colour import srgb_from_linear
from relit.appearance.folds import fold_ratio, fold_share
from relit.geometry.camera import camera_centre, project, scaled
from relit.geometry.mesh import vertex_normals, vertex_tangents
from relit.models.head import PARTS, HeadModel, load_head_model, posed_vertices
from relit.render.eye_light import EYES, at_eye, eye_transfer, lash_shade, posed_eye_centres, with_wet_edges
from relit.render.lashes import drawn_lashes
from relit.render.occlusion import DIRECTIONS, ambient_occlusion, open_direction, transfer_at
from relit.render.rasterise import Fragments, antialias, covered, interpolate, rasterise, sample
from relit.render.scatter import scatter
from relit.render.shade import Surface, shade
from relit.render.shadows import sun_visibility
from relit.types import Camera, Head, Lighting, ReflectanceMaps

# Wet parts shine whatever their maps say: upper bound of the roughness.
WET_ROUGHNESS = {
    "mouth": 0.4,
    "upper_teeth": 0.22,
    "lower_teeth": 0.22,
    "tongue": 0.4,
    "left_eye": 0.09,
    "right_eye": 0.09,
}
# Albedo of what surrounds a part and sends light on: lashes and shaded skin about the eyes; gums and teeth in the mouth,
# where light goes to and fro between red walls.
SURROUNDINGS = {"left_eye": (0.2, 0.14, 0.12), "right_eye": (0.2, 0.14, 0.12)} | dict.fromkeys(
    ("mouth", "upper_teeth", "lower_teeth", "tongue", "eye_sockets"), (0.65, 0.53, 0.49)
)
SCATTERING = ("skin", "mouth", "tongue", "eye_sockets", "upper_teeth", "lower_teeth")
SHOULDER = 0.7  # tone mapping is exact below this display level


def render_head(
    head: Head,
    camera: Camera,
    lighting: Lighting,
    expression: Float[Tensor, "52"] | None = None,
    gaze_rad: Float[Tensor, "2 2"] | None = None,
    background: Float[Tensor, "*picture 3"] | None = None,
    supersample: int = 2,
) -> Float[Tensor, "H W 4"]:
    """Linear RGBA of a head, colour multiplied by coverage. Runs on the CPU; not differentiable.

    Args:
        expression: weights of the head's morphs; default neutral.
        gaze_rad: (left, right eye) x (yaw to the subject's left, pitch up); default straight ahead.
        background: one linear colour (3,) or a picture (H, W, 3) to put behind; default none, transparent.
        supersample: samples along each edge of a pixel.
    """
    with torch.no_grad():
        model = load_head_model()
        expression = torch.zeros(len(head.morphs)) if expression is None else expression
        gaze_rad = torch.zeros(2, 2) if gaze_rad is None else gaze_rad
        vertices = posed_vertices(model, head.vertices, expression, gaze_rad, head.morphs)
        fine = scaled(camera, supersample)
        pixels = project(fine, vertices)
        fragments = rasterise(pixels, model.triangles, fine.size_px)
        folded = fold_share(head.morphs, expression, tuple(fit.expression for fit in head.fits))
        shot = fine, pixels, fragments
        picture = _reduced(_shaded(head.maps, vertices, None, shot, lighting, folded=folded), supersample)
        strands = _reduced(drawn_lashes(head.maps, vertices, fine, lighting, fragments.depth), supersample)
        picture = picture * (1 - strands[..., 3:]) + strands
        return picture if background is None else over(picture, background)


def render_posed(
    maps: ReflectanceMaps,
    vertices: Float[Tensor, "V 3"],
    transfer: Float[Tensor, "V 81"] | None,
    camera: Camera,
    lighting: Lighting,
    supersample: int = 2,
    casters: tuple[Float[Tensor, "N 3"], Int[Tensor, "T 3"]] | None = None,
    rays: int = DIRECTIONS,
    folded: float = 0.0,
) -> Float[Tensor, "H W 4"]:
    """As `render_head`, of posed vertices.

    Args:
        transfer: what each vertex sees of the light, from `light_transfer` with `bounce_albedo` 0; None traces it where
            the camera looks.
        casters: mesh that throws the shadows of directional lights; default the head alone.
        rays: per point of the eyeballs.
        folded: share of the maps' folds that the expression has.
    """
    with torch.no_grad():
        fine = scaled(camera, supersample)
        pixels = project(fine, vertices)
        fragments = rasterise(pixels, load_head_model().triangles, fine.size_px)
        shot = fine, pixels, fragments
        return _reduced(_shaded(maps, vertices, transfer, shot, lighting, casters, rays, folded), supersample)


def _shaded(
    maps: ReflectanceMaps,
    vertices: Tensor,
    transfer: Tensor | None,
    shot: tuple[Camera, Tensor, Fragments],
    lighting: Lighting,
    casters: tuple[Tensor, Tensor] | None = None,
    rays: int = DIRECTIONS,
    folded: float = 0.0,
) -> Tensor:
    """(H, W, 4) as `render_posed`, not supersampled, of a rasterised head: its camera, pixels of its vertices, fragments."""
    model, (camera, pixels, fragments) = load_head_model(), shot
    seen = fragments.triangle >= 0
    picture = torch.zeros(*seen.shape, 4)
    if not seen.any():
        return picture
    transfer = _transfer(vertices, model, fragments) if transfer is None else transfer
    throwing = casters or (vertices, model.triangles)
    posed = vertices, transfer, throwing, rays, folded
    surface, part = _surface(model, maps, posed, pixels, fragments, camera, lighting)
    irradiance, specular = shade(surface, lighting)
    spread = torch.zeros(*seen.shape, 3)
    spread[seen] = irradiance
    soft = torch.zeros_like(seen)
    soft[seen] = torch.isin(part, torch.tensor([PARTS.index(name) for name in SCATTERING]))
    irradiance = scatter(spread, fragments.depth, soft, float(camera.focal_px))[seen]
    colour = surface.albedo / math.pi * irradiance + specular
    picture[seen] = torch.cat([colour, torch.ones_like(colour[:, :1])], 1)
    return antialias(picture, fragments, pixels, model.triangles)


def tonemap_srgb(linear: Float[Tensor, "*batch 3"], exposure: float = 1.0) -> Float[Tensor, "*batch 3"]:
    """sRGB-coded display colours in [0, 1]: exposure, then a soft shoulder on the largest channel that keeps the hue.

    Values up to SHOULDER pass unchanged, so that skin is shown as it is; brighter ones approach 1 exponentially.
    """
    colour = (linear * exposure).clamp_min(0)
    peak = colour.amax(-1, keepdim=True)
    room = 1 - SHOULDER
    shown = torch.where(peak > SHOULDER, 1 - room * torch.exp(-(peak - SHOULDER) / room), peak)
    return srgb_from_linear(colour * (shown / peak.clamp_min(1e-8))).clamp(0, 1)


def _surface(
    model: HeadModel,
    maps: ReflectanceMaps,
    posed: tuple[Tensor, Tensor, tuple[Tensor, Tensor], int, float],
    pixels: Tensor,
    fragments: Fragments,
    camera: Camera,
    lighting: Lighting,
) -> tuple[Surface, Tensor]:
    """What every covered pixel sees, in reading order, and its index into PARTS.

    Args:
        posed: vertices, transfer, casters, rays, share of the folds.
    """
    vertices, transfer, casters, rays, folded = posed
    centres, eyes = _eyes(_bytes(vertices), model, rays)
    transfer = with_wet_edges(model, transfer, eyes, vertices, centres)
    normals = vertex_normals(vertices, model.triangles)
    of_vertex = torch.cat([vertices, normals, _light(transfer, lighting)], 1)
    split = model.render_vertex
    tangents = vertex_tangents(vertices[split], model.uv, model.render_triangles, normals[split])
    attributes = torch.cat([of_vertex[split], tangents, model.uv], 1)
    _, listed = covered(fragments)
    values = interpolate(attributes, model.render_triangles, listed)[:, 0]
    position, normal, irradiance, bent, visibility, tangent, uv = values.split((3, 3, 3, 3, 1, 4, 2), 1)
    normal = normalize(normal, dim=1)
    towards_eye = normalize(camera_centre(camera) - position, dim=1)
    part = model.part[listed.triangle[:, 0]]
    reduction = _texels_per_pixel(model, pixels, fragments, maps.roughness.shape)
    read = lambda texture: sample(_reduced(texture, reduction), uv)  # noqa: E731
    shaded = [_from_tangent_space(read(m), normal, tangent, towards_eye) for m in (maps.diffuse_normal, maps.specular_normal)]
    lit = [sun_visibility(*casters, position, normal, d) for d in lighting.directions]
    # between the lids the mesh is too coarse for what the lids and lashes hide
    eye = torch.isin(part, torch.tensor(EYES))
    side = part[eye] - EYES[0]
    offset = position[eye] - centres[side]
    fine = _light(eyes.permute(0, 2, 3, 1), lighting).permute(0, 3, 1, 2)
    irradiance[eye], bent[eye], visibility[eye] = at_eye(fine, offset, side).split((3, 3, 1), 1)
    for passed, direction in zip(lit, lighting.directions, strict=True):
        passed[eye] *= at_eye(lash_shade(model, vertices, centres, direction), offset, side)[:, 0]
    albedo = read(maps.diffuse_albedo)
    if folded > 0 and maps.folds is not None:
        albedo = albedo * fold_ratio(read(maps.folds[..., None])[:, 0], folded)
    around = torch.tensor([SURROUNDINGS.get(name, (0.0, 0.0, 0.0)) for name in PARTS])
    own = torch.tensor([[name not in SURROUNDINGS] for name in PARTS])
    wet = torch.tensor([WET_ROUGHNESS.get(name, 1.0) for name in PARTS])
    return Surface(
        towards_eye=towards_eye,
        geometry_normal=normal,
        diffuse_normal=shaded[0],
        specular_normal=shaded[1],
        albedo=albedo,
        f0=read(maps.specular_albedo[..., None])[:, 0],
        roughness=torch.minimum(read(maps.roughness[..., None])[:, 0], wet[part]),
        irradiance=irradiance,
        visibility=visibility[:, 0],
        open_direction=normalize(bent, dim=1),
        lit=torch.stack(lit, 1) if lit else torch.ones(len(part), 0),
        surroundings=torch.where(own[part], albedo, around[part]),
    ), part


def _transfer(vertices: Tensor, model: HeadModel, fragments: Fragments) -> Tensor:
    """(V, 81) what the vertices of the triangles in view see of the light; of others, as far as it is known."""
    points, normals, transfer, known = _remembered(_bytes(vertices), model)
    wanted = torch.zeros_like(known)
    wanted[model.triangles[fragments.triangle[fragments.triangle >= 0].unique()]] = True
    new = (wanted & ~known).nonzero()[:, 0]
    if len(new):
        transfer[new] = transfer_at(points[new], normals[new], ((points, model.triangles, 1.0),))
        known[new] = True
    return transfer


@lru_cache(maxsize=4)
def _remembered(vertices: bytes, model: HeadModel) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Vertices, normals, light transfer, and where that is known: `_transfer` adds what comes into view.

    Kept, because the same pose is often shown under several lights and from several sides.
    """
    points = _points(vertices)
    count = len(points)
    return points, vertex_normals(points, model.triangles), torch.zeros(count, 81), torch.zeros(count, dtype=torch.bool)


@lru_cache(maxsize=4)
def _eyes(vertices: bytes, model: HeadModel, rays: int) -> tuple[Tensor, Tensor]:
    """The eyeballs' centres and what they see of the light; remembered, too."""
    points = _points(vertices)
    centres = posed_eye_centres(model, points)
    return centres, eye_transfer(model, points, centres, rays)


def _points(vertices: bytes) -> Tensor:
    return torch.frombuffer(bytearray(vertices), dtype=torch.float32).view(-1, 3)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def _light(transfer: Tensor, lighting: Lighting) -> Tensor:
    """(..., 7): irradiance, open direction, ambient visibility."""
    flat = transfer.reshape(-1, transfer.shape[-1])
    parts = flat @ lighting.sh, open_direction(flat), ambient_occlusion(flat)[:, None]
    return torch.cat(parts, 1).view(*transfer.shape[:-1], 7)


def _from_tangent_space(stored: Tensor, normal: Tensor, tangent: Tensor, towards_eye: Tensor) -> Tensor:
    """Unit normals in the head frame, bent towards the eye where they would face away from it."""
    along = normalize(tangent[:, :3] - (tangent[:, :3] * normal).sum(1, keepdim=True) * normal, dim=1)
    up = torch.linalg.cross(normal, along) * tangent[:, 3:].sign()
    turned = normalize(stored[:, :1] * along + stored[:, 1:2] * up + stored[:, 2:] * normal, dim=1)
    below = (turned * towards_eye).sum(1, keepdim=True).clamp_max(0.02) - 0.02
    return normalize(turned - below * towards_eye, dim=1)


def _texels_per_pixel(model: HeadModel, pixels: Tensor, fragments: Fragments, size: tuple[int, int]) -> int:
    """How many texels of the maps fall on a pixel along an edge, at the typical visible triangle."""
    faces = fragments.triangle[fragments.triangle >= 0]
    faces = faces[:: max(1, len(faces) // 20000)]
    flat = pixels[model.triangles[faces]][..., :2]
    chart = model.uv[model.render_triangles[faces]] * torch.tensor([size[1], size[0]])
    areas = []
    for corner in (flat, chart):
        first, second = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
        areas.append((first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).abs())
    return max(1, round(float((areas[1] / areas[0].clamp_min(1e-3)).median().sqrt())))


def _reduced(texture: Tensor, factor: int) -> Tensor:
    """The texture averaged over squares of texels: keeps minified maps from shimmering."""
    factor = min(factor, *texture.shape[:2])
    if factor == 1:
        return texture
    rows, columns = (side // factor for side in texture.shape[:2])
    whole = texture[: rows * factor, : columns * factor].numpy()
    return torch.from_numpy(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA).reshape(rows, columns, -1))


def reduced_maps(maps: ReflectanceMaps, largest: int) -> ReflectanceMaps:
    """The maps averaged over squares of texels until neither side is longer than `largest`: spares many small pictures that."""
    factor = math.ceil(max(maps.roughness.shape) / largest)
    given = {field.name: getattr(maps, field.name) for field in fields(maps) if getattr(maps, field.name) is not None}
    if factor == 1:
        return maps
    small = {name: _reduced(texture, factor) for name, texture in given.items()}
    return replace(maps, **{name: small[name].reshape(*small[name].shape[:2], *given[name].shape[2:]) for name in given})


def over(picture: Tensor, background: Tensor) -> Tensor:
    """The picture (H, W, 4) on an opaque background (3,) or (H, W, 3)."""
    colour = picture[..., :3] + (1 - picture[..., 3:]) * background
    return torch.cat([colour, torch.ones_like(picture[..., 3:])], -1)
