"""The morphable head: mean, identity and expression modes, eyes, lids, topology, UV layout and landmark embedding."""

import json
import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from safetensors import safe_open
from torch import Tensor

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
EYE_RADIUS_MM, CORNEA_RADIUS_MM, IRIS_RADIUS_MM = 12.0, 7.8, 5.9
LIMBUS_POLAR = math.asin(IRIS_RADIUS_MM / EYE_RADIUS_MM)  # angle between the gaze and the edge of the iris
EYE_POLAR_MAX = math.radians(140)  # the eyeball ends here, behind
EYE_UV_CENTRES = ((0.91, 0.941), (0.09, 0.941))  # discs of the left and the right eyeball
EYE_UV_RADIUS = 0.085  # along u; two thirds of it along v
BLINK_STEPS, BLINK_DIP_M, BLINK_OFF_M = 12, 5e-4, 7e-4
LOWER_LID_SHARE = 0.15  # of the opening that the lower lid closes, in the middle
IRIS_UV_SHARE = 0.6  # of the disc's radius, at the edge of the iris


def eyeball_radius_mm(cosine):
    """Distance of the eyeball's surface from its centre (mm), for the cosine of the angle to the gaze: tensor or array.

    Source: sclera 12 mm, cornea 7.8 mm in radius, visible iris 5.9 mm; the limbus is a smooth union of the spheres.
    """
    depth = math.sqrt(EYE_RADIUS_MM**2 - IRIS_RADIUS_MM**2) - math.sqrt(CORNEA_RADIUS_MM**2 - IRIS_RADIUS_MM**2)
    cornea = depth * cosine + (CORNEA_RADIUS_MM**2 - depth**2 * (1 - cosine * cosine)) ** 0.5
    return 0.5 * (cornea + EYE_RADIUS_MM + ((cornea - EYE_RADIUS_MM) ** 2 + 0.01) ** 0.5)


def eye_disc_radius(polar):
    """Share of the UV disc's radius at an angle from the gaze (rad): equidistant, with more room for the iris."""
    inner = polar / LIMBUS_POLAR * IRIS_UV_SHARE
    outer = IRIS_UV_SHARE + (polar - LIMBUS_POLAR) / (EYE_POLAR_MAX - LIMBUS_POLAR) * (1 - IRIS_UV_SHARE)
    return inner if polar <= LIMBUS_POLAR else outer


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
    lid_vertices: Int[Tensor, "2 H"]  # lids and skin around them, left and right
    lid_distance: Float[Tensor, "H"]  # of the mean head's lids from the eyeball's centre
    lid_hold: Float[Tensor, "H"]  # [0, 1] how far a lid vertex keeps that distance in every identity
    lid_gap: Float[Tensor, "H"]  # least distance from the eyeball's surface
    lid_column: Float[Tensor, "H"]  # place between the inner (0) and the outer (M - 1) corner of the eye
    lid_edges: Int[Tensor, "2 2 M 2"]  # (left, right) x (upper, lower) x corner to corner: a lid edge point lies
    lid_edge_share: Float[Tensor, "2 2 M"]  # ... between two vertices, at this share of the way to the second


@lru_cache(maxsize=2)
def load_head_model(name: str = "relit") -> HeadModel:
    """The shipped head model, subdivided once.

    Raises:
        AssetMissing, AssetCorrupt: the file is not there or not the recorded one.
        ValueError: there is no such model.
    """
    from relit.models.head_file import assemble

    if name != "relit":
        raise ValueError(f"the shipped head model is called 'relit', got {name!r}; see relit.models.head_import")
    with safe_open(asset_path("head"), framework="np") as file:
        data = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = json.loads((file.metadata() or {}).get("relit", "{}"))
    if tuple(metadata.get("expressions", ())) != ARKIT_NAMES:
        raise ValueError("head.safetensors lists its expressions in another order than ARKIT_NAMES")
    return assemble(data)


def neutral_vertices(
    model: HeadModel, identity: Float[Tensor, "K"], vertex_offset: Float[Tensor, "V 3"] | None = None
) -> Float[Tensor, "V 3"]:
    """The neutral head of an identity (coefficients in standard deviations), plus free offsets if given.

    The lids are then laid on the eyeballs: lid vertices keep their distance from the eyeball's centre. Differentiable.
    """
    vertices = model.mean + (identity @ model.identity_modes.flatten(1)).view_as(model.mean)
    if vertex_offset is not None:
        vertices = vertices + vertex_offset
    ahead = vertices.new_tensor([0.0, 0.0, 1.0])
    moved = []
    for ids, centre in zip(model.lid_vertices, eye_centres(model, vertices), strict=True):
        arm = vertices[ids] - centre
        length = arm.norm(dim=-1, keepdim=True)
        held = length + model.lid_hold[:, None] * (model.lid_distance[:, None] - length)
        moved.append(_in_front_of_eye(model, centre + arm * (held / length), centre, ahead))
    return vertices.index_copy(0, model.lid_vertices.flatten(), torch.cat(moved))


def eye_centres(model: HeadModel, neutral: Float[Tensor, "V 3"]) -> Float[Tensor, "2 3"]:
    """The centres of the left and the right eyeball."""
    return neutral[model.eye_vertices].mean(1) - model.eye_template.mean(0)


def expression_morphs(
    model: HeadModel, neutral: Float[Tensor, "V 3"], shapes: tuple[int, ...] = tuple(range(len(ARKIT_NAMES)))
) -> Float[Tensor, "E V 3"]:
    """The displacements of the expressions for this head.

    Blinks are rescaled along the lids so that this identity's lids just meet, in front of the eyeball; eyeLook* turn
    the eyeballs.

    Args:
        shapes: those that are wanted, as indices into ARKIT_NAMES; default all 52.
    """
    morphs = model.expression_modes[list(shapes)]
    row = {ARKIT_NAMES[shape]: k for k, shape in enumerate(shapes)}
    centres = eye_centres(model, neutral)
    for side, end in enumerate(("Left", "Right")):
        if (blink := row.get(f"eyeBlink{end}")) is not None:
            morphs[blink] = _blink(model, neutral, morphs[blink], side, centres)
        outward = 1.0 if side == 0 else -1.0
        for name, yaw, pitch in (("Up", 0, 1), ("Down", 0, -1), ("Out", outward, 0), ("In", -outward, 0)):
            if (look := row.get(f"eyeLook{name}{end}")) is not None:
                turn = gaze_rotation(neutral.new_tensor([yaw * LOOK_RAD, pitch * LOOK_RAD]))
                morphs[look, model.eye_vertices[side]] = model.eye_template @ turn.T - model.eye_template
    return morphs


def posed_vertices(
    model: HeadModel,
    neutral: Float[Tensor, "V 3"],
    expression: Float[Tensor, "E"],
    gaze_rad: Float[Tensor, "2 2"],
    morphs: Float[Tensor, "E V 3"] | None = None,
) -> Float[Tensor, "V 3"]:
    """The head with an expression and its eyeballs turned. Differentiable in neutral, expression and gaze.

    The gaze alone turns the eyeballs; eyeLook* move only the lids here. Lids slide over the eyeballs, never through.

    Args:
        gaze_rad: (left, right) x (yaw to the subject's left, pitch up).
        morphs: of this identity, one per weight; all 52 of the mean head if None.
    """
    modes = model.expression_modes if morphs is None else morphs
    moved = neutral + (expression @ modes.flatten(1)).view_as(neutral)
    centres = eye_centres(model, neutral)
    turns = [gaze_rotation(gaze) for gaze in gaze_rad]
    lids = [
        _in_front_of_eye(model, moved[ids], centre, turn[:, 2])
        for ids, centre, turn in zip(model.lid_vertices, centres, turns, strict=True)
    ]
    balls = [
        (neutral[vertices] - centre) @ turn.T + centre
        for vertices, centre, turn in zip(model.eye_vertices, centres, turns, strict=True)
    ]
    places = torch.cat([model.lid_vertices.flatten(), model.eye_vertices.flatten()])
    return moved.index_copy(0, places, torch.cat(lids + balls))


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


def lid_edge_points(model: HeadModel, vertices: Float[Tensor, "V 3"]) -> Float[Tensor, "2 2 M 3"]:
    """Points along the lid edges, (left, right) x (upper, lower) x inner to outer corner."""
    ends = vertices[model.lid_edges]
    return ends[..., 0, :] + model.lid_edge_share[..., None] * (ends[..., 1, :] - ends[..., 0, :])


def _in_front_of_eye(model: HeadModel, lids: Tensor, centre: Tensor, gaze: Tensor) -> Tensor:
    """[H, 3] lid vertices pushed out of the eyeball that looks along the unit vector `gaze`."""
    arm = lids - centre
    length = arm.norm(dim=-1, keepdim=True)
    least = eyeball_radius_mm((arm @ gaze)[:, None] / length) / 1000 + model.lid_gap[:, None]
    return centre + arm * (torch.maximum(length, least) / length)


def _blink(model: HeadModel, neutral: Tensor, blink: Tensor, side: int, centres: Tensor) -> Tensor:
    """[V, 3] the blink of one eye: lids turn about the eyeball's left-right axis until their edges meet.

    The angles of the mean head's blink are scaled column by column along the lids.
    """
    ids, columns = model.lid_vertices[side], model.lid_edges.shape[2]
    x, y, z = (neutral - centres[side]).unbind(1)
    radius, elevation = (y * y + z * z).sqrt(), torch.atan2(y, z)
    # near the axis, at the corners of the eye, the angle is taken at the eyeball's radius: they stay
    turn = (blink[:, 1] * elevation.cos() - blink[:, 2] * elevation.sin()) / radius.clamp_min(EYE_RADIUS_MM / 1000)
    left = model.lid_column.floor().clamp(0, columns - 2).long()
    share = model.lid_column - left
    at_column = lambda values: values[left] * (1 - share) + values[left + 1] * share  # noqa: E731
    ahead = neutral.new_tensor([0.0, 0.0, 1.0])
    open_upper, open_lower = lid_edge_points(model, neutral)[side, :, :, 1]
    edge = lid_edge_points(model, neutral)[side] - centres[side]
    top, bottom = torch.atan2(edge[..., 1], edge[..., 2])
    # the lower lid rises a little in the middle and half way at the corners, where it is steep
    place = torch.linspace(-1, 1, columns, dtype=neutral.dtype)
    rise = (LOWER_LID_SHARE + (0.5 - LOWER_LID_SHARE) * place**4) * (top - bottom)
    below = elevation[ids] < at_column(0.5 * (top + bottom))
    lift = torch.zeros_like(turn).index_copy(0, ids, torch.where(below, model.lid_hold * at_column(rise), 0.0))
    turn = turn.index_copy(0, ids, torch.where(below, 0.0, turn[ids]))
    scale = neutral.new_full((columns,), 0.7)
    turned = lambda x, r, angle: centres[side] + torch.stack([x, r * angle.sin(), r * angle.cos()], 1)  # noqa: E731
    own = x[ids], radius[ids], elevation[ids], turn[ids], lift[ids]
    of_lids = ids.new_zeros(len(neutral)).index_copy(0, ids, torch.arange(len(ids), device=ids.device))
    start, end = of_lids[model.lid_edges[side]].unbind(-1)
    for step in range(BLINK_STEPS):
        used = scale
        closed = turned(*own[:2], own[2] + at_column(used) * own[3] + own[4])
        closed = _in_front_of_eye(model, closed, centres[side], ahead)
        height = closed[:, 1]
        upper, lower = height[start] + model.lid_edge_share[side] * (height[end] - height[start])
        speed = ((open_upper - open_lower) - (upper - lower)).clamp_min(1e-3) / scale
        scale = (scale + 0.8 * (upper - lower) / speed.clamp_min(1e-3)).clamp(0.1, 2.0)
        ends = torch.cat([scale[:1], scale, scale[-1:]])
        smooth = 0.25 if step < BLINK_STEPS // 2 else 0.08
        scale = smooth * ends[:-2] + (1 - 2 * smooth) * ends[1:-1] + smooth * ends[2:]
    outside = skin_vertices(model)[ids] & (model.lid_gap > 0)
    closed = _clear_of_eye(model, neutral[ids], closed, centres[side], ~below & outside)
    # skin that is no lid but moves with it turns by the mean of the columns
    touched = blink.norm(dim=1).index_fill(0, ids, 0) > 1e-6
    moved = torch.zeros_like(neutral)
    angle = elevation[touched] + used.mean() * turn[touched]
    moved[touched] = turned(x[touched], radius[touched], angle) - neutral[touched]
    return moved.index_copy(0, ids, closed - neutral[ids])


@lru_cache(maxsize=2)
def skin_vertices(model: HeadModel) -> Tensor:
    """[V] whether a vertex lies on the skin."""
    corners = model.triangles[model.part == PARTS.index("skin")].flatten()
    return corners.new_zeros(len(model.mean), dtype=torch.bool).index_fill(0, corners, True)


def _clear_of_eye(model: HeadModel, lids: Tensor, closed: Tensor, centre: Tensor, upper: Tensor) -> Tensor:
    """[H, 3] closed lids that stand off as far as the straight path of a morph needs to stay in front of the eyeball.

    Engines move vertices along straight lines, which cut through the eyeball half way; BLINK_DIP_M of it is allowed,
    and a lid moves off by BLINK_OFF_M in each of three rounds at most.
    All of the upper lid above a place stands off alike, so that it keeps its thickness.
    """
    ahead = lids.new_tensor([0.0, 0.0, 1.0])
    column = model.lid_column.round().long()
    for share in (0.35, 0.5, 0.65):
        on_the_way = lids + share * (closed - lids)
        clear = _in_front_of_eye(model, on_the_way, centre, ahead)
        push = torch.where(upper, ((clear - on_the_way).norm(dim=1) - BLINK_DIP_M).clamp_min(0) / share, 0.0)
        most = push.new_zeros(model.lid_edges.shape[2]).scatter_reduce(0, column, push, "amax")
        ends = torch.cat([most[:1], most, most[-1:]])
        most = torch.maximum(most, 0.5 * (ends[:-2] + ends[2:]))
        level = (closed - centre) * closed.new_tensor([1.0, 0.0, 1.0])  # so that the lids go on meeting
        away = torch.where(upper, model.lid_hold, 0.0) * most.clamp_max(BLINK_OFF_M)[column] / level.norm(dim=1)
        closed = closed + away[:, None] * level
    return closed
