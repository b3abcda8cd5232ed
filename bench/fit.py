"""What one photo costs: seconds per stage and peak memory of the complete path, cold and warm.

    python bench/fit.py [PHOTO] [--method avatarme] [--device auto] [--size 2048] [--runs 2] [--json]

The first run loads models and compiles kernels; the last run is the warm one that the bar is about. The unit "share" is
the part of the warm total, which does not depend on the machine.
"""

import argparse
import json
import time
from pathlib import Path

from relit.devices import DEVICES
from relit.evaluation.memory import peak_memory_gb
from relit.methods import DEFAULT, METHODS, FitSettings, fit_photos
from relit.observe.photo import load_photo


def timed(photo: Path, size: int, method: str, device: str) -> dict[str, float]:
    """Seconds per stage and in all, decoding the photo included."""
    start = time.perf_counter()
    seconds = dict(fit_photos([load_photo(photo)], method, (size, size), FitSettings(device=device)).seconds)
    return {**seconds, "total": time.perf_counter() - start}


def portrait() -> Path:
    """The public-domain portrait that scikit-image ships, as a file."""
    import tempfile

    import skimage.data
    from PIL import Image

    path = Path(tempfile.mkdtemp()) / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).save(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photo", type=Path, nargs="?")
    parser.add_argument("--method", choices=METHODS, default=DEFAULT)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    photo = given.photo or portrait()
    runs = [timed(photo, given.size, given.method, given.device) for _ in range(given.runs)]
    cold, warm = runs[0], runs[-1]
    result = {"photo": photo.name, "size": given.size, "cold": cold, "warm": warm, "peak_rss_gb": peak_memory_gb()}
    if given.json:
        print(json.dumps(result))
        return
    print(f"{'stage':<12}{'cold s':>8}{'warm s':>8}{'share':>8}")
    for stage, seconds in warm.items():
        print(f"{stage:<12}{cold[stage]:8.1f}{seconds:8.1f}{seconds / warm['total']:8.0%}")
    print(f"peak memory {result['peak_rss_gb']:.1f} GB at {given.size} x {given.size} maps")


if __name__ == "__main__":
    main()
