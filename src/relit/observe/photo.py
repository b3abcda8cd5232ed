"""Reading photographs: the only door by which pictures come in. Everything behind it is upright and in linear light."""

import io
import math
import warnings as silenced_warnings
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import torch
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from relit.appearance.colour import linear_from_srgb
from relit.errors import PhotoUnreadable
from relit.types import Photo

MAX_PIXELS = 220_000_000  # above the largest phone sensors (200 megapixels)
LONG_SIDE_PX = 4096  # of the work image; larger photos are reduced
MIN_SIDE_PX = 64
BACKGROUND_SRGB = 128  # under transparent pixels
FOCAL_35MM_RANGE = (8.0, 800.0)
READS = "JPEG, PNG, HEIC, WebP, TIFF or BMP"
_SEVERAL_VIEWS = {"MPO", "HEIF", "AVIF"}  # formats whose further frames are depth maps or stereo views, no animation

pillow_heif.register_heif_opener()


def load_photo(path: str | Path) -> Photo:
    """The photo in a file: upright, in linear light with sRGB primaries, at most 4096 px on its long side.

    EXIF orientation and colour profiles are applied, transparency is laid over mid grey, and of several frames the first
    is taken. What was changed is told in `warnings`.

    Raises:
        PhotoUnreadable: the file is missing, unreadable, damaged, no image, too large or too small.
    """
    path = Path(path)
    data = _bytes(path)
    warnings: list[str] = []
    with _pillow_on_our_terms():
        try:
            image = Image.open(io.BytesIO(data))
        except UnidentifiedImageError:
            raise PhotoUnreadable(f"{path} is no image that relit can read; give a photo as {READS}") from None
        except Exception as error:  # decoders raise whatever damaged headers lead them to
            raise PhotoUnreadable(f"{path} is damaged ({_short(error)}); copy or export the photo anew") from None
        size = image.size
        _check_size(path, size)
        if getattr(image, "n_frames", 1) > 1 and image.format not in _SEVERAL_VIEWS:
            warnings.append(f"{path.name} has {image.n_frames} frames; the first is used")
        deep = data if ";16" in str(image.tile) else None  # asked before EXIF: PNGs are decoded for it
        try:
            exif = _exif(image, warnings, path)
            srgb = _decoded(image, deep, exif.get(ExifTags.Base.Orientation, 1), warnings, path.name)
        except PhotoUnreadable:
            raise
        except MemoryError:
            raise PhotoUnreadable(
                f"{path} is too large for this machine's memory ({size[0]} x {size[1]} px); give a reduced copy"
            ) from None
        except Exception as error:
            raise PhotoUnreadable(f"{path} is damaged or cut off ({_short(error)}); copy or export the photo anew") from None
    height, width = srgb.shape[:2]
    if (size[0] > size[1]) != (width > height):
        size = size[::-1]
    if max(size) > LONG_SIDE_PX:
        warnings.append(f"{path.name} was reduced from {size[0]} x {size[1]} px to {width} x {height} px")
    linear = linear_from_srgb(torch.from_numpy(srgb))
    return Photo(path.name, linear, _focal_35mm(exif, size), size, tuple(warnings))


def _bytes(path: Path) -> bytes:
    """The file's content, or the plain reason why there is none."""
    try:
        if path.is_dir():
            raise PhotoUnreadable(f"{path} is a folder; name the photo inside it")
        if path.exists() and not path.is_file():
            raise PhotoUnreadable(f"{path} is no ordinary file; name a photo")
        data = path.read_bytes()
    except FileNotFoundError:
        raise PhotoUnreadable(f"{path} does not exist; check the name of the photo") from None
    except PermissionError:
        raise PhotoUnreadable(f"{path} may not be read; change its permissions") from None
    except (OSError, ValueError) as error:
        raise PhotoUnreadable(f"{path} cannot be read ({_short(error)})") from None
    if not data:
        raise PhotoUnreadable(f"{path} is empty; copy or export the photo anew")
    return data


@contextmanager
def _pillow_on_our_terms():
    """Silences Pillow and lifts its pixel limit, which lies below what phones take; `_check_size` sets ours instead."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with silenced_warnings.catch_warnings():
            silenced_warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _check_size(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise PhotoUnreadable(
            f"{path} has {width} x {height} px, more than {MAX_PIXELS // 1_000_000} megapixels; give a reduced copy"
        )
    if min(size) < MIN_SIDE_PX:
        raise PhotoUnreadable(
            f"{path} has only {width} x {height} px; give a photo of at least {MIN_SIDE_PX} px on the short side"
        )


def _exif(image: Image.Image, warnings: list[str], path: Path) -> dict:
    """EXIF entries of the image and of its camera block; empty when unreadable."""
    try:
        entries = image.getexif()
        return dict(entries) | dict(entries.get_ifd(ExifTags.IFD.Exif))
    except Exception:  # damaged EXIF raises struct, syntax and key errors alike
        warnings.append(f"{path.name} has unreadable EXIF data; orientation and focal length are not known")
        return {}


def _focal_35mm(exif: dict, size: tuple[int, int]) -> float | None:
    """The 35 mm equivalent focal length, unless the picture was cropped after it was taken."""
    try:
        focal = float(exif.get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
        taken = [float(exif.get(tag, 0)) for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if min(taken) > 0:
        aspects = (max(pair) / min(pair) for pair in (taken, size))
        if not math.isclose(*aspects, rel_tol=0.02):
            return None
    return focal if FOCAL_35MM_RANGE[0] <= focal <= FOCAL_35MM_RANGE[1] else None


def _decoded(image: Image.Image, deep: bytes | None, orientation: int, warnings: list[str], name: str) -> np.ndarray:
    """The pixels [H, W, 3] in [0, 1], sRGB-coded, upright, reduced to the work size.

    `deep` is the content of a file with 16 bits per channel, which Pillow would cut to 8.
    """
    icc = image.info.get("icc_profile")
    if deep and not icc:
        values = cv2.imdecode(np.frombuffer(deep, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if values is not None and values.dtype == np.uint16:
            return _upright(_reduced(_from_deep(values)), orientation)
    if image.format == "TIFF":
        orientation = 1  # Pillow turns TIFFs itself
    if image.mode.startswith("I") or image.mode == "F":
        return _upright(_reduced(_from_numbers(np.asarray(image, np.float32), image.mode, name)), orientation)
    image.draft("RGB", (LONG_SIDE_PX, LONG_SIDE_PX))  # lets JPEG decode at a fraction; others ignore it
    image.load()
    if max(image.size) > LONG_SIDE_PX:
        image = _thumbnail(image)
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"), np.float32)[..., None] / 255
    if image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    rgb = np.asarray(_to_srgb(image, icc, warnings, name), np.float32)
    if alpha is not None and alpha.min() < 1:
        warnings.append(f"{name} is transparent in places; they are taken as mid grey")
        rgb = rgb * alpha + BACKGROUND_SRGB * (1 - alpha)
    return _upright(rgb / 255, orientation)


def _thumbnail(image: Image.Image) -> Image.Image:
    """The image with its long side at the work size."""
    factor = LONG_SIDE_PX / max(image.size)
    size = tuple(max(1, round(side * factor)) for side in image.size)
    if image.mode in ("P", "1"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _to_srgb(image: Image.Image, icc: bytes | None, warnings: list[str], name: str) -> Image.Image:
    """RGB by the file's colour profile; without one, numbers are taken as sRGB."""
    if icc:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            if "sRGB" in ImageCms.getProfileDescription(source) and image.mode == "RGB":
                return image
            return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            warnings.append(f"{name} has an unusable colour profile; its colours are read as sRGB")
    return image.convert("RGB")


def _from_deep(deep: np.ndarray) -> np.ndarray:
    """[H, W, 3] in [0, 1] of 16-bit grey, BGR or BGRA pixels."""
    values = deep.astype(np.float32) / 65535
    if values.ndim == 2:
        values = values[..., None]
    if values.shape[2] in (1, 2):
        colour = np.repeat(values[..., :1], 3, 2)
    else:
        colour = values[..., 2::-1]
    if values.shape[2] in (2, 4):
        alpha = values[..., -1:]
        colour = colour * alpha + BACKGROUND_SRGB / 255 * (1 - alpha)
    return np.ascontiguousarray(colour)


def _from_numbers(values: np.ndarray, mode: str, name: str) -> np.ndarray:
    """[H, W, 3] in [0, 1] of one channel of wide integers or floats."""
    if not np.isfinite(values).all():
        raise PhotoUnreadable(f"{name} holds values that are not numbers; export the photo anew")
    ceilings = (65535.0,) if mode.startswith("I") else (1.0, 255.0, 65535.0)
    ceiling = next((limit for limit in ceilings if values.max() <= limit), float(values.max()))
    return np.repeat(np.clip(values / ceiling, 0, 1)[..., None], 3, 2)


def _reduced(srgb: np.ndarray) -> np.ndarray:
    factor = LONG_SIDE_PX / max(srgb.shape[:2])
    if factor >= 1:
        return srgb
    size = tuple(max(1, round(side * factor)) for side in srgb.shape[1::-1])
    return cv2.resize(srgb, size, interpolation=cv2.INTER_AREA)


def _upright(srgb: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels turned and mirrored as the EXIF orientation (1 to 8) asks."""
    if orientation in (5, 6, 7, 8):
        srgb = srgb.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        srgb = srgb[:, ::-1]
    if orientation in (3, 4, 7, 8):
        srgb = srgb[::-1]
    return np.ascontiguousarray(srgb)


def _short(error: Exception) -> str:
    """The first line of an error, without the machine's own paths."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
