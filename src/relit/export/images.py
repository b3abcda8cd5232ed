"""Maps and pictures as files: the one place where linear light becomes sRGB on its way out."""

import base64
import os
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import torch
from jaxtyping import Float
from torch import Tensor

from relit.appearance.colour import linear_from_srgb, srgb_from_linear
from relit.errors import InputError

FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_LINEAR_OF_CODE = linear_from_srgb(torch.arange(256) / 255).numpy()
# 16-bit linear to 8-bit sRGB: a table is ten times faster than the power, and its input step is 1/20 of a code at most.
_CODE_OF_LINEAR = (srgb_from_linear(torch.arange(65536) / 65535) * 255 + 0.5).to(torch.uint8).numpy()


def to_8bit(linear: Float[Tensor, "H W C"]) -> np.ndarray:
    """A linear picture as 8-bit sRGB [H, W, C] in file channel order RGB(A); alpha stays linear."""
    colour = _CODE_OF_LINEAR[_quantised(linear[..., :3], np.uint16)]
    return colour if linear.shape[-1] == 3 else np.dstack([colour, _quantised(linear[..., 3:], np.uint8)])


def as_8bit(values: Float[Tensor, "H W *C"]) -> np.ndarray:
    """Numbers in [0, 1] as 8-bit integers, without a transfer curve."""
    return _quantised(values, np.uint8)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Writes pixels as `png` codes them."""
    path.write_bytes(png(pixels))


def png(pixels: np.ndarray) -> bytes:
    """The PNG file of [H, W] or [H, W, 3 or 4] pixels (RGB order, 8 or 16 bits), compressed lightly."""
    encoded, data = cv2.imencode(".png", _bgr(pixels), FAST_PNG)
    if not encoded:
        raise ValueError(f"PNG cannot hold {pixels.shape} {pixels.dtype}")
    return data.tobytes()


def write_colour(path: Path, linear: Float[Tensor, "H W 3"]) -> None:
    """Writes linear colour as 8-bit sRGB PNG."""
    write_png(path, to_8bit(linear))


def read_colour(path: Path) -> Float[Tensor, "H W 3"]:
    """Linear colour of an 8-bit sRGB PNG."""
    return torch.from_numpy(_LINEAR_OF_CODE[_read(path)])


def write_data(path: Path, values: Float[Tensor, "H W *C"], bits: int = 8) -> None:
    """Writes numbers in [0, 1] as they are (no transfer curve), in 8 or 16 bits."""
    write_png(path, _quantised(values, np.uint8 if bits == 8 else np.uint16))


def read_data(path: Path) -> Float[Tensor, "H W *C"]:
    """The numbers in [0, 1] of a PNG written by `write_data`."""
    pixels = _read(path)
    return torch.from_numpy(pixels.astype(np.float32)) / np.iinfo(pixels.dtype).max


def write_normal(path: Path, normal: Float[Tensor, "H W 3"]) -> None:
    """Writes unit tangent-space normals as 0.5 + 0.5 n in 8 bits."""
    write_data(path, 0.5 + 0.5 * normal)


def read_normal(path: Path) -> Float[Tensor, "H W 3"]:
    """Unit normals of a PNG written by `write_normal`."""
    return torch.nn.functional.normalize(read_data(path) * 2 - 1, dim=-1)


def write_height(path: Path, height_mm: Float[Tensor, "H W"]) -> None:
    """Writes millimetres as one half-float EXR channel named Y, so that 1.0 in the file is 1 mm."""
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "comments": "displacement along the geometry normal, millimetres",
    }
    pixels = np.ascontiguousarray(height_mm.detach().numpy().astype(np.float16))
    OpenEXR.File(header, {"Y": pixels}).write(os.fspath(path))


def read_height(path: Path) -> Float[Tensor, "H W"]:
    """Millimetres of an EXR written by `write_height`."""
    with OpenEXR.File(os.fspath(path)) as file:
        return torch.from_numpy(file.channels()["Y"].pixels.astype(np.float32))


def jpeg(pixels: np.ndarray, quality: int = 92, full_chroma: bool = False) -> bytes:
    """The JPEG file of 8-bit pixels [H, W, 3] in RGB order; `full_chroma` keeps colour at full resolution, which data needs."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if full_chroma else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = (cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling)
    return cv2.imencode(".jpg", _bgr(pixels), options)[1].tobytes()


def jpeg_uri(pixels: np.ndarray, quality: int = 84) -> str:
    """8-bit pixels [H, W, 3] as a JPEG that stands inside a page."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(pixels, quality)).decode("ascii")


def resized(image: Float[Tensor, "H W *C"], most_rows: int, most_columns: int) -> Float[Tensor, "h w *C"]:
    """The image averaged down so that each side is within its limit; a map may change its aspect, UVs do not care."""
    rows, columns = image.shape[:2]
    size = (min(columns, most_columns), min(rows, most_rows))
    if size == (columns, rows):
        return image
    return torch.from_numpy(cv2.resize(image.detach().contiguous().numpy(), size, interpolation=cv2.INTER_AREA))


def shrunk(picture: Float[Tensor, "H W *C"], longest_px: int) -> Float[Tensor, "h w *C"]:
    """The picture averaged down, aspect kept, until its longer side is within `longest_px`."""
    rows, columns = picture.shape[:2]
    factor = min(1.0, longest_px / max(rows, columns))
    return resized(picture, max(1, round(rows * factor)), max(1, round(columns * factor)))


def _read(path: Path) -> np.ndarray:
    # asked first, because OpenCV prints a warning of its own about files that are not there
    pixels = cv2.imread(os.fspath(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if pixels is None:
        raise InputError(f"{path} is missing or no readable PNG; fit the photo again")
    return _bgr(pixels)


def _bgr(pixels: np.ndarray) -> np.ndarray:
    """RGB(A) to BGR(A) or back."""
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)


def _quantised(values: Tensor, kind: type) -> np.ndarray:
    """Numbers in [0, 1] as integers that fill the type."""
    return (values.detach().clamp(0, 1) * np.iinfo(kind).max + 0.5).numpy().astype(kind)
