"""A small test set in the format of `testsets/`, photographed by relit itself: for tests and for trying the harness."""

import hashlib
import io
import json
import math
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from relit.geometry.camera import project
from relit.models.head import landmark_points, load_head_model
from relit.synth.camera import camera_of, draw_shot, towards_camera
from relit.synth.geometry import pose
from relit.synth.light import draw_scene
from relit.synth.photo import photograph
from relit.synth.sample import CODING, _map_files, _photo_files
from relit.synth.skin import maps_of
from relit.synth.subject import draw_subject, record_of
from relit.synth.uv_pair import baked_occlusion

SEED = 77_001


def write_small_set(folder: Path, subjects: int = 1, letters: tuple[str, ...] = ("a", "b"), maps_px: int = 512) -> Path:
    """Writes one shard of `subjects` subjects with a photo per letter; returns the folder."""
    files: dict[str, bytes] = {}
    for position in range(subjects):
        files |= _subject(position, letters, maps_px)
    folder.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as shard:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))
    (folder / "shard-000.tar").write_bytes(stream.getvalue())
    record = {
        "name": folder.name,
        "split": "test",
        "seed": SEED,
        "coding": {name: CODING[name] for name in CODING if not name.startswith(("lit", "visible", "object", "position"))},
        "shards": [{"file": "shard-000.tar", "sha256": hashlib.sha256(stream.getvalue()).hexdigest()}],
        "licence": "CC0-1.0",
        "command": "tests/fixtures_testset.py",
    }
    (folder / "dataset.json").write_text(json.dumps(record, indent=1) + "\n")
    return folder


def _subject(position: int, letters: tuple[str, ...], maps_px: int) -> dict[str, bytes]:
    model = load_head_model()
    person = draw_subject(SEED, position, "test")
    if position % 2 == 0:
        person = replace(person, hair_style="")
    files, key = {}, f"s{position:02d}"
    for number, letter in enumerate(letters):
        rng = person.rng(60 + number)
        posed = pose(replace(person, expression=person.expression * (0.4 + 0.2 * number)), model, 128, True)
        maps = maps_of(person, maps_px, baked_occlusion(posed, maps_px))
        shot = draw_shot(rng, 0.25)
        turn = math.radians(18 * rng.uniform(-1, 1))
        shot = replace(shot, field_m=0.28, yaw_rad=turn, pitch_rad=0.05, blur_px=0.4, exposure=1.0, rescale=1.0)
        scene = draw_scene("test", towards_camera(shot), rng)
        photo = _photo_files(photograph(person, posed, maps, scene, shot, 512, rng), shot)
        camera = camera_of(shot, (512, 512))
        photo = {name: photo[name] for name in ("photo.jpg", "mask.png", "coverage.png", "hair.png")}
        photo["occluder.png"] = cv2.imencode(".png", np.zeros((512, 512), np.uint8))[1].tobytes()
        numbers = lambda tensor: np.round(tensor.numpy().astype(float), 6).tolist()  # noqa: E731
        light = scene.lighting
        record = {
            "light": {
                "kind": scene.kind, "panoramas": list(scene.names), "sh": numbers(light.sh),
                "directions": numbers(light.directions), "irradiance": numbers(light.irradiance),
            },
            "camera": {
                "focal_px": float(camera.focal_px), "centre_px": numbers(camera.centre_px),
                "size_px": list(camera.size_px), "camera_from_head": numbers(camera.camera_from_head),
            },
            "landmarks_px": numbers(project(camera, landmark_points(model, posed.vertices))[:, :2]),
            "expression": (person.expression * (0.4 + 0.2 * number)).tolist(),
            "gaze_rad": person.gaze_rad.tolist(),
            "focal_35mm": shot.focal_35mm,
            "tags": [scene.kind] + (["hair"] if person.hair_style else []),
        }  # fmt: skip
        photo["json"] = json.dumps(record).encode()
        files |= {f"{key}_{letter}.{name}": data for name, data in photo.items()}
    unit = np.round(posed.neutral.numpy() / 2e-5).astype(np.int32)
    shape = io.BytesIO()
    np.savez_compressed(shape, steps=np.diff(unit, axis=0, prepend=0).astype(np.int16))
    own = {name: data for name, data in _map_files(maps, 512).items() if name != "occlusion.png"}
    own["shape.npz"] = shape.getvalue()
    own["json"] = json.dumps(record_of(person)).encode()
    return {f"{key}.{name}": data for name, data in own.items()} | files
