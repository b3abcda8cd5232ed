"""The recognition network of the identity term: SFace, differentiable from the photo's pixels to the embedding."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from relit.appearance.colour import srgb_from_linear
from relit.models.registry import load_tensors

CROP_PX = 112
# Where the network's training put right eye, left eye, nose tip, right and left mouth corner of the subject in its
# 112 px input (Guo et al. 2018, the InsightFace template that OpenCV's FaceRecognizerSF uses as well).
TEMPLATE_PX = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
# The same places among the 478 landmarks; the eyes are the means of their corners.
FIVE_POINTS = ((33, 133), (362, 263), (1, 4), (61,), (291,))
HALVING_BLOCKS = (3, 5, 7, 13)
CONTENT_LAYERS = (10, 22)  # pictures of 28 x 28 and 14 x 14 features that say what a face consists of
SAMPLES = 2  # per crop pixel and axis


class SFace(nn.Module):
    """Aligned faces [B, 3, 112, 112] (sRGB-coded RGB, 0..255) to unit embeddings [B, 128].

    A cosine above about 0.36 means the same person (OpenCV's threshold for this network).

    Source: Zhong et al. 2021, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition"; the weights
        are the OpenCV Zoo's (MobileFaceNet-like: a stem and 13 depthwise separable blocks).
    Differs: the embedding is normalised here; OpenCV leaves that to its comparison.
    """

    def __init__(self, tensors: dict[str, Tensor]):
        super().__init__()
        names = ["conv_1", *(f"conv_{block}{kind}" for block in range(2, 15) for kind in ("_dw", ""))]
        self.weights = nn.ParameterList(_dequantised(tensors, name) for name in (*names, "fc"))
        self.biases = nn.ParameterList(tensors[f"{name}.bias"] for name in (*names, "fc"))
        self.slopes = nn.ParameterList(tensors[f"{name}.slope"] for name in names)
        self.strides = [2 if name in {f"conv_{block}_dw" for block in HALVING_BLOCKS} else 1 for name in names]
        for name in ("input", "head.gain", "head.shift"):
            self.register_buffer(name.replace(".", "_"), tensors[name])
        self.requires_grad_(False)

    def forward(self, aligned: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B 128"]:
        """The unit embeddings."""
        return self.read(aligned)[0]

    def read(self, aligned: Float[Tensor, "B 3 112 112"]) -> tuple[Float[Tensor, "B 128"], tuple[Tensor, ...]]:
        """The unit embeddings, and the features of CONTENT_LAYERS (B, C, h, w)."""
        x = (aligned - self.input[0]) * self.input[1]  # [B, 3, 112, 112]
        content = []
        layers = zip(self.weights, self.biases, self.slopes, self.strides, strict=False)
        for number, (weight, bias, slope, stride) in enumerate(layers):
            groups = x.shape[1] // weight.shape[1]
            x = F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)
            x = F.prelu(x, slope)
            content += [x] if number in CONTENT_LAYERS else []
        x = x * self.head_gain[:, None, None] + self.head_shift[:, None, None]  # [B, 1024, 7, 7]
        return F.normalize(F.linear(x.flatten(1), self.weights[-1], self.biases[-1]), dim=1), tuple(content)


@lru_cache(maxsize=2)
def load_recognition(device: str = "cpu") -> SFace:
    """The shipped network, frozen.

    Raises:
        AssetMissing, AssetCorrupt: its file is not there or not the recorded one.
    """
    return SFace(load_tensors("sface")).to(device).eval()


def align_face(linear: Float[Tensor, "H W 3"], landmarks_px: Float[Tensor, "P 2"]) -> Float[Tensor, "1 3 112 112"]:
    """The face turned, scaled and shifted onto the network's template: sRGB-coded RGB, 0..255. Differentiable in pixels.

    Args:
        linear: the picture in linear light, clipped to [0, 1] as a camera would.
        landmarks_px: the 478 (or 468) MediaPipe landmarks, or the five points of TEMPLATE_PX in its order.

    Source: least-squares similarity, Umeyama 1991.
    Differs: reduced in linear light by area before sampling, where the usual bilinear warp aliases large photos.
    """
    picture_from_crop = _similarity(_five_points(landmarks_px).detach())
    scale = float(picture_from_crop[0, :2].norm())  # picture pixels per crop pixel
    planes = linear.permute(2, 0, 1)[None]
    pool = int(scale)
    if pool >= 2:
        planes, picture_from_crop = _pooled(planes, picture_from_crop, pool)
    height, width = planes.shape[-2:]
    centres = (torch.arange(CROP_PX * SAMPLES, device=linear.device) + 0.5) / SAMPLES
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1) @ picture_from_crop.T.to(x)
    grid = points / torch.tensor([width, height], device=linear.device) * 2 - 1
    sampled = F.grid_sample(planes, grid[None], mode="bilinear", padding_mode="border", align_corners=False)
    return 255 * srgb_from_linear(F.avg_pool2d(sampled, SAMPLES).clamp(0, 1))


def _pooled(planes: Tensor, picture_from_crop: Tensor, pool: int) -> tuple[Tensor, Tensor]:
    """The part of the picture under the crop, reduced by a whole factor, and the matrix into it."""
    edges = torch.tensor([[0, 0, 1], [CROP_PX, 0, 1], [0, CROP_PX, 1], [CROP_PX, CROP_PX, 1]]).float()
    corners = edges @ picture_from_crop.cpu().T
    low = [max(0, math.floor(value) - 2 * pool) for value in corners.min(0).values.tolist()]
    high = [math.ceil(value) + 2 * pool for value in corners.max(0).values.tolist()]
    part = planes[..., low[1] : max(high[1], low[1] + pool), low[0] : max(high[0], low[0] + pool)]
    if min(part.shape[-2:]) < pool:
        return planes, picture_from_crop
    moved = picture_from_crop.clone()
    moved[:, 2] -= torch.tensor(low).to(moved)
    return F.avg_pool2d(part, pool), moved / pool


def _five_points(landmarks_px: Tensor) -> Tensor:
    if len(landmarks_px) == len(TEMPLATE_PX):
        return landmarks_px
    return torch.stack([landmarks_px[list(indices)].mean(0) for indices in FIVE_POINTS])


def _similarity(points_px: Tensor) -> Tensor:
    """The 2x3 matrix of the least-squares similarity from the template to the points, by complex division."""
    template = torch.tensor(TEMPLATE_PX, dtype=torch.float64)
    target = points_px.double().cpu()
    a, b = template - template.mean(0), target - target.mean(0)
    weight = (a**2).sum()
    cosine = (a * b).sum() / weight
    sine = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / weight
    turn = torch.stack([torch.stack([cosine, -sine]), torch.stack([sine, cosine])])
    shift = target.mean(0) - turn @ template.mean(0)
    return torch.cat([turn, shift[:, None]], 1).float().to(points_px.device)


def _dequantised(tensors: dict[str, Tensor], name: str) -> Tensor:
    """The float weight: (q - zero) * scale, block by block along the flattened inputs."""
    quantised, zero, scale = (tensors[f"{name}.{part}"] for part in ("q", "zero", "scale"))
    blocks = quantised.float().view(len(scale), scale.shape[1], -1) - zero.float()[..., None]
    return (blocks * scale[..., None]).view(quantised.shape)
