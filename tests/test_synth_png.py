"""Laws of the PNG writer: other readers get back what was given, whatever is in it."""

import cv2
import numpy as np
import pytest

from relit.synth.png import encode_png

RNG = np.random.default_rng(3)
PICTURES = {
    "one pixel": np.zeros((1, 1), np.uint8),
    "one column": RNG.integers(0, 256, (9, 1, 3), np.uint8),
    "empty": np.zeros((600, 701), np.uint16),
    "noise": RNG.integers(0, 65536, (33, 17, 3), np.uint16),
    "noise and nothing": RNG.integers(0, 256, (64, 64, 3), np.uint8) * np.uint8(np.arange(64) % 23 == 0)[:, None, None],
    # codes as long as Fibonacci's numbers make them, past the limit of deflate
    "steep": np.repeat(np.arange(26).cumsum(), (1.6 ** np.arange(26)).astype(int)).astype(np.uint8)[None],
    "smooth": np.add.outer(np.arange(300), np.arange(200)).astype(np.uint16) * 97,
}


@pytest.mark.parametrize("name", PICTURES)
def test_is_read_back(name):
    picture = PICTURES[name]
    read = cv2.imdecode(np.frombuffer(encode_png(picture), np.uint8), cv2.IMREAD_UNCHANGED)
    read = read if picture.ndim == 2 else read[..., ::-1]
    assert read.dtype == picture.dtype
    assert (read.reshape(picture.shape) == picture).all()


def test_smooth_pictures_and_nothing_are_packed():
    smooth = cv2.GaussianBlur(RNG.random((256, 256, 3)), (0, 0), 3) - 0.5
    picture = ((128 + 900 * smooth).clip(0, 255) * (np.arange(256) > 99)[:, None]).astype(np.uint8)
    assert len(encode_png(picture)) < 0.4 * picture.nbytes
    assert len(encode_png(picture * np.uint8(0))) < 0.01 * picture.nbytes


@pytest.mark.parametrize("wrong", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8)])
def test_refuses_what_it_cannot_write(wrong):
    with pytest.raises(ValueError, match="grey or RGB"):
        encode_png(wrong)
