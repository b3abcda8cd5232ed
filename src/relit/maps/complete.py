"""Completes the albedo where no photo shows it, without seams: from the mirrored side, then the statistical skin."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relit.geometry.smoothstep import smoothstep
from relit.maps.delight import Regions
from relit.maps.pyramid import fill, weighted_blur

MIRROR_TRUST = 0.6  # of a mirrored texel against a seen one
KNOWN = (0.02, 0.35)  # confidence between completed and seen
FAR_PULL = 0.06  # per octave: how fast the continuation tends to the person's mean tone
TONE_WIDTH = 0.006  # of the map: the continuation starts from means over this distance


def complete(
    ratio: Float[Tensor, "H W 3"],
    confidence: Float[Tensor, "H W"],
    regions: Regions,
    guess: tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W"]] | None = None,
    detail: Float[Tensor, "H W 3"] | None = None,
) -> Float[Tensor, "H W 3"]:
    """The log ratio to the statistical albedo at every texel.

    Seen texels stay; where only the mirrored side is seen, its ratio is used; the rest is a smooth membrane over the
    borders that tends to the person's median tone, so that no seam shows and no hair or background tone runs far.

    Args:
        regions: the tone around seen skin is told where that goes on: what remains of an eye behind the rim of glasses does
            not.
        guess: log ratios from elsewhere, and their weight in [0, 1], in place of the mirrored side and of the membrane.
        detail: laid on all that is not seen, as of `relit.maps.skin_detail`.

    Source: symmetry-aware completion as Yamaguchi et al. 2018, section 5, without networks; blending of gradients as
    Perez et al. 2003, by a pull-push membrane.
    """
    values, trust = ratio.numpy(), confidence.numpy()
    mirrored_trust = trust[:, ::-1] * MIRROR_TRUST
    borrowed = mirrored_trust * (1 - np.clip(trust / KNOWN[1], 0, 1))
    if guess is not None:
        borrowed *= 1 - guess[1].numpy()
    weight = trust + borrowed
    known = values * trust[..., None] + values[:, ::-1] * borrowed[..., None]
    known /= np.maximum(weight, 1e-6)[..., None]
    certain = (trust > 0.5) & (regions.plain.numpy() > 0.5)
    far = np.median(values[certain][::7], 0).astype(np.float32) if certain.any() else np.zeros(3, np.float32)
    solid = smoothstep(*KNOWN, weight)
    # The membrane continues tone, not detail: a seen hair or mole at the border must not be smeared outwards.
    telling = solid * regions.going_on.numpy()
    smooth = weighted_blur(known, telling, TONE_WIDTH * values.shape[1])
    if guess is None:
        result = fill(smooth, telling, far, FAR_PULL)
    else:
        guessed, share = (plane.numpy() for plane in guess)
        share = share[..., None] * (1 - telling[..., None])
        weight = telling + share[..., 0]
        mixed = (smooth * telling[..., None] + guessed * share) / np.maximum(weight, 1e-6)[..., None]
        result = fill(mixed, weight, far, FAR_PULL)
    if detail is not None:
        result += detail.numpy()
    result += solid[..., None] * (known - result)
    return torch.from_numpy(result)
