"""Everything relit claims, measured again: docs/results.md, its pictures, and contact sheets for the eye.

    python -m relit.evaluation.results --data FOLDER [--out results] [--docs docs] [--only NAME ...] [--size 2048] [--recorded]

FOLDER holds portraits/, ict_facekit/, makehuman_mesh/, makehuman_skins/ and hdri/. Each portrait and each known shape
leaves a record in --out; what has one is not measured again, so an interrupted run goes on where it stopped. Photos stay
in --out, but for the public-domain portrait and the synthetic ones; docs receives renders.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from relit.errors import AssetMissing, InputError, run_script
from relit.evaluation import ablations
from relit.evaluation.contenders import contender
from relit.evaluation.groups import equal_error_rate, portrait_pairs
from relit.evaluation.harness import Plan, default_folder, evaluate, items_of, recorded
from relit.evaluation.identity import SAME_PERSON
from relit.evaluation.plots import histogram
from relit.evaluation.portraits import LIGHTS, YAWS_DEG, close_look
from relit.evaluation.report import AFTER_FIT_S, QUICK_S, results_page, table
from relit.evaluation.shapes import measure_shapes
from relit.evaluation.sheets import contact_sheet, row, save, stack
from relit.evaluation.testset import open_testset
from relit.evaluation.truth import COUNT
from relit.evaluation.truth_report import Judged, Sets, truth_section
from relit.export.avatar import load_avatar
from relit.methods import DEFAULT, METHODS
from relit.observe.observe import observe
from relit.observe.photo import load_photo

PORTRAIT_FOLDERS = ("public_domain", "sfhq")
SHOWN = "nasa_eileen_collins_astronaut"  # public domain, and shipped by scikit-image
SHEET = ("photo", "own", *(f"front_{light}" for light in LIGHTS), *(f"{LIGHTS[0]}_{yaw:+d}" for yaw in YAWS_DEG))
JUDGED = ("truth", "avatarme", "classical", "eos", "mediapipe", "canonical", "mean")
COMPARED = ("avatarme", "classical", "yamaguchi", "ganfit", "fitme", "mean")  # on fewer photos
COMPARED_PHOTOS = 16
ABLATIONS = ("without_identity", "without_tuning", "without_specular", "without_occlusion", "pca_instead_of_gan")  # of fitme
ABLATED_PHOTOS = 8
LIKENED = (DEFAULT, "fitme")  # by the portraits
VALIDATE = (
    "const v=require('gltf-validator'),fs=require('fs');"
    "v.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1]))).then(r=>console.log(JSON.stringify(r.issues)));"
)


def measure_portraits(photos: list[Path], out: Path, size: int, jobs: int = 1, method: str = DEFAULT) -> list[dict]:
    """One record per photo, each measured in a process of its own, so that memory is per photo and a crash is one row."""
    waiting = [photo for photo in photos if not (out / photo.stem / "record.json").exists()]
    running: list[tuple[Path, subprocess.Popen]] = []
    done = len(photos) - len(waiting)
    while waiting or running:
        while waiting and len(running) < jobs:
            photo = waiting.pop(0)
            folder = out / photo.stem
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / "log.txt", "w") as log:
                command = [sys.executable, "-m", "relit.evaluation.portraits", str(photo), str(folder)]
                command += ["--method", method, "--size", str(size)]
                running.append((photo, subprocess.Popen(command, stdout=log, stderr=log)))
        photo, process = running.pop(0)
        process.wait()
        done += 1
        print(f"portrait {done}/{len(photos)} {photo.stem}", file=sys.stderr, flush=True)
    return [_record(out / photo.stem) for photo in photos]


def _record(folder: Path) -> dict:
    path = folder / "record.json"
    if path.exists():
        return json.loads(path.read_text())
    last = (folder / "log.txt").read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
    return {"name": folder.name, "failure": f"stopped without a record: {last[0]}"}


def validate_glbs(paths: list[Path], node_modules: Path | None) -> dict[str, dict] | None:
    """The Khronos validator's issue counts per GLB; None where node or gltf-validator is missing."""
    environment = {**os.environ, "NODE_PATH": str(node_modules.resolve())} if node_modules else dict(os.environ)
    issues = {}
    for path in paths:
        try:
            run = subprocess.run(["node", "-e", VALIDATE, str(path)], env=environment, capture_output=True, text=True)
        except FileNotFoundError:
            return None
        if run.returncode != 0:
            return None
        issues[path.parent.parent.name] = json.loads(run.stdout)
    return issues


def rank_one_rate(records: list[dict]) -> float:
    """The part of renders (own pose and light) whose nearest photo among all measured is the photo they came from.

    1/N for chance, 1 is best; the identification rate of a closed set (Phillips et al. 2000).
    """
    photos = np.array([record["embeddings"]["photo"] for record in records])
    right = 0
    for index, record in enumerate(records):
        if record["embeddings"]["own"] is not None:
            distance = np.linalg.norm(photos - record["embeddings"]["own"], axis=1)
            right += int(distance.argmin() == index)
    return right / len(records)


def write_sheets(records: list[dict], out: Path) -> None:
    """Contact sheets, and full-size looks, worst identity first; they show other people's photos and stay in `out`."""
    ordered = sorted(records, key=lambda record: -record.get("identity_own", 9))
    for first in range(0, len(ordered), 5):
        folders = [out / "portraits" / record["name"] for record in ordered[first : first + 5]]
        contact_sheet(folders, SHEET, out / "sheets" / f"sheet_{first // 5 + 1}.jpg")


def write_close_looks(photos: list[Path], records: list[dict], out: Path, docs: Path) -> None:
    """Faces at full size: the two best and the two worst likenesses, and the one photo that may be shown in docs."""
    ordered = sorted(records, key=lambda record: record["identity_own"])
    chosen = {record["name"] for record in (*ordered[:2], *ordered[-2:])}
    for photo in photos:
        folder = out / "portraits" / photo.stem
        if photo.stem in chosen:
            close_look(load_avatar(folder / "avatar"), observe(load_photo(photo)), out / "close" / f"{photo.stem}.jpg")
        if photo.stem == SHOWN and (folder / "record.json").exists():
            close_look(load_avatar(folder / "avatar"), observe(load_photo(photo)), docs / "pictures" / "close.jpg", 512)


def write_gallery(records: list[dict], out: Path, docs: Path, columns: int = 5) -> None:
    """Our renders only: every head from the front in two lights."""
    cells = []
    for record in records:
        folder = out / "portraits" / record["name"]
        pictures = [np.asarray(Image.open(folder / f"front_{light}.jpg")) for light in LIGHTS[:2]]
        cells.append(row(pictures, 200))
    rows = [np.concatenate(cells[first : first + columns], 1) for first in range(0, len(cells), columns)]
    save(stack(rows), docs / "pictures" / "heads.jpg")


def portrait_folder(out: Path, method: str) -> Path:
    """Where the records of a method's portraits are kept."""
    return out / ("portraits" if method == DEFAULT else f"portraits_{method}")


def portrait_photos(data: Path, only: list[str]) -> list[Path]:
    """The portraits, public-domain ones first; `only` keeps those whose name contains one of its words."""
    found = [path for name in PORTRAIT_FOLDERS for path in sorted((data / "portraits" / name).iterdir())]
    return [path for path in found if not only or any(word in path.stem for word in only)]


def likeness(by_method: dict[str, list[dict]], docs: Path) -> str:
    """How well renders of the portraits tell persons apart, with its picture for the first method."""
    records = next(iter(by_method.values()))
    pairs = portrait_pairs(records)
    rate, threshold = equal_error_rate(pairs)
    series = {"own photo": pairs.same, "photos of others": pairs.different}
    title = "Renders in their own light against photos"
    mark = (threshold, f"equal error {100 * rate:.1f} %")
    save(histogram(series, title, "Euclidean distance (dlib)", mark), docs / "pictures" / "pairs_portraits.png")
    return _apart(records) + (
        f"Among all the photos, the nearest one to a render is the right one in {rank_one_rate(records):.0%} of cases. "
        f"Between a render and its own photo the mean distance is {pairs.same.mean():.2f}, and {pairs.different.mean():.2f} "
        f"between a render and photos of others; the equal error rate is {100 * rate:.1f} % at {threshold:.2f}.\n\n"
        f"![{title}](pictures/pairs_portraits.png)\n\n" + _likeness_table(by_method)
    )


def _likeness_table(by_method: dict[str, list[dict]]) -> str:
    rows = []
    for method, records in by_method.items():
        own, new = (sum(r[name] for r in records) / len(records) for name in ("identity_own", "identity_new_mean"))
        alike, always = (sum(r[name] < SAME_PERSON for r in records) for name in ("identity_new_mean", "identity_new_worst"))
        rate, _ = equal_error_rate(portrait_pairs(records))
        count = len(records)
        rows.append([method, count, own, new, f"{alike} of {count}", f"{always} of {count}", f"{100 * rate:.1f} %"])
    head = ["method", "portraits", "own", "new", "new < 0.6", "all six renders < 0.6", "equal error rate"]
    return table(head, rows)


def _apart(records: list[dict]) -> str:
    """How far photos of different people lie apart; nothing of one person alone."""
    photos = np.array([record["embeddings"]["photo"] for record in records])
    distance = np.linalg.norm(photos[:, None] - photos, axis=-1)[np.triu_indices(len(photos), 1)]
    if not len(distance):
        return ""
    near, far = distance.min(), distance.max()
    return f"Different people in this set lie at {near:.2f} to {far:.2f} from each other, photo to photo.\n\n"


def judged(
    name: str, methods: list[str], out: Path, limit: int | None, jobs: int, photos: int = 1, anew: bool = True
) -> Judged | None:
    """What `relit evaluate` finds on a set, resumed in OUT/evaluate; None where there is no set or no record.

    Args:
        photos: of a person at once, 1 or 3.
        anew: measure what has not been measured yet.

    Methods whose packages are not installed are named as absent.
    """
    try:
        data = open_testset(name)
    except InputError:
        return None
    folder, here, absent = default_folder(out, name, photos), [], []
    for method in methods:
        try:
            contender(method)
            here.append(method)
        except AssetMissing as missing:
            absent.append(str(missing))
    plan = Plan(name, folder, limit=limit, photos=photos, jobs=jobs)
    records = evaluate(here, plan) if anew else recorded(here, plan)
    return Judged(records, folder, len(items_of(data, photos)), tuple(absent)) if records else None


def _bench(name: str, out: Path, *arguments: str) -> dict:
    """What bench/NAME.py found, kept in the folder of results."""
    kept = out / f"{'_'.join(('cost' if name == 'fit' else name, *arguments[1:]))}.json"
    if not kept.exists():
        bench = Path(__file__).parents[3] / "bench" / f"{name}.py"
        found = subprocess.run([sys.executable, bench, "--json", *arguments], capture_output=True, text=True, check=True).stdout
        kept.write_text(found)
    return json.loads(kept.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--only", nargs="*", default=[], help="measure portraits whose name contains one of these words")
    parser.add_argument("--shapes", type=int, default=COUNT, help="how many known shapes")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) // 2), help="processes side by side")
    parser.add_argument("--judge", nargs="*", default=JUDGED, metavar="M", help="methods for the sets with known truth")
    parser.add_argument("--limit", type=int, default=None, help="photos of each set with known truth")
    parser.add_argument("--node-modules", type=Path, default=None, help="folder that holds gltf-validator")
    parser.add_argument("--recorded", action="store_true", help="of portraits and sets, only what OUT holds so far")
    given = parser.parse_args()

    photos = portrait_photos(given.data, given.only)
    if given.recorded:
        folders = [portrait_folder(given.out, method) for method in LIKENED]
        photos = [photo for photo in photos if all((folder / photo.stem / "record.json").exists() for folder in folders)]
    records, *others = (
        measure_portraits(photos, portrait_folder(given.out, method), given.size, given.jobs, method) for method in LIKENED
    )
    solved = lambda found: [record for record in found if "failure" not in record]  # noqa: E731
    good = solved(records)
    step = lambda done, total: print(f"known shape {done}/{total}", file=sys.stderr, flush=True)  # noqa: E731
    shapes = measure_shapes(given.data, given.out / "ict", given.shapes, given.jobs, step) if given.shapes else []
    glbs = [given.out / "portraits" / record["name"] / "avatar" / "head.glb" for record in good]
    issues = validate_glbs(glbs, given.node_modules)
    write_sheets(records, given.out)
    if good:
        write_gallery(good, given.out, given.docs)
        write_close_looks(photos, good, given.out, given.docs)
    costs = {name: _bench(name, given.out) for name in ("fit", "render", "command")}
    costs |= {method: _bench("fit", given.out, "--method", method) for method in (*QUICK_S, *AFTER_FIT_S)}
    by_method = {method: solved(found) for method, found in zip(LIKENED, (records, *others), strict=True) if solved(found)}
    page = results_page(records, shapes, issues, costs, likeness(by_method, given.docs) if good else "")
    with_maps = [method for method in given.judge if method in METHODS]
    fewer = min(given.limit or COMPARED_PHOTOS, COMPARED_PHOTOS)
    ablated = ["fitme", *(f"{ablations.__name__}:{name}" for name in ABLATIONS)]
    measure = lambda name, methods, limit=given.limit, photos=1: judged(  # noqa: E731
        name, methods, given.out, limit, given.jobs, photos, not given.recorded
    )
    sets = Sets(
        independent=measure("independent", list(given.judge)),
        three=measure("independent", with_maps, photos=3),
        every=measure("independent", list(COMPARED), fewer),
        ablated=measure("independent", ablated, min(fewer, ABLATED_PHOTOS)),
        swap=measure("texture_swap", list(given.judge)),
    )
    page = "\n".join([page, *truth_section(sets, given.docs)])
    given.docs.mkdir(parents=True, exist_ok=True)
    (given.docs / "results.md").write_text(page, encoding="utf-8")
    print(given.docs / "results.md")


if __name__ == "__main__":
    run_script(main)
