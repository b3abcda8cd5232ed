"""Makes a test set:

    python -m relit.testset.build NAME --hdri FOLDER

renders what is missing of it (pictures are kept in the work folder, so that an interrupted call goes on) and writes its
shards, `dataset.json` and README.md into testsets/NAME.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from relit.errors import InputError, run_script
from relit.models.head import load_head_model
from relit.models.registry import cards
from relit.progress import SILENT, Progress, shown_progress
from relit.synth.camera import camera_of
from relit.synth.garment import dressed
from relit.synth.geometry import Posed, placed
from relit.synth.props import draw_props
from relit.synth.skin import maps_of
from relit.synth.solids import Prop
from relit.synth.writer import ASSETS
from relit.testset.blender import REQUIREMENTS, Cycles
from relit.testset.card import card
from relit.testset.files import PHOTO_PX, manifest, photo_files, read_tar, subject_files, write_shards, write_tar
from relit.testset.labels import labels_of
from relit.testset.scene_file import GARMENT_PURPOSE, Panoramas, scene_arrays
from relit.testset.sets import SPLIT, Take, TestSet, takes_of, test_set
from relit.testset.shape import true_neutral
from relit.types import ReflectanceMaps

RENDERED_MAPS = 1024  # size of the maps that the path tracer sees
SAMPLES = 6
_PROPS = 43  # purpose of random numbers


@dataclass(frozen=True)
class Prepared:
    """A subject with all its photos, ready to be rendered."""

    takes: tuple[Take, ...]
    neutral: Tensor
    posed: tuple[Posed, ...]
    maps: ReflectanceMaps
    props: tuple[tuple[Prop, ...], ...]


def prepared(wanted: TestSet, position: int) -> Prepared:
    """The subject at a position of a set. Its maps are those of its first photo, wrinkles of the expression included."""
    model, takes = load_head_model(), takes_of(wanted, position)
    neutral = true_neutral(takes[0].subject, model)
    posed = tuple(placed(take.subject, model, neutral) for take in takes)
    maps = maps_of(takes[0].subject, RENDERED_MAPS, torch.ones(RENDERED_MAPS, RENDERED_MAPS))
    props = tuple(
        draw_props(take.subject, held, model, take.subject.rng(_PROPS)) if wanted.props else ()
        for take, held in zip(takes, posed, strict=True)
    )
    return Prepared(takes, neutral, posed, maps, props)


def render_missing(
    wanted: TestSet, work: Path, panoramas: Panoramas, cycles: Cycles, progress: Progress = SILENT
) -> None:
    """Renders the photos that the work folder lacks, each to KEY.npy (H, W, 4)."""
    keys = [take.key for position in range(wanted.subjects) for take in takes_of(wanted, position)]
    done = sum((work / f"{key}.npy").exists() for key in keys)
    with progress.stage(f"render {wanted.name}") as step:
        step(done, len(keys))
        waiting: list[Path] = []

        def finish() -> None:
            nonlocal done
            cycles.wait()
            waiting.pop(0).unlink()
            done += 1
            step(done, len(keys))

        for position in range(wanted.subjects):
            takes = takes_of(wanted, position)
            if all((work / f"{take.key}.npy").exists() for take in takes):
                continue
            ready = prepared(wanted, position)
            for take, posed, props in zip(ready.takes, ready.posed, ready.props, strict=True):
                if (work / f"{take.key}.npy").exists():
                    continue
                scene = work / f"{take.key}.npz"
                np.savez(scene, **scene_arrays(take, posed, ready.maps, panoramas, props))
                cycles.ask(scene, work / f"{take.key}.npy")
                waiting.append(scene)
                if len(waiting) > 1:  # one is rendered while the next is prepared
                    finish()
        while waiting:
            finish()


def samples_of(wanted: TestSet, work: Path, progress: Progress = SILENT) -> dict[str, dict[str, bytes]]:
    """All samples of a set by key, from the rendered pictures; those of finished subjects are kept as KEY.tar."""
    samples = {}
    with progress.stage(f"develop {wanted.name}") as step:
        for position in range(wanted.subjects):
            path = work / f"{wanted.prefix}{position:02d}.tar"
            if not path.exists():
                draft = path.with_suffix(".draft")
                write_tar(draft, developed_subject(wanted, position, work))
                draft.replace(path)
            samples |= read_tar(path)
            step(position + 1, wanted.subjects)
    return samples


def developed_subject(wanted: TestSet, position: int, work: Path) -> dict[str, dict[str, bytes]]:
    """The samples of one subject: itself, then its photos."""
    ready = prepared(wanted, position)
    first = ready.takes[0]
    samples = {first.key.split("_")[0]: subject_files(first, ready.maps, ready.neutral)}
    for take, posed, props in zip(ready.takes, ready.posed, ready.props, strict=True):
        camera = camera_of(take.shot, (PHOTO_PX, PHOTO_PX))
        cloth = dressed(ready.maps, take.subject.rng(GARMENT_PURPOSE))[1]
        labels = labels_of(take.subject, posed, camera, cloth, props)
        rendered = np.load(work / f"{take.key}.npy").astype(np.float32)
        names = tuple(prop.name for prop in props)
        samples[take.key] = photo_files(take, posed.vertices, labels, rendered, names)
    return samples


def write_set(wanted: TestSet, samples: dict[str, dict[str, bytes]], folder: Path) -> None:
    """Writes shards, manifest and card of a set."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = write_shards(samples, folder)
    facts = {
        "split": SPLIT,
        "photos": sum("photo.jpg" in files for files in samples.values()),
        "renderer": f"Blender Cycles ({REQUIREMENTS[0]}), {SAMPLES} samples, denoised by OpenImageDenoise",
        "licence": "Apache-2.0; credits in NOTICE",
        "command": f"python -m relit.testset.build {wanted.name} --hdri FOLDER",
        "assets": {name: cards()[name]["sha256"] for name in ASSETS},
        "shards": shards,
    }
    (folder / "dataset.json").write_bytes(manifest(wanted, facts))
    (folder / "README.md").write_text(card(wanted, samples, shards), encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help="independent or texture_swap")
    parser.add_argument("--hdri", type=Path, required=True, help="folder with the original panoramas (NAME.hdr)")
    parser.add_argument("--out", type=Path, default=Path("testsets"), help="where NAME/ goes (default: testsets)")
    parser.add_argument("--work", type=Path, help="where rendered pictures are kept (default: OUT/NAME.work)")
    parser.add_argument("--blender", type=Path, default=Path(".blender"), help="environment with bpy, made if missing")
    parser.add_argument("--threads", type=int, default=1, help="of the path tracer")
    given = parser.parse_args()
    wanted = test_set(given.name)
    if not given.hdri.is_dir():
        raise InputError(f"{given.hdri} is no folder; give the one with the panoramas")
    work = given.work or given.out / f"{wanted.name}.work"
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    with shown_progress(False) as progress:
        with Cycles(given.blender, SAMPLES, given.threads) as cycles:
            render_missing(wanted, work, Panoramas(given.hdri), cycles, progress)
        write_set(wanted, samples_of(wanted, work, progress), given.out / wanted.name)
    print(json.dumps({"test set": str(given.out / wanted.name)}))


if __name__ == "__main__":
    run_script(main)
