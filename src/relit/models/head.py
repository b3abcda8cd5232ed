"""The morphable head: mean, identity and expression modes, eyes, topology, UV layout and landmark embedding."""

import json
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse as sparse
import torch
from jaxtyping import Float, Int
from safetensors import safe_open
from torch import Tensor

from relit.geometry.subdivision import catmull_clark
from relit.geometry.transforms import rotation_from_vector
from relit.models.registry import asset_path

PARTS = ("skin", "mouth", "eye_sockets", "upper_teeth", "lower_teeth", "tongue", "left_eye", "right_eye")
# fmt: off
ARKIT_NAMES = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)
# fmt: on
LOOK_RAD = math.radians(25)  # how far eyeLook* = 1 turns an eyeball


@dataclass(frozen=True)
class HeadModel:
    """A linear head model on a subdivided mesh, in metres, in the head frame."""

    name: str
    mean: Float[Tensor, "V 3"]
    identity_modes: Float[Tensor, "K V 3"]  # one standard deviation each
    expression_modes: Float[Tensor, "52 V 3"]  # weight 1, of the mean head
    quads: Int[Tensor, "Q 4"]  # welded vertices
    triangles: Int[Tensor, "T 3"]
    uv: Float[Tensor, "N 2"]  # of render vertices: welded ones split at UV seams
    render_vertex: Int[Tensor, "N"]  # render vertex -> welded vertex
    render_quads: Int[Tensor, "Q 4"]
    render_triangles: Int[Tensor, "T 3"]  # same order as `triangles`
    part: Int[Tensor, "T"]  # index into PARTS
    mirror: Int[Tensor, "V"]  # welded vertex on the other side
    landmark_triangles: Int[Tensor, "478 3"]
    landmark_barycentric: Float[Tensor, "478 3"]
    landmark_offset: Float[Tensor, "478 3"]  # systematic detector offset
    landmark_sigma: Float[Tensor, "478"]  # noise that remains
    oval_landmarks: Int[Tensor, "36"]
    face_weight: Float[Tensor, "V"]  # 1 on the front of the face, 0 on scalp, neck and cavities
    eye_vertices: Int[Tensor, "2 E"]  # of the left and the right eyeball
    eye_template: Float[Tensor, "E 3"]  # eyeball about its centre, looking along +Z
    lid_vertices: Int[Tensor, "2 2 L"]  # (left, right) x (upper, lower) lid edge, ordered from corner to corner


@lru_cache(maxsize=2)
def load_head_model(name: str = "relit") -> HeadModel:
    """The shipped head model, subdivided once.

    Raises:
        AssetMissing, AssetCorrupt: the file is not there or not the recorded one.
        ValueError: there is no such model.
    """
    if name != "relit":
        raise ValueError(f"the shipped head model is called 'relit', got {name!r}; see relit.models.head_import")
    with safe_open(asset_path("head"), framework="np") as file:
        data = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = json.loads((file.metadata() or {}).get("relit", "{}"))
    if tuple(metadata.get("expressions", ())) != ARKIT_NAMES:
        raise ValueError("head.safetensors lists its expressions in another order than ARKIT_NAMES")
    return assemble(data)


def assemble(data: dict[str, np.ndarray]) -> HeadModel:
    """The head model of the stored control-level arrays (millimetres, float16 modes); see models/build_head.py."""
    quads, eye_quads = data["quads"].astype(np.int64), data["eye_quads"].astype(np.int64)
    count, eye_count = len(data["mean_mm"]), len(data["eye_mm"])
    smooth, fine = catmull_clark(quads, count)
    render_control, corner_uv = _split_by_uv(quads, data["corner_uv"], data["quad_part"])
    linear, fine_render = catmull_clark(render_control, len(corner_uv), linear=True)
    uv = linear @ corner_uv
    render_vertex = np.zeros(len(uv), np.int64)
    render_vertex[fine_render.ravel()] = fine.ravel()
    skin_count, skin_uv = smooth.shape[0], len(uv)
    first = [skin_count, skin_count + eye_count]
    all_quads = np.concatenate([fine, *(eye_quads + start for start in first)])
    all_render = np.concatenate([fine_render, *(eye_quads + skin_uv + i * eye_count for i in (0, 1))])
    eye_part = np.repeat([PARTS.index("left_eye"), PARTS.index("right_eye")], len(eye_quads))
    quad_part = np.concatenate([np.repeat(data["quad_part"], 4), eye_part])
    eyes = np.stack([np.arange(eye_count) + start for start in first])
    modes = _with_eyes(smooth, data["identity_mm"], np.repeat(data["eye_centre_identity_mm"][:, :, None], eye_count, 2))
    expressions = _with_eyes(smooth, data["expression_mm"], np.zeros((52, 2, eye_count, 3), np.float32))
    mean = np.concatenate(
        [smooth @ data["mean_mm"], *(data["eye_mm"] + centre for centre in data["eye_centre_mm"])]
    ).astype(np.float32)
    as_long = lambda array: torch.from_numpy(np.ascontiguousarray(array, np.int64))  # noqa: E731
    as_float = lambda array: torch.from_numpy(np.ascontiguousarray(array, np.float32))  # noqa: E731
    return HeadModel(
        name="relit",
        mean=as_float(mean / 1000),
        identity_modes=modes,
        expression_modes=expressions,
        quads=as_long(all_quads),
        triangles=as_long(all_quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)),
        uv=as_float(np.concatenate([uv, *data["eye_uv"]])),
        render_vertex=as_long(np.concatenate([render_vertex, eyes.ravel()])),
        render_quads=as_long(all_render),
        render_triangles=as_long(all_render[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)),
        part=as_long(np.repeat(quad_part, 2)),
        mirror=as_long(data["mirror"]),
        landmark_triangles=as_long(data["landmark_triangles"]),
        landmark_barycentric=as_float(data["landmark_barycentric"]),
        landmark_offset=as_float(data["landmark_offset_mm"] / 1000),
        landmark_sigma=as_float(data["landmark_sigma_mm"] / 1000),
        oval_landmarks=as_long(data["oval_landmarks"]),
        face_weight=as_float(data["face_weight"]),
        eye_vertices=as_long(eyes),
        eye_template=as_float(data["eye_mm"] / 1000),
        lid_vertices=as_long(data["lid_vertices"]),
    )


def neutral_vertices(
    model: HeadModel, identity: Float[Tensor, "K"], vertex_offset: Float[Tensor, "V 3"] | None = None
) -> Float[Tensor, "V 3"]:
    """The neutral head of an identity (coefficients in standard deviations), plus free offsets if given."""
    flat = identity @ model.identity_modes.flatten(1)
    vertices = model.mean + flat.view_as(model.mean)
    return vertices if vertex_offset is None else vertices + vertex_offset


def eye_centres(model: HeadModel, neutral: Float[Tensor, "V 3"]) -> Float[Tensor, "2 3"]:
    """The centres of the left and the right eyeball."""
    return neutral[model.eye_vertices].mean(1) - model.eye_template.mean(0)


def expression_morphs(model: HeadModel, neutral: Float[Tensor, "V 3"]) -> Float[Tensor, "52 V 3"]:
    """The displacements of the 52 expressions for this head.

    Blinks are rescaled so that the lids of this identity just meet; eyeLook* turn the eyeballs.
    """
    morphs = model.expression_modes.clone()
    for side, name in enumerate(("eyeBlinkLeft", "eyeBlinkRight")):
        index = ARKIT_NAMES.index(name)
        morphs[index] *= _blink_scale(neutral, morphs[index], model.lid_vertices[side])
    for side, end in enumerate(("Left", "Right")):
        outward = 1.0 if side == 0 else -1.0
        for name, yaw, pitch in (("Up", 0, 1), ("Down", 0, -1), ("Out", outward, 0), ("In", -outward, 0)):
            turn = gaze_rotation(torch.tensor([yaw * LOOK_RAD, pitch * LOOK_RAD]))
            moved = model.eye_template @ turn.T - model.eye_template
            morphs[ARKIT_NAMES.index(f"eyeLook{name}{end}"), model.eye_vertices[side]] = moved
    return morphs


def posed_vertices(
    model: HeadModel,
    neutral: Float[Tensor, "V 3"],
    expression: Float[Tensor, "52"],
    gaze_rad: Float[Tensor, "2 2"],
    morphs: Float[Tensor, "52 V 3"] | None = None,
) -> Float[Tensor, "V 3"]:
    """The head with an expression and its eyeballs turned. Differentiable in neutral, expression and gaze.

    The gaze alone turns the eyeballs; eyeLook* move only the lids here.

    Args:
        gaze_rad: (left, right) x (yaw to the subject's left, pitch up).
        morphs: of this identity; those of the mean head if None.
    """
    modes = model.expression_modes if morphs is None else morphs
    moved = neutral + (expression @ modes.flatten(1)).view_as(neutral)
    centres = eye_centres(model, neutral)
    balls = [
        (neutral[vertices] - centre) @ gaze_rotation(gaze).T + centre
        for vertices, centre, gaze in zip(model.eye_vertices, centres, gaze_rad, strict=True)
    ]
    return moved.index_copy(0, model.eye_vertices.flatten(), torch.cat(balls))


def gaze_rotation(gaze_rad: Float[Tensor, "2"]) -> Float[Tensor, "3 3"]:
    """The rotation of an eyeball that looks along +Z to (yaw to the subject's left, pitch up)."""
    zero = torch.zeros_like(gaze_rad[0])
    yaw = rotation_from_vector(torch.stack([zero, gaze_rad[0], zero]))
    return yaw @ rotation_from_vector(torch.stack([-gaze_rad[1], zero, zero]))


def landmark_points(model: HeadModel, vertices: Float[Tensor, "V 3"]) -> Float[Tensor, "478 3"]:
    """Where the detector is expected to see its 478 landmarks on these vertices."""
    corners = vertices[model.landmark_triangles]
    return (corners * model.landmark_barycentric[..., None]).sum(1) + model.landmark_offset


def render_vertices(model: HeadModel, vertices: Float[Tensor, "V 3"]) -> Float[Tensor, "N 3"]:
    """Per-vertex values carried from welded to render vertices."""
    return vertices[model.render_vertex]


def _split_by_uv(quads: np.ndarray, corner_uv: np.ndarray, quad_part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Control quads over render vertices: corners share one where vertex, part and UV agree."""
    rounded = np.round(corner_uv.reshape(-1, 2) * 1e6).astype(np.int64)
    keys = np.column_stack([np.repeat(quad_part, 4).astype(np.int64), quads.ravel(), rounded])
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return index.reshape(-1, 4), corner_uv.reshape(-1, 2)[first]


def _with_eyes(smooth: sparse.csr_matrix, modes_mm: np.ndarray, eyes_mm: np.ndarray) -> Tensor:
    """[K, V, 3] modes in metres: the skin's subdivided, then the two eyeballs'."""
    count = len(modes_mm)
    flat = np.ascontiguousarray(modes_mm.astype(np.float32).transpose(1, 0, 2)).reshape(modes_mm.shape[1], -1)
    skin = (smooth.astype(np.float32) @ flat).reshape(-1, count, 3).transpose(1, 0, 2)
    both = np.concatenate([skin, eyes_mm.reshape(count, -1, 3)], 1)
    return torch.from_numpy(np.ascontiguousarray(both, np.float32) / 1000)


def _blink_scale(neutral: Tensor, blink: Tensor, lids: Tensor) -> float:
    """The factor of a blink at which the upper lid edge meets the lower one, on average over the middle of the lids."""
    upper, lower = lids
    middle = slice(len(upper) // 4, len(upper) - len(upper) // 4)
    gap = (neutral[upper] - neutral[lower])[middle, 1]
    closing = (blink[lower] - blink[upper])[middle, 1]
    return float((gap.sum() / closing.sum().clamp_min(1e-6)).clamp(0.3, 1.6))
