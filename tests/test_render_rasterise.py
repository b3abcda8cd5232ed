"""Laws of the rasteriser: fast paths against the obvious one, and gradients against finite differences."""

import math

import pytest
import torch

from relit.render import rasterise as primitives
from relit.render import torch_path
from relit.render.rasterise import antialias, interpolate, rasterise, sample
from relit.render.reference import rasterise_reference


def soup(count: int, size: int, seed: int = 0, dtype=torch.float32):
    """Random triangles around a picture: small and large, some behind the camera, degenerate or off-screen."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, 1, 3, generator=generator, dtype=dtype) * torch.tensor([1.4 * size, 1.4 * size, 1.0])
    spread = torch.rand(count, 1, 1, generator=generator, dtype=dtype) ** 3 * size
    corner = centre + (torch.rand(count, 3, 3, generator=generator, dtype=dtype) - 0.5) * spread
    corner[..., 2] = corner[..., 2].remainder(1.0) + 0.2
    corner[::17, 0, 2] = -0.3
    corner[::23, 1] = corner[::23, 2]
    return (corner.reshape(-1, 3) - torch.tensor([0.2 * size, 0.2 * size, 0.0], dtype=dtype)), torch.arange(
        3 * count
    ).view(-1, 3)


def disk(segments: int, radius: float, centre: float, dtype=torch.float64):
    angle = torch.arange(segments, dtype=dtype) / segments * 2 * math.pi + 0.1
    rim = torch.stack([angle.cos() * radius + centre, angle.sin() * radius + centre, torch.ones_like(angle)], 1)
    vertices = torch.cat([rim, torch.tensor([[centre, centre, 1.0]], dtype=dtype)])
    index = torch.arange(segments)
    return vertices, torch.stack([index, (index + 1) % segments, torch.full_like(index, segments)], 1)


def sphere(rings: int = 12, dtype=torch.float64):
    """A closed sphere of radius 1 (vertices, triangles)."""
    theta = torch.arange(1, rings, dtype=dtype) / rings * math.pi
    phi = torch.arange(2 * rings, dtype=dtype) / rings * math.pi
    ring = torch.stack(
        [
            theta.sin()[:, None] * phi.cos(),
            theta.cos()[:, None].expand(-1, 2 * rings),
            theta.sin()[:, None] * phi.sin(),
        ],
        -1,
    ).flatten(0, 1)
    poles = torch.tensor([[0.0, 1, 0], [0, -1, 0]], dtype=dtype)
    top, bottom, around = len(ring), len(ring) + 1, 2 * rings
    faces = []
    for j in range(around):
        k = (j + 1) % around
        faces.append((top, k, j))
        faces.append((bottom, (rings - 2) * around + j, (rings - 2) * around + k))
        for i in range(rings - 2):
            a, b, c, d = i * around + j, i * around + k, (i + 1) * around + j, (i + 1) * around + k
            faces += [(a, b, c), (b, d, c)]
    return torch.cat([ring, poles]), torch.tensor(faces)


def finite_difference(function, x, direction, step):
    return float(function(x + step * direction) - function(x - step * direction)) / (2 * step)


@pytest.mark.parametrize("seed", [0, 1])
def test_numba_and_torch_paths_see_what_the_reference_sees(seed):
    vertices, triangles = soup(120, 48, seed)
    slow = rasterise_reference(vertices, triangles, (48, 40))
    fast = rasterise(vertices, triangles, (48, 40))
    triangle, inverse_depth = torch_path.visible_triangles(vertices, triangles, (48, 40))
    assert (slow.triangle >= 0).float().mean() > 0.3
    assert (fast.triangle == slow.triangle).all() and (triangle == slow.triangle).all()
    seen = slow.triangle >= 0
    assert torch.allclose(fast.barycentric, slow.barycentric, atol=1e-4)
    assert torch.allclose(torch_path.barycentric(vertices, triangles, triangle), slow.barycentric, atol=1e-4)
    assert torch.allclose(fast.depth[seen], slow.depth[seen], rtol=1e-5)
    assert torch.allclose(1 / inverse_depth[seen], slow.depth[seen], rtol=1e-5)
    assert torch.isinf(fast.depth[~seen]).all()


def test_result_does_not_depend_on_the_number_of_threads():
    vertices, triangles = soup(200, 64, 3)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        moving = vertices.clone().requires_grad_()
        fragments = rasterise(moving, triangles, (64, 64))
        picture = antialias(interpolate(moving, triangles, fragments), fragments, moving, triangles)
        picture.square().mean().backward()
        results.append((fragments.triangle, picture.detach(), moving.grad))
    torch.set_num_threads(before)
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(*results, strict=True))


def test_nothing_to_see_is_an_empty_picture():
    vertices = torch.tensor([[1.0, 1, -1], [5, 1, -1], [1, 5, -1]])
    fragments = rasterise(vertices, torch.tensor([[0, 1, 2]]), (8, 8))
    assert (fragments.triangle == -1).all() and (fragments.barycentric == 0).all()
    assert torch.equal(
        antialias(torch.ones(8, 8, 1), fragments, vertices, torch.tensor([[0, 1, 2]])), torch.ones(8, 8, 1)
    )


def test_interpolation_is_perspective_correct():
    """A plane in space: interpolated positions project back onto the pixels that see them."""
    corner = torch.tensor([[-1.0, -1, 2], [1, -1, 4], [1, 1, 5], [-1, 1, 3]], dtype=torch.float64)
    vertices = torch.cat([corner[:, :2] / corner[:, 2:] * 40 + 24, corner[:, 2:]], 1)
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3]])
    fragments = rasterise(vertices, triangles, (48, 48))
    seen = fragments.triangle >= 0
    point = interpolate(corner, triangles, fragments)[seen]
    row, column = seen.nonzero(as_tuple=True)
    at = point[:, :2] / point[:, 2:] * 40 + 24
    assert torch.allclose(at, torch.stack([column, row], 1).double() + 0.5, atol=1e-6)


@pytest.mark.parametrize("path", ["numba", "torch"])
def test_gradient_of_interpolation_reaches_vertices_and_attributes(path, monkeypatch):
    if path == "torch":
        monkeypatch.setattr(primitives, "_on_cpu", lambda tensor: False)
    vertices, triangles = disk(5, 9.3, 12.1)
    vertices[:, 2] += torch.linspace(0, 0.8, len(vertices))
    torch.manual_seed(0)
    attributes = torch.rand(len(vertices), 2, dtype=torch.float64)
    weight = torch.rand(24, 24, 2, dtype=torch.float64)

    def loss(v, a):
        fragments = rasterise(v, triangles, (24, 24))
        return (interpolate(a, triangles, fragments) * weight).sum()

    moving, colour = vertices.clone().requires_grad_(), attributes.clone().requires_grad_()
    loss(moving, colour).backward()
    for _ in range(3):
        direction = torch.randn_like(vertices)
        # the visible set must not change, so the contour's own triangles stay: a tiny step
        expected = finite_difference(lambda v: loss(v, attributes), vertices, direction, 1e-7)
        assert math.isclose(float((moving.grad * direction).sum()), expected, rel_tol=1e-4)
        direction = torch.randn_like(attributes)
        expected = finite_difference(lambda a: loss(vertices, a), attributes, direction, 1e-4)
        assert math.isclose(float((colour.grad * direction).sum()), expected, rel_tol=1e-6)


def test_sample_reads_texel_centres_and_has_exact_gradients():
    torch.manual_seed(1)
    texture = torch.rand(5, 7, 3, dtype=torch.float64)
    y, x = torch.meshgrid((torch.arange(5) + 0.5) / 5, (torch.arange(7) + 0.5) / 7, indexing="ij")
    assert torch.allclose(sample(texture, torch.stack([x, y], -1).double()), texture)
    uv = torch.rand(40, 2, dtype=torch.float64) * 1.2 - 0.1
    assert torch.allclose(sample(texture, uv), torch_path.sample(texture, uv))
    assert torch.autograd.gradcheck(sample, (texture.requires_grad_(), uv.requires_grad_()), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("segments", [3, 40, 2000])
def test_antialiased_area_and_its_gradient_are_those_of_the_polygon(segments):
    """Coverage sums to the area and grows by the circumference with the radius, also with sub-pixel triangles."""
    radius = 20.3
    vertices, triangles = disk(segments, radius, 32.2)
    moving = vertices.clone().requires_grad_()
    fragments = rasterise(moving, triangles, (64, 64))
    coverage = antialias((fragments.triangle >= 0).double()[..., None], fragments, moving, triangles).sum()
    area = 0.5 * segments * radius**2 * math.sin(2 * math.pi / segments)
    assert math.isclose(float(coverage.detach()), area, rel_tol=0.004)
    coverage.backward()
    growth = float((moving.grad[:-1, :2] * (vertices[:-1, :2] - 32.2) / radius).sum())
    assert math.isclose(growth, 2 * area / radius, rel_tol=0.03)


@pytest.mark.parametrize("path", ["numba", "torch"])
def test_silhouette_gradients_match_finite_differences(path, monkeypatch):
    """A textured sphere before a background: moving, turning and scaling it, through contour and shading together."""
    if path == "torch":
        monkeypatch.setattr(primitives, "_on_cpu", lambda tensor: False)
    points, triangles = sphere()
    torch.manual_seed(2)
    colour = torch.rand(len(points), 1, dtype=torch.float64)
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    weight = (torch.sin(x / 5) * torch.cos(y / 7)).double()[..., None]

    def loss(move):
        vertices = torch.cat([points[:, :2] * (14 + move[2]) + 24.13 + move[:2], points[:, 2:] * 0.1 + 1], 1)
        fragments = rasterise(vertices, triangles, (48, 48))
        picture = interpolate(colour, triangles, fragments) + 2 * (fragments.triangle >= 0)[..., None]
        return (antialias(picture, fragments, vertices, triangles) * weight).sum()

    move = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    loss(move).backward()
    for axis in range(3):
        direction = torch.eye(3, dtype=torch.float64)[axis]
        # a step over several pixels' worth of discrete events averages their small jumps
        expected = finite_difference(loss, move.detach(), direction, 0.02)
        assert math.isclose(float(move.grad[axis]), expected, rel_tol=0.08, abs_tol=1.0), axis


def test_both_paths_find_the_same_silhouettes():
    points, triangles = sphere(40, torch.float32)
    vertices = torch.cat([points[:, :2] * 14 + 24.13, points[:, 2:] * 0.1 + 1], 1)
    fragments = rasterise(vertices, triangles, (48, 48))
    neighbours = primitives._edge_neighbours(triangles)
    fast = primitives._crossings(vertices, triangles, neighbours, fragments)
    slow = torch_path.silhouette_crossings(vertices, triangles, neighbours, fragments.triangle, fragments.depth)
    assert {tuple(row) for row in fast.tolist()} == {tuple(row) for row in slow.tolist()}
    assert len(fast) > 40
