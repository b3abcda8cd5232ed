"""The render of textures in a box: the plain fitting render where it is plain, gradients, and relief that tilts."""

import math

import pytest
import torch

from relit.appearance.lighting import load_lighting
from relit.fit.view import lighting_of
from relit.geometry.camera import look_at_face
from relit.geometry.mesh import vertex_normals
from relit.models.head import load_head_model
from relit.models.texture_prior import BOX
from relit.render.boxed import render_lit, render_skin
from relit.render.occlusion import light_transfer
from relit.render.render import SKIN_F0, render_fit

CAMERA = look_at_face((72, 72))


@pytest.fixture(scope="module")
def lit():
    model = load_head_model()
    normals = vertex_normals(model.mean, model.triangles)
    return model, (lighting_of(load_lighting("overcast").sh), light_transfer(model.mean, model.triangles), normals)


def skin(albedo=0.4, f0=SKIN_F0, slope=(0.0, 0.0), size=(24, 16)):
    return torch.tensor([albedo, albedo, albedo, f0, *slope]).expand(*size, 6).clone()


def test_flat_skin_of_usual_gloss_is_the_plain_fitting_render(lit):
    model, light = lit
    found = render_skin(model, model.mean, skin(), BOX, CAMERA, light)
    plain, coverage, _ = render_fit(model, model.mean, torch.full((8, 8, 3), 0.4), CAMERA, *light[:2])
    assert torch.allclose(found.coverage, coverage, atol=1e-5)
    assert torch.allclose(found.linear, plain, atol=2e-4)
    assert (found.inside <= coverage + 1e-5).all() and found.inside[36, 36] == 1 and found.inside.min() >= 0
    matt = render_skin(model, model.mean, skin(), BOX, CAMERA, light, gloss=False)
    assert (matt.linear <= found.linear + 1e-6).all() and matt.linear.sum() < found.linear.sum()


def test_relief_tilts_towards_the_light(lit):
    model, light = lit
    side = torch.zeros(81, 3)
    side[0], side[3] = 3.0, 2.0  # more light from the subject's left, where u grows
    light = lighting_of(side), *light[1:]
    middle = lambda slope: render_skin(model, model.mean, skin(slope=slope), BOX, CAMERA, light).linear[30:34, 34:38].mean()  # noqa: E731
    assert middle((-0.3, 0.0)) < middle((0.0, 0.0)) < middle((0.3, 0.0))


def test_gradients_are_those_of_finite_differences(lit):
    model, light = lit
    generator = torch.Generator().manual_seed(0)
    texture = skin(slope=(0.1, -0.1)) + 0.05 * torch.rand(24, 16, 6, generator=generator)
    weight = torch.rand(72, 72, 1, generator=generator)
    loss = lambda t: (render_skin(model, model.mean, t, BOX, CAMERA, light).linear * weight).double().sum()  # noqa: E731
    leaf = texture.clone().requires_grad_()
    loss(leaf).backward()
    for channels in (slice(0, 3), slice(3, 4), slice(4, 6)):
        direction = torch.zeros_like(texture)
        direction[..., channels] = torch.rand(direction[..., channels].shape, generator=generator)
        step = 2e-3
        expected = float(loss(texture + step * direction) - loss(texture - step * direction)) / (2 * step)
        assert math.isclose(float((leaf.grad * direction).sum()), expected, rel_tol=0.02), channels


def test_a_lit_texture_shows_as_it_is(lit):
    model, _ = lit
    plain = render_lit(model, model.mean, torch.full((8, 8, 3), 0.3), BOX, CAMERA)
    assert torch.allclose(plain.linear, 0.3 * plain.coverage[..., None].expand(-1, -1, 3), atol=1e-5)
    half = render_lit(model, model.mean, torch.full((8, 8, 3), 0.3), BOX, CAMERA, lambda normals: 0.5 + 0 * normals)
    assert torch.allclose(half.linear, 0.5 * plain.linear, atol=1e-5)
