"""Reading photographs: every common format alike, every bad file one clear line."""

import os
import struct
import zlib

import cv2
import numpy as np
import pillow_heif
import pytest
import torch
from PIL import Image, ImageCms

from relit.appearance.colour import srgb_from_linear
from relit.errors import PhotoUnreadable
from relit.observe.photo import load_photo

ORIENTATION, FOCAL, WIDTH_TAKEN, HEIGHT_TAKEN = 0x0112, 0xA405, 0xA002, 0xA003


def picture(width=96, height=80) -> np.ndarray:
    """A smooth picture without symmetry, 8-bit sRGB."""
    y, x = np.mgrid[:height, :width]
    red, green = x / width, y / height
    return (np.stack([red, green, (red * green) ** 0.5], -1) * 200 + 30).round().astype(np.uint8)


def srgb8(photo) -> np.ndarray:
    return (srgb_from_linear(photo.linear) * 255).numpy()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_lossless_formats_come_back_exactly(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture()).save(path, **({"lossless": True} if suffix == "webp" else {}))
    photo = load_photo(path)
    assert np.abs(srgb8(photo) - picture()).max() < 0.01
    assert photo.original_size_px == (96, 80)
    assert photo.warnings == ()
    assert photo.linear.dtype == torch.float32


@pytest.mark.parametrize("suffix", ["jpg", "heic"])
def test_lossy_formats_come_back_nearly(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "heic":
        pillow_heif.from_pillow(Image.fromarray(picture())).save(path, quality=95)
    else:
        Image.fromarray(picture()).save(path, quality=97)
    assert np.abs(srgb8(load_photo(path)) - picture()).mean() < 3


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_exif_orientation_is_undone(tmp_path, orientation, suffix):
    """A picture stored turned, with the tag that says so, reads upright."""
    path, exif = tmp_path / f"a.{suffix}", Image.Exif()
    exif[ORIENTATION] = orientation
    stored = np.ascontiguousarray(TURNS[orientation](picture()))
    Image.fromarray(stored).save(path, exif=exif)
    photo = load_photo(path)
    assert photo.original_size_px == (96, 80)
    assert np.abs(srgb8(photo) - picture()).max() < 0.01


def test_sixteen_bits_keep_their_depth(tmp_path):
    path = tmp_path / "a.png"
    deep = (np.linspace(0.2, 0.21, 96 * 80).reshape(80, 96) * 65535).astype(np.uint16)
    cv2.imwrite(str(path), np.stack([deep // 2, deep, deep], -1))
    photo = load_photo(path)
    assert len(photo.linear[..., 0].unique()) > 300
    assert abs(float(photo.linear[0, 0, 0]) - 0.0331) < 1e-3
    assert photo.linear[0, 0, 2] < photo.linear[0, 0, 0]
    cv2.imwrite(str(path), deep)
    assert len(load_photo(path).linear[..., 0].unique()) > 300


def test_grey_palette_and_transparency(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(picture()[..., 0]).save(path)
    assert torch.equal(load_photo(path).linear[..., 0], load_photo(path).linear[..., 2])
    Image.fromarray(picture()).quantize(64).save(path)
    assert np.abs(srgb8(load_photo(path)) - picture()).mean() < 10
    rgba = np.dstack([picture(), np.full((80, 96), 0, np.uint8)])
    rgba[:, :48, 3] = 255
    Image.fromarray(rgba).save(path)
    photo = load_photo(path)
    assert np.abs(srgb8(photo)[:, :48] - picture()[:, :48]).max() < 0.01
    assert np.abs(srgb8(photo)[:, 48:] - 128).max() < 0.01
    assert "transparent" in photo.warnings[0]


def test_cmyk(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(picture()).convert("CMYK").save(path, quality=97)
    assert np.abs(srgb8(load_photo(path)) - picture()).mean() < 6


def test_colour_profile_is_applied(tmp_path):
    """A file in CIELAB's profile connection space with a D50 XYZ-like profile: numbers change, sRGB's do not."""
    path = tmp_path / "a.png"
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(picture()).save(path, icc_profile=srgb)
    assert np.abs(srgb8(load_photo(path)) - picture()).max() <= 1.01
    swapped = bytearray(srgb)  # red and blue primaries exchanged in the tag table
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    for at in range(len(swapped) - 4):
        if swapped[at : at + 4] == b"sRGB":
            swapped[at : at + 4] = b"test"
    Image.fromarray(picture()).save(path, icc_profile=bytes(swapped).replace(b"s\0R\0G\0B", b"t\0e\0s\0t"))
    assert np.abs(srgb8(load_photo(path)) - picture()[..., ::-1]).mean() < 3
    Image.fromarray(picture()).save(path, icc_profile=b"no profile")
    assert "profile" in load_photo(path).warnings[0]


def test_focal_length(tmp_path):
    path, exif = tmp_path / "a.jpg", Image.Exif()
    entries = exif.get_ifd(0x8769)
    entries[FOCAL] = 26
    Image.fromarray(picture()).save(path, exif=exif)
    assert load_photo(path).focal_35mm == 26
    entries[WIDTH_TAKEN], entries[HEIGHT_TAKEN] = 960, 800
    Image.fromarray(picture()).save(path, exif=exif)
    assert load_photo(path).focal_35mm == 26
    entries[HEIGHT_TAKEN] = 500  # cropped since: the length no longer describes the field of view
    Image.fromarray(picture()).save(path, exif=exif)
    assert load_photo(path).focal_35mm is None
    Image.fromarray(picture()).save(path)
    assert load_photo(path).focal_35mm is None


def test_damaged_exif_is_no_obstacle(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(picture()).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    assert load_photo(path).linear.shape == (80, 96, 3)


def test_large_photos_are_reduced_and_say_so(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(picture(8300, 100)).save(path)
    photo = load_photo(path)
    assert photo.original_size_px == (8300, 100)
    assert max(photo.linear.shape) == 4096
    assert "8300 x 100" in photo.warnings[0]


def test_first_frame_of_an_animation(tmp_path):
    path = tmp_path / "a.gif"
    frames = [Image.fromarray(picture()), Image.fromarray(255 - picture())]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    photo = load_photo(path)
    assert np.abs(srgb8(photo) - picture()).mean() < 10
    assert "2 frames" in photo.warnings[0]


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))  # noqa: E731
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def encoded(array: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(f".{suffix}", array)[1].tobytes()


BAD = {
    "empty.jpg": (b"", "empty"),
    "words.jpg": (b"this is a letter, not a photo\n" * 50, "no image"),
    "cut.jpg": (encoded(picture(), "jpg")[:900], "cut off"),
    "cut.png": (encoded(picture(), "png")[:600], "cut off"),
    "point.png": (encoded(picture(1, 1), "png"), "1 x 1"),
    "strip.png": (encoded(picture(4000, 3), "png"), "4000 x 3"),
    "bomb.png": (png_header(60000, 60000), "megapixels"),
    "lies.png": (png_header(3000, 3000), "damaged"),
    "nan.tiff": (encoded(np.full((80, 96), np.nan, np.float32), "tiff"), "not numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_end_with_one_clear_line(tmp_path, name):
    content, told = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PhotoUnreadable, match=told) as caught:
        load_photo(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_folder_and_forbidden(tmp_path):
    with pytest.raises(PhotoUnreadable, match="does not exist"):
        load_photo(tmp_path / "none.jpg")
    with pytest.raises(PhotoUnreadable, match="is a folder"):
        load_photo(tmp_path)
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    with pytest.raises(PhotoUnreadable, match="ordinary file"):
        load_photo(pipe)
    locked = tmp_path / "locked.jpg"
    locked.write_bytes(b"x")
    locked.chmod(0)
    if not os.access(locked, os.R_OK):
        with pytest.raises(PhotoUnreadable, match="permissions"):
            load_photo(locked)
