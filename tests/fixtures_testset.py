"""A small test set in the format of `testsets/`, photographed by relit itself: for tests and for trying the harness."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np

from relit.models.head import load_head_model
from relit.synth.sample import CODING, Order, make_sample
from relit.synth.subject import draw_subject, neutral_of, record_of

SEED = 77_002
OF_SUBJECT = ("albedo.png", "specular.png", "roughness.png", "diffuse_normal.png", "specular_normal.png", "displacement.png")
OF_PHOTO = ("photo.jpg", "mask.png", "coverage.png", "hair.png", "occluder.png")
UNIT_M = 2e-5


def write_small_set(folder: Path, subjects: int = 1, letters: tuple[str, ...] = ("a", "b")) -> Path:
    """Writes one shard of `subjects` subjects; the photos of a subject are the same but for their key. Returns the folder."""
    files: dict[str, bytes] = {}
    for position in range(subjects):
        files |= _subject(position, letters)
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
        "seed": SEED,
        "split": "test",
        "shards": [{"file": "shard-000.tar", "sha256": hashlib.sha256(stream.getvalue()).hexdigest()}],
        "files": {name: CODING[name] for name in (*OF_SUBJECT, *OF_PHOTO) if name in CODING},
    }
    (folder / "dataset.json").write_text(json.dumps(record, indent=1) + "\n")
    return folder


def _subject(position: int, letters: tuple[str, ...]) -> dict[str, bytes]:
    sample = make_sample(Order("photo", position + 1, SEED, "test"), position)
    person = draw_subject(SEED, position, "test")
    unit = np.round(neutral_of(person, load_head_model()).numpy() / UNIT_M).astype(np.int32)
    shape = io.BytesIO()
    np.savez_compressed(shape, steps=np.diff(unit, axis=0, prepend=0).astype(np.int16))
    key = f"s{position:02d}"
    files = {f"{key}.{name}": sample[name] for name in OF_SUBJECT}
    files |= {f"{key}.shape.npz": shape.getvalue(), f"{key}.json": json.dumps({"subject": record_of(person)}).encode()}
    facts = json.loads(sample["json"])
    photo = {name: facts[name] for name in ("light", "camera", "landmarks_px")}
    photo |= {"expression": person.expression.tolist(), "gaze_rad": person.gaze_rad.tolist(), "tags": [facts["light"]["kind"]]}
    for letter in letters:
        files |= {f"{key}_{letter}.{name}": sample[name] for name in OF_PHOTO if name in sample}
        files[f"{key}_{letter}.json"] = json.dumps(photo).encode()
    return files
