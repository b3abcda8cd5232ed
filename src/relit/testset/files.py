"""The files of a test set: how subjects and photos are coded, and the shards they are shipped in."""

import hashlib
import io
import json
import tarfile
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from relit.appearance.colour import as_bytes, srgb_bytes
from relit.appearance.lighting import LUMINANCE
from relit.geometry.camera import project
from relit.models.head import PARTS, landmark_points, load_head_model
from relit.synth.camera import Shot, camera_of, developed
from relit.synth.photo import backdrop_of
from relit.synth.sample import F0_SCALE, MICRON_ZERO
from relit.synth.subject import record_of
from relit.testset.labels import Labels
from relit.testset.sets import Take, TestSet
from relit.types import ReflectanceMaps

PHOTO_PX, MAP_PX = 512, 512
SHAPE_UNIT_M = 2e-5
SHAPE_STEPS = 2  # units to which vertices are rounded
RELIEF_STEP_UM = 8  # finer digits would double the file
SHARD_BYTES = 15 * 2**20
JPEG_QUALITY = 92
BACKDROP_BLUR_PX = (3.0, 12.0)
DARKEST_SKIN, BRIGHTEST_SKIN = 0.04, 0.72  # exposed radiance: least mean, highest of all but a twentieth
_DEVELOP = 66  # purpose of random numbers
CODING = {
    "photo.jpg": "the photograph",
    "mask.png": f"0 background, 1 + index: {', '.join(PARTS)}, garment",
    "coverage.png": "of head, hair and what is worn * 255, from the path tracer",
    "hair.png": "of hair before everything else * 255; the mask is that of the head behind it",
    "occluder.png": "opacity of what is worn before the head * 255; the mask is that of the head behind it",
    "albedo.webp": "sRGB, diffuse albedo in the UV layout",
    "specular.webp": f"F0 / {F0_SCALE} * 255",
    "roughness.webp": "perceptual roughness * 255",
    "diffuse_normal.webp": "tangent space, 127.5 + 127.5 n",
    "specular_normal.webp": "tangent space, 127.5 + 127.5 n",
    "displacement.png": f"16 bit, micrometres + {MICRON_ZERO}, in steps of {RELIEF_STEP_UM}",
    "shape.npz": f"steps (V, 3) int16: neutral vertices in metres, head frame, are cumsum(steps, axis 0) * {SHAPE_UNIT_M}",
    "json": "of a subject its record; of a photo light, camera, expression, gaze, landmarks, tags",
}


def subject_files(take: Take, maps: ReflectanceMaps, neutral: torch.Tensor) -> dict[str, bytes]:
    """The files of a subject, its neutral vertices (V, 3) in metres, by extension."""

    def at_size(texture: torch.Tensor) -> np.ndarray:
        return cv2.resize(texture.numpy(), (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA)

    albedo = np.ascontiguousarray(at_size(maps.diffuse_albedo))
    micron = np.round(at_size(maps.displacement_mm) * 1000 / RELIEF_STEP_UM) * RELIEF_STEP_UM + MICRON_ZERO
    unit = np.round(neutral.numpy() / (SHAPE_STEPS * SHAPE_UNIT_M)).astype(np.int32) * SHAPE_STEPS
    steps = np.diff(unit, axis=0, prepend=0).astype(np.int16)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, steps=steps)
    return {
        "json": _json({"subject": record_of(take.subject)}),
        "albedo.webp": _webp(srgb_bytes(torch.from_numpy(albedo)), 92),
        "specular.webp": _webp(as_bytes(at_size(maps.specular_albedo) / F0_SCALE), 80),
        "roughness.webp": _webp(as_bytes(at_size(maps.roughness)), 85),
        "diffuse_normal.webp": _webp(as_bytes(0.5 + 0.5 * at_size(maps.diffuse_normal)), 95),
        "specular_normal.webp": _webp(as_bytes(0.5 + 0.5 * at_size(maps.specular_normal)), 95),
        "displacement.png": _png(micron.clip(0, 65535).astype(np.uint16)),
        "shape.npz": buffer.getvalue(),
    }


def photo_files(
    take: Take, vertices: torch.Tensor, labels: Labels, rendered: np.ndarray, props: tuple[str, ...]
) -> dict[str, bytes]:
    """The files of a photo by extension.

    Args:
        vertices: (V, 3) posed.
        rendered: (H, W, 4) linear radiance multiplied by coverage, and coverage.
        props: names of what is worn.
    """
    camera = camera_of(take.shot, (PHOTO_PX, PHOTO_PX))
    rng = take.subject.rng(_DEVELOP + 100 * (ord(take.key[-1]) - ord("a")))
    backdrop = backdrop_of(take.scene, camera, float(rng.uniform(*BACKDROP_BLUR_PX)))
    coverage = rendered[..., 3].clip(0, 1)
    linear = (rendered[..., :3] + (1 - coverage[..., None]) * backdrop).astype(np.float32)
    take = replace(take, shot=metered(take.shot, linear, labels))
    picture = developed(np.ascontiguousarray(linear), take.shot, rng)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    tags = list(take.tags) + sorted({f"occluder:{name.partition(':')[0]}" for name in props})
    return {
        "photo.jpg": cv2.imencode(".jpg", picture[..., ::-1], quality)[1].tobytes(),
        "mask.png": _png(labels.part),
        "coverage.png": _png(as_bytes(coverage)),
        "hair.png": _png(as_bytes(labels.hair)),
        "occluder.png": _png(as_bytes(labels.occluder)),
        "json": _json(_facts(take, camera, vertices) | {"tags": tags}),
    }


def metered(shot: Shot, linear: np.ndarray, labels: Labels) -> Shot:
    """The shot with an exposure at which the skin in a linear picture (H, W, 3) is neither burnt out nor lost in the dark."""
    skin = (labels.part == 1) & (labels.hair < 0.1) & (labels.occluder < 0.1)
    level = linear[skin] @ LUMINANCE.numpy() if skin.any() else linear.reshape(-1, 3) @ LUMINANCE.numpy()
    exposure = max(shot.exposure, DARKEST_SKIN / float(level.mean()))
    return replace(shot, exposure=min(exposure, BRIGHTEST_SKIN / float(np.quantile(level, 0.95))))


def _facts(take: Take, camera, vertices: torch.Tensor) -> dict:
    rounded = lambda tensor, digits: np.round(np.asarray(tensor, float), digits).tolist()  # noqa: E731
    points = project(camera, landmark_points(load_head_model(), vertices))[:, :2]
    scene = take.scene
    return {
        "key": take.key,
        "subject": take.key.split("_")[0],
        "light": {
            "kind": scene.kind,
            "panoramas": list(scene.names),
            "sh": rounded(scene.lighting.sh, 5),
            "directions": rounded(scene.lighting.directions, 5),
            "irradiance": rounded(scene.lighting.irradiance, 5),
            "lamps": [
                {
                    "direction": rounded(lamp.direction, 5),
                    "radius_rad": round(lamp.radius_rad, 5),
                    "irradiance": rounded(lamp.irradiance, 5),
                }
                for lamp in scene.lamps
            ],
        },
        "camera": {
            "focal_px": round(float(camera.focal_px), 3),
            "centre_px": rounded(camera.centre_px, 3),
            "size_px": list(camera.size_px),
            "camera_from_head": rounded(camera.camera_from_head, 6),
        },
        "shot": take.shot.record(),
        "expression": rounded(take.subject.expression, 6),
        "gaze_rad": rounded(take.subject.gaze_rad, 6),
        "landmarks_px": rounded(points, 1),
    }


def write_shards(samples: dict[str, dict[str, bytes]], folder: Path) -> list[dict]:
    """Writes the samples, in their order, as tar shards; what they are called, their hash and what is in them."""
    shards, size = [[]], 0
    for key, files in samples.items():
        own = sum(len(data) + 1024 for data in files.values())
        if size and size + own > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(key)
        size += own
    for path in folder.glob("shard-*.tar"):
        path.unlink()
    written = []
    for number, keys in enumerate(shards):
        path = folder / f"shard-{number:03d}.tar"
        write_tar(path, {key: samples[key] for key in keys})
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        written.append({"file": path.name, "sha256": digest, "bytes": len(data), "samples": len(keys)})
    return written


def write_tar(path: Path, samples: dict[str, dict[str, bytes]]) -> None:
    """Writes samples, with nothing in the bytes that depends on time or user."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
        for key, files in samples.items():
            for extension, data in files.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size, info.mode = len(data), 0o644
                shard.addfile(info, io.BytesIO(data))


def read_tar(path: Path) -> dict[str, dict[str, bytes]]:
    """The samples of a tar file by key."""
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as shard:
        for member in shard:
            key, _, extension = member.name.partition(".")
            samples.setdefault(key, {})[extension] = shard.extractfile(member).read()
    return samples


def manifest(wanted: TestSet, facts: dict) -> bytes:
    """`dataset.json`."""
    return (json.dumps({**asdict(wanted), **facts, "files": CODING}, indent=1) + "\n").encode()




def _json(values: dict) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode()


def _webp(picture: np.ndarray, quality: int) -> bytes:
    if picture.ndim == 3:
        picture = np.ascontiguousarray(picture[..., ::-1])
    return cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
