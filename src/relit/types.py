"""The vocabulary: the frozen records that travel between the stages.

    photo --observe--> Observation --fit--> FaceFit --maps--> ReflectanceMaps --head--> Head --> export, render

Frames, units and colour: CONVENTIONS.md. Tensors are float32 unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Photo:
    """A decoded photograph, upright, in linear light."""

    name: str
    linear: Float[Tensor, "H W 3"]  # [0, 1], sRGB transfer removed
    focal_35mm: float | None  # 35 mm equivalent focal length from EXIF, if present
    original_size_px: tuple[int, int]  # width, height of the file before any reduction
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. Points project as `focal_px * (x, y) / z + centre_px` in the OpenCV frame."""

    focal_px: Float[Tensor, ""]
    centre_px: Float[Tensor, "2"]
    size_px: tuple[int, int]  # width, height
    camera_from_head: Float[Tensor, "4 4"]


@dataclass(frozen=True)
class Landmarks:
    """478 MediaPipe landmarks (468 face, 5 + 5 iris) and 52 ARKit blendshape hints."""

    points_px: Float[Tensor, "478 2"]
    depth_px: Float[Tensor, "478"]  # relative depth in pixels, smaller is nearer
    blendshapes: Float[Tensor, "52"]  # [0, 1], order of relit.models.head.ARKIT_NAMES
    score: float  # [0, 1]


@dataclass(frozen=True)
class Observation:
    """What one photo says about one face."""

    photo: Photo
    landmarks: Landmarks
    face_box_px: tuple[float, float, float, float]  # left, top, right, bottom
    skin_mask: Float[Tensor, "H W"]  # [0, 1] probability that the pixel shows bare facial skin, lips or brows
    identity_embedding: Float[Tensor, "D"]  # unit length, of the network used as loss
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lighting:
    """Environment radiance in spherical harmonics, plus distant directional lights, in the head frame."""

    sh: Float[Tensor, "81 3"]
    directions: Float[Tensor, "L 3"]  # unit, towards the light; L may be 0
    irradiance: Float[Tensor, "L 3"]


@dataclass(frozen=True)
class FaceFit:
    """What the optimiser found: everything needed to render the photo again."""

    method: str
    camera: Camera
    identity: Float[Tensor, "K"]  # in standard deviations
    expression: Float[Tensor, "52"]  # [0, 1]
    gaze_rad: Float[Tensor, "2 2"]  # (left, right eye) x (yaw to the subject's left, pitch up)
    vertex_offset: Float[Tensor, "V 3"]  # metres, added to the neutral vertices in the head frame
    albedo: Float[Tensor, "A"]  # coefficients of the statistical skin model
    lighting: Lighting
    exposure: Float[Tensor, "3"]  # photo (linear) = exposure * radiance, per channel (white balance)
    energies: dict[str, float]  # last value of each energy term
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReflectanceMaps:
    """Physically based maps in the head's UV layout. All share one size `H W`."""

    diffuse_albedo: Float[Tensor, "H W 3"]  # linear
    specular_albedo: Float[Tensor, "H W"]  # F0
    roughness: Float[Tensor, "H W"]  # perceptual
    diffuse_normal: Float[Tensor, "H W 3"]  # unit, tangent space, softened by subsurface scattering
    specular_normal: Float[Tensor, "H W 3"]  # unit, tangent space
    displacement_mm: Float[Tensor, "H W"]
    occlusion: Float[Tensor, "H W"]  # [0, 1] ambient visibility, baked for engines without their own
    confidence: Float[Tensor, "H W"]  # [0, 1] how far the photo, not the completion, decided the texel
    # log brightness that folds of the photo's expression add to the calm face's diffuse albedo; None: none are known
    folds: Float[Tensor, "H W"] | None = None


@dataclass(frozen=True)
class Head:
    """A neutral head with its rig and maps: what is exported and rendered."""

    vertices: Float[Tensor, "V 3"]  # neutral, metres, head frame (welded model vertices)
    morphs: Float[Tensor, "52 V 3"]  # displacements for weight 1, ARKit order
    maps: ReflectanceMaps
    fits: tuple[FaceFit, ...]  # one per photo, all of one identity: camera, pose, expression and light
    iris_colour: Float[Tensor, "3"]  # linear


@dataclass(frozen=True)
class FitResult:
    """What a method gives back."""

    head: Head
    observations: tuple[Observation, ...]
    seconds: dict[str, float]  # per stage
