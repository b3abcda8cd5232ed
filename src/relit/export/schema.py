"""What stands in `avatar.json`: the records of a fit as JSON and back.

Short arrays are JSON numbers; per-vertex arrays lie in `head.safetensors` beside it.
"""

import math

import torch
from torch import Tensor

from relit import __version__
from relit.errors import InputError
from relit.geometry.camera import camera_centre
from relit.geometry.transforms import yaw_of
from relit.models.head import ARKIT_NAMES
from relit.models.registry import cards
from relit.types import Camera, FaceFit, Head, Lighting, Observation

NAME = "relit-avatar"
VERSION = 1
_TANGENT = "tangent space, +Y up"
MAPS = {  # how each map is written, and how to read it
    "diffuse_albedo": {"file": "maps/diffuse_albedo.png", "encoding": "sRGB, 8 bits"},
    "specular_albedo": {"file": "maps/specular_albedo.png", "encoding": "linear, 16 bits", "meaning": "F0"},
    "roughness": {"file": "maps/roughness.png", "encoding": "linear, 8 bits", "meaning": "perceptual"},
    "diffuse_normal": {"file": "maps/diffuse_normal.png", "encoding": "0.5 + 0.5 n, 8 bits", "meaning": _TANGENT},
    "specular_normal": {"file": "maps/specular_normal.png", "encoding": "0.5 + 0.5 n, 8 bits", "meaning": _TANGENT},
    "displacement_mm": {"file": "maps/displacement.exr", "encoding": "half float, channel Y", "unit": "mm"},
    "occlusion": {"file": "maps/occlusion.png", "encoding": "linear, 8 bits", "meaning": "ambient visibility"},
    "confidence": {"file": "maps/confidence.png", "encoding": "linear, 8 bits", "meaning": "how far the photo decided"},
    "folds": {"file": "maps/folds.png", "encoding": "128/255 + f/3, 8 bits", "meaning": "log brightness of an expression"},
}

_SPECULAR = "by rule, times what avatarme_specular says"
MADE = {  # by method: the networks that have a part in a map, by the names of their weights; all else is told by rule
    "avatarme": {"diffuse_albedo": "the photo over the light by delighting", "specular_albedo": _SPECULAR},
    "ganfit": {
        "diffuse_albedo": "the photo over the light by delighting, on the texture by prior_ganfit",
        "specular_albedo": _SPECULAR,
    },
    "fitme": {
        "diffuse_albedo": "the photo over the light by delighting, on the texture by prior_fitme",
        "specular_albedo": "the mean of prior_fitme and of the rule times what avatarme_specular says",
        "displacement_mm": "by rule, and prior_fitme",
        "diffuse_normal": "of the displacement",
        "specular_normal": "of the displacement",
    },
    "yamaguchi": {
        "diffuse_albedo": "the photo over the light by delighting and yamaguchi_diffuse; the rest by "
        "yamaguchi_completion_diffuse and yamaguchi_superresolution",
        "specular_albedo": "yamaguchi_surface, yamaguchi_completion_surface, yamaguchi_superresolution; single pores by rule",
        "displacement_mm": "by rule, and those three",
        "diffuse_normal": "of the displacement",
        "specular_normal": "of the displacement",
    },
}


def avatar_record(head: Head, observations: tuple[Observation, ...], seconds: dict[str, float]) -> dict:
    """The content of `avatar.json`."""
    rows, columns = head.maps.roughness.shape
    return {
        "schema": NAME,
        "schema_version": VERSION,
        "relit_version": __version__,
        "method": head.fits[0].method,
        "asset_sha256": {name: card["sha256"] for name, card in cards().items()},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "frame": "glTF: right-handed, metres, +X to the subject's left, +Y up, +Z out of the face",
        "files": ["head.glb", "head.obj", "head.mtl", "head.safetensors", "preview.png", "report.html"],
        "maps": {"rows": rows, "columns": columns, **{name: facts | _made(head, name) for name, facts in MAPS.items()}},
        "iris_colour": _numbers(head.iris_colour),
        "identity": _numbers(head.fits[0].identity),
        "photos": [_photo(fit, seen) for fit, seen in zip(head.fits, observations, strict=True)],
        "warnings": all_warnings(head, observations),
    }


def _made(head: Head, name: str) -> dict[str, str]:
    return {"made": MADE.get(head.fits[0].method, {}).get(name, "by rule")}


def all_warnings(head: Head, observations: tuple[Observation, ...]) -> list[str]:
    """Every warning once, in the order of the stages."""
    given = [w for seen in observations for w in (*seen.photo.warnings, *seen.warnings)]
    return list(dict.fromkeys([*given, *(w for fit in head.fits for w in fit.warnings)]))


def check_record(record: object, name: str) -> None:
    """Raises InputError where the record is not an avatar of this version."""
    if not isinstance(record, dict) or record.get("schema") != NAME:
        raise InputError(f"{name} is no relit avatar; give a folder that `relit fit` wrote")
    if record.get("schema_version") != VERSION:
        found = record.get("schema_version")
        raise InputError(f"{name} has schema version {found}, this relit reads {VERSION}; fit the photo again")


def head_arrays(head: Head) -> dict[str, Tensor]:
    """The content of `head.safetensors`: the per-vertex arrays, morphs in half-float millimetres."""
    arrays = {"vertices": head.vertices, "morphs_mm": (head.morphs * 1000).half()}
    arrays |= {f"vertex_offset_{index}": fit.vertex_offset for index, fit in enumerate(head.fits)}
    # copies: fits of one person may share their arrays, which the file format refuses
    return {name: array.detach().clone(memory_format=torch.contiguous_format) for name, array in arrays.items()}


def fit_of(record: dict, arrays: dict[str, Tensor], index: int) -> FaceFit:
    """The fit of photo `index` from the record and the arrays."""
    photo = record["photos"][index]
    camera, light = photo["camera"], photo["lighting"]
    return FaceFit(
        method=record["method"],
        camera=Camera(
            focal_px=torch.tensor(float(camera["focal_px"])),
            centre_px=torch.tensor(camera["centre_px"]),
            size_px=tuple(camera["size_px"]),
            camera_from_head=torch.tensor(camera["camera_from_head"]),
        ),
        identity=torch.tensor(record["identity"]),
        expression=torch.tensor([float(photo["expression"][name]) for name in ARKIT_NAMES]),
        gaze_rad=torch.tensor(photo["gaze_rad"]),
        vertex_offset=arrays[f"vertex_offset_{index}"],
        albedo=torch.tensor(photo["albedo"], dtype=torch.float32),
        lighting=Lighting(
            sh=torch.tensor(light["sh"]),
            directions=torch.tensor(light["directions"], dtype=torch.float32).reshape(-1, 3),
            irradiance=torch.tensor(light["irradiance"], dtype=torch.float32).reshape(-1, 3),
        ),
        exposure=torch.tensor(photo["exposure"]),
        energies=photo["energies"],
        warnings=tuple(photo["warnings"]),
    )


def _photo(fit: FaceFit, seen: Observation) -> dict:
    return {
        "name": seen.photo.name,
        "original_size_px": list(seen.photo.original_size_px),
        "face_box_px": [round(float(edge), 2) for edge in seen.face_box_px],
        "camera": {
            "focal_px": float(fit.camera.focal_px),
            "centre_px": _numbers(fit.camera.centre_px),
            "size_px": list(fit.camera.size_px),
            "camera_from_head": _numbers(fit.camera.camera_from_head),
        },
        "pose": _pose(fit.camera),
        "expression": dict(zip(ARKIT_NAMES, _numbers(fit.expression), strict=True)),
        "gaze_rad": _numbers(fit.gaze_rad),
        "albedo": _numbers(fit.albedo),
        "lighting": {
            "basis": "real spherical harmonics to degree 8, index l*l+l+m, orthonormal, head frame",
            "sh": _numbers(fit.lighting.sh),
            "directions": _numbers(fit.lighting.directions),
            "irradiance": _numbers(fit.lighting.irradiance),
        },
        "exposure": _numbers(fit.exposure),
        "energies": {name: float(value) for name, value in fit.energies.items()},
        "warnings": list(fit.warnings),
    }


def _pose(camera: Camera) -> dict[str, float]:
    """The head's turn as the camera sees it, in degrees: for reading, the matrix is what counts."""
    up = camera.camera_from_head[:3, 1]
    look = camera.camera_from_head[:3, 2]
    return {
        "yaw_deg": round(math.degrees(yaw_of(camera.camera_from_head)), 3),
        "pitch_deg": round(math.degrees(math.asin(max(-1.0, min(1.0, -float(look[1]))))), 3),
        "roll_deg": round(math.degrees(math.atan2(float(up[0]), -float(up[1]))), 3),
        "distance_m": round(float(camera_centre(camera).norm()), 4),
    }


def _numbers(values: Tensor) -> list:
    """Nested lists in which every float32 keeps its exact value."""
    return values.detach().double().tolist()
