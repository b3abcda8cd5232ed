"""Head models that users bring are read as they are, and missing ones are named."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from relit.errors import AssetCorrupt, AssetMissing
from relit.models.head_import import imported_vertices, load_gnm, load_ict


def test_missing_files_are_named_with_the_remedy(tmp_path):
    with pytest.raises(AssetMissing, match=r"FaceXModel"):
        load_ict(tmp_path / "nowhere")
    with pytest.raises(AssetMissing, match=r"ict_facekit\.npz"):
        load_ict(tmp_path)
    with pytest.raises(AssetMissing, match=r"gnm_head\.npz"):
        load_gnm(tmp_path / "gnm_head.npz")


def test_gnm_is_read_by_its_array_names(tmp_path):
    rng = np.random.default_rng(1)
    arrays = {
        "template_vertex_positions": rng.normal(size=(5, 3)),
        "vertex_identity_basis": rng.normal(size=(4, 5, 3)),
        "expression_basis": rng.normal(size=(2, 5, 3)),
        "triangles": np.array([[0, 1, 2], [2, 3, 4]]),
        "expression_names": np.array(["smile", "blink"]),
    }
    np.savez(tmp_path / "gnm_head.npz", **arrays)
    head = load_gnm(tmp_path / "gnm_head.npz")
    assert head.expression_names == ("smile", "blink")
    moved = imported_vertices(head, torch.tensor([0.0, 2.0, 0, 0]), torch.tensor([0.0, 1.0]))
    expected = arrays["template_vertex_positions"] + 2 * arrays["vertex_identity_basis"][1] + arrays["expression_basis"][1]
    assert np.allclose(moved.numpy(), expected, atol=1e-5)
    np.savez(tmp_path / "other.npz", triangles=arrays["triangles"])
    with pytest.raises(AssetCorrupt, match="template_vertex_positions"):
        load_gnm(tmp_path / "other.npz")


def test_ict_is_read_from_obj_files_as_upstream_ships_them(tmp_path):
    points = np.arange(12.0).reshape(4, 3)
    faces = "f 1/1/1 2/2/2 3/3/3 4/4/4\n"
    write = lambda name, p: (tmp_path / name).write_text("".join(f"v {x} {y} {z}\n" for x, y, z in p) + faces)  # noqa: E731
    write("generic_neutral_mesh.obj", points)
    write("identity000.obj", points + np.array([1, 0, 0]))
    write("jawOpen.obj", points - np.array([0, 2, 0]))
    (tmp_path / "vertex_indices.json").write_text('{"expressions": ["jawOpen"]}')
    head = load_ict(tmp_path)
    assert head.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert torch.allclose(head.mean, torch.from_numpy(points / 100).float())
    assert torch.allclose(head.identity_modes[0], torch.tensor([0.01, 0, 0]).expand(4, 3))
    assert torch.allclose(head.expression_modes[0], torch.tensor([0, -0.02, 0]).expand(4, 3), atol=1e-7)


def test_the_real_ict_facekit_loads():
    folder = os.environ.get("RELIT_ICT_FOLDER")
    if not folder:
        pytest.skip("RELIT_ICT_FOLDER does not name ICT-FaceKit")
    head = load_ict(Path(folder))
    assert head.identity_modes.shape[0] == 100 and len(head.landmark_vertices) == 68
    assert "jawOpen" in head.expression_names
    width = head.mean[head.landmark_vertices[16], 0] - head.mean[head.landmark_vertices[0], 0]
    assert 0.1 < width.abs() < 0.2
