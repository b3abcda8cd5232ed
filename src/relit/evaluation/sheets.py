"""Pictures to judge by: contact sheets of many heads, and full-size looks at one."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

LABEL_PX = 18
GROUND, INK = (246, 245, 243), (28, 27, 26)


def row(pictures: list[UInt8[np.ndarray, "_ _ 3"]], height: int, labels: list[str] | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """Pictures side by side at one height, each with its label below if labels are given."""
    cells = []
    for index, picture in enumerate(pictures):
        image = Image.fromarray(picture)
        image = image.resize((max(1, round(image.width * height / image.height)), height), Image.LANCZOS)
        if labels:
            cell = Image.new("RGB", (image.width, height + LABEL_PX), GROUND)
            cell.paste(image)
            ImageDraw.Draw(cell).text((3, height + 2), labels[index], INK, ImageFont.load_default(12))
            image = cell
        cells.append(np.asarray(image))
    return np.concatenate(cells, 1)


def stack(rows: list[UInt8[np.ndarray, "_ _ 3"]], gap: int = 2) -> UInt8[np.ndarray, "H W 3"]:
    """Rows below each other, narrower ones filled up on the right."""
    width = max(line.shape[1] for line in rows)
    padded = [np.pad(line, ((0, gap), (0, width - line.shape[1]), (0, 0)), constant_values=GROUND[0]) for line in rows]
    return np.concatenate(padded)


def contact_sheet(folders: list[Path], names: tuple[str, ...], out: Path, height: int = 256) -> None:
    """Writes one row per folder with its pictures `name`.jpg; a missing picture leaves its place grey."""
    rows = []
    for folder in folders:
        pictures = [_read(folder / f"{name}.jpg", height) for name in names]
        rows.append(row(pictures, height, [folder.name, *names[1:]]))
    save(stack(rows), out)


def _read(path: Path, height: int) -> np.ndarray:
    if not path.exists():
        return np.full((height, height, 3), 160, np.uint8)
    return np.asarray(Image.open(path).convert("RGB"))


def save(picture: UInt8[np.ndarray, "H W 3"], path: Path) -> None:
    """Writes a picture, making its folder; JPEG at quality 92."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, quality=92)
