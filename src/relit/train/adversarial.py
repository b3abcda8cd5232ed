"""What trains a generator against a critic: logistic losses, penalties on gradients, and augmentation of what critics see."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

SHIFT_TEXELS, GAIN, OFFSET, HOLE = 12, 0.2, 0.3, 0.4  # most of each change, the gain in log; a hole's share of an edge
PATH_DECAY = 0.01  # of the running mean of path lengths


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Inside, what runs through the network teaches its input, not the network."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def fooling_loss(made: dict[str, Tensor]) -> Tensor:
    """The generator's non-saturating loss: mean of each judge's logits, mean of the judges (Goodfellow et al. 2014)."""
    return torch.stack([softplus(-logits).mean() for logits in made.values()]).mean()


def telling_loss(real: dict[str, Tensor], made: dict[str, Tensor]) -> Tensor:
    """The critic's logistic loss."""
    return torch.stack([softplus(-real[name]).mean() + softplus(made[name]).mean() for name in real]).mean()


def gradient_penalty(judge: Callable[[Tensor], dict[str, Tensor]], real: Tensor) -> Tensor:
    """R1: half the mean squared gradient of a critic's mean judgement of real samples (B, ...), in single precision.

    Source: Mescheder, Geiger & Nowozin, "Which training methods for GANs do actually converge?", ICML 2018, equation 9.
    """
    with torch.autocast(real.device.type, enabled=False):
        real = real.detach().float().requires_grad_()
        total = sum(logits.mean(1).sum() for logits in judge(real).values())
        gradient = torch.autograd.grad(total, real, create_graph=True)[0]
        return 0.5 * gradient.square().flatten(1).sum(1).mean()


def path_penalty(make: Callable[[Tensor], Tensor], w: Tensor, usual: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared difference of the generator's path lengths from their running mean `usual`, which is moved on.

    Source: StyleGAN2, section 3.2, equation 4. In single precision.
    """
    with torch.autocast(w.device.type, enabled=False):
        w = w.detach().float().requires_grad_()
        made = make(w)
        direction = torch.randn(made.shape, generator=generator, device=made.device) / math.sqrt(made[0, 0].numel())
        lengths = torch.autograd.grad((made * direction).sum(), w, create_graph=True)[0].square().sum(1).sqrt()
        usual.lerp_(lengths.detach().mean(), 1.0 if usual == 0 else PATH_DECAY)
        return (lengths - usual).square().mean()


@dataclass(frozen=True)
class Augmentation:
    """How each of B pictures is changed before a critic sees it; the same for all its channels."""

    shift: Tensor  # (B, 2) whole texels along rows and columns
    gain: Tensor  # (B,)
    offset: Tensor  # (B, C)
    hole: Tensor  # (B, 4) top, left, height, width in shares of the picture

    def __getitem__(self, chosen: slice) -> "Augmentation":
        return Augmentation(self.shift[chosen], self.gain[chosen], self.offset[chosen], self.hole[chosen])

    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures (B, C, H, W), deviations from the mean, so that 0 is nothing; differentiable."""
        touched = (self.shift != 0).any(1) | (self.gain != 1) | (self.offset != 0).any(1) | (self.hole > 0).all(1)
        if not touched.any():
            return pictures
        return torch.stack([self._changed(p, k) if touched[k] else p for k, p in enumerate(pictures)])

    def _changed(self, picture: Tensor, number: int) -> Tensor:
        height, width = picture.shape[1:]
        offset = self.offset[number].to(picture)[:, None, None]
        moved = (picture * float(self.gain[number]) + offset).roll(self.shift[number].tolist(), (1, 2))
        top, left, high, wide = self.hole[number].tolist()
        rows, columns = round(top * height), round(left * width)
        kept = torch.ones(height, width, device=picture.device)
        kept[rows : rows + round(high * height), columns : columns + round(wide * width)] = 0
        return moved * kept


def draw_augmentation(count: int, channels: int, probability: float, generator: torch.Generator) -> Augmentation:
    """Each change with the given probability, below 1, so that what is made cannot learn them from what is real.

    Source: Karras et al., "Training generative adversarial networks with limited data", NeurIPS 2020. Differs: no turns and
    no scaling, which textures in one layout never show; mirroring belongs to the data.
    """
    draw = lambda *shape: torch.rand(count, *shape, generator=generator)  # noqa: E731
    happens = lambda: (draw(1) < probability).float()  # noqa: E731
    shift = ((draw(2) * 2 - 1) * SHIFT_TEXELS * happens()).round().int()
    gain = ((draw(1) * 2 - 1) * GAIN * happens()).exp()[:, 0]
    offset = (draw(channels) * 2 - 1) * OFFSET * happens()
    size = draw(2) * HOLE * happens()
    return Augmentation(shift, gain, offset, torch.cat([draw(2) * (1 - size), size], 1))


def adapted(probability: Tensor, real: Tensor, pictures: int, target: float = 0.6) -> Tensor:
    """The probability of augmentation moved so that the share of real pictures known as such falls to the target.

    Args:
        real: a judge's logits of real pictures.
        pictures: that must be shown for it to go from 0 to 1.

    Source: Karras et al. 2020, section 3, the heuristic r_t.
    """
    overfit = real.detach().sign().mean() > target
    return (probability + (1.0 if overfit else -1.0) * len(real) / pictures).clamp(0, 0.8)
