"""What the specular network says of a person's diffuse albedo."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from relit.maps.pyramid import at_size, window_share
from relit.models.regions import region_masks
from relit.models.specular import SIZE, WINDOW, specular_factor
from relit.models.unet import UNet

RIM = 24  # texels over which the window fades into the maps around it


def read_factor(
    network: UNet, albedo: Float[Tensor, "H W 3"], confidence: Float[Tensor, "H W"]
) -> Float[Tensor, "H W"]:
    """The factor on the specular albedo that goes with a diffuse albedo, 1 off the face.

    The whole face is read at once, so that there are no seams.

    Args:
        albedo: linear, in the UV layout.
        confidence: [0, 1] how far a photo decided each texel.
    """
    size, square = confidence.shape, (SIZE, SIZE)
    planes = torch.cat([albedo, confidence[..., None]], 2)
    larger = planes if min(size) >= SIZE else at_size(planes, square)
    window = adaptive_avg_pool2d(larger.permute(2, 0, 1), square)[:, *WINDOW][None]
    log = torch.zeros(square)
    log[WINDOW] = specular_factor(network, window[:, :3], window[:, 3:].clamp(0, 1))[0, 0].log()
    log *= window_share(square, tuple((part.start, part.stop) for part in WINDOW), (RIM, RIM))
    masks = region_masks(*size, ("face", "scalp", "nostrils"))
    share = masks["face"] * (1 - masks["scalp"]) * (1 - masks["nostrils"])
    return (at_size(log[..., None], size)[..., 0] * share).exp()
