"""Files keep what the maps say: transfer curves, bits, signs and units."""

import cv2
import numpy as np
import OpenEXR
import pytest
import torch

from fixtures_head import synthetic_maps
from relit.appearance.colour import srgb_from_linear
from relit.errors import InputError
from relit.export import images


def test_colour_is_srgb_in_the_file_and_linear_when_read(tmp_path):
    linear = torch.tensor([0.2140, 0.0, 1.0]).expand(4, 5, 3)
    images.write_colour(tmp_path / "colour.png", linear)
    stored = cv2.imread(str(tmp_path / "colour.png"), cv2.IMREAD_UNCHANGED)
    assert stored[0, 0].tolist() == [255, 0, 128] or stored[0, 0].tolist() == [255, 0, 127]  # file order of cv2 is BGR
    assert torch.allclose(images.read_colour(tmp_path / "colour.png"), linear, atol=4e-3)


def test_every_linear_value_gets_the_nearest_srgb_code():
    linear = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(1)) ** 3
    exact = srgb_from_linear(linear) * 255
    assert (torch.from_numpy(images.to_8bit(linear)).float() - exact).abs().max() < 0.55


@pytest.mark.parametrize("bits, tolerance", [(8, 0.5 / 255), (16, 0.5 / 65535)])
def test_data_keeps_its_precision(tmp_path, bits, tolerance):
    values = synthetic_maps().specular_albedo
    images.write_data(tmp_path / "data.png", values, bits)
    assert (images.read_data(tmp_path / "data.png") - values).abs().max() < tolerance * 1.01


def test_normals_keep_their_direction_to_half_a_degree(tmp_path):
    normal = synthetic_maps().specular_normal
    images.write_normal(tmp_path / "normal.png", normal)
    read = images.read_normal(tmp_path / "normal.png")
    cosine = (read * normal).sum(-1)
    assert cosine.min() > np.cos(np.radians(0.5))


def test_flat_normal_is_the_usual_lilac(tmp_path):
    images.write_normal(tmp_path / "flat.png", torch.tensor([0.0, 0.0, 1.0]).expand(2, 2, 3))
    assert cv2.imread(str(tmp_path / "flat.png"))[0, 0].tolist() == [255, 128, 128]


def test_displacement_is_half_float_millimetres_with_its_sign(tmp_path):
    height = synthetic_maps().displacement_mm
    images.write_height(tmp_path / "height.exr", height)
    assert (images.read_height(tmp_path / "height.exr") - height).abs().max() < 2e-4
    with OpenEXR.File(str(tmp_path / "height.exr")) as file:
        assert file.channels()["Y"].pixels.dtype == np.float16
        assert "millimetres" in file.header()["comments"]


def test_a_missing_map_is_named(tmp_path):
    with pytest.raises(InputError, match="none.png"):
        images.read_data(tmp_path / "none.png")


def test_shrinking_keeps_the_mean_and_the_aspect():
    picture = synthetic_maps(300, 200).diffuse_albedo
    small = images.shrunk(picture, 60)
    assert small.shape == (60, 40, 3)
    assert torch.allclose(small.mean((0, 1)), picture.mean((0, 1)), atol=1e-3)
