"""The avatar folder: written whole or not at all, and read back."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from os import PathLike
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from relit.errors import InputError
from relit.export import images
from relit.export.atomic import MARK, replaced_folder
from relit.export.glb import lash_picture, write_glb
from relit.export.obj import LASH_PICTURE, write_obj
from relit.export.preview import make_pictures, write_preview
from relit.export.report import write_report
from relit.export.schema import MAPS, avatar_record, check_record, fit_of, head_arrays
from relit.models.head import load_head_model
from relit.progress import SILENT, Progress, Stopwatch
from relit.types import Head, Observation, ReflectanceMaps

ARRAYS = "head.safetensors"
FOLDS_SPAN, FOLDS_NONE = 3.0, 128 / 255  # of their code: no folds is a code of its own in 8 bits
WRITERS = {
    "diffuse_albedo": (images.write_colour, images.read_colour),
    "specular_albedo": (lambda path, values: images.write_data(path, values, bits=16), images.read_data),
    "roughness": (images.write_data, images.read_data),
    "diffuse_normal": (images.write_normal, images.read_normal),
    "specular_normal": (images.write_normal, images.read_normal),
    "displacement_mm": (images.write_height, images.read_height),
    "occlusion": (images.write_data, images.read_data),
    "confidence": (images.write_data, images.read_data),
    "folds": (
        lambda path, values: images.write_data(path, FOLDS_NONE + values / FOLDS_SPAN),
        lambda path: FOLDS_SPAN * (images.read_data(path) - FOLDS_NONE),
    ),
}


def write_avatar(
    head: Head,
    observations: tuple[Observation, ...],
    directory: str | PathLike,
    seconds: dict[str, float] | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> Path:
    """Writes the avatar folder and returns its path.

    Args:
        observations: one per fit of the head, in the same order.
        seconds: what the earlier stages took, for the record and the report.
        force: replace an avatar that is already there.

    Raises:
        OutputRefused: the folder exists without `force`, or cannot be written. Nothing is left behind then.
    """
    model, watch = load_head_model(), Stopwatch(progress)
    with replaced_folder(directory, force) as folder:
        with watch.stage("files") as step:
            write_maps(head.maps, folder, step)
            images.write_png(folder / LASH_PICTURE, lash_picture(head.maps))
            write_glb(head, model, folder / "head.glb")
            write_obj(head, model, folder / "head.obj")
            (folder / ARRAYS).write_bytes(save(head_arrays(head)))
        with watch.stage("pictures") as step:
            pictures = make_pictures(head, observations, step)
            write_preview(pictures, folder / "preview.png")
        record = avatar_record(head, observations, {**(seconds or {}), **watch.seconds})
        write_report(record, head, pictures, folder / "report.html")
        (folder / MARK).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(directory)


def load_avatar(directory: str | PathLike) -> Head:
    """The head of an avatar folder, as far as 8-bit maps and morphs in half float keep it.

    Raises:
        InputError: the folder is no avatar, or a file of it is missing or damaged.
    """
    folder = Path(directory)
    try:
        record = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{directory} holds no {MARK}; give a folder that `relit fit` wrote") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / MARK} is unreadable ({error}); fit the photo again") from None
    check_record(record, str(directory))
    try:
        arrays = load_file(folder / ARRAYS)
        fits = tuple(fit_of(record, arrays, index) for index in range(len(record["photos"])))
        names = [name for name in MAPS if name in record["maps"]]
        maps = ReflectanceMaps(**{name: WRITERS[name][1](folder / MAPS[name]["file"]) for name in names})
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{directory} is damaged ({type(error).__name__}: {error}); fit the photo again") from None
    colour = fits[0].exposure.new_tensor(record["iris_colour"])
    return Head(arrays["vertices"], arrays["morphs_mm"].float() / 1000, maps, fits, colour)


def write_maps(maps: ReflectanceMaps, folder: Path, step) -> None:
    """Writes all maps, two at a time, since the encoders leave the interpreter alone; `step(done, total)` is told of each."""
    (folder / "maps").mkdir()
    with ThreadPoolExecutor(2) as pool:
        whole = maps if maps.folds is not None else replace(maps, folds=torch.zeros_like(maps.roughness))
        waiting = [pool.submit(WRITERS[name][0], folder / MAPS[name]["file"], getattr(whole, name)) for name in MAPS]
        for done, task in enumerate(waiting):
            task.result()
            step(done + 1, len(waiting))
