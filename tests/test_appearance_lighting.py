"""Laws of the lighting: the basis, its convolutions, rotation, panoramas and the built-in lights."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from relit.appearance import harmonics, lighting
from relit.appearance.brdf import ggx_distribution
from relit.appearance.harmonics import basis_reference, sh_basis, sphere_directions
from relit.appearance.lighting import (
    LIGHT_NAMES,
    diffuse_irradiance,
    equirect_from_lighting,
    equirect_grid,
    lighting_from_equirect,
    load_lighting,
    prefilter,
    read_equirect,
    rotate_lighting,
    specular_radiance,
    table_irradiance,
    uniform_lighting,
    without_ringing,
)
from relit.errors import InputError
from relit.geometry.transforms import rotation_from_yaw_pitch


def smooth_light(seed: int = 0) -> torch.Tensor:
    """Coefficients of a positive light with falling bands."""
    sh = torch.randn(81, 3, generator=torch.Generator().manual_seed(seed)) * 0.3 / (1 + harmonics.BAND[:, None]) ** 1.5
    sh[0] = 3.0
    return sh


def directions(count: int = 400, seed: int = 1) -> torch.Tensor:
    return normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)), dim=1)


def write_hdr(path, picture: np.ndarray, coded: bool) -> None:
    """A Radiance file, flat or run-length coded (as literal runs and, where a row repeats, as one run)."""
    peak = picture.max(-1)
    mantissa, exponent = np.frexp(np.maximum(peak, 1e-30))
    scale = mantissa * 256 / np.maximum(peak, 1e-30)
    rgbe = np.concatenate([picture * scale[..., None], (exponent + 128)[..., None]], -1).astype(np.uint8)
    height, width = picture.shape[:2]
    body = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n" + f"-Y {height} +X {width}\n".encode()
    if not coded:
        path.write_bytes(body + rgbe.tobytes())
        return
    for row in rgbe:
        body += bytes([2, 2, width >> 8, width & 255])
        for channel in row.T:
            if (channel == channel[0]).all() and width < 128:
                body += bytes([128 + width, channel[0]])
            else:
                for start in range(0, width, 100):
                    run = channel[start : start + 100]
                    body += bytes([len(run)]) + run.tobytes()
    path.write_bytes(body)


def test_basis_is_orthonormal_and_in_the_stated_order():
    points = sphere_directions(20000)
    gram = sh_basis(points).T @ sh_basis(points) * 4 * math.pi / len(points)
    assert torch.allclose(gram, torch.eye(81), atol=2e-4)
    linear = sh_basis(torch.tensor([0.2, 0.3, 0.5]))[1:4]
    assert torch.allclose(linear, math.sqrt(3 / (4 * math.pi)) * torch.tensor([0.3, 0.5, 0.2]))


def test_fast_basis_matches_the_reference_with_its_gradient():
    points = directions(60)
    fast, slow = points.clone().requires_grad_(), points.double().requires_grad_()
    weight = torch.randn(60, 81, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(sh_basis(fast).double(), basis_reference(slow), atol=1e-5)
    sh_basis(fast).backward(weight)
    basis_reference(slow).backward(weight.double())
    assert torch.allclose(fast.grad.double(), slow.grad, atol=1e-3)


def test_uniform_light_shines_as_stated():
    light = uniform_lighting(2.0)
    points = directions(50)
    assert math.isclose(float(light.sh[0, 0]), 2 * 3.5449, rel_tol=1e-4)
    assert torch.allclose(diffuse_irradiance(light.sh, points), torch.tensor(2 * math.pi), rtol=1e-4)
    assert torch.allclose(specular_radiance(light.sh, points, torch.rand(50)), torch.tensor(2.0), rtol=1e-4)


def test_irradiance_is_the_cosine_integral():
    sh, normals, around = smooth_light(), directions(20), sphere_directions(40000)
    radiance = sh_basis(around) @ sh
    expected = (normals @ around.T).clamp_min(0) @ radiance * 4 * math.pi / len(around)
    assert torch.allclose(diffuse_irradiance(sh, normals), expected, rtol=1e-3)
    assert torch.allclose(table_irradiance(prefilter(sh), normals), expected, rtol=1e-2)


@pytest.mark.parametrize("roughness", [0.25, 0.5, 0.875])
def test_specular_radiance_is_the_integral_over_the_lobe(roughness):
    sh, mirrors, around = smooth_light(), directions(20), sphere_directions(60000)
    cosine = (mirrors @ around.T).clamp(-1, 1)
    half = ((1 + cosine) / 2).sqrt()
    lobe = ggx_distribution(half, torch.tensor(roughness**2)) * cosine.clamp_min(0)
    expected = lobe @ (sh_basis(around) @ sh) / lobe.sum(1, keepdim=True)
    assert torch.allclose(specular_radiance(sh, mirrors, torch.full((20,), roughness)), expected, rtol=1e-2)
    assert torch.allclose(specular_radiance(prefilter(sh), mirrors, torch.full((20,), roughness)), expected, rtol=2e-2)


def test_specular_radiance_is_differentiable():
    sh, mirror = smooth_light().double().requires_grad_(), directions(6).double().requires_grad_()
    roughness = torch.linspace(0.21, 0.83, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(specular_radiance, (sh, mirror, roughness), atol=1e-4)


def test_rotation_turns_the_light():
    light = lighting_from_equirect(equirect_from_lighting(load_lighting("sun"), 128), max_directional=1)
    rotation = rotation_from_yaw_pitch(0.7, -0.4)
    turned, points = rotate_lighting(light, rotation), directions(50)
    assert torch.allclose(sh_basis(points @ rotation.T) @ turned.sh, sh_basis(points) @ light.sh, atol=1e-4)
    assert torch.allclose(turned.directions, light.directions @ rotation.T)
    back = rotate_lighting(turned, rotation.T)
    assert torch.allclose(back.sh, light.sh, atol=1e-4)


def test_panorama_round_trip_and_orientation():
    light = rotate_lighting(load_lighting("overcast"), rotation_from_yaw_pitch(0.5, 0.2))
    again = lighting_from_equirect(equirect_from_lighting(light, 96))
    points = directions(300)
    assert torch.allclose(
        diffuse_irradiance(again.sh, points), diffuse_irradiance(light.sh, points), rtol=0.02, atol=0.01
    )
    grid, solid_angle = equirect_grid(64, 128)
    assert math.isclose(float(solid_angle.sum() * 128), 4 * math.pi, rel_tol=1e-5)
    assert grid[32, 64, 2] > 0.99 and grid[0, 0, 1] > 0.99 and grid[32, 32, 0] > 0.99


def test_small_source_becomes_a_directional_light_with_its_energy():
    grid, solid_angle = equirect_grid(128, 256)
    aim = normalize(torch.tensor([0.5, 0.6, 0.7]), dim=0)
    disk = (grid @ aim > math.cos(0.03)).float()[..., None] * torch.tensor([300.0, 200.0, 100.0])
    light = lighting_from_equirect(disk + 0.5, max_directional=3)
    assert light.directions.shape == (1, 3) and float(light.directions[0] @ aim) > 0.9999
    energy = (disk * solid_angle[:, None, None]).sum((0, 1))
    assert torch.allclose(light.irradiance[0], energy, rtol=0.02)
    assert torch.allclose(light.sh[0], torch.tensor(0.5 * 3.5449), rtol=0.02)


def test_window_removes_negative_radiance_and_keeps_the_energy():
    grid, _ = equirect_grid(64, 128)
    spot = ((grid @ torch.tensor([0.0, 0.0, 1.0])) > 0.98).float()[..., None] * torch.tensor([9.0, 5.0, 2.0])
    raw = sh_basis(grid).flatten(0, 1).T @ spot.flatten(0, 1) * 4 * math.pi / (64 * 128)
    sh = without_ringing(raw)
    radiance = sh_basis(sphere_directions(5000)) @ sh
    assert (sh_basis(sphere_directions(5000)) @ raw).min() < -0.02 * raw[0].max()
    assert (radiance >= -0.012 * sh[0] / math.sqrt(4 * math.pi)).all()
    assert torch.equal(sh[0], raw[0])


@pytest.mark.parametrize("coded", [False, True])
def test_hdr_files_are_read(tmp_path, coded):
    picture = np.random.default_rng(0).uniform(0.01, 9, (16, 32, 3)).astype(np.float32)
    picture[3] = picture[3, 0]
    write_hdr(tmp_path / "a.hdr", picture, coded)
    read = read_equirect(tmp_path / "a.hdr").numpy()
    assert np.abs(read - picture).max() <= picture.max() / 128


def test_exr_files_are_read(tmp_path):
    import OpenEXR

    picture = np.random.default_rng(0).uniform(-0.1, 9, (16, 32, 3)).astype(np.float32)
    OpenEXR.File({"type": OpenEXR.scanlineimage}, {"RGB": picture}).write(str(tmp_path / "a.exr"))
    assert np.allclose(read_equirect(tmp_path / "a.exr").numpy(), np.maximum(picture, 0))


@pytest.mark.parametrize("content", [b"", b"hello", b"#?RADIANCE\n\n-Y 8 +X 16\n\x02\x02\x00\x10\x90", None])
def test_bad_light_gets_one_line(tmp_path, content):
    path = tmp_path / "bad.hdr"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_lighting(str(path))
    assert "\n" not in str(caught.value) and "bad.hdr" in str(caught.value)


@pytest.mark.parametrize("name", LIGHT_NAMES)
def test_built_in_lights_are_positive_and_well_exposed(name):
    light = load_lighting(name)
    assert (sh_basis(sphere_directions(2000)) @ light.sh >= -0.02 * light.sh[0]).all()
    assert (light.irradiance >= 0).all() and torch.allclose(
        light.directions.norm(dim=1), torch.ones(len(light.directions))
    )
    front = torch.tensor([[0.0, 0.0, 1.0]])
    white = diffuse_irradiance(light.sh, front) + (front @ light.directions.T).clamp_min(0) @ light.irradiance
    assert 0.4 < float((white / math.pi) @ lighting.LUMINANCE) < 2.5
