"""The de-lighting network: the lit texture of a face and its geometry in, the diffuse albedo out.

Source: AvatarMe (Lattas et al. 2020), section 3.3: de-lighting from the texture and the object-space geometry.
Differs: it works at the size at which light varies, and detail finer than that stays the photo's; texels that no photo
shows are predicted from the others.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from relit.appearance.colour import linear_from_srgb
from relit.models.unet import UNet, UNetShape

SIZE, ROWS = 256, slice(32, 224)  # of the layout that the network sees: from the crown to the collar
CHANNELS = 10
TYPICAL = 0.25  # linear albedo for which the network says 0
BROAD, LARGEST, DARKEST = 6.0, 0.8, 0.004  # of the photo's detail: scale in texels, log ratio, linear value


def delighting_input(lit: Tensor, visible: Tensor, normal: Tensor, position_m: Tensor) -> Tensor:
    """(B, 10, H, W) what the network reads.

    Args:
        lit: (B, 3, H, W) the photo at each texel, sRGB-coded, [0, 1].
        visible: (B, 1, H, W) [0, 1] trust that it shows skin.
        normal: (B, 3, H, W) unit, head frame, of the posed head without relief; 0 outside.
        position_m: (B, 3, H, W) head frame.
    """
    return torch.cat([(lit - 0.5) * visible * 4, visible, normal, position_m * 10], 1)


def albedo_from(prediction: Tensor, lit: Tensor, visible: Tensor) -> Tensor:
    """(B, 3, H, W) linear diffuse albedo: what the network says, in logarithms, on top of the photo's detail.

    Args:
        lit, visible: as in `delighting_input`.
    """
    return TYPICAL * (prediction + _detail(lit, visible)).clamp(-4, 1.3).exp()


def _detail(lit: Tensor, visible: Tensor) -> Tensor:
    """(B, 3, H, W) how the log texture differs from the mean of the visible texels around; 0 where it is not seen.

    Brows, lips and freckles need not pass through the network, which has room for light only.
    """
    logs = linear_from_srgb(lit).clamp_min(DARKEST).log()
    reach = round(2.5 * BROAD)
    x = torch.arange(-reach, reach + 1, device=lit.device)
    kernel = torch.exp(-0.5 * (x / BROAD) ** 2)
    stacked = torch.cat([logs * visible, visible], 1).flatten(0, 1)[:, None].float()
    for axis in (2, 3):
        weights = (kernel / kernel.sum()).view([1, 1, -1, 1] if axis == 2 else [1, 1, 1, -1])
        stacked = conv2d(stacked, weights, padding=[reach, 0] if axis == 2 else [0, reach])
    total = stacked.view(len(lit), 4, *lit.shape[2:])
    mean = total[:, :3] / total[:, 3:].clamp_min(1e-3)
    return visible * (logs - mean).clamp(-LARGEST, LARGEST)


def new_delighting(widths: tuple[int, ...]) -> UNet:
    """An untrained network."""
    return UNet(UNetShape(CHANNELS, 3, widths))
