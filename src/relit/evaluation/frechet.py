"""How far two sets of face textures are apart, by the Fréchet distance of Gaussians in a shipped network's features.

Not the "FID" of the literature, whose features are those of a network for photographs of things: figures compare with each
other only. The features are those of the de-lighting network (`relit.models.delighting`), which has seen lit textures of the
same layout; beside the mean head's geometry it reads the texture, its deepest level is averaged over the face.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from relit.geometry.mesh import vertex_normals
from relit.geometry.uv import rasterise_uv
from relit.models.delighting import ROWS, SIZE, delighting_input, load_delighting
from relit.models.head import load_head_model
from relit.models.texture_prior import box_slices


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians of two sets of features (N, F) and (M, F).

    Source: Dowson & Landau, "The Fréchet distance between multivariate normal distributions", J. Multivariate Analysis 12,
    1982.
    """
    (mean_a, cov_a), (mean_b, cov_b) = ((x.double().mean(0), torch.cov(x.double().T)) for x in (first, second))
    root = _root(cov_a)
    both = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    return float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * both)


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T


def texture_features(textures: Tensor) -> Tensor:
    """(B, F) of sRGB-coded textures (B, 3, H, W) of the priors' box."""
    network, rows = load_delighting(), ROWS.stop - ROWS.start
    box = [slice(s.start, s.stop) for s in box_slices(SIZE)]
    whole = torch.zeros(len(textures), 3, SIZE, SIZE)
    whole[:, :, box[0], box[1]] = interpolate(textures, (rows, rows), mode="area")
    seen = torch.zeros(len(textures), 1, SIZE, SIZE)
    seen[:, :, box[0], box[1]] = 1
    normal, position = (plane.expand(len(textures), -1, -1, -1) for plane in _mean_head())
    found: list[Tensor] = []
    hook = network.down[-1].register_forward_hook(lambda _, __, out: found.append(out.mean((2, 3))))
    try:
        with torch.no_grad():
            network(delighting_input(whole[:, :, ROWS], seen[:, :, ROWS], normal, position))
    finally:
        hook.remove()
    return found[0]


@lru_cache(maxsize=1)
def _mean_head() -> tuple[Tensor, Tensor]:
    """(1, 3, H, W) normals and positions of the mean head, as the network reads them."""
    model = load_head_model()
    triangle, barycentric = rasterise_uv(model.uv, model.render_triangles, SIZE, SIZE)
    of_vertex = torch.cat([vertex_normals(model.mean, model.triangles), model.mean], 1)
    values = (of_vertex[model.triangles[triangle.clamp_min(0)]] * barycentric[..., None]).sum(2)
    planes = (values * (triangle >= 0)[..., None]).permute(2, 0, 1)[None, :, ROWS]
    return normalize(planes[:, :3], dim=1), planes[:, 3:]
