"""Recovered maps against true ones, texel by texel: both are in relit's UV layout.

All are taken over the face (`relit.evaluation.reference.face_mask`), and over the parts of it that the photos show
("visible": the true camera sees the texel, nothing covers it) and do not show ("unseen"). Texels count alike, although
the layout gives some parts of the face more of them.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from relit.evaluation.case import Case, coded_8bit
from relit.evaluation.metrics.registry import metric
from relit.evaluation.pictures import best_gain, psnr, ssim_map
from relit.geometry.mesh import vertex_normals, vertex_tangents
from relit.geometry.uv import rasterise_uv
from relit.models.head import HeadModel, load_head_model
from relit.render.rasterise import Fragments, interpolate
from relit.synth.sample import F0_SCALE

BYTES = 255.0


@metric("maps", "dB", "high")
def albedo_psnr(case: Case) -> dict[str, float]:
    """PSNR of the diffuse albedo, sRGB-coded and rounded to 8 bits: 10 log10(255^2 / mean squared difference).

    Unit dB, [0, 100]. Source: as AvatarMe++ and FitMe report texture quality. Brightness counts: light that is taken
    for skin is an error.
    """
    return _psnr(case, *_coded_albedo(case), BYTES)


@metric("maps", "", "high")
def albedo_ssim(case: Case) -> dict[str, float]:
    """SSIM of the diffuse albedo, sRGB-coded, data range 255; no unit, [-1, 1]. Source: see `pictures.ssim_map`."""
    return _ssim(case, *_coded_albedo(case), BYTES)


@metric("maps", "dB", "high")
def albedo_psnr_gain(case: Case) -> dict[str, float]:
    """PSNR of the albedo after one factor on all channels of the linear albedo, the best one for the region.

    The brightness of skin and of light cannot be told apart in one photo; this forgives it. dB, [0, 100].
    Source: scale-invariant errors of intrinsic images, Grosse et al. 2009.
    Differs: one factor for the region, not for windows; PSNR of the coded values after it.
    """
    return _after_gain(case, per_channel=False)


@metric("maps", "dB", "high")
def albedo_psnr_gains(case: Case) -> dict[str, float]:
    """As `albedo_psnr_gain` with a factor per channel: the colour of the light is forgiven too. dB, [0, 100]."""
    return _after_gain(case, per_channel=True)


@metric("maps", "dB", "high")
def specular_psnr(case: Case) -> dict[str, float]:
    """PSNR of the specular albedo as F0 / 0.08, which is in [0, 1]: data range 1. dB, [0, 100]."""
    return _psnr(case, *(maps["specular_albedo"] / F0_SCALE for maps in (case.found_maps, case.reference.maps)), 1.0)


@metric("maps", "", "high")
def specular_ssim(case: Case) -> dict[str, float]:
    """SSIM of F0 / 0.08, data range 1; [-1, 1]."""
    return _ssim(case, *(maps["specular_albedo"] / F0_SCALE for maps in (case.found_maps, case.reference.maps)), 1.0)


@metric("maps", "dB", "high")
def roughness_psnr(case: Case) -> dict[str, float]:
    """PSNR of the perceptual roughness, data range 1. dB, [0, 100]."""
    return _psnr(case, case.found_maps["roughness"], case.reference.maps["roughness"], 1.0)


@metric("maps", "", "high")
def roughness_ssim(case: Case) -> dict[str, float]:
    """SSIM of the perceptual roughness, data range 1; [-1, 1]."""
    return _ssim(case, case.found_maps["roughness"], case.reference.maps["roughness"], 1.0)


@metric("maps", "dB", "high")
def diffuse_normal_psnr(case: Case) -> dict[str, float]:
    """PSNR of tangent-space diffuse normals as 0.5 + 0.5 n, data range 1. dB, [0, 100]."""
    return _psnr(case, *_coded_normals(case, "diffuse_normal"), 1.0)


@metric("maps", "", "high")
def diffuse_normal_ssim(case: Case) -> dict[str, float]:
    """SSIM of tangent-space diffuse normals as 0.5 + 0.5 n, data range 1; [-1, 1]."""
    return _ssim(case, *_coded_normals(case, "diffuse_normal"), 1.0)


@metric("maps", "degrees", "low")
def diffuse_normal_angle(case: Case) -> dict[str, float]:
    """Mean angle between recovered and true tangent-space diffuse normals: mean acos(n . m). Degrees, [0, 180]."""
    return _angle(case, "diffuse_normal")


@metric("maps", "dB", "high")
def specular_normal_psnr(case: Case) -> dict[str, float]:
    """PSNR of tangent-space specular normals as 0.5 + 0.5 n, data range 1. dB, [0, 100]."""
    return _psnr(case, *_coded_normals(case, "specular_normal"), 1.0)


@metric("maps", "", "high")
def specular_normal_ssim(case: Case) -> dict[str, float]:
    """SSIM of tangent-space specular normals as 0.5 + 0.5 n, data range 1; [-1, 1]."""
    return _ssim(case, *_coded_normals(case, "specular_normal"), 1.0)


@metric("maps", "degrees", "low")
def specular_normal_angle(case: Case) -> dict[str, float]:
    """Mean angle between recovered and true tangent-space specular normals: mean acos(n . m). Degrees, [0, 180]."""
    return _angle(case, "specular_normal")


@metric("maps", "degrees", "low")
def surface_normal_angle(case: Case) -> dict[str, float]:
    """Mean angle between recovered and true specular normals of the neutral head in space: shape and map together.

    Recovered normals are turned by the rotation of the similarity of `now`. Degrees, [0, 180]. Tangent-space angles are
    small whatever a method does, since most of a face's orientation is in the mesh; this one holds both.
    """
    model, turn = load_head_model(), case.shape_error.alignment.rotation
    found = in_space(model, case.answer.head.vertices, case.found_maps["specular_normal"]) @ turn.T
    true = in_space(model, case.reference.subject.neutral, case.reference.maps["specular_normal"])
    return _mean_angle(case, found, true)


def in_space(model: HeadModel, vertices: Tensor, tangent_normals: np.ndarray) -> np.ndarray:
    """(H, W, 3) unit normals in the head frame of a normal map on a head."""
    height, width = tangent_normals.shape[:2]
    fragments = Fragments(*rasterise_uv(model.uv, model.render_triangles, height, width), torch.zeros(()))
    normals = vertex_normals(vertices, model.triangles)[model.render_vertex]
    tangents = vertex_tangents(vertices[model.render_vertex], model.uv, model.render_triangles, normals)
    sheet = interpolate(torch.cat([normals, tangents], 1), model.render_triangles, fragments)
    normal = normalize(sheet[..., :3], dim=-1)
    along = normalize(sheet[..., 3:6] - (sheet[..., 3:6] * normal).sum(-1, keepdim=True) * normal, dim=-1)
    up = torch.linalg.cross(normal, along) * sheet[..., 6:].sign()
    x, y, z = torch.from_numpy(np.ascontiguousarray(tangent_normals)).unsqueeze(-2).unbind(-1)
    return normalize(x * along + y * up + z * normal, dim=-1).numpy()


def _coded_albedo(case: Case) -> tuple[np.ndarray, np.ndarray]:
    return tuple(coded_8bit(maps["diffuse_albedo"]) for maps in (case.found_maps, case.reference.maps))


def _coded_normals(case: Case, name: str) -> tuple[np.ndarray, np.ndarray]:
    return tuple(0.5 + 0.5 * maps[name] for maps in (case.found_maps, case.reference.maps))


def _psnr(case: Case, found: np.ndarray, truth: np.ndarray, data_range: float) -> dict[str, float]:
    return {name: psnr(found, truth, mask, data_range) for name, mask in case.reference.regions.items()}


def _ssim(case: Case, found: np.ndarray, truth: np.ndarray, data_range: float) -> dict[str, float]:
    """Local statistics are those of the whole face; each part averages its own texels."""
    values = ssim_map(found, truth, case.reference.face, data_range)
    return _means(case, values)


def _after_gain(case: Case, per_channel: bool) -> dict[str, float]:
    found, truth = (maps["diffuse_albedo"] for maps in (case.found_maps, case.reference.maps))
    coded = coded_8bit(truth)
    result = {}
    for name, mask in case.reference.regions.items():
        gain = best_gain(found, truth, mask, per_channel).astype(np.float32)
        result[name] = psnr(coded_8bit(found * gain), coded, mask, BYTES)
    return result


def _angle(case: Case, name: str) -> dict[str, float]:
    return _mean_angle(case, case.found_maps[name], case.reference.maps[name])


def _mean_angle(case: Case, found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    angle = np.degrees(np.arccos(np.clip((found * truth).sum(-1), -1, 1)))
    return _means(case, angle)


def _means(case: Case, values: np.ndarray) -> dict[str, float]:
    return {name: float(values[mask].mean()) if mask.any() else float("nan") for name, mask in case.reference.regions.items()}
