"""What the path tracer is given of a photo: one .npz with geometry, maps, light and camera, in the head frame."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from relit.appearance.lighting import equirect_grid, lighting_from_equirect, read_equirect
from relit.geometry.subdivision import catmull_clark
from relit.models.head import LIMBUS_POLAR, PARTS, HeadModel, load_head_model
from relit.render.eye_light import lashes, posed_eye_centres
from relit.synth.camera import camera_of
from relit.synth.garment import dressed
from relit.synth.geometry import Posed
from relit.synth.hair_cards import load_style, worn
from relit.synth.light import POINT_RAD, Lamp, Layer, Scene
from relit.synth.panoramas import luminance_at_front, stored_lighting
from relit.synth.solids import Prop
from relit.synth.worn import pressed
from relit.testset.sets import Take
from relit.testset.strands import RADIUS_M, strands
from relit.types import ReflectanceMaps

PANORAMA_ROWS = 512  # texels of a third of a degree
SCATTER_MM = (1.5, 0.6, 0.3)  # mean distance of light below pale skin
GARMENT_PURPOSE, _LASHES, _STRANDS = 50, 64, 67  # purposes of random numbers
LASHES = ((85, 0.9), (50, 0.7))  # of the upper and the lower lid: count, factor on the length
LASH_WIDTH_M = 1.1e-4
LASH_COLOUR = (0.012, 0.009, 0.008)
IRIS_DEPTH_M = (0.0104, 0.0100)  # of the iris from the eyeball's centre, at its rim and at its middle
# Diffuse light that a sphere of the path tracer's skin sends back under uniform light, by its base colour: measured.
BASE_COLOUR = (0.0, 0.01, 0.03, 0.06, 0.12, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0)
SENT_BACK = (0.0, 0.0089, 0.0255, 0.0488, 0.0987, 0.168, 0.2586, 0.4025, 0.5555, 0.7205, 0.888, 1.0)
TAKEN_BY_GLOSS = 1.2  # of the diffuse light, times F0


@dataclass(frozen=True)
class Panoramas:
    """Where the original panoramas lie."""

    folder: Path

    @lru_cache(maxsize=8)  # noqa: B019
    def read(self, name: str) -> np.ndarray:
        """(H, W, 3) radiance at the brightness of the stored scene of that name."""
        picture = read_equirect(self.folder / f"{name}.hdr")
        raw = lighting_from_equirect(picture, max_directional=3)
        return (picture * (luminance_at_front(stored_lighting(name)) / luminance_at_front(raw))).numpy()


def surroundings(scene: Scene, panoramas: Panoramas) -> np.ndarray:
    """(PANORAMA_ROWS, 2 PANORAMA_ROWS, 3) radiance of a scene's panoramas and broad lamps."""
    directions, _ = equirect_grid(PANORAMA_ROWS, 2 * PANORAMA_ROWS)
    total = np.zeros((PANORAMA_ROWS, 2 * PANORAMA_ROWS, 3), np.float32)
    for layer in scene.layers:
        total += _turned(panoramas.read(layer.name), layer, directions)
    for lamp in scene.lamps:
        if lamp.radius_rad > POINT_RAD:
            total += _disk(lamp, directions)
    return total


def base_colour(albedo: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """(H, W, 3) the base colour with which Cycles' random walk below a glossy surface gives a diffuse albedo."""
    return np.interp(albedo / (1 - TAKEN_BY_GLOSS * f0[..., None]), SENT_BACK, BASE_COLOUR).astype(np.float32)


def _turned(picture: np.ndarray, layer: Layer, directions: Tensor) -> np.ndarray:
    """The panorama of a layer as the head sees it, nearest texels: small suns stay as bright as they are."""
    rows, columns = picture.shape[:2]
    source = (directions @ layer.rotation).numpy()  # the inverse rotation, applied to rows
    u = 0.5 - np.arctan2(source[..., 0], source[..., 2]) / (2 * np.pi)
    v = np.arccos(source[..., 1].clip(-1, 1)) / np.pi
    column, row = (u * columns).astype(int) % columns, (v * rows).astype(int).clip(0, rows - 1)
    return picture[row, column] * layer.gain.numpy()


def _disk(lamp: Lamp, directions: Tensor) -> np.ndarray:
    angle = torch.acos((directions @ lamp.direction).clamp(-1, 1))
    texel = np.pi / PANORAMA_ROWS
    inside = ((lamp.radius_rad - angle) / texel + 0.5).clamp(0, 1)
    radiance = lamp.irradiance / (np.pi * np.sin(lamp.radius_rad) ** 2)
    return (inside[..., None] * radiance).numpy().astype(np.float32)


def scene_arrays(
    take: Take, posed: Posed, maps: ReflectanceMaps, panoramas: Panoramas, props: tuple[Prop, ...]
) -> dict[str, np.ndarray]:
    """Everything `render_cycles.py` reads. The maps are those of the bare subject; it is dressed here."""
    model, subject = load_head_model(), take.subject
    worn_maps, _ = dressed(maps, subject.rng(GARMENT_PURPOSE))
    fine, quads, uv, part = _tessellated(posed.vertices)
    camera = camera_of(take.shot, (512, 512))
    pale = float(np.clip((subject.ita_deg + 60) / 120, 0, 1))
    points = [lamp for lamp in take.scene.lamps if lamp.radius_rad <= POINT_RAD]
    stacked = lambda rows: np.stack(rows) if rows else np.zeros((0, 3))  # noqa: E731
    arrays = {
        "vertices": fine,
        "quads": quads,
        "quad_uv": uv,
        "quad_part": part,
        "part_names": np.array(PARTS),
        "albedo": base_colour(worn_maps.diffuse_albedo.numpy(), worn_maps.specular_albedo.numpy()),
        "f0": worn_maps.specular_albedo.numpy(),
        "roughness": worn_maps.roughness.numpy(),
        "normal": 0.5 + 0.5 * worn_maps.specular_normal.numpy(),
        "radius_m": np.array(SCATTER_MM) / 1000 * (0.45 + 0.55 * pale),
        "panorama": surroundings(take.scene, panoramas),
        "lamp_directions": stacked([p.direction.numpy() for p in points]),
        "lamp_radii": np.array([p.radius_rad for p in points]),
        "lamp_irradiances": stacked([p.irradiance.numpy() for p in points]),
        "size_px": np.array(camera.size_px),
        "focal_px": camera.focal_px.numpy(),
        "centre_px": camera.centre_px.numpy(),
        "camera_from_head": camera.camera_from_head.numpy(),
        "seed": np.array(subject.index),
        "props": np.array(len(props)),
    }
    arrays |= _eyes(model, fine, quads, uv, part, posed.vertices)
    arrays |= _lashes(model, posed.vertices, subject.rng(_LASHES))
    if subject.hair_style:
        style = load_style(subject.hair_style)
        cards = pressed(worn(style, model, posed), posed, props).numpy()
        arrays |= {
            "hair_vertices": cards,
            "hair_triangles": style.triangles,
            "hair_uv": style.uv,
            "hair_texture": style.texture,
            "hair_colour": subject.hair_colour,
            "strands": strands(subject.hair_style, cards, subject.rng(_STRANDS)),
            "strand_radius": np.array(RADIUS_M),
        }
    for k, prop in enumerate(props):
        arrays |= {
            f"prop{k}_vertices": prop.vertices_m.numpy(),
            f"prop{k}_triangles": prop.triangles.numpy(),
            f"prop{k}_colour": np.asarray(prop.colour, np.float32),
            f"prop{k}_roughness": np.array(prop.roughness),
            f"prop{k}_opacity": np.array(prop.opacity),
            f"prop{k}_metallic": np.array(prop.metallic),
        }
    return arrays


@lru_cache(maxsize=1)
def _finer() -> tuple:
    """Matrices to the subdivided mesh, its quads, their UV and parts."""
    model = load_head_model()
    matrix, quads = catmull_clark(model.quads.numpy(), len(model.mean))
    uv_matrix, uv_quads = catmull_clark(model.render_quads.numpy(), len(model.uv), linear=True)
    uv = (uv_matrix @ model.uv.numpy())[uv_quads]
    part = np.repeat(model.part.numpy()[: len(model.triangles) : 2], 4)
    return matrix, quads, uv, part


def _tessellated(vertices: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, quads, UV of the corners and part of each quad, each quad of the model split in four."""
    matrix, quads, uv, part = _finer()
    return (matrix @ vertices.numpy()).astype(np.float32), quads, uv.astype(np.float32), part


def _eyes(model: HeadModel, fine, quads, uv, part, vertices: Tensor) -> dict:
    """Where the eyeballs are clear cornea, and the irises below."""
    centres = posed_eye_centres(model, vertices).numpy()
    poles = vertices[model.eye_vertices[:, 0]].numpy()
    cornea = np.zeros(len(fine), np.float32)
    inner = fine.copy()
    chosen = []
    for side, name in enumerate(("left_eye", "right_eye")):
        ahead = (poles[side] - centres[side]) / np.linalg.norm(poles[side] - centres[side])
        own = quads[part == PARTS.index(name)]
        ids = np.unique(own)
        arm = fine[ids] - centres[side]
        along = arm @ ahead
        across = arm - along[:, None] * ahead
        radius = np.linalg.norm(across, axis=1)
        polar = np.arctan2(radius, along)
        cornea[ids] = np.clip((1.02 * LIMBUS_POLAR - polar) / (0.06 * LIMBUS_POLAR) + 0.5, 0, 1)
        rim = (radius / (0.012 * np.sin(LIMBUS_POLAR))).clip(0, 1)[:, None]
        inner[ids] = centres[side] + 0.97 * across + ahead * (IRIS_DEPTH_M[1] + rim * (IRIS_DEPTH_M[0] - IRIS_DEPTH_M[1]))
        near = np.zeros(len(fine), bool)
        near[ids] = polar < 1.12 * LIMBUS_POLAR
        chosen.append((part == PARTS.index(name)) & near[quads].all(1))
    chosen = chosen[0] | chosen[1]
    used, index = np.unique(quads[chosen], return_inverse=True)
    return {
        "cornea": cornea,
        "iris_vertices": inner[used],
        "iris_quads": index.reshape(-1, 4),
        "iris_uv": uv[chosen],
    }


def _lashes(model: HeadModel, vertices: Tensor, rng: np.random.Generator) -> dict:
    """Single lashes as narrow bent triangles along the fringes of `relit.render.eye_light`."""
    points, faces, count = [], [], 0
    for lid, (fringe, _, _) in enumerate(lashes(model, vertices, posed_eye_centres(model, vertices))):
        rows = fringe.view(2, 3, -1, 3).numpy()
        number, length = LASHES[lid]
        for eye in range(2):
            place = (rng.uniform(0.06, 0.97, number) * (rows.shape[2] - 1))[:, None]
            left = place.astype(int).clip(0, rows.shape[2] - 2)[:, 0]
            share = place - left[:, None]
            at = lambda row: rows[eye, row, left] * (1 - share) + rows[eye, row, left + 1] * share  # noqa: B023, E731
            root, middle, tip = (at(row) for row in range(3))
            beside = rows[eye, 0, left + 1] - rows[eye, 0, left]
            beside /= np.linalg.norm(beside, axis=1, keepdims=True)
            reach = (length * rng.uniform(0.55, 1.0, number) * np.sin(np.pi * (0.2 + 0.6 * place[:, 0] / rows.shape[2])) ** 0.5)
            lean = rng.normal(0, 0.0006, (number, 1)) + 0.0012 * (place / rows.shape[2] - 0.4)
            middle = root + (middle - root) * reach[:, None] + 0.5 * lean * beside
            tip = middle + (tip - at(1)) * reach[:, None] + lean * beside
            half = 0.5 * LASH_WIDTH_M * beside
            points.append(np.stack([root - half, root + half, middle + 0.8 * half, middle - 0.8 * half, tip], 1).reshape(-1, 3))
            base = count + 5 * np.arange(number)[:, None]
            faces.append(np.concatenate([base + [0, 1, 2], base + [0, 2, 3], base + [3, 2, 4]]))
            count += 5 * number
    return {
        "lash_vertices": np.concatenate(points).astype(np.float32),
        "lash_triangles": np.concatenate(faces),
        "lash_colour": np.array(LASH_COLOUR, np.float32),
    }
