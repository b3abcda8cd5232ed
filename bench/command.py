"""What the largest maps cost a user: wall seconds and peak memory of the whole command.

    python bench/command.py [PHOTO] [--size 6144x4096] [--method avatarme] [--runs 2] [--json]

The first run may have to read libraries and weights from the disk. Pictures are those of preview and report, drawn when all
maps and the head are written. On Linux and macOS.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from relit.methods import DEFAULT, METHODS


def timed(photo: Path, arguments: list[str]) -> dict[str, float]:
    """Wall seconds of one `relit fit`, those of its pictures, and its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        out, start = Path(folder) / "avatar", time.perf_counter()
        command = [sys.executable, "-m", "relit", "fit", str(photo), "-o", str(out), *arguments]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        if status:
            raise SystemExit(f"{' '.join(command[2:])} failed; run it by hand to see why")
        pictures = json.loads((out / "avatar.json").read_text(encoding="utf-8"))["seconds"]["pictures"]
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return {"wall": wall, "pictures": pictures, "peak_rss_gb": usage.ru_maxrss * unit / 1e9}


def main() -> None:
    from fit import portrait  # the bench beside this one

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photo", type=Path, nargs="?")
    parser.add_argument("--size", default="6144x4096")
    parser.add_argument("--method", choices=METHODS, default=DEFAULT)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    photo = given.photo or portrait()
    runs = [timed(photo, ["--size", given.size, "--method", given.method]) for _ in range(given.runs)]
    if given.json:
        print(json.dumps({"size": given.size, "runs": runs}))
        return
    for run in runs:
        print(f"{run['wall']:.1f} s, {run['pictures']:.1f} s of it pictures; {run['peak_rss_gb']:.1f} GB")


if __name__ == "__main__":
    main()
