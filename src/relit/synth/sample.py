"""One sample of a data set, from its number to its files; the same bytes every time."""

import json
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from relit.appearance.colour import as_bytes, srgb_bytes
from relit.errors import InputError
from relit.models.head import PARTS, landmark_points, load_head_model
from relit.models.regions import REGIONS
from relit.synth.camera import Shot, camera_of, draw_shot, towards_camera
from relit.synth.detail import atlas
from relit.synth.geometry import RAYS, Posed, occluded, placed
from relit.synth.light import Scene, draw_scene
from relit.synth.panoramas import panorama_names
from relit.synth.photo import PHOTO_PX, Photograph, photograph
from relit.synth.png import encode_png
from relit.synth.skin import maps_of
from relit.synth.split import check_split
from relit.synth.subject import Subject, draw_subject, record_of
from relit.synth.uv_pair import LitTexture, baked_occlusion, light_texture, photographed
from relit.synth.worn import Outfit, draw_outfit
from relit.types import ReflectanceMaps

KINDS = ("uv", "photo")
PHOTO_MAPS = 704  # size of the maps that a photo is rendered from
_SHOT, _SCENE, _DEVELOP, _OUTFIT = 40, 41, 42, 43  # purposes of random numbers
F0_SCALE, MICRON_ZERO, POSITION_ORIGIN_M, POSITION_SPAN_M, DEPTH_SPAN_M = 0.08, 32768, -0.25, 0.5, 4.0
_POSITION_STEP = 16  # 0.12 mm: finer digits would double the file
PHOTO_RAYS = 96
# How each file of a sample is coded; written beside the data.
CODING = {
    "lit.png": "sRGB, the lit texture as photographed",
    "photo.jpg": "the photograph",
    "albedo.png": "sRGB, diffuse albedo in the UV layout",
    "specular.png": f"F0 / {F0_SCALE} * 255",
    "roughness.png": "perceptual roughness * 255",
    "diffuse_normal.png": "tangent space, 127.5 + 127.5 n",
    "specular_normal.png": "tangent space, 127.5 + 127.5 n",
    "displacement.png": f"16 bit, micrometres + {MICRON_ZERO}",
    "occlusion.png": "ambient visibility * 255",
    "visible.png": "what the camera sees * 255",
    "object_normal.png": "head frame, 127.5 + 127.5 n, without relief",
    "position.png": f"16 bit, head frame, (metres - {POSITION_ORIGIN_M}) / {POSITION_SPAN_M} * 65535; 0 outside",
    "mask.png": f"0 background, 1 + index: {', '.join(PARTS)}, garment",
    "region.png": f"0 none, 1 + index: {', '.join(REGIONS)}",
    "coverage.png": "of head, hair and props * 255",
    "hair.png": "of hair before everything else * 255; mask and the labels below are those of the head behind it",
    "occluder.png": "coverage of props before head and hair * 255; of lenses the share of light that they take",
    "uv.png": "16 bit, u * 65535, v * 65535, 65535 where the head is",
    "depth.png": f"16 bit, metres / {DEPTH_SPAN_M} * 65535 along the optical axis, 0 on the background",
    "normal.png": "head frame, 127.5 + 127.5 n, without relief",
    "image_albedo.png": "sRGB, diffuse albedo seen by each pixel",
    "json": "subject, shot, props, light (harmonics in the head frame), camera, 478 landmarks in pixels",
}
_MAPS = ("albedo", "specular", "roughness", "diffuse_normal", "specular_normal", "displacement", "occlusion")
FILES = {
    "uv": ("lit.png", *(f"{m}.png" for m in _MAPS), "visible.png", "object_normal.png", "position.png", "json"),
    "photo": ("photo.jpg", "mask.png", "region.png", "coverage.png", "hair.png", "occluder.png", "uv.png", "depth.png",
              "normal.png", "image_albedo.png", *(f"{m}.png" for m in _MAPS), "json"),
}  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What a data set consists of."""

    kind: str  # of KINDS
    count: int
    seed: int = 0
    split: str = "train"
    size: int = 512  # of the maps that are written
    shard_size: int = 128
    skins: tuple[str, ...] = ()  # folders of further skins
    lights: tuple[str, ...] = ()  # folders of further panoramas

    def check(self) -> None:
        """Refuses what cannot be made.

        Raises:
            InputError: names the field and what is allowed, or the file that is no panorama or no skin.
        """
        check_split(self.split)
        if self.kind not in KINDS:
            raise InputError(f"there is no kind {self.kind!r}; choose one of: {', '.join(KINDS)}")
        for name, value, low, high in (
            ("count", self.count, 1, 10**8),
            ("seed", self.seed, 0, 2**31),
            ("size", self.size, 128, 2048),
            ("shard size", self.shard_size, 1, 10**5),
        ):
            if not low <= value <= high:
                raise InputError(f"the {name} must be from {low} to {high}, got {value}")
        panorama_names(self.split, self.lights)  # reads them
        if self.skins:
            atlas(self.split, self.size, self.skins)  # likewise


def make_sample(order: Order, index: int) -> dict[str, bytes]:
    """The files of sample `index` by extension, in the order of FILES."""
    subject, posed, outfit, shot, scene, maps = _drawn(order, index)
    if order.kind == "uv":
        lit = light_texture(posed, maps, scene.lighting, shot, outfit)
        files = _uv_files(lit, photographed(lit, shot, subject.rng(_DEVELOP)))
        camera_px = order.size
    else:
        files = _photo_files(photograph(subject, posed, outfit, maps, scene, shot, subject.rng(_DEVELOP)), shot)
        camera_px = PHOTO_PX
    files |= _map_files(maps, order.size)
    files["json"] = json.dumps(_facts(subject, posed, shot, scene, camera_px, outfit), separators=(",", ":")).encode()
    return {name: files[name] for name in FILES[order.kind]}


def photo_of(order: Order, index: int) -> tuple[Subject, Posed, Shot, np.ndarray]:
    """The subject, how it is posed and taken, and the picture (H, W, 3) uint8 of photograph `index`, before JPEG."""
    subject, posed, outfit, shot, scene, maps = _drawn(order, index)
    return subject, posed, shot, photograph(subject, posed, outfit, maps, scene, shot, subject.rng(_DEVELOP)).picture


def _drawn(order: Order, index: int) -> tuple[Subject, Posed, Outfit, Shot, Scene, ReflectanceMaps]:
    subject = draw_subject(order.seed, index, order.split)
    rays, inside = (RAYS, False) if order.kind == "uv" else (PHOTO_RAYS, True)
    model = load_head_model()
    posed = placed(subject, model)
    outfit = draw_outfit(subject, posed, model, subject.rng(_OUTFIT))
    posed = occluded(posed, model, outfit.occluders(), rays, inside)
    shot = draw_shot(subject.rng(_SHOT))
    scene = draw_scene(order.split, towards_camera(shot), subject.rng(_SCENE), folders=order.lights)
    size = order.size if order.kind == "uv" else max(PHOTO_MAPS, order.size)
    maps = maps_of(subject, size, baked_occlusion(posed, size), order.skins)
    return subject, posed, outfit, shot, scene, maps


def _uv_files(lit: LitTexture, picture: np.ndarray) -> dict[str, bytes]:
    inside = lit.normal.view(np.uint32).max(-1, keepdims=True) > 0
    position = (lit.position_m - POSITION_ORIGIN_M) * np.float32(65535 / POSITION_SPAN_M / _POSITION_STEP)
    position = np.round(position).clip(1, 65535 // _POSITION_STEP).astype(np.uint16) * np.uint16(_POSITION_STEP) * inside
    return {
        "lit.png": encode_png(picture),
        "visible.png": encode_png(as_bytes(lit.visible)),
        "object_normal.png": encode_png(as_bytes(0.5 + 0.5 * lit.normal)),
        "position.png": encode_png(position),
    }


def _photo_files(photo: Photograph, shot: Shot) -> dict[str, bytes]:
    jpeg = cv2.imencode(".jpg", photo.picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, shot.jpeg_quality])[1]
    uv = np.concatenate([photo.uv, photo.part[..., None] > 0], -1)
    depth = photo.depth_m / DEPTH_SPAN_M * 65535
    return {
        "photo.jpg": jpeg.tobytes(),
        "mask.png": encode_png(photo.part),
        "region.png": encode_png(photo.region),
        "coverage.png": encode_png(as_bytes(photo.coverage)),
        "hair.png": encode_png(as_bytes(photo.hair)),
        "occluder.png": encode_png(as_bytes(photo.occluder)),
        "uv.png": encode_png(np.round(uv.clip(0, 1) * 65535).astype(np.uint16)),
        "depth.png": encode_png(np.round(depth.clip(0, 65535)).astype(np.uint16)),
        "normal.png": encode_png(as_bytes(0.5 + 0.5 * photo.normal)),
        "image_albedo.png": encode_png(srgb_bytes(torch.from_numpy(photo.albedo))),
    }


def _map_files(maps: ReflectanceMaps, size: int) -> dict[str, bytes]:
    def at_size(texture: torch.Tensor) -> np.ndarray:
        array = texture.numpy()
        return array if len(array) == size else cv2.resize(array, (size, size), interpolation=cv2.INTER_AREA)

    def normal_at_size(texture: torch.Tensor) -> np.ndarray:
        return texture.numpy() if len(texture) == size else _unit(at_size(texture))

    micron = np.round(at_size(maps.displacement_mm) * 1000 + MICRON_ZERO).clip(0, 65535)
    return {
        "albedo.png": encode_png(srgb_bytes(torch.from_numpy(at_size(maps.diffuse_albedo)))),
        "specular.png": encode_png(as_bytes(at_size(maps.specular_albedo) / F0_SCALE)),
        "roughness.png": encode_png(as_bytes(at_size(maps.roughness))),
        "diffuse_normal.png": encode_png(as_bytes(0.5 + 0.5 * normal_at_size(maps.diffuse_normal))),
        "specular_normal.png": encode_png(as_bytes(0.5 + 0.5 * normal_at_size(maps.specular_normal))),
        "displacement.png": encode_png(micron.astype(np.uint16)),
        "occlusion.png": encode_png(as_bytes(at_size(maps.occlusion))),
    }


def _facts(subject: Subject, posed: Posed, shot: Shot, scene: Scene, camera_px: int, outfit: Outfit) -> dict:
    from relit.geometry.camera import project

    camera = camera_of(shot, (camera_px, camera_px))
    points = project(camera, landmark_points(load_head_model(), posed.vertices))[:, :2]
    rounded = lambda tensor, digits: np.round(tensor.numpy().astype(float), digits).tolist()  # noqa: E731
    return {
        "subject": record_of(subject),
        "shot": shot.record(),
        "props": [p.name for p in outfit.props],
        "light": {
            "kind": scene.kind,
            "panoramas": list(scene.names),
            "sh": rounded(scene.lighting.sh, 5),
            "directions": rounded(scene.lighting.directions, 5),
            "irradiance": rounded(scene.lighting.irradiance, 5),
        },
        "camera": {
            "focal_px": round(float(camera.focal_px), 3),
            "centre_px": rounded(camera.centre_px, 3),
            "size_px": list(camera.size_px),
            "camera_from_head": rounded(camera.camera_from_head, 6),
        },
        "landmarks_px": rounded(points, 2),
    }


def _unit(normals: np.ndarray) -> np.ndarray:
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
