"""Props in the light: what they hide from the skin, and how they look in a photograph."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from torch import Tensor
from torch.nn.functional import normalize

from relit.geometry.camera import camera_centre, project
from relit.geometry.mesh import vertex_normals
from relit.models.head import HeadModel, landmark_points, load_head_model
from relit.render.occlusion import ambient_occlusion, open_direction, transfer_at
from relit.render.rasterise import antialias, covered, interpolate, rasterise
from relit.render.shade import Surface, shade
from relit.render.shadows import sun_visibility
from relit.synth.beard import grown
from relit.synth.geometry import Posed
from relit.synth.hair_cards import OPACITY, Style, load_style, worn
from relit.synth.props import draw_props
from relit.synth.solids import Prop
from relit.synth.subject import Subject
from relit.types import Camera, Lighting

_RAYS = 32  # per vertex of a prop
_F0 = 0.04  # of everything but metal
_CASTS = 0.5  # opacity from which a prop throws a hard shadow
_MAP_SIZE = 768
_FAR_M = 100.0
COVERS = ("hat:knitted", "hat:brimmed", "hat:cap", "mask")  # what hair lies under
_UNDER = 0.97  # of the distance of the cover from the middle of the head
_EAR_MARKS, _ABOVE_EARS_M = (234, 454), (0.0, 0.03, -0.02)


@dataclass(frozen=True)
class Layer:
    """A prop in a picture, alone."""

    rgba: np.ndarray  # (H, W, 4) linear radiance multiplied by coverage, and coverage
    kept: np.ndarray  # (H, W, 3) share of the light from behind that passes
    depth: Tensor  # (H, W) infinite where it is not

    def over(self, rgba: np.ndarray, occluder: np.ndarray, depth: Tensor) -> tuple[np.ndarray, np.ndarray, Tensor]:
        """A picture (H, W, 4), the coverage of props in it and its depth (H, W), with this layer where it is nearer."""
        # its silhouette reaches half a pixel further than its triangles
        near = cv2.erode(self.depth.clamp_max(_FAR_M).numpy(), np.ones((3, 3), np.uint8))
        shown = ((near <= depth.numpy()) & (near < _FAR_M))[..., None]
        own = shown * self.rgba
        colour = rgba[..., :3] * np.where(shown, self.kept, 1) + own[..., :3]
        alpha = 1 - (1 - rgba[..., 3:]) * (1 - own[..., 3:])
        covered_by = 1 - (1 - occluder) * (1 - own[..., 3])
        return np.concatenate([colour, alpha], -1).astype(np.float32), covered_by, torch.minimum(depth, self.depth)


@dataclass(frozen=True)
class Outfit:
    """What a subject wears, holds and has on its head: all that is not skin."""

    props: tuple[Prop, ...]
    hair: tuple[tuple[Style, Tensor], ...]  # of the head, of the beard: style and (H, 3) the vertices of its cards

    def occluders(self) -> tuple[tuple[Tensor, Tensor, float], ...]:
        """The meshes in the way of light: vertices, triangles, opacity."""
        hair = ((vertices, style.dense, OPACITY) for style, vertices in self.hair)
        return (*((p.vertices_m, p.triangles, p.opacity) for p in self.props), *hair)

    def casters(self, posed: Posed, model: HeadModel) -> tuple[Tensor, Tensor]:
        """The head and all that throws hard shadows on it, as one mesh: vertices and triangles."""
        solid = [(vertices, triangles) for vertices, triangles, opacity in self.occluders() if opacity >= _CASTS]
        return merged(((posed.vertices, model.triangles), *solid))


BARE = Outfit((), ())


def draw_outfit(subject: Subject, posed: Posed, model: HeadModel, rng: np.random.Generator) -> Outfit:
    """What a subject wears in one photograph, and its hair under that."""
    props = draw_props(subject, posed, model, rng)
    hair = []
    if subject.hair_style and not any(p.name == "headscarf" for p in props):
        style = load_style(subject.hair_style)
        hair.append((style, worn(style, model, posed)))
    if subject.beard:
        hair.append(grown(subject, posed, model))
    return Outfit(props, tuple((style, pressed(vertices, posed, props)) for style, vertices in hair))


def merged(meshes: tuple[tuple[Tensor, Tensor], ...]) -> tuple[Tensor, Tensor]:
    """One mesh of several."""
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes[:-1])])
    triangles = [faces + int(start) for (_, faces), start in zip(meshes, starts, strict=True)]
    return torch.cat([vertices for vertices, _ in meshes]), torch.cat(triangles)


def drawn_props(
    outfit: Outfit, posed: Posed, model: HeadModel, camera: Camera, lighting: Lighting
) -> tuple[list[Layer], list[Layer]]:
    """The solid and the see-through props as the camera sees them, each alone."""
    if not outfit.props:
        return [], []
    others = ((posed.vertices, model.triangles, 1.0), *outfit.occluders())
    casting = outfit.casters(posed, model)
    solid, clear = ([p for p in outfit.props if (p.opacity < 1) == see_through] for see_through in (False, True))
    return tuple([drawn_prop(p, others, casting, camera, lighting) for p in some] for some in (solid, clear))


def pressed(hair: Tensor, posed: Posed, props: tuple[Prop, ...]) -> Tensor:
    """(H, 3) the vertices of hair, those outside what covers the head pushed under it."""
    covers = tuple((p.vertices_m, p.triangles) for p in props if p.name in COVERS)
    if not covers:
        return hair
    scene = rtcore_scene.EmbreeScene()
    vertices, triangles = merged(covers)
    TriangleMesh(scene, vertices.numpy(), triangles.numpy().astype(np.int32))
    centre = landmark_points(load_head_model(), posed.vertices)[list(_EAR_MARKS)].mean(0) + torch.tensor(_ABOVE_EARS_M)
    away = hair - centre
    far = away.norm(dim=1)
    ray = away / far[:, None]
    met = scene.run(centre.expand_as(ray).contiguous().numpy(), ray.numpy(), output=1)
    hit = torch.from_numpy(np.where(met["primID"] >= 0, met["tfar"], np.inf))
    return centre + torch.minimum(far, _UNDER * hit)[:, None] * ray


def drawn_prop(prop: Prop, others: tuple, casting: tuple[Tensor, Tensor], camera: Camera, lighting: Lighting) -> Layer:
    """A prop as the camera sees it, alone.

    Args:
        others: meshes that take light from it, itself included, as `relit.render.occlusion.transfer_at` wants them.
        casting: vertices and triangles of all that throws hard shadows.
    """
    with torch.no_grad():
        normals = vertex_normals(prop.vertices_m, prop.triangles)
        transfer = transfer_at(prop.vertices_m, normals, others, _RAYS)
        of_vertex = torch.cat(
            [
                prop.vertices_m,
                normals,
                transfer @ lighting.sh,
                open_direction(transfer),
                ambient_occlusion(transfer)[:, None],
            ],
            1,
        )
        pixels = project(camera, prop.vertices_m)
        fragments = rasterise(pixels, prop.triangles, camera.size_px)
        seen = fragments.triangle >= 0
        picture = torch.zeros(*seen.shape, 7)
        if seen.any():
            _, listed = covered(fragments)
            values = interpolate(of_vertex, prop.triangles, listed)[:, 0]
            position, normal, irradiance, bent, visibility = values.split((3, 3, 3, 3, 1), 1)
            picture[seen] = _shaded(prop, position, normal, irradiance, bent, visibility[:, 0], casting, camera, lighting)
            picture = antialias(picture, fragments, pixels, prop.triangles)
        flat = picture.numpy()
        return Layer(flat[..., :4], 1 - flat[..., 4:], fragments.depth)


def _shaded(prop: Prop, position, normal, irradiance, bent, visibility, casting, camera: Camera, lighting: Lighting) -> Tensor:
    """(P, 7) radiance times coverage, coverage, and the part of each channel behind that is lost."""
    towards = normalize(camera_centre(camera) - position, dim=1)
    normal = normalize(normal, dim=1)
    normal = torch.where((normal * towards).sum(1, keepdim=True) < 0, -normal, normal)
    count = len(normal)
    colour = torch.from_numpy(prop.colour).expand(count, 3)
    lit = [sun_visibility(*casting, position + 1e-3 * normal, normal, d, _MAP_SIZE) for d in lighting.directions]
    surface = Surface(
        towards_eye=towards,
        geometry_normal=normal,
        diffuse_normal=normal,
        specular_normal=normal,
        albedo=torch.zeros_like(colour) if prop.metallic else colour,
        f0=torch.ones(count) if prop.metallic else torch.full((count,), _F0),
        roughness=torch.full((count,), prop.roughness),
        irradiance=irradiance,
        visibility=visibility,
        open_direction=normalize(bent, dim=1),
        lit=torch.stack(lit, 1) if lit else torch.ones(count, 0),
    )
    diffuse, specular = shade(surface, lighting)
    if prop.metallic:
        return torch.cat([specular * colour, torch.ones(count, 4)], 1)
    if prop.opacity >= 1:
        return torch.cat([colour / math.pi * diffuse + specular, torch.ones(count, 4)], 1)
    # a lens: what it reflects, and the tint that it leaves of what is behind
    lost = 1 - (1 - prop.opacity * (1 - colour)) * (1 - _F0)
    return torch.cat([specular, lost.mean(1, keepdim=True), lost], 1)
