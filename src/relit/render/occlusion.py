"""What of the light each vertex sees: precomputed radiance transfer by ray casts, and ambient occlusion from it."""

import math

import numpy as np
import torch
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.weak import WeakTensorKeyDictionary

from relit.appearance.harmonics import BAND, cosine_lobe, sh_basis, sphere_directions
from relit.geometry.mesh import vertex_normals

DIRECTIONS = 256
RAY_START_M = 4e-4  # above the surface, so that a ray does not hit the triangle it leaves
BOUNCE_ALBEDO = 0.35  # of the surroundings that light a cavity: the mean over skin tones is near it
RAYS_AT_ONCE = 1 << 19
_scenes = WeakTensorKeyDictionary()
FULL_VISIBILITY = math.sqrt(math.pi) / 2  # transfer's first coefficient on an open surface: pi * Y_00


def light_transfer(
    vertices: Float[Tensor, "V 3"],
    triangles: Int[Tensor, "T 3"],
    bounce_albedo: float = BOUNCE_ALBEDO,
    rays: int = DIRECTIONS,
    traced: Bool[Tensor, "V"] | None = None,
) -> Float[Tensor, "V 81"]:
    """Cosine-weighted visibility in spherical harmonics: `transfer @ sh` is the irradiance with self-shadowing.

    Open surfaces get the exact cosine lobe; what is hidden is subtracted from it. Not differentiable.

    Args:
        bounce_albedo: mean albedo of the head; brightens cavities by the light that their walls send on. 0 leaves the
            plain visibility.
        rays: per vertex, over the whole sphere.
        traced: where rays are cast at all; elsewhere the surface counts as open. Default: everywhere.

    Source: Sloan, Kautz & Snyder 2002, "Precomputed radiance transfer", section 4, unshadowed minus shadow; rays by
    Embree. The bounce is `multiple_bounces`.
    """
    with torch.no_grad():
        points, faces = vertices.detach().cpu().float(), triangles.cpu()
        transfer = transfer_at(points, vertex_normals(points, faces), ((points, faces, 1.0),), rays, traced)
        seen = ambient_occlusion(transfer)
        gain = multiple_bounces(seen, torch.full_like(seen, bounce_albedo)) / seen.clamp_min(0.02)
        return (transfer * gain[:, None]).to(vertices.device)


def transfer_at(
    points: Float[Tensor, "P 3"],
    normals: Float[Tensor, "P 3"],
    occluders: tuple[tuple[Tensor, Tensor, float], ...],
    rays: int = DIRECTIONS,
    traced: Bool[Tensor, "P"] | None = None,
) -> Float[Tensor, "P 81"]:
    """`light_transfer` without bounces at any points, see `hidden_transfer`."""
    return sh_basis(normals) * cosine_lobe()[BAND] - hidden_transfer(points, normals, occluders, rays, traced)


def hidden_transfer(
    points: Float[Tensor, "P 3"],
    normals: Float[Tensor, "P 3"],
    occluders: tuple[tuple[Tensor, Tensor, float], ...],
    rays: int = DIRECTIONS,
    traced: Bool[Tensor, "P"] | None = None,
) -> Float[Tensor, "P 81"]:
    """What occluders take from the transfer of open surfaces.

    Args:
        points: on surfaces; rays start a little above them.
        occluders: meshes in the way, each as vertices, triangles and opacity in [0, 1].
    """
    directions = sphere_directions(rays)
    cosine = normals @ directions.T  # [P, D]
    asked = cosine > 0.02 if traced is None else (cosine > 0.02) & traced.cpu()[:, None]
    passed = torch.ones_like(cosine)
    for vertices, triangles, opacity in occluders:
        met = hidden(points + RAY_START_M * normals, directions, asked & (passed > 0), vertices, triangles)
        passed -= passed * opacity * met
    lost = (1 - passed) * cosine.clamp_min(0) * (4 * math.pi / rays)
    return lost @ sh_basis(directions)


def ambient_occlusion(transfer: Float[Tensor, "V 81"]) -> Float[Tensor, "V"]:
    """Fraction of uniform light that arrives, [0, 1]; 1 on an open surface."""
    return (transfer[:, 0] / FULL_VISIBILITY).clamp(0, 1)


def open_direction(transfer: Float[Tensor, "V 81"]) -> Float[Tensor, "V 3"]:
    """The unit mean direction from which light arrives (the "bent normal"): the transfer's linear band."""
    return normalize(transfer[:, [3, 1, 2]], dim=1, eps=1e-6)


def multiple_bounces(visibility: Float[Tensor, "*batch"], albedo: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Ambient visibility brightened by the light that the occluding surface itself sends on.

    Source: Jimenez et al. 2016, "Practical realtime strategies for accurate indirect occlusion", equation 10 (a cubic
    fitted to path-traced interreflection, per albedo). Differs: at albedo 0 it is exactly the visibility.
    """
    a = 2.0404 * albedo - 0.3324
    b = -4.7951 * albedo + 0.6417
    c = 2.7552 * albedo + 0.6903
    return torch.maximum(visibility, ((visibility * a + b) * visibility + c) * visibility)


def hidden(origins: Tensor, directions: Tensor, asked: Tensor, vertices: Tensor, triangles: Tensor) -> Tensor:
    """(V, D) whether the ray from each origin along each direction meets the mesh, where `asked`."""
    scene = _scene(vertices, triangles)
    blocked = np.zeros(asked.shape, bool)
    # Direction by direction: neighbouring rays are parallel, which Embree traverses fastest.
    which, vertex = np.nonzero(np.ascontiguousarray(asked.numpy().T))
    for first in range(0, len(which), RAYS_AT_ONCE):
        part = slice(first, first + RAYS_AT_ONCE)
        start, along = (np.take(x.numpy(), at[part], 0) for x, at in ((origins, vertex), (directions, which)))
        met = scene.run(start, along, query="OCCLUDED")
        blocked[vertex[part], which[part]] = np.asarray(met) >= 0
    return torch.from_numpy(blocked)


def _scene(vertices: Tensor, triangles: Tensor) -> rtcore_scene.EmbreeScene:
    """The mesh ready for rays, remembered as long as its tensors live: several surfaces often ask for the same mesh."""
    of_vertices = _scenes.setdefault(vertices, WeakTensorKeyDictionary())
    version, scene = of_vertices.get(triangles, (None, None))
    if version != vertices._version:
        scene = rtcore_scene.EmbreeScene()
        TriangleMesh(scene, vertices.numpy(), triangles.numpy().astype(np.int32))
        of_vertices[triangles] = vertices._version, scene
    return scene
