"""The typical skin without the grey that the mean of shaved and unshaved people has on jaws and on the sides of faces."""

import torch
from jaxtyping import Float
from torch import Tensor

from relit.maps.pyramid import blur

# Beside all these, the grey of beards lies where they may grow and, in the mean of many skins, on the sides of the face.
INNER = "cheeks", "forehead", "nose", "lips", "eyelids", "under_eye", "brows", "nostrils"
BROAD = 0.01  # of the map's width
TAKEN = 0.7  # of the hue


def without_grey(base: Float[Tensor, "H W 3"], masks: dict[str, Tensor]) -> Float[Tensor, "H W 3"]:
    """The logarithm of what makes a typical albedo on jaws and sides of about the hue of plain skin.

    Photos show the jaws that they show; this is for what they do not show.

    Args:
        masks: of `relit.models.regions.region_masks`: face, beard and INNER.
    """
    inner = torch.stack([masks[name] for name in INNER]).amax(0)
    ring = torch.maximum(masks["beard"], masks["face"] * (1 - inner)) * (1 - masks["lips"])
    plain = torch.maximum(masks["cheeks"], masks["forehead"]) * (1 - ring) > 0.5
    log = base.clamp_min(5e-3).log()
    hue = log - log.mean(-1, keepdim=True)
    apart = (hue - hue[plain][::7].median(0).values) * ring[..., None]
    return -TAKEN * torch.from_numpy(blur(apart.numpy(), BROAD * base.shape[1]))
