"""Several photos of one skin made one: light and tone from all of them, detail from the one that shows it best."""

import torch
from jaxtyping import Float
from torch import Tensor

from relit.maps.pyramid import blur, weighted_blur

# Log ratio to typical skin, averaged over a part of the map's width, from which a photo is doubted where another shows less:
# blushes and freckles stay below it, leftover shadows and hair do not.
UNLIKE, UNLIKE_SCALE = 0.25, 0.006
# Of the map's width: what is finer comes from one photo and goes over into another's within half of that; of plain skin, and of
# features with a tone of their own.
BANDS = 0.012, 0.04
REGION = 0.008  # of the map's width: one photo is the best for at least so much skin
LEADING = 4.0  # how much more is asked of other photos than of the one that shows most of the face well
SURELY = 8.0  # power of the preference that decides which


def merged(
    ratios: list[Float[Tensor, "H W 3"]],
    trusts: list[Float[Tensor, "H W"]],
    liked: list[Float[Tensor, "H W"]],
    plain: Float[Tensor, "H W"],
) -> Float[Tensor, "H W 3"]:
    """One log ratio to the typical skin from those of several photos.

    What is broad is averaged, with a preference for the better view and for the photo that is nearer to typical skin: where
    photos differ much, the other shows hair, a shadow or a highlight. What is finer comes from one photo at a time:
    expressions are fitted to millimetres only, and lines that lie beside each other would wash each other out. Brows and
    lips come from one photo as a whole.

    Args:
        liked: how well each photo shows detail, beside the trust in it.
        plain: [0, 1] skin of the colour of skin; what has a tone of its own is not doubted for that.

    Source: bands joined over their own scale, Burt & Adelson 1983.
    """
    if len(ratios) == 1:
        seen = trusts[0][..., None] ** 4
        return ratios[0] * seen / seen.clamp_min(1e-8)
    width = ratios[0].shape[1]
    unlike = [blur((ratio.mean(-1).abs() * plain).numpy(), UNLIKE_SCALE * width) for ratio in ratios]
    likely = torch.stack([(1 + (torch.from_numpy(off) / UNLIKE) ** 2) ** -2 for off in unlike])
    likely = likely / likely.amax(0)
    trust = torch.stack(trusts)
    suits = trust**2 * likely * torch.stack(liked)
    suits[suits.mean((1, 2)).argmax()] *= LEADING
    best = _shares(_blurred(suits, REGION * width).clamp_min(1e-3) ** SURELY)
    average = _shares(trust**4 * likely)
    rest, result = list(ratios), torch.zeros_like(ratios[0])
    for scale, skin in zip(BANDS, (torch.zeros_like(plain), plain), strict=True):
        coarse = [_coarser(one, weight, scale * width) for one, weight in zip(rest, trusts, strict=True)]
        share = _shares(_blurred(best, scale / 2 * width).clamp_min(0) * trust) * (1 - skin) + average * skin
        result += sum((a - b) * w[..., None] for a, b, w in zip(rest, coarse, share, strict=True))
        rest = coarse
    return result + sum(one * w[..., None] for one, w in zip(rest, average, strict=True))


def _blurred(planes: Tensor, sigma_texels: float) -> Tensor:
    return torch.from_numpy(blur(planes.permute(1, 2, 0).numpy(), sigma_texels)).permute(2, 0, 1)


def _coarser(ratio: Tensor, trust: Tensor, sigma_texels: float) -> Tensor:
    return torch.from_numpy(weighted_blur(ratio.numpy(), trust.numpy(), sigma_texels))


def _shares(weights: Tensor) -> Tensor:
    """(n, H, W) of a sum of 1, or of 0 where no photo has weight."""
    return weights / weights.sum(0).clamp_min(1e-8)
