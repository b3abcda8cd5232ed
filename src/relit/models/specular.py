"""The specular network of AvatarMe: the diffuse albedo of a face in, what it changes of the specular albedo out.

Pores and lines take from the specular albedo. A photo shows few of them one by one, but how many there are and how deep: skin
of much contrast reflects less. So the network reads, of cells of 8 x 8 texels, the mean albedo and its contrast in four bands,
beside the person's tone and the place on the face, and says a factor on the specular albedo that the rules give each region.

Source: AvatarMe (Lattas et al. 2020), section 3.4: specular albedo from diffuse albedo by a network of its own.
Differs: the factor varies over centimetres. What is finer, a network learns of our synthetic subjects by heart: folds that all
of them have at one place. Single pores and lines follow from the relief by rule.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, normalize

from relit.errors import InputError
from relit.geometry.mesh import vertex_normals
from relit.geometry.uv import rasterise_uv
from relit.models import texture_inference
from relit.models.completion import mean_of_seen
from relit.models.delighting import BRIGHTEST, DARKEST
from relit.models.head import load_head_model
from relit.models.registry import load_tensors
from relit.models.unet import UNet, UNetShape, unet_from

SIZE = 1024  # texels of the layout along an edge: 0.35 mm of skin
WINDOW = tuple(slice(2 * part.start, 2 * part.stop) for part in texture_inference.WINDOW)  # rows and columns that are read
SHAPE = tuple(part.stop - part.start for part in WINDOW)
CELL, BLOCK = 8, 8  # texels along an edge of a cell, and cells along an edge of what shares one factor
CELL_PLANES, INPUTS = 8, 17
BANDS = (3, 7, 15, 31)  # texels along an edge of the means between which contrast is taken
STRANGE = 2.0  # bound of the log albedo relative to its mean
MEAN_TONE = -1.4  # log albedo that is read as 0
LEAST_SEEN = 0.05  # confidence of a cell, below which it says nothing
MOST = 0.35  # bound of the log factor


def cells_of(log_albedo: Tensor, confidence: Tensor, tone: Tensor) -> Tensor:
    """(B, 8, h, w) mean log albedo less the tone, log contrast in each of `BANDS`, and confidence of each cell.

    Args:
        log_albedo: (B, 3, H, W), of linear albedo, the texels of `WINDOW`.
        confidence: (B, 1, H, W) in [0, 1], how far a photo decided each texel.
        tone: (B, 3, 1, 1) mean log albedo of what the photo decided.
    """
    detail, seen = (log_albedo - tone).clamp(-STRANGE, STRANGE), avg_pool2d(confidence, CELL)
    mean = lambda values: avg_pool2d(values * confidence, CELL) / seen.clamp_min(1e-3)  # noqa: E731
    planes, sharp = [mean(detail)], detail.mean(1, keepdim=True)
    for edge in BANDS:
        soft = _smooth(sharp, edge)
        planes.append((mean((sharp - soft).square()) + 1e-6).log() / 2 + 4)
        sharp = soft
    return torch.cat([torch.cat(planes, 1) * (seen > LEAST_SEEN), seen], 1)


def _smooth(picture: Tensor, edge: int) -> Tensor:
    """The picture (B, 1, H, W) averaged over squares, wide ones on a smaller copy."""
    fold = 4 if edge > CELL else 1
    odd = edge // fold | 1
    small = avg_pool2d(avg_pool2d(picture, fold), odd, 1, odd // 2, count_include_pad=False)
    return interpolate(small, size=picture.shape[2:], mode="bilinear", align_corners=False)


def specular_input(cells: Tensor, tone: Tensor) -> Tensor:
    """(B, 17, h, w) what the network reads; arguments as what `cells_of` gives and takes."""
    around = (tone - MEAN_TONE).expand(-1, -1, *cells.shape[2:]), _place().to(cells.device).expand(len(cells), -1, -1, -1)
    return torch.cat([cells, *around], 1).contiguous(memory_format=torch.channels_last)


def factor_of(prediction: Tensor) -> Tensor:
    """(B, 1, h / BLOCK, w / BLOCK) the factor that the network's output (B, 1, h, w) stands for."""
    return (MOST * torch.tanh(avg_pool2d(prediction.float(), BLOCK))).exp()


def over_cells(factor: Tensor, size: tuple[int, int]) -> Tensor:
    """The factors of blocks (B, 1, h, w) at a size."""
    return interpolate(factor, size=size, mode="bilinear", align_corners=False)


def specular_factor(network: UNet, albedo: Tensor, confidence: Tensor) -> Tensor:
    """(1, 1, H, W) the factor on the specular albedo of a face.

    Args:
        albedo: (1, 3, H, W) linear, the texels of `WINDOW`.
        confidence: (1, 1, H, W) in [0, 1], how far a photo decided each texel.

    Raises:
        InputError: a texture has the wrong size or holds values that are no numbers.
    """
    for name, texture, channels in (("albedo", albedo, 3), ("confidence", confidence, 1)):
        if texture.shape != (1, channels, *SHAPE):
            raise InputError(f"the {name} texture must be {(1, channels, *SHAPE)}, got {tuple(texture.shape)}")
        if not torch.isfinite(texture).all():
            raise InputError(f"the {name} texture holds values that are no numbers")
    log = albedo.clamp(DARKEST, BRIGHTEST).log()
    tone = mean_of_seen(log, confidence)
    with torch.no_grad():
        factor = factor_of(network(specular_input(cells_of(log, confidence, tone), tone)))
    return over_cells(factor, SHAPE)


@lru_cache(maxsize=1)
def _place() -> Tensor:
    """(1, 6, h, w) normals, and positions in decimetres, of the mean head at each cell."""
    model = load_head_model()
    triangle, barycentric = (sheet[WINDOW] for sheet in rasterise_uv(model.uv, model.render_triangles, SIZE, SIZE))
    values = torch.cat([vertex_normals(model.mean, model.triangles), model.mean * 10], 1)
    sheet = (values[model.triangles[triangle.clamp_min(0)]] * barycentric[..., None]).sum(2) * (triangle >= 0)[..., None]
    planes = avg_pool2d(sheet.permute(2, 0, 1)[None], CELL)
    return torch.cat([normalize(planes[:, :3], dim=1), planes[:, 3:]], 1)


def new_specular(widths: tuple[int, ...]) -> UNet:
    """An untrained network, which says 1 everywhere."""
    return UNet(UNetShape(INPUTS, 1, widths))


def specular_from(tensors: dict[str, Tensor]) -> UNet:
    """The network with stored weights, for inference.

    Raises:
        AssetCorrupt: the weights are those of another architecture.
    """
    return unet_from(tensors, INPUTS, 1)


@lru_cache(maxsize=1)
def load_specular() -> UNet:
    """The shipped network."""
    return specular_from(load_tensors("avatarme_specular"))
