"""Faces of known shape, photographed by a renderer that shares no code with relit: ICT-FaceKit under Mitsuba 3.

    python -m relit.evaluation.truth --data FOLDER --out FOLDER

draws the seeded identities, renders one frontal photo of each and keeps pictures and true shapes.
"""

import argparse
import json
import math
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.interpolate import RBFInterpolator

from relit.errors import run_script
from relit.evaluation.geometry import closest_points, vertex_areas

COUNT = 20
SEED = 20
SIZE_PX = 512
FRAME_M = 0.30  # height of the picture at the face
SAMPLES = 64
FACE, HEAD, NARROW_FACE = 9409, 11248, 6706  # ICT vertex ranges: full face, with head and neck, narrow face
EYES = (21451, 23021, 24591)  # first vertices of the eyeballs, and the end
# The 68 Multi-PIE landmarks on the CC0 MakeHuman base mesh (vertex numbers of base.obj), in the order of ICT's own list.
MAKEHUMAN_68 = (
    870, 5236, 5092, 910, 737, 3698, 5294, 5221, 732, 11831, 11900, 10366, 7457, 7612, 11707, 11845, 7575, 262, 232, 222,
    223, 228, 7001, 6997, 6996, 7005, 7031, 133, 131, 201, 5054, 360, 314, 343, 7077, 7121, 1062, 6762, 1073, 69, 1070,
    1067, 6853, 7765, 13358, 7754, 7759, 7762, 402, 447, 460, 455, 7219, 7207, 7162, 7166, 7235, 492, 480, 406, 432, 470,
    474, 7226, 7192, 7226, 523, 470,
)  # fmt: skip
# NoW's seven landmarks: eye corners, base of the nose, mouth corners, among the 68 and among MediaPipe's
SEVEN_OF_68 = (36, 39, 42, 45, 33, 48, 54)
SEVEN_OF_MEDIAPIPE = (33, 133, 362, 263, 2, 61, 291)
SKINS = (
    "young_lightskinned_female_diffuse2.jpg", "middleage_lightskinned_male_diffuse.jpg", "young_eurasian_female_diffuse.jpg",
    "young_darkskinned_male_diffuse.jpg", "middleage_lightskinned_female_diffuse2.jpg", "skin_male_african_middleage.jpg",
    "young_lightskinned_male_diffuse2.jpg", "middleage_eurasian_female_diffuse.jpg",
    "middleage_darkskinned_female_diffuse.jpg", "young_lightskinned_male_diffuse3.jpg",
)  # fmt: skip
LIGHTS = (
    "studio_small_03_1k", "venice_sunset_1k", "st_fagans_interior_1k", "royal_esplanade_1k", "kloppenheim_05_1k",
    "brown_photostudio_02_1k", "aerodynamics_workshop_1k", "lebombo_1k", "urban_alley_01_1k", "empty_warehouse_01_1k",
)  # fmt: skip
BROW = (0.035, 0.022, 0.015)  # linear
IRISES = ((0.10, 0.05, 0.025), (0.17, 0.24, 0.30), (0.16, 0.10, 0.04), (0.13, 0.17, 0.09))  # linear


@dataclass(frozen=True)
class TrueFace:
    """A face whose shape is known, and where its photo lies."""

    name: str
    photo: Path
    points: np.ndarray  # [N, 3] metres: vertices of the narrow face that the camera sees
    weight: np.ndarray  # [N] area each stands for
    landmarks: np.ndarray  # [7, 3] eye corners, base of the nose, mouth corners
    focal_35mm: float


@dataclass(frozen=True)
class _Ict:
    neutral: np.ndarray  # [V, 3] metres
    identity: np.ndarray  # [100, V, 3] metres per standard deviation
    triangles: np.ndarray  # [T, 3]
    landmarks_68: np.ndarray


@cache
def _load_ict(data: Path) -> _Ict:
    folder = data / "ict_facekit"
    with np.load(folder / "ict_facekit.npz") as file:
        quads = file["polygons"]
        triangles = np.concatenate([quads[:, :3], quads[quads[:, 3] >= 0][:, [0, 2, 3]]])
        neutral, identity = file["neutral_cm"] / 100.0, file["identity_cm"].astype(np.float32) / 100
    landmarks = json.loads((folder / "vertex_indices.json").read_text())["idx_to_landmark_verts"]
    return _Ict(neutral.astype(float), identity, triangles.astype(np.int64), np.array(landmarks))


def true_faces(data: Path, out: Path, count: int = COUNT, on_step=lambda done, total: None) -> list[TrueFace]:
    """`count` seeded ICT identities with unit Gaussian weights, each with a rendered photo; pictures that exist are kept.

    Args:
        data: folder with ict_facekit, makehuman_mesh, makehuman_skins and hdri.
        out: where the photos `ict_NN.png` go.

    Source: shapes, ICT-FaceKit (Li et al. 2020); skins, MakeHuman (CC0); light, Poly Haven (CC0); Mitsuba 3.
    """
    ict = _load_ict(data)
    out.mkdir(parents=True, exist_ok=True)
    faces = []
    for index in range(count):
        rng = np.random.default_rng([SEED, index])
        shape = ict.neutral + np.einsum("k,kvc->vc", rng.normal(size=100), ict.identity)
        camera_from_head, fov_deg, focal_35mm = _portrait_camera(rng)
        photo = out / f"ict_{index:02d}.png"
        if not photo.exists():
            with tempfile.TemporaryDirectory() as folder:
                picture = _render(ict, shape, data, index, rng, camera_from_head, fov_deg, folder)
            Image.fromarray(picture).save(photo)
        seen = _seen_from(ict, shape, np.linalg.inv(camera_from_head)[:3, 3])
        areas = vertex_areas(shape, ict.triangles[(ict.triangles < NARROW_FACE).all(1)])
        landmarks = shape[ict.landmarks_68[list(SEVEN_OF_68)]]
        faces.append(TrueFace(photo.stem, photo, shape[seen], areas[seen], landmarks, focal_35mm))
        on_step(index + 1, count)
    return faces


def _portrait_camera(rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """A camera 0.6 to 1 m away (50 to 85 mm equivalent) before a nearly frontal face: matrix, field of view, focal."""
    focal_35mm = rng.uniform(50, 85)
    side = 43.27 / math.sqrt(2)  # the square sensor with the diagonal of 36 x 24 mm
    distance = FRAME_M * focal_35mm / side
    yaw, pitch = np.deg2rad(rng.normal(0, 3, 2))
    turn_yaw = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    turn_pitch = np.array([[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]])
    camera_from_head = np.eye(4)
    camera_from_head[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ turn_yaw @ turn_pitch
    centre = np.array([0.0, -0.01, 0.05])
    camera_from_head[:3, 3] = [0, 0, distance] - camera_from_head[:3, :3] @ centre
    return camera_from_head, math.degrees(2 * math.atan(side / (2 * focal_35mm))), focal_35mm


def _seen_from(ict: _Ict, shape: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """Indices of narrow-face vertices that face the camera and that nothing hides from it."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    skin = ict.triangles[(ict.triangles < HEAD).all(1)]
    normals = _vertex_normals(shape[:HEAD], skin)
    towards = eye - shape[:HEAD]
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    scene = EmbreeScene()
    TriangleMesh(scene, shape[skin].astype(np.float32))
    start = (shape[:HEAD] + 2e-4 * normals + 2e-4 * towards).astype(np.float32)
    free = scene.run(start, towards.astype(np.float32)) < 0
    facing = (normals * towards).sum(1) > 0.15
    return np.flatnonzero(free & facing & (np.arange(HEAD) < NARROW_FACE))


def _vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], face)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-20)


@cache
def _makehuman_uv(data: Path) -> np.ndarray:
    """[HEAD, 2] MakeHuman texture coordinates of ICT's skin vertices, by a thin-plate warp through 68 landmarks."""
    positions, uv, faces, face_uv = [], [], [], []
    group = ""
    for line in (data / "makehuman_mesh" / "base.obj").read_text().splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            positions.append([float(x) for x in rest[:3]])
        elif kind == "vt":
            uv.append([float(x) for x in rest[:2]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f" and group == "body":
            corners = [tuple(int(x) - 1 for x in corner.split("/")[:2]) for corner in rest]
            for i in range(1, len(corners) - 1):
                faces.append([corners[0][0], corners[i][0], corners[i + 1][0]])
                face_uv.append([corners[0][1], corners[i][1], corners[i + 1][1]])
    positions, uv, faces, face_uv = np.array(positions), np.array(uv), np.array(faces), np.array(face_uv)
    ict = _load_ict(data)
    chosen = np.unique(MAKEHUMAN_68, return_index=True)[1]
    source = positions[np.array(MAKEHUMAN_68)[chosen]]
    target = ict.neutral[ict.landmarks_68[chosen]]
    warp = RBFInterpolator(source, target, kernel="thin_plate_spline", smoothing=1e-3)
    head = positions[:, 1] > source[:, 1].min() - 1.5  # decimetres: down to the neck
    keep = head[faces].all(1)
    warped = np.full_like(positions, 1e3)
    warped[head] = warp(positions[head])
    faces, face_uv = faces[keep], face_uv[keep]
    normals = _vertex_normals(ict.neutral[:HEAD], ict.triangles[(ict.triangles < HEAD).all(1)])
    outside = ict.neutral[:HEAD] + 0.004 * normals  # seen from outside, the mouth's inner surface is never the nearest
    near = closest_points(outside, warped, faces)
    return _uv_at(near, warped[faces], uv[face_uv])


def _uv_at(points: np.ndarray, corners: np.ndarray, corner_uv: np.ndarray) -> np.ndarray:
    """Texture coordinates of points that lie on triangles `corners` [T, 3, 3]."""
    from scipy.spatial import cKDTree

    _, candidates = cKDTree(corners.mean(1)).query(points, k=24)
    a, b, c = (corners[candidates][:, :, i] for i in range(3))
    ab, ac, ap = b - a, c - a, points[:, None] - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = (d00 * d11 - d01 * d01).clip(1e-30)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    weights = np.stack([1 - v - w, v, w], -1).clip(0, 1)
    weights /= weights.sum(-1, keepdims=True)
    back = (weights[..., None] * corners[candidates]).sum(2)
    best = ((back - points[:, None]) ** 2).sum(-1).argmin(1)
    rows = np.arange(len(points))
    return (weights[rows, best][..., None] * corner_uv[candidates[rows, best]]).sum(1)


def _skin_colours(data: Path, name: str, uv: np.ndarray) -> np.ndarray:
    """[N, 3] linear albedo of a MakeHuman skin at texture coordinates, bilinear."""
    crop = json.loads((data / "makehuman_skins" / "crop.json").read_text())
    picture = np.asarray(Image.open(data / "makehuman_skins" / name).convert("RGB")) / 255.0
    full, (left, top, *_) = np.array(crop["full_texture_px"]), crop["crop_box_px"]
    at = np.stack([uv[:, 0], 1 - uv[:, 1]], 1) * full - [left, top] - 0.5
    at = at.clip(0, np.array(picture.shape[1::-1]) - 1.001)
    low = at.astype(int)
    part = at - low
    colour = 0.0
    for dx in (0, 1):
        for dy in (0, 1):
            share = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
            colour = colour + share[:, None] * picture[low[:, 1] + dy, low[:, 0] + dx]
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def _subdivided(attributes: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each triangle cut into four at its edge midpoints; attributes [V, C] are averaged."""
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    unique, index = np.unique(edges, axis=0, return_inverse=True)
    middle = np.concatenate([attributes, attributes[unique].mean(1)])
    ab, bc, ca = index.reshape(3, -1) + len(attributes)
    a, b, c = triangles.T
    cut = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return middle, cut


def _brow_cover(ict: _Ict, neutral: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[N] how much of the skin brow hairs hide, in [0, 0.85]: strokes along ICT's brow landmarks."""
    cover = np.zeros(len(neutral))
    for landmarks in (range(17, 22), range(26, 21, -1)):  # from the temple to the nose
        line = ict.neutral[ict.landmarks_68[list(landmarks)]] - [0, 0.0035, 0]
        along = np.linspace(0, 1, 60)
        line = np.stack([np.interp(along, np.linspace(0, 1, 5), line[:, axis]) for axis in range(3)], 1)
        offset = neutral[:, None, :2] - line[None, :, :2]
        squared = (offset**2).sum(-1)
        nearest = squared.argmin(1)
        half_width = 0.0022 + 0.0038 * along[nearest]
        share = 1 - np.sqrt(squared.min(1)) / half_width
        cover = np.maximum(cover, (2.5 * share).clip(0, 1) * (neutral[:, 2] > 0.05))
    return cover * rng.uniform(0.45, 0.85, len(neutral))


def _brightest_azimuth_deg(radiance: np.ndarray) -> float:
    """The azimuth about +Y, from +Z towards +X, of an environment's mean light (Mitsuba's orientation)."""
    height, width = radiance.shape[:2]
    weight = (radiance[..., :3].clip(0, 20) @ [0.2126, 0.7152, 0.0722]) * np.sin((np.arange(height) + 0.5) / height * np.pi)[
        :, None
    ]
    around = (np.arange(width) + 0.5) / width * 2 * np.pi
    return math.degrees(math.atan2(weight.sum(0) @ np.sin(around), -(weight.sum(0) @ np.cos(around))))


def _eye_colours(ict: _Ict, iris: np.ndarray) -> np.ndarray:
    """[eye vertices, 3] sclera, iris with a dark rim, and pupil, by distance from the optical axis."""
    colours = []
    for first, end in zip(EYES[:-1], EYES[1:], strict=True):
        points = ict.neutral[first:end]
        off_axis = 1e3 * np.linalg.norm((points - (points.max(0) + points.min(0)) / 2)[:, :2], axis=1)
        front = points[:, 2] > points[:, 2].mean()
        ring = np.where(off_axis < 1.9, 0.02, np.where(off_axis < 5.2, 1.0, 0.35))
        colour = np.where(((off_axis < 5.9) & front)[:, None], ring[:, None] * iris, [0.55, 0.51, 0.47])
        colours.append(colour)
    return np.concatenate(colours)


def _write_ply(path: Path, vertices: np.ndarray, normals: np.ndarray, colours: np.ndarray, triangles: np.ndarray) -> None:
    names = "x y z nx ny nz r g b".split()
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property float {name}" for name in names]
    header += [f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header\n"]
    rows = np.concatenate([vertices, normals, colours], 1).astype("<f4")
    corners = np.zeros(len(triangles), dtype=[("count", "u1"), ("index", "<i4", 3)])
    corners["count"], corners["index"] = 3, triangles
    path.write_bytes("\n".join(header).encode() + rows.tobytes() + corners.tobytes())


def _render(ict, shape, data, index, rng, camera_from_head, fov_deg, folder: str) -> np.ndarray:
    """One picture of the head under an environment, coded as sRGB; meshes pass through the folder."""
    import mitsuba as mi

    mi.set_variant("scalar_rgb")
    skin_triangles = ict.triangles[(ict.triangles < HEAD).all(1)]
    normals = _vertex_normals(shape[:HEAD], skin_triangles)
    skin = np.concatenate([shape[:HEAD], normals, _makehuman_uv(data), ict.neutral[:HEAD]], 1)
    for _ in range(2):
        skin, skin_triangles = _subdivided(skin, skin_triangles)
    colours = _skin_colours(data, SKINS[index % len(SKINS)], skin[:, 6:8])
    brow = _brow_cover(ict, skin[:, 8:], rng)[:, None]
    colours = colours * (1 - brow) + brow * BROW
    parts = {"skin": (skin[:, :3], skin[:, 3:6], colours, skin_triangles)}
    eyes = ict.triangles[((ict.triangles >= EYES[0]) & (ict.triangles < EYES[-1])).all(1)] - EYES[0]
    eye_points = shape[EYES[0] : EYES[-1]]
    dark_skin = any(word in SKINS[index % len(SKINS)] for word in ("dark", "african"))
    iris = np.array(IRISES[0 if dark_skin else index % len(IRISES)])
    parts["eyes"] = (eye_points, _vertex_normals(eye_points, eyes), _eye_colours(ict, iris), eyes)
    gloss = {"skin": (0.5, 0.35), "eyes": (0.08, 0.5)}
    scene = {"type": "scene", "integrator": {"type": "path", "max_depth": 5}}
    for name, (vertices, normals, colour, triangles) in parts.items():
        path = Path(folder) / f"{name}.ply"
        _write_ply(path, vertices, normals, colour, triangles)
        roughness, specular = gloss[name]
        surface = {
            "type": "principled",
            "base_color": {"type": "mesh_attribute", "name": "vertex_color"},
            "roughness": roughness,
            "specular": specular,
        }
        scene[name] = {"type": "ply", "filename": str(path), "bsdf": {"type": "twosided", "material": surface}}
    light = data / "hdri" / f"{LIGHTS[(3 * index) % len(LIGHTS)]}.hdr"
    brightest = _brightest_azimuth_deg(np.array(mi.Bitmap(str(light)), dtype=float))
    # a portrait is taken with the light before the face: within 60 degrees of the camera
    turn = mi.ScalarTransform4f().rotate([0, 1, 0], float(rng.uniform(-60, 60) - brightest))
    scene["light"] = {"type": "envmap", "filename": str(light), "to_world": turn}
    # Mitsuba's camera looks along +Z with +X to the left of the picture and +Y up
    to_world = np.linalg.inv(camera_from_head) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    film = {"type": "hdrfilm", "width": SIZE_PX, "height": SIZE_PX, "pixel_format": "rgb", "rfilter": {"type": "gaussian"}}
    scene["sensor"] = {
        "type": "perspective",
        "fov": fov_deg,
        "to_world": mi.ScalarTransform4f(to_world),
        "film": film,
        "sampler": {"type": "multijitter", "sample_count": SAMPLES, "seed": index},
    }
    picture = np.array(mi.render(mi.load_dict(scene)))
    middle = picture[SIZE_PX // 4 : -SIZE_PX // 4, SIZE_PX // 4 : -SIZE_PX // 4]
    linear = (picture * 0.24 / (middle @ [0.2126, 0.7152, 0.0722]).mean()).clip(0, 1)  # centre-weighted metering
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (coded * 255 + 0.5).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with ict_facekit, makehuman_* and hdri")
    parser.add_argument("--out", type=Path, default=Path("results/ict"), help="where the pictures go")
    parser.add_argument("--count", type=int, default=COUNT)
    arguments = parser.parse_args()
    step = lambda done, total: print(f"{done}/{total}", flush=True)  # noqa: E731
    true_faces(arguments.data, arguments.out, arguments.count, step)


if __name__ == "__main__":
    run_script(main)
