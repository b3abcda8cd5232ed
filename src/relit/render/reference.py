"""The slow, obvious rasteriser: every triangle tried at every pixel. Tests hold the fast paths to it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from relit.render.kernels import NEAR_M
from relit.render.rasterise import Fragments


def rasterise_reference(
    vertices_px: Float[Tensor, "N 3"], triangles: Int[Tensor, "T 3"], size_px: tuple[int, int]
) -> Fragments:
    """As `relit.render.rasterise.rasterise`, without gradients.

    A pixel centre lies in a triangle when it is on the same side of all three edges; the nearest depth wins.
    """
    width, height = size_px
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    triangle = torch.full((height, width), -1)
    depth = torch.full((height, width), torch.inf)
    weights = torch.zeros(height, width, 3)
    for face, corners in enumerate(triangles.tolist()):
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = vertices_px[corners].double().tolist()
        if min(az, bz, cz) <= NEAR_M or (bx - ax) * (cy - ay) == (cx - ax) * (by - ay):
            continue
        a = (bx - x) * (cy - y) - (cx - x) * (by - y)
        b = (cx - x) * (ay - y) - (ax - x) * (cy - y)
        c = (ax - x) * (by - y) - (bx - x) * (ay - y)
        inside = ((a >= 0) & (b >= 0) & (c >= 0)) | ((a <= 0) & (b <= 0) & (c <= 0))
        share = torch.stack([a / az, b / bz, c / cz], -1)
        here = (a + b + c) / share.sum(-1)
        nearer = inside & (here < depth)
        triangle[nearer], depth[nearer] = face, here[nearer].float()
        weights[nearer] = (share / share.sum(-1, keepdim=True))[nearer].float()
    return Fragments(triangle, weights, depth)
