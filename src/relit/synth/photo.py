"""Synthetic photographs: a subject rendered, developed, and labelled pixel by pixel."""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch.nn.functional import normalize

from relit.geometry.camera import project, scaled
from relit.models.head import PARTS, load_head_model
from relit.models.regions import REGIONS
from relit.render.cards import drawn_cards
from relit.render.portrait import render_posed
from relit.render.rasterise import interpolate, rasterise, sample
from relit.synth.camera import Shot, camera_of, developed
from relit.synth.garment import dressed
from relit.synth.geometry import Posed
from relit.synth.hair_cards import over_head
from relit.synth.lashes import lashes_of
from relit.synth.layout import layout
from relit.synth.light import Scene
from relit.synth.subject import Subject
from relit.synth.worn import Outfit, drawn_props
from relit.types import Camera, ReflectanceMaps

PHOTO_PX = 512
OVERSAMPLED = 1.375  # along each edge; silhouettes are smoothed besides
GARMENT = len(PARTS) + 1
_LABEL_SIZE = 512
_FAR_M = 100.0
_EYE_RAYS = 128
_GARMENT = 50  # purpose of random numbers


@dataclass(frozen=True)
class Photograph:
    """A picture and what each pixel shows. Labels are those of the pixels' centres."""

    picture: np.ndarray  # (H, W, 3) uint8, before JPEG
    coverage: np.ndarray  # (H, W) [0, 1] of the head, its hair and props
    hair: np.ndarray  # (H, W) [0, 1] of hair before everything else
    occluder: np.ndarray  # (H, W) [0, 1] of props before head and hair; of a lens what it takes of the light
    part: np.ndarray  # (H, W) uint8: 0 background, 1 + index into PARTS, GARMENT where cloth covers the skin
    region: np.ndarray  # (H, W) uint8: 0 none, 1 + index into REGIONS, the strongest one
    uv: np.ndarray  # (H, W, 2) place in the layout, 0 on the background
    depth_m: np.ndarray  # (H, W) along the optical axis, 0 on the background
    normal: np.ndarray  # (H, W, 3) unit, head frame, without relief; 0 on the background
    albedo: np.ndarray  # (H, W, 3) linear diffuse albedo, cloth included


def photograph(
    subject: Subject,
    posed: Posed,
    outfit: Outfit,
    maps: ReflectanceMaps,
    scene: Scene,
    shot: Shot,
    rng: np.random.Generator,
) -> Photograph:
    """The photograph (PHOTO_PX x PHOTO_PX) of a posed subject in a scene, with its hair and what it wears."""
    size = PHOTO_PX
    model = load_head_model()
    camera = camera_of(shot, (size, size))
    fine = scaled(camera, OVERSAMPLED)
    maps, cloth = dressed(maps, subject.rng(_GARMENT))
    throwing = outfit.casters(posed, model)
    rgba = render_posed(maps, posed.vertices, posed.transfer, fine, scene.lighting, 1, throwing, _EYE_RAYS).numpy()
    depth = rasterise(project(fine, posed.vertices), model.triangles, fine.size_px).depth
    style, place, colour = lashes_of(subject, posed, model)
    strands = drawn_cards(style, place, colour, fine, scene.lighting, depth)
    rgba = np.concatenate([rgba[..., :3] * (1 - strands[..., 3:]) + strands[..., :3], rgba[..., 3:]], -1)
    solid, clear = drawn_props(outfit, posed, model, fine, scene.lighting)
    hair, occluder = np.zeros(rgba.shape[:2], np.float32), np.zeros(rgba.shape[:2], np.float32)
    for layer in solid:
        rgba, occluder, depth = layer.over(rgba, occluder, depth)
    for style, place in outfit.hair:
        # at a silhouette hair fills what the head leaves of the pixel
        behind = torch.from_numpy(cv2.dilate(depth.clamp_max(_FAR_M).numpy(), np.ones((3, 3), np.uint8)))
        strands = drawn_cards(style, place, subject.hair_colour, fine, scene.lighting, behind)
        rgba = over_head(rgba, strands, fine)
        hair, occluder = 1 - (1 - hair) * (1 - strands[..., 3]), occluder * (1 - strands[..., 3])
    for layer in clear:
        rgba, occluder, _ = layer.over(rgba, occluder, depth)
    rgba, hair, occluder = (cv2.resize(x, (size, size), interpolation=cv2.INTER_AREA) for x in (rgba, hair, occluder))
    backdrop = backdrop_of(scene, camera, float(rng.uniform(1.0, 14.0)))
    linear = rgba[..., :3] + (1 - rgba[..., 3:]) * backdrop
    fragments = rasterise(project(camera, posed.vertices), model.triangles, (size, size))
    seen = fragments.triangle >= 0
    attributes = torch.cat([model.uv, posed.normals[model.render_vertex]], 1)
    uv, normal = interpolate(attributes, model.render_triangles, fragments).split((2, 3), 2)
    part = torch.where(seen, model.part[fragments.triangle.clamp_min(0)] + 1, 0)
    covered = sample(torch.from_numpy(cloth)[..., None], uv)[..., 0] > 0.5
    part = torch.where(seen & covered, GARMENT, part)
    at = (uv.numpy() * _LABEL_SIZE).astype(int).clip(0, _LABEL_SIZE - 1)
    return Photograph(
        picture=developed(np.ascontiguousarray(linear), shot, rng),
        coverage=rgba[..., 3],
        hair=hair,
        occluder=occluder,
        part=part.numpy().astype(np.uint8),
        region=np.where(seen.numpy(), region_labels()[at[..., 1], at[..., 0]], 0).astype(np.uint8),
        uv=uv.numpy(),
        depth_m=torch.where(seen, fragments.depth, 0.0).numpy(),
        normal=(normalize(normal, dim=2) * seen[..., None]).numpy(),
        albedo=(sample(maps.diffuse_albedo, uv) * seen[..., None]).numpy(),
    )


@lru_cache(maxsize=1)
def region_labels() -> np.ndarray:
    """(512, 512) 0 outside every region, else 1 + index into REGIONS: small regions win over the ones they lie in."""
    masks = layout(_LABEL_SIZE).masks
    order = sorted(REGIONS, key=lambda name: -masks[name].sum())
    labels = np.zeros((_LABEL_SIZE, _LABEL_SIZE), np.uint8)
    for name in order:
        labels[masks[name] > 0.5] = 1 + REGIONS.index(name)
    return labels


def backdrop_of(scene: Scene, camera: Camera, blur_px: float) -> np.ndarray:
    """(H, W, 3) linear radiance of what lies behind the head, out of focus."""
    width, height = camera.size_px
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    centre, focal = camera.centre_px.numpy(), float(camera.focal_px)
    rays = np.stack([(x - centre[0]) / focal, (y - centre[1]) / focal, np.ones_like(x)], -1)
    # a crop of a wide view: the surroundings are drawn at the scale of a normal lens, as distance would show them
    rays[..., :2] *= max(1.0, 0.55 / float(rays[0, -1, 0] - rays[0, 0, 0]))
    ahead = rays @ camera.camera_from_head[:3, :3].numpy()
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
    rows, columns = scene.backdrop.shape[:2]
    u = (0.5 - np.arctan2(ahead[..., 0], ahead[..., 2]) / (2 * math.pi)) * columns - 0.5
    v = np.arccos(ahead[..., 1].clip(-1, 1)) / math.pi * rows - 0.5
    wrapped = np.concatenate([scene.backdrop[:, -2:], scene.backdrop, scene.backdrop[:, :2]], 1)
    found = cv2.remap(
        np.ascontiguousarray(wrapped),
        (u % columns + 2).astype(np.float32),
        v.astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.GaussianBlur(np.maximum(found, 0), (0, 0), blur_px * min(width, height) / 512)
