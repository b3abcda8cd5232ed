"""Blender Cycles as a process of its own: installed where it is missing, fed with scene files one after the other."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from relit.errors import InputError, RelitError

REQUIREMENTS = ("bpy==5.0.1", "numpy<2")
SCRIPT = Path(__file__).with_name("render_cycles.py")


class Cycles:
    """A running Blender. Use it as a context; pictures come in the order they were asked for."""

    def __init__(self, folder: Path, samples: int, threads: int):
        self._python = blender_python(folder)
        self._samples, self._threads = samples, threads

    def __enter__(self):
        self._process = subprocess.Popen(
            [self._python, "-I", "-W", "ignore", SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(self._threads)},
        )
        return self

    def __exit__(self, *error):
        self._process.stdin.close()
        if error[0] is not None:
            self._process.terminate()
        self._process.wait()

    def ask(self, scene: Path, picture: Path) -> None:
        """Orders a picture; it is rendered while this process goes on."""
        job = {"scene": str(scene), "picture": str(picture), "samples": self._samples, "threads": self._threads}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def wait(self) -> float:
        """Waits for the next picture asked for; seconds it took.

        Raises:
            RelitError: Blender stopped.
        """
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)["seconds"]
        raise RelitError(f"Blender stopped: {self._process.stderr.read().strip()[-300:] or 'without a word'}")


def blender_python(folder: Path) -> Path:
    """The interpreter of the environment with `bpy`; made in `folder` if it is not there (400 MB to fetch).

    Raises:
        InputError: there is no Python 3.11, which alone has that package, or it cannot be installed.
    """
    python = folder / "bin" / "python"
    if python.exists():
        return python
    source = shutil.which("python3.11")
    if source is None:
        raise InputError("Blender as a module needs Python 3.11; install it, or give --blender an environment with bpy")
    try:
        subprocess.run([source, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    except subprocess.CalledProcessError as problem:
        raise InputError(f"cannot install {' '.join(REQUIREMENTS)} into {folder} ({problem})") from None
    return python
