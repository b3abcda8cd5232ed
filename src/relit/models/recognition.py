"""Face recognition as a loss: SFace in torch, differentiable down to the pixels of the photo."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, grid_sample, linear, prelu
from torch.nn.functional import interpolate as resize

from relit.appearance.colour import srgb_from_linear
from relit.models.registry import load_tensors

CROP_PX = 112
# Where the eyes, the nose tip and the mouth corners belong in the crop (image left first): the template that SFace and
# ArcFace (Deng et al. 2019) were trained with.
TEMPLATE_PX = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)


class Recognition(nn.Module):
    """SFace: aligned crops (B, 3, 112, 112), RGB in [0, 255], to embeddings (B, 128), compared by cosine.

    Source: Zhong et al. 2021, "SFace: sigmoid-constrained hypersphere loss for robust face recognition"; MobileNet-V1
    trunk (Howard et al. 2017).
    """

    def __init__(self, tensors: dict[str, Tensor]):
        super().__init__()
        self.count = sum(name.endswith(".slope") for name in tensors)
        self.shape: list[tuple[int, int, int]] = []
        for index in range(self.count):
            stride, groups, kernel = tensors[f"{index:02d}.stride_groups_kernel"].tolist()
            weight = _dequantised(tensors, f"{index:02d}").unflatten(1, (-1, kernel, kernel))
            self.register_buffer(f"weight{index}", weight.contiguous())
            self.register_buffer(f"bias{index}", tensors[f"{index:02d}.bias"])
            self.register_buffer(f"slope{index}", tensors[f"{index:02d}.slope"])
            self.shape.append((stride, groups, kernel // 2))
        self.register_buffer("gain", tensors["last.gain"])
        self.register_buffer("shift", tensors["last.shift"])
        self.register_buffer("dense", _dequantised(tensors, "dense"))
        self.register_buffer("dense_bias", tensors["dense.bias"])
        self.register_buffer("input_shift_scale", tensors["input.shift_scale"])

    def forward(self, crops: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B 128"]:
        """Embeddings, not normalised."""
        shift, scale = self.input_shift_scale
        x = (crops - shift) * scale
        for index, (stride, groups, padding) in enumerate(self.shape):
            x = conv2d(x, getattr(self, f"weight{index}"), getattr(self, f"bias{index}"), stride, padding, 1, groups)
            x = prelu(x, getattr(self, f"slope{index}"))
        x = x * self.gain[:, None, None] + self.shift[:, None, None]
        return linear(x.flatten(1), self.dense, self.dense_bias)


@lru_cache(maxsize=2)
def load_recognition(device: str = "cpu") -> Recognition:
    """The shipped network, in evaluation mode, without gradients to its weights.

    Raises:
        AssetMissing, AssetCorrupt: the file is not there or not the recorded one.
    """
    return Recognition(load_tensors("sface")).to(device).eval()


def align_face(image: Float[Tensor, "H W 3"], landmarks_px: Float[Tensor, "478 2"]) -> Float[Tensor, "1 3 112 112"]:
    """The aligned crop of a linear-light picture, sRGB-coded in [0, 255]; differentiable in the picture.

    The crop is the similarity that best takes eyes, nose tip and mouth corners to the template (Umeyama 1991); a face
    larger than the crop is area-averaged first.
    """
    at = landmarks_px.detach().to(image)
    five = torch.stack([(at[33] + at[133]) / 2, (at[263] + at[362]) / 2, at[4], at[61], at[291]])
    template = image.new_tensor(TEMPLATE_PX)
    a, b = five - five.mean(0), template - template.mean(0)
    u, s, vt = torch.linalg.svd(b.T @ a)
    sign = torch.ones_like(s)
    sign[1] = torch.linalg.det(u @ vt).sign()
    rotation = u @ torch.diag(sign) @ vt  # crop <- picture
    scale = (s * sign).sum() / (a * a).sum()
    height, width = image.shape[:2]
    planes = srgb_from_linear(image.clamp(0, 1)).permute(2, 0, 1)[None]
    if scale < 0.6:
        size = (max(1, round(height * float(scale) * 1.2)), max(1, round(width * float(scale) * 1.2)))
        planes = resize(planes, size, mode="area")
    y, x = torch.meshgrid(torch.arange(CROP_PX) + 0.5, torch.arange(CROP_PX) + 0.5, indexing="ij")
    grid = torch.stack([x, y], -1).to(image)
    source = (grid - template.mean(0)) @ rotation / scale + five.mean(0)
    where = source / image.new_tensor([width, height]) * 2 - 1
    return grid_sample(planes, where[None], padding_mode="border", align_corners=False) * 255


def _dequantised(tensors: dict[str, Tensor], name: str) -> Tensor:
    """(outputs, inputs) weights of block-quantised int8: (q - zero) * scale with one zero and scale per block."""
    blocks, scale, zero = (tensors[f"{name}.{part}"].float() for part in ("blocks", "scale", "zero"))
    length = -(-blocks.shape[1] // scale.shape[1])
    spread = lambda x: x.repeat_interleave(length, 1)[:, : blocks.shape[1]]  # noqa: E731
    return (blocks - spread(zero)) * spread(scale)
