"""Normals and tangents of triangle meshes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def vertex_normals(vertices: Float[Tensor, "V 3"], triangles: Int[Tensor, "T 3"]) -> Float[Tensor, "V 3"]:
    """Unit vertex normals, area-weighted, differentiable; +Z where a vertex has no triangle."""
    a, b, c = vertices[triangles].unbind(1)
    face = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices).index_add(0, triangles.T.flatten(), face.repeat(3, 1))
    empty = (total.detach() ** 2).sum(-1, keepdim=True) < 1e-24
    total = torch.where(empty, total.new_tensor([0.0, 0.0, 1.0]), total)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-20)


def vertex_tangents(
    positions: Float[Tensor, "N 3"],
    uv: Float[Tensor, "N 2"],
    triangles: Int[Tensor, "T 3"],
    normals: Float[Tensor, "N 3"],
) -> Float[Tensor, "N 4"]:
    """Unit tangents along increasing u, orthogonal to the normals, and the handedness of (normal, tangent, bitangent).

    The bitangent of glTF, cross(normal, tangent) * w, points along DEcreasing v here (v is down, tangent +Y is up).

    Source: Lengyel 2001, accumulated per vertex as glTF asks for.
    """
    p0, p1, p2 = positions[triangles].unbind(1)
    t0, t1, t2 = uv[triangles].unbind(1)
    e1, e2, d1, d2 = p1 - p0, p2 - p0, t1 - t0, t2 - t0
    area = d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0]
    inverse = torch.where(area.abs() < 1e-14, torch.zeros_like(area), 1 / area)[:, None]
    along_u = (e1 * d2[:, 1:] - e2 * d1[:, 1:]) * inverse
    along_v = (e2 * d1[:, :1] - e1 * d2[:, :1]) * inverse
    weight = torch.linalg.cross(e1, e2).norm(dim=-1, keepdim=True)
    add = lambda x: torch.zeros_like(positions).index_add(  # noqa: E731
        0, triangles.T.flatten(), (torch.nn.functional.normalize(x, dim=-1) * weight).repeat(3, 1)
    )
    tangent, down = add(along_u), add(along_v)
    fallback = torch.linalg.cross(normals.roll(1, -1), normals)
    tangent = tangent - (tangent * normals).sum(-1, keepdim=True) * normals
    tangent = torch.where(tangent.norm(dim=-1, keepdim=True) < 1e-12, fallback, tangent)
    tangent = torch.nn.functional.normalize(tangent, dim=-1)
    sign = -(torch.linalg.cross(normals, tangent) * down).sum(-1).sign()
    return torch.cat([tangent, torch.where(sign == 0, torch.ones_like(sign), sign)[:, None]], -1)
