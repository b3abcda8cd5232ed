"""Reads test sets: photographs of subjects whose shape, skin, light and camera are known.

A set is a folder with `dataset.json` (name, coding, SHA-256 of every shard) and tar shards. A subject `s00` has its maps,
shape and record; its photos `s00_a`, `s00_b`, ... have a picture, labels and a record. Folders that
`relit synth --kind photo` wrote are read as well: there every photo is a subject of its own.
"""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from relit.appearance.colour import linear_from_srgb
from relit.errors import InputError
from relit.models.registry import cards
from relit.synth.sample import F0_SCALE, MICRON_ZERO
from relit.synth.subject import draw_subject, neutral_of
from relit.types import Camera, Lighting, Photo, ReflectanceMaps

MANIFEST = "dataset.json"
SHAPE_UNIT_M = 2e-5
REMEDY = "get the set again, or make it again with the command in its dataset.json"
GARMENT = 9  # of mask.png: cloth before the skin
SETS_FOLDER = "testsets"


@dataclass(frozen=True)
class TruthSet:
    """An opened set: where every file lies. Its photos are in the order in which they should be evaluated."""

    name: str
    folder: Path
    photos: tuple[str, ...]  # all first photos, then all second ones, ...
    subjects: tuple[str, ...]
    places: dict[str, tuple[str, int, int]]  # member -> shard, offset, bytes
    drawn: tuple[int, str] | None  # seed and split, of sets that `relit synth` wrote

    def subject_of(self, photo: str) -> str:
        """The subject's key of a photo's key."""
        return photo if self.drawn else photo.partition("_")[0]


@dataclass(frozen=True)
class TrueSubject:
    """Who is in a photo."""

    key: str
    neutral: Tensor  # (V, 3) metres, welded vertices of the head model
    maps: ReflectanceMaps
    record: dict


@dataclass(frozen=True)
class TruePhoto:
    """What is known of a photo. Labels are those of pixels' centres."""

    key: str
    photo: Photo  # as a method gets it: without focal length
    camera: Camera
    lighting: Lighting
    expression: Tensor  # (52,)
    gaze_rad: Tensor  # (2, 2)
    landmarks_px: Tensor  # (478, 2)
    part: np.ndarray  # (H, W) 0 background, 1 + index into PARTS, GARMENT
    cover: np.ndarray  # (H, W) [0, 1] of hair and of things worn before the face
    tags: tuple[str, ...]


def open_testset(data: str | Path) -> TruthSet:
    """The set in a folder, or the shipped one of a name, checked against its manifest.

    Raises:
        InputError: it is missing, incomplete, altered, or made for another head model; says what and what to do.
    """
    folder = find_folder(data)
    text = (folder / MANIFEST).read_bytes()
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise InputError(f"{folder / MANIFEST} is damaged ({error}); {REMEDY}") from None
    order = manifest.get("order")
    if order and order["kind"] != "photo":
        raise InputError(f"{folder} holds no photos but {order['kind']!r} samples; make some with relit synth --kind photo")
    _check_assets(folder, manifest.get("assets", {}))
    shards = _shards(folder, manifest)
    places = {}
    for path in shards:
        try:
            with tarfile.open(path) as shard:
                places |= {member.name: (path.name, member.offset_data, member.size) for member in shard}
        except tarfile.TarError as error:
            raise InputError(f"{path} is damaged ({error}); {REMEDY}") from None
    keys = {name.partition(".")[0] for name in places}
    photos = sorted({name.partition(".")[0] for name in places if name.endswith(".photo.jpg")}, key=_first_light_first)
    if not photos:
        raise InputError(f"{folder} holds no photos; {REMEDY}")
    return TruthSet(
        name=manifest.get("name", folder.name),
        folder=folder,
        photos=tuple(photos),
        subjects=tuple(sorted(keys - set(photos))) if not order else tuple(photos),
        places=places,
        drawn=(order["seed"], order["split"]) if order else None,
    )


def read_subject(data: TruthSet, key: str) -> TrueSubject:
    """The truth of a subject.

    Raises:
        InputError: a file of it is missing or damaged.
    """
    record = _record(data, key)
    if data.drawn:
        subject = draw_subject(data.drawn[0], int(key), data.drawn[1])
        neutral = neutral_of(subject, _model())
    else:
        neutral = _decoded(_shape, _file(data, f"{key}.shape.npz"), f"{key}.shape.npz")
        if neutral.shape != _model().mean.shape:
            counts = f"{len(neutral)} vertices, the head model {len(_model().mean)}"
            raise InputError(f"{key} in {data.folder} has {counts}; {REMEDY}")
    picture = lambda name: torch.from_numpy(_picture(data, f"{key}.{name}"))  # noqa: E731
    unit = lambda name: normalize(picture(name).float() / 127.5 - 1, dim=-1)  # noqa: E731
    albedo = linear_from_srgb(picture("albedo").float() / 255)
    size = albedo.shape[:2]
    occlusion = f"{key}.occlusion.png" in data.places
    maps = ReflectanceMaps(
        diffuse_albedo=albedo,
        specular_albedo=_single(picture("specular")).float() / 255 * F0_SCALE,
        roughness=_single(picture("roughness")).float() / 255,
        diffuse_normal=unit("diffuse_normal"),
        specular_normal=unit("specular_normal"),
        displacement_mm=(_single(picture("displacement")).float() - MICRON_ZERO) / 1000,
        occlusion=_single(picture("occlusion")).float() / 255 if occlusion else torch.ones(size),
        confidence=torch.ones(size),
    )
    return TrueSubject(key, neutral, maps, record)


def read_photo(data: TruthSet, key: str) -> TruePhoto:
    """A photo and what is known of it.

    Raises:
        InputError: a file of it is missing or damaged.
    """
    record = _record(data, key)
    rgb = _picture(data, f"{key}.photo")
    height, width = rgb.shape[:2]
    if data.drawn:
        subject = draw_subject(data.drawn[0], int(key), data.drawn[1])
        expression, gaze = torch.from_numpy(subject.expression), torch.from_numpy(subject.gaze_rad)
    else:
        expression = torch.tensor(record["expression"], dtype=torch.float32)
        gaze = torch.tensor(record.get("gaze_rad", [[0, 0], [0, 0]]), dtype=torch.float32)
    light, camera = record["light"], record["camera"]
    numbers = lambda values, *shape: torch.tensor(values, dtype=torch.float32).reshape(shape)  # noqa: E731
    covering = [f"{key}.{name}" for name in ("hair", "occluder") if f"{key}.{name}.png" in data.places]
    covers = [_single(_picture(data, stem)) / 255 for stem in covering]
    return TruePhoto(
        key=key,
        photo=Photo(key, linear_from_srgb(torch.from_numpy(rgb).float() / 255), None, (width, height)),
        camera=Camera(
            numbers(camera["focal_px"], *()),
            numbers(camera["centre_px"], 2),
            tuple(camera["size_px"]),
            numbers(camera["camera_from_head"], 4, 4),
        ),
        lighting=Lighting(
            numbers(light["sh"], 81, 3), numbers(light["directions"], -1, 3), numbers(light["irradiance"], -1, 3)
        ),
        expression=expression,
        gaze_rad=gaze.float().reshape(2, 2),
        landmarks_px=numbers(record["landmarks_px"], 478, 2),
        part=_single(_picture(data, f"{key}.mask")),
        cover=np.max(covers, axis=0).astype(np.float32) if covers else np.zeros((height, width), np.float32),
        tags=tuple(record.get("tags", ())),
    )


def fingerprint_of(data: TruthSet, keys: tuple[str, ...]) -> str:
    """Sixteen digits that stand for all files of some subjects and photos."""
    digest = hashlib.sha256()
    for name in sorted(name for name in data.places if name.partition(".")[0] in keys):
        digest.update(name.encode() + _file(data, name))
    return digest.hexdigest()[:16]


def find_folder(data: str | Path) -> Path:
    """The folder of a set: the one given, or the one of that name under `testsets` here or beside the package.

    Raises:
        InputError: there is none with a dataset.json.
    """
    beside = Path(__file__).resolve().parents[3] / SETS_FOLDER
    candidates = [Path(data), Path(SETS_FOLDER) / data, beside / data]
    for folder in candidates:
        if (folder / MANIFEST).is_file():
            return folder
    known = sorted({path.parent.name for base in (Path(SETS_FOLDER), beside) for path in base.glob(f"*/{MANIFEST}")})
    hint = f"sets here: {', '.join(known)}" if known else f"no set lies in {SETS_FOLDER}/"
    raise InputError(f"{data} is no test set (no {MANIFEST} in it); {hint}")


def _first_light_first(photo: str) -> tuple[str, str]:
    subject, _, letter = photo.partition("_")
    return letter, subject


def _model():
    from relit.models.head import load_head_model

    return load_head_model()


def _check_assets(folder: Path, assets: dict) -> None:
    """The truth's vertices and texels mean something in the head model that they were made with only."""
    known = cards()
    wanted = assets.get("head")
    if wanted is not None and wanted != known["head"]["sha256"]:
        raise InputError(f"{folder} was made with another head model ({wanted[:12]}...); {REMEDY}")


def _shards(folder: Path, manifest: dict) -> list[Path]:
    """The shards, each with the SHA-256 that the manifest gives where it gives one."""
    hashes = {entry["file"]: entry["sha256"] for entry in manifest.get("shards", ())}
    paths = [folder / name for name in hashes] or sorted(folder.glob("shard-*.tar"))
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} is missing; {REMEDY}")
        if path.name in hashes and hashlib.sha256(path.read_bytes()).hexdigest() != hashes[path.name]:
            raise InputError(f"{path} is not the file that {MANIFEST} names (its SHA-256 differs); {REMEDY}")
    if not paths:
        raise InputError(f"{folder} holds no shards; {REMEDY}")
    return paths


def _file(data: TruthSet, name: str) -> bytes:
    if name not in data.places:
        raise InputError(f"{name} is missing in {data.folder}; {REMEDY}")
    shard, offset, size = data.places[name]
    with (data.folder / shard).open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _record(data: TruthSet, key: str) -> dict:
    return _decoded(json.loads, _file(data, f"{key}.json"), key)


def _decoded(decode, content: bytes, what: str):
    try:
        return decode(content)
    except Exception as error:
        raise InputError(f"{what} is damaged ({type(error).__name__}: {error}); {REMEDY}") from None


def _shape(content: bytes) -> Tensor:
    """(V, 3) metres from the differences of neighbouring vertices, in steps of SHAPE_UNIT_M."""
    steps = np.load(io.BytesIO(content), allow_pickle=False)["steps"]
    return torch.from_numpy(np.cumsum(steps.astype(np.int64), 0) * SHAPE_UNIT_M).float()


def _picture(data: TruthSet, stem: str) -> np.ndarray:
    """An image member of any coding, RGB order; 8 or 16 bit as stored."""
    name = next((f"{stem}.{end}" for end in ("png", "webp", "jpg") if f"{stem}.{end}" in data.places), f"{stem}.png")
    content = _file(data, name)
    if name.endswith(".png"):
        found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if found is None:
            raise InputError(f"{name} in {data.folder} is no picture; {REMEDY}")
        return np.ascontiguousarray(found[..., ::-1]) if found.ndim == 3 else found
    return _decoded(lambda data: np.array(Image.open(io.BytesIO(data)).convert("RGB")), content, name)


def _single(picture):
    """One channel of a picture that was stored as grey or as colour."""
    return picture if picture.ndim == 2 else picture[..., 0]
