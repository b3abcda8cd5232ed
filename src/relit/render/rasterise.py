"""The four primitives of the renderer: rasterise, interpolate, sample, antialias.

CPU tensors run in numba kernels with hand-written gradients, all others (CUDA) in plain torch; both give the same
pictures. `relit.render.reference` holds the slow, obvious version that the tests compare with.

Source: the decomposition follows Laine et al. 2020, "Modular primitives for high-performance differentiable rendering".
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from relit.render import kernels, torch_path

_neighbours = WeakTensorKeyDictionary()  # of triangle tensors already seen: topology rarely changes


@dataclass(frozen=True)
class Fragments:
    """What each pixel centre sees."""

    triangle: Int[Tensor, "H W"]  # -1 where nothing is seen
    barycentric: Float[Tensor, "H W 3"]  # perspective-correct; 0 where nothing is seen; differentiable
    depth: Float[Tensor, "H W"]  # metres along the optical axis; infinite where nothing is seen; not differentiable


def rasterise(vertices_px: Float[Tensor, "N 3"], triangles: Int[Tensor, "T 3"], size_px: tuple[int, int]) -> Fragments:
    """The nearest triangle and the barycentric coordinates at every pixel centre.

    Args:
        vertices_px: x, y in pixels and depth in metres, as `relit.geometry.camera.project` returns them.
        triangles: vertex indices; both orientations are drawn.
        size_px: width, height.

    Differs: triangles that reach behind the camera (depth < 1 mm) are left out instead of clipped.
    """
    width, height = size_px
    with torch.no_grad():
        if _on_cpu(vertices_px):
            triangle, inverse_depth = _visible(_array(vertices_px), _array(triangles), width, height)
        else:
            triangle, inverse_depth = torch_path.visible_triangles(vertices_px, triangles, size_px)
        depth = torch.where(triangle >= 0, 1 / inverse_depth, torch.inf)
    if _on_cpu(vertices_px):
        barycentric = _Barycentric.apply(vertices_px, triangles, triangle)
    else:
        barycentric = torch_path.barycentric(vertices_px, triangles, triangle)
    return Fragments(triangle, barycentric, depth)


def covered(fragments: Fragments) -> tuple[Int[Tensor, "P"], Fragments]:
    """The flat indices of the pixels that see something, and these pixels as fragments of a picture one pixel wide.

    A head covers less than half of its picture: shading the list spares the rest.
    """
    pixel = (fragments.triangle.flatten() >= 0).nonzero()[:, 0]
    listed = Fragments(
        fragments.triangle.flatten()[pixel, None],
        fragments.barycentric.flatten(0, 1).index_select(0, pixel)[:, None],
        fragments.depth.flatten()[pixel, None],
    )
    return pixel, listed


def interpolate(
    attributes: Float[Tensor, "N C"], triangles: Int[Tensor, "T 3"], fragments: Fragments
) -> Float[Tensor, "H W C"]:
    """Vertex attributes at every pixel, 0 where nothing is seen; differentiable in attributes and barycentrics.

    The attributes may belong to other vertices than the rasterised ones (render vertices split at UV seams, say), as
    long as `triangles` lists the same triangles in the same order.
    """
    if _on_cpu(attributes) and attributes.dtype == fragments.barycentric.dtype:
        return _Interpolate.apply(attributes, fragments.barycentric, triangles, fragments.triangle)
    return torch_path.interpolate(attributes, triangles, fragments.triangle, fragments.barycentric)


def sample(texture: Float[Tensor, "H W C"], uv: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch C"]:
    """Bilinear texture values, differentiable in texture and uv; the border texel continues outside.

    Convention: uv (0, 0) is the top-left corner of the top-left texel; its centre lies at (0.5 / W, 0.5 / H).
    """
    if _on_cpu(texture) and texture.dtype == uv.dtype:
        return _Sample.apply(texture, uv.reshape(-1, 2)).reshape(*uv.shape[:-1], texture.shape[2])
    return torch_path.sample(texture, uv)


def antialias(
    image: Float[Tensor, "H W C"],
    fragments: Fragments,
    vertices_px: Float[Tensor, "N 3"],
    triangles: Int[Tensor, "T 3"],
) -> Float[Tensor, "H W C"]:
    """The image with silhouettes blended by coverage: this carries gradients from pixels to silhouette vertices.

    Where a silhouette edge passes between two neighbouring pixel centres, the colour of the nearer surface is spread to
    (or taken from) the pixel that the edge passes through, in proportion to the covered part of the way.

    Source: Laine et al. 2020, section 3.5.
    Differs: from the nearer pixel the search walks over adjacent triangles to the silhouette, so that triangles smaller
    than a pixel, usual at a head's contour, do not break the contour.
    """
    with torch.no_grad():
        neighbours = _edge_neighbours(triangles)
        if _on_cpu(vertices_px):
            crossings = _crossings(vertices_px, triangles, neighbours, fragments)
        else:
            crossings = torch_path.silhouette_crossings(
                vertices_px, triangles, neighbours, fragments.triangle, fragments.depth
            )
    return _blend(image, crossings, vertices_px)


def _blend(image: Tensor, crossings: Tensor, vertices_px: Tensor) -> Tensor:
    """The image after each crossing has moved colour across its silhouette; differentiable."""
    if len(crossings) == 0:
        return image
    width = image.shape[1]
    near, far, first, second, axis = crossings.unbind(1)
    rows = torch.arange(len(near), device=near.device)
    centre = torch.stack([near % width, near // width], 1).to(vertices_px) + 0.5
    a, b = vertices_px[first, :2] - centre, vertices_px[second, :2] - centre
    a_along, a_across, b_along, b_across = a[rows, axis], a[rows, 1 - axis], b[rows, axis], b[rows, 1 - axis]
    signed = a_along + (b_along - a_along) * a_across / (a_across - b_across)
    forward = torch.where(far > near, 1.0, -1.0).to(signed)
    excess = (signed * forward).clamp(0, 1) - 0.5  # of the near surface over the pixels' common border
    flat = image.flatten(0, 1)
    difference = flat[near] - flat[far]
    target = torch.where(excess > 0, far, near)
    return flat.index_add(0, target, excess[:, None] * difference).unflatten(0, image.shape[:2])


def _on_cpu(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _visible(position: np.ndarray, triangles: np.ndarray, width: int, height: int) -> tuple[Tensor, Tensor]:
    inverse_depth = np.zeros((height, width), np.float64)
    triangle = np.full((height, width), -1, np.int64)
    kernels.in_bands(
        height,
        lambda _, first, last: kernels.visible_triangles(position, triangles, inverse_depth, triangle, first, last),
    )
    return torch.from_numpy(triangle), torch.from_numpy(inverse_depth).to(torch.float32)


def _crossings(vertices_px: Tensor, triangles: Tensor, neighbours: Tensor, fragments: Fragments) -> Tensor:
    arrays = [_array(x) for x in (vertices_px, triangles, neighbours, fragments.triangle, fragments.depth)]
    found = kernels.in_bands(
        fragments.triangle.shape[0], lambda _, first, last: kernels.silhouette_crossings(*arrays, first, last)
    )
    return torch.from_numpy(np.concatenate(found))


def _edge_neighbours(triangles: Tensor) -> Tensor:
    """(T, 3, 2): the triangle across each edge and that edge's index there; -1 at borders and non-manifold edges."""
    if triangles not in _neighbours:
        ends = torch.stack([triangles, triangles.roll(-1, 1)], 2).flatten(0, 1).sort(1).values
        key, order = (ends[:, 0] * (ends.max() + 1) + ends[:, 1]).sort()
        same = key[1:] == key[:-1]
        none = same.new_zeros(1)
        pair = same & ~torch.cat([none, same[:-1]]) & ~torch.cat([same[1:], none])
        left, right = order[:-1][pair], order[1:][pair]
        across = torch.full((len(ends), 2), -1, dtype=torch.int64, device=triangles.device)
        across[left] = torch.stack([right // 3, right % 3], 1)
        across[right] = torch.stack([left // 3, left % 3], 1)
        _neighbours[triangles] = across.unflatten(0, (-1, 3))
    return _neighbours[triangles]


class _Barycentric(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vertices_px, triangles, triangle):
        ctx.save_for_backward(vertices_px, triangles, triangle)
        arrays = [_array(x) for x in (vertices_px, triangles, triangle)]
        out = np.zeros((*triangle.shape, 3), arrays[0].dtype)
        kernels.in_bands(len(out), lambda _, first, last: kernels.barycentric(*arrays, out, first, last))
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx, gradient):
        vertices_px, triangles, triangle = ctx.saved_tensors
        height = triangle.shape[0]
        sums = np.zeros((kernels.band_count(height), *vertices_px.shape))
        arrays = [_array(x) for x in (vertices_px, triangles, triangle, gradient)]
        kernels.in_bands(
            height, lambda band, first, last: kernels.barycentric_backward(*arrays, sums[band], first, last)
        )
        return torch.from_numpy(sums.sum(0)).to(vertices_px.dtype), None, None


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, attributes, barycentric, triangles, triangle):
        ctx.save_for_backward(attributes, barycentric, triangles, triangle)
        arrays = [_array(x) for x in (attributes, triangles, triangle, barycentric)]
        out = np.zeros((*triangle.shape, attributes.shape[1]), arrays[0].dtype)
        kernels.in_bands(len(out), lambda _, first, last: kernels.interpolate(*arrays, out, first, last))
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx, gradient):
        attributes, barycentric, triangles, triangle = ctx.saved_tensors
        height = triangle.shape[0]
        arrays = [_array(x) for x in (attributes, triangles, triangle, barycentric, gradient)]
        sums = np.zeros((kernels.band_count(height), *attributes.shape), arrays[0].dtype)
        to_weights = np.zeros(barycentric.shape, sums.dtype)
        kernels.in_bands(
            height,
            lambda band, first, last: kernels.interpolate_backward(*arrays, sums[band], to_weights, first, last),
        )
        return torch.from_numpy(sums.sum(0)), torch.from_numpy(to_weights), None, None


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, texture, uv):
        ctx.save_for_backward(texture, uv)
        arrays = _array(texture), _array(uv)
        out = np.empty((len(uv), texture.shape[2]), arrays[0].dtype)
        kernels.in_bands(len(out), lambda _, first, last: kernels.sample(*arrays, out, first, last))
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx, gradient):
        texture, uv = ctx.saved_tensors
        wanted = texture.shape if ctx.needs_input_grad[0] else (0, 0, 0)
        arrays = [_array(x) for x in (texture, uv, gradient)]
        sums = np.zeros((kernels.band_count(len(uv)), *wanted), arrays[0].dtype)
        to_uv = np.zeros(uv.shape, sums.dtype)
        kernels.in_bands(
            len(uv), lambda band, first, last: kernels.sample_backward(*arrays, sums[band], to_uv, first, last)
        )
        return torch.from_numpy(sums.sum(0)) if ctx.needs_input_grad[0] else None, torch.from_numpy(to_uv)
