"""A head for tests: the mean of the model with simple maps. No photo and no fit is needed."""

import torch

from relit.geometry.camera import look_at_face
from relit.models.head import expression_morphs, load_head_model, neutral_vertices
from relit.types import FaceFit, Head, Landmarks, Lighting, Observation, Photo, ReflectanceMaps


def synthetic_maps(rows: int = 192, columns: int = 128) -> ReflectanceMaps:
    """Smooth maps in which every channel differs from every other."""
    v = ((torch.arange(rows) + 0.5) / rows)[:, None].expand(rows, columns)
    u = ((torch.arange(columns) + 0.5) / columns)[None].expand(rows, columns)
    bump = torch.stack([0.3 * (u * 20).sin(), 0.3 * (v * 20).cos(), torch.ones_like(u)], -1)
    normal = torch.nn.functional.normalize(bump, dim=-1)
    return ReflectanceMaps(
        diffuse_albedo=torch.stack([0.3 + 0.4 * u, 0.2 + 0.3 * v, 0.1 + 0.2 * u * v], -1),
        specular_albedo=0.02 + 0.02 * u,
        roughness=0.3 + 0.4 * v,
        diffuse_normal=torch.nn.functional.normalize(bump * torch.tensor([0.3, 0.3, 1.0]), dim=-1),
        specular_normal=normal,
        displacement_mm=0.2 * (u * 40).sin() - 0.05,
        occlusion=1 - 0.5 * u * v,
        confidence=u.contiguous(),
        folds=0.6 * (u * 20).sin() - 0.2,
    )


def synthetic_head(size: tuple[int, int] = (192, 128)) -> tuple[Head, tuple[Observation, ...]]:
    """A head with a slightly unusual identity and one observation of it."""
    model = load_head_model()
    identity = torch.zeros(len(model.identity_modes))
    identity[:3] = torch.tensor([0.5, -0.4, 0.3])
    neutral = neutral_vertices(model, identity)
    camera = look_at_face((160, 200))
    expression = torch.zeros(52)
    expression[24] = 0.25
    sh = torch.zeros(81, 3)
    sh[0] = 3.545
    fit = FaceFit(
        method="classical",
        camera=camera,
        identity=identity,
        expression=expression,
        gaze_rad=torch.tensor([[0.05, 0.0], [0.05, 0.0]]),
        vertex_offset=torch.zeros_like(neutral),
        albedo=torch.tensor([0.1, -0.7]),
        lighting=Lighting(sh, torch.tensor([[0.0, 0.6, 0.8]]), torch.tensor([[0.5, 0.4, 0.3]])),
        exposure=torch.tensor([0.9, 1.0, 1.1]),
        energies={"landmarks": 0.5},
        warnings=("the face is small",),
    )
    morphs, iris = expression_morphs(model, neutral), torch.tensor([0.1, 0.05, 0.02])
    head = Head(neutral, morphs, synthetic_maps(*size), (fit,), iris)
    shade = torch.linspace(0.1, 0.9, 200)[:, None, None].expand(200, 160, 3).contiguous()
    photo = Photo("photo.png", shade, None, (160, 200), ("small <photo>",))
    points = torch.rand(478, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([100.0, 120.0]) + 30
    seen = Observation(
        photo=photo,
        landmarks=Landmarks(points, torch.zeros(478), torch.zeros(52), 0.9),
        face_box_px=(30.0, 30.0, 130.0, 150.0),
        skin_mask=torch.ones(200, 160),
        identity_embedding=torch.nn.functional.normalize(torch.ones(128), dim=0),
    )
    return head, (seen,)
