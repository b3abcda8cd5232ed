"""The renderer's primitives in plain torch: the path for CUDA tensors. It runs on any device; on a CPU it is slow."""

import torch
from torch import Tensor

from relit.render.kernels import MAX_WALK, NEAR_M

PAIRS_AT_ONCE = 1 << 23  # (triangle, pixel) candidates tested together: bounds the memory


def visible_triangles(vertices_px: Tensor, triangles: Tensor, size_px: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(H, W) index of the nearest triangle (-1 = none) and (H, W) 1 / depth in 1/m at every pixel centre.

    Every pixel of every triangle's bounding box is a candidate; the nearest wins by an atomic maximum over
    (1 / depth, triangle) packed into one integer.
    """
    width, height = size_px
    corner = vertices_px[triangles].double()  # [T, 3, 3]
    x, y, depth = corner.unbind(-1)
    area = _cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    usable = (depth > NEAR_M).all(1) & (area.abs() >= 1e-12) & torch.isfinite(corner).flatten(1).all(1)
    left = (x.amin(1) - 0.5).ceil().clamp(0, width).long()
    right = (x.amax(1) - 0.5).floor().clamp(-1, width - 1).long()
    top = (y.amin(1) - 0.5).ceil().clamp(0, height).long()
    bottom = (y.amax(1) - 0.5).floor().clamp(-1, height - 1).long()
    columns = (right - left + 1).clamp_min(0)
    count = torch.where(usable, columns * (bottom - top + 1).clamp_min(0), 0)
    faces = count.nonzero()[:, 0]
    count, columns = count[faces], columns[faces]
    ends = count.cumsum(0)
    best = torch.zeros(height * width, dtype=torch.int64, device=vertices_px.device)
    start = 0
    while start < len(faces):
        before = ends[start] - count[start]
        stop = max(start + 1, int(torch.searchsorted(ends, before + PAIRS_AT_ONCE, right=True)))
        which = torch.repeat_interleave(torch.arange(start, stop, device=faces.device), count[start:stop])
        place = torch.arange(len(which), device=faces.device) + before - (ends - count)[which]
        face = faces[which]
        column, row = left[face] + place % columns[which], top[face] + place // columns[which]
        weight, inverse_depth = _screen_weights(corner[face], column + 0.5, row + 0.5)
        inside = (weight > -1e-12).all(1)
        packed = (inverse_depth.float().view(torch.int32).long() << 32) | (0xFFFFFFFF - face)
        best.scatter_reduce_(0, (row * width + column)[inside], packed[inside], "amax")
        start = stop
    seen = best > 0
    triangle = torch.where(seen, 0xFFFFFFFF - (best & 0xFFFFFFFF), -1)
    inverse = (best >> 32).int().view(torch.float32)
    return triangle.view(height, width), inverse.view(height, width)


def barycentric(vertices_px: Tensor, triangles: Tensor, triangle: Tensor) -> Tensor:
    """(H, W, 3) perspective-correct barycentric coordinates, differentiable in the vertices."""
    row, column = (triangle >= 0).nonzero(as_tuple=True)
    corner = vertices_px[triangles[triangle[row, column]]]
    weight, inverse_depth = _screen_weights(corner, column.to(corner) + 0.5, row.to(corner) + 0.5)
    out = vertices_px.new_zeros(*triangle.shape, 3)
    return out.index_put((row, column), weight / corner[..., 2] / inverse_depth[:, None])


def interpolate(attributes: Tensor, triangles: Tensor, triangle: Tensor, barycentric: Tensor) -> Tensor:
    """(H, W, C) attributes at covered pixels, 0 elsewhere."""
    row, column = (triangle >= 0).nonzero(as_tuple=True)
    corner = attributes[triangles[triangle[row, column]]]
    value = (corner * barycentric[row, column, :, None].to(corner)).sum(1)
    return attributes.new_zeros(*triangle.shape, attributes.shape[1]).index_put((row, column), value)


def sample(texture: Tensor, uv: Tensor) -> Tensor:
    """(..., C) bilinear values of a texture (H, W, C) at UV (..., 2), the border texel continued outside."""
    height, width = texture.shape[:2]
    x = (uv[..., 0] * width - 0.5).clamp(0, width - 1)
    y = (uv[..., 1] * height - 0.5).clamp(0, height - 1)
    x0, y0 = x.detach().long(), y.detach().long()
    x1, y1 = (x0 + 1).clamp_max(width - 1), (y0 + 1).clamp_max(height - 1)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    flat = texture.flatten(0, 1)
    top = flat[y0 * width + x0] * (1 - fx) + flat[y0 * width + x1] * fx
    bottom = flat[y1 * width + x0] * (1 - fx) + flat[y1 * width + x1] * fx
    return top * (1 - fy) + bottom * fy


def silhouette_crossings(
    vertices_px: Tensor, triangles: Tensor, neighbours: Tensor, triangle: Tensor, depth: Tensor
) -> Tensor:
    """(M, 5): see `relit.render.kernels.silhouette_crossings`, which this repeats for all pixel pairs at once."""
    height, width = triangle.shape
    index = torch.arange(height * width, device=triangle.device).view(height, width)
    flat_triangle, flat_depth = triangle.flatten(), depth.flatten()
    found = []
    for axis, (one, two) in enumerate(((index[:, :-1], index[:, 1:]), (index[:-1], index[1:]))):
        one, two = one.flatten(), two.flatten()
        differ = flat_triangle[one] != flat_triangle[two]
        one, two = one[differ], two[differ]
        forward = flat_depth[one] <= flat_depth[two]
        near, far = torch.where(forward, one, two), torch.where(forward, two, one)
        sign = torch.where(forward, 1.0, -1.0).to(vertices_px)
        face, target = flat_triangle[near], flat_triangle[far]
        entry = torch.full_like(near, -1)
        for _ in range(MAX_WALK):
            if len(near) == 0:
                break
            centre = torch.stack([near % width, near // width], 1).to(vertices_px) + 0.5
            edge, where = _exit_edge(vertices_px, triangles[face], entry, axis, centre, sign)
            outline = _is_silhouette(vertices_px, triangles, neighbours, face, edge)
            on_way = (edge >= 0) & (where <= 1)
            span = _edge_span(vertices_px, triangles, face, edge)
            hit = on_way & outline & (where >= 0) & (span[:, 1 - axis] >= span[:, axis])
            ends = triangles[face[hit]]
            first = ends.gather(1, edge[hit, None])[:, 0]
            second = ends.gather(1, ((edge[hit, None] + 1) % 3))[:, 0]
            found.append(torch.stack([near[hit], far[hit], first, second, torch.full_like(first, axis)], 1))
            step = neighbours[face, edge.clamp_min(0)]
            going = on_way & ~outline & (step[:, 0] != target)
            near, far, sign, target = near[going], far[going], sign[going], target[going]
            face, entry = step[going].unbind(1)
    return torch.cat(found) if found else triangle.new_zeros(0, 5)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _screen_weights(corner: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Barycentric coordinates in the picture plane (P, 3), and the interpolated 1 / depth (P,)."""
    at = corner[..., :2] - torch.stack([x, y], -1)[:, None]
    edge = torch.stack([_cross(at[:, 1], at[:, 2]), _cross(at[:, 2], at[:, 0]), _cross(at[:, 0], at[:, 1])], 1)
    weight = edge / edge.sum(1, keepdim=True)
    return weight, (weight / corner[..., 2]).sum(1)


def _exit_edge(vertices_px, corners, entry, axis, centre, sign) -> tuple[Tensor, Tensor]:
    """The edge (-1 = none) by which each scan line leaves its triangle, and where."""
    at = vertices_px[corners][..., :2] - centre[:, None]
    along, across = at[..., axis], at[..., 1 - axis]
    along2, across2 = along.roll(-1, 1), across.roll(-1, 1)
    straddles = (across > 0) != (across2 > 0)
    straddles &= torch.arange(3, device=entry.device) != entry[:, None]
    gap = torch.where(straddles, across - across2, 1)
    crossing = (along + (along2 - along) * across / gap) * sign[:, None]
    where, edge = torch.where(straddles, crossing, -torch.inf).max(1)
    return torch.where(straddles.any(1), edge, -1), where


def _edge_span(vertices_px, triangles, face, edge) -> Tensor:
    """(P, 2) extents of edges in x and y."""
    ends = triangles[face].gather(1, (edge.clamp_min(0)[:, None] + torch.arange(2, device=edge.device)) % 3)
    return (vertices_px[ends[:, 0], :2] - vertices_px[ends[:, 1], :2]).abs()


def _is_silhouette(vertices_px, triangles, neighbours, face, edge) -> Tensor:
    """Whether the surface ends or folds away at each edge as seen from the camera."""
    edge = edge.clamp_min(0)
    other, back = neighbours[face, edge].unbind(1)
    corners = triangles[face]
    i, j, here = (corners.gather(1, (edge[:, None] + k) % 3)[:, 0] for k in range(3))
    there = triangles[other].gather(1, (back[:, None] + 2) % 3)[:, 0]
    start = vertices_px[i, :2]
    along = vertices_px[j, :2] - start
    sides = _cross(along, vertices_px[here, :2] - start) * _cross(along, vertices_px[there, :2] - start)
    return (other < 0) | (sides > 0)
