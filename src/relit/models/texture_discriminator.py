"""The critic that teaches the texture priors: a judge for each modality and one for all.

Source: FitMe (Lattas et al., CVPR 2023): a branched discriminator, each modality by itself and all jointly, so that they
belong together. StyleGAN2: residual blocks, equalised layers. Isola et al. 2017: judges of patches.
Differs: patches of texels become channels at once, down to 144 rows: most of the speed on CPUs. A modality is judged in
overlapping parts of the face, hundreds to a picture; only the joint judge sees it whole. All read the maps sharpened: what the
linear base cannot make is a tenth of a standard deviation of a tone, and without this 100 steps taught them nothing. Judges
of patches learn where on the face they are: hair and skin differ. No minibatch statistics: the encoder already makes the
generator reach every subject.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from relit.models.style import Conv, Dense, Halving, activated
from relit.models.texture_prior import BASE_SIZE, SMALLEST, PriorShape

ENTRY_ROWS = SMALLEST[0] << 4
SHARPEN = {"lit": 15.0, "albedo": 15.0, "specular": 5.0, "normal": 5.0}  # most of a tone is coarse, most of a relief is fine


class TextureDiscriminator(nn.Module):
    """Deviations (B, C, H, W) as a `TexturePrior` makes them -> logits of each judge, above 0 is real.

    By modality (B, N) for N patches, and (B, 1) "joint".
    """

    def __init__(self, shape: PriorShape, widths: tuple[int, int, int] = (32, 64, 96), joint: tuple[int, int] = (128, 128)):
        super().__init__()
        strength = [SHARPEN[name] for name, count in zip(shape.branches, shape.channels, strict=True) for _ in range(count)]
        self.register_buffer("strength", torch.tensor(strength), persistent=False)
        self.channels, patch = shape.channels, shape.size[0] // ENTRY_ROWS
        stem = lambda channels: nn.ModuleList(  # noqa: E731
            [Conv(channels, widths[0], patch, patches=True), Halving(*widths[:2]), Halving(*widths[1:])]
        )
        self.stems = nn.ModuleDict({name: stem(c) for name, c in zip(shape.branches, shape.channels, strict=True)})
        size = widths[0], *(n // patch for n in shape.size)
        self.places = nn.ParameterDict({name: torch.zeros(size) for name in shape.branches})
        self.patches = nn.ModuleDict({name: Conv(widths[2], 1, 1) for name in shape.branches})
        self.together = nn.Sequential(
            Conv(widths[2] * len(shape.branches), joint[0], 1), Halving(*joint), Halving(joint[1], joint[1])
        )
        self.leave = Dense(joint[1] * SMALLEST[0] * SMALLEST[1], 1)

    def forward(self, deviation: Tensor) -> dict[str, Tensor]:
        logits, last = {}, []
        parts = sharpened(deviation, self.strength.to(deviation)).split(self.channels, 1)
        for (name, (enter, *blocks)), part in zip(self.stems.items(), parts, strict=True):
            entered = enter(part)
            x = activated(entered + self.places[name].to(entered.dtype))
            for block in blocks:
                x = block(x)
            logits[name] = self.patches[name](x).flatten(1).float()
            last.append(x)
        logits["joint"] = self.leave(self.together(torch.cat(last, 1)).flatten(1)).float()
        return logits


def sharpened(deviation: Tensor, strength: Tensor) -> Tensor:
    """Pictures (B, C, H, W) with all that is finer than the linear base `1 + strength` (C,) times as strong."""
    smooth = interpolate(adaptive_avg_pool2d(deviation, BASE_SIZE), deviation.shape[2:], mode="bilinear", align_corners=False)
    return torch.lerp(smooth, deviation, 1 + strength[:, None, None])
