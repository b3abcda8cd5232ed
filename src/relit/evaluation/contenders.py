"""Who is judged: the methods of relit, baselines that exist for comparison only, and outside functions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import cv2
import numpy as np
import torch

from relit import __version__
from relit.appearance.lighting import uniform_lighting
from relit.errors import AssetMissing, InputError
from relit.evaluation.testset import TruePhoto, TrueSubject
from relit.evaluation.truth import SEVEN_OF_MEDIAPIPE
from relit.geometry.transforms import rigid
from relit.head.eyes import paint_eyes
from relit.head.mouth import paint_mouth
from relit.maps.infer import infer_surface
from relit.methods import METHODS, WEIGHTS, load_method
from relit.methods.fitted import Fitted, observe_and_fit
from relit.models.head import PARTS, HeadModel, expression_morphs, landmark_points, load_head_model, neutral_vertices
from relit.models.registry import assets_digest
from relit.models.skin import load_skin_model, skin_albedo
from relit.observe.observe import observe
from relit.progress import Stopwatch
from relit.types import Camera, FaceFit, FitResult, Head, Observation, Photo, ReflectanceMaps

SHARED = "face_landmarker", "head", "identity", "observation_noise", "sface", "skin"  # assets that all our methods start from
FOCAL_35MM = 50.0  # where a baseline must assume a lens
IRIS = torch.tensor([0.075, 0.034, 0.014])  # of the mean head
# The 51 inner landmarks of the iBUG 68 (Sagonas et al. 2013) among MediaPipe's: brows, nose, eyes, mouth.
IBUG_51 = (
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153, 144, 362,
    385, 387, 263, 373, 380, 61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
Size = tuple[int, int]


@dataclass(frozen=True)
class Mesh:
    """A recovered face surface, in any frame and, unless `metric`, in any unit."""

    vertices: np.ndarray  # (N, 3)
    triangles: np.ndarray  # (T, 3)
    landmarks: np.ndarray  # (7, 3) eye corners from the subject's right to left, base of the nose, mouth corners
    metric: bool = True  # whether the unit is the metre
    posed: bool = False  # whether it has the photo's expression; else neutral


@dataclass(frozen=True)
class Answer:
    """What a method makes of one or several photos of a person."""

    mesh: Mesh
    head: Head | None = None  # None: geometry only
    observations: tuple[Observation, ...] = ()
    seconds: dict[str, float] | None = None  # per stage


@dataclass(frozen=True)
class Contender:
    """A method by its name, with the version that resumed results must match."""

    name: str
    version: str
    about: str
    run: Callable[[list[Photo], Size], Answer] | None  # None: the truth, which the harness knows


def contender(name: str) -> Contender:
    """A method of relit, a baseline, or `module:function` of the outside.

    An outside function takes (list of `relit.types.Photo`, (rows, columns) of the maps) and returns an `Answer`,
    a `FitResult` or a `Head`.

    Raises:
        InputError: there is none of that name, or the function cannot be imported.
        AssetMissing: what it needs is not installed.
    """
    if name in METHODS:
        stated = f"{__version__}+{assets_digest((*SHARED, *WEIGHTS[name]))}"  # other weights are another method
        return Contender(name, stated, METHODS[name], lambda photos, size: answer_of(_finished(name, photos, size)))
    if name in BASELINES:
        about, run = BASELINES[name]
        stated = f"{__version__} with eos-py {_eos()}" if name == "eos" else __version__
        return Contender(name, stated, about, run)
    module, colon, function = name.partition(":")
    if colon:
        try:
            run = getattr(import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(f"the method {name} cannot be imported: {error}") from None
        stated = str(getattr(import_module(module), "__version__", "0"))
        about = (run.__doc__ or "an outside method").strip().split("\n")[0]
        return Contender(name.replace(":", "."), stated, about, lambda photos, size: answer_of(run(photos, size)))
    known = ", ".join((*METHODS, *BASELINES))
    raise InputError(f"there is no method {name!r}; choose one of: {known}, or give module:function")


def _finished(name: str, photos: list[Photo], size: Size) -> FitResult:
    """The result of a method of relit; methods start from the same fit, which is kept for the next one."""
    begun, seconds = started(tuple(photos))
    watch = Stopwatch()
    watch.seconds.update(seconds)
    return load_method(name).finish(begun, size, 0, watch)


@lru_cache(maxsize=2)  # a texture swap has two photos
def started(photos: tuple[Photo, ...]) -> tuple[Fitted, dict[str, float]]:
    """The fit that all methods start from, with the seconds of its stages; kept for the next method."""
    watch = Stopwatch()
    return observe_and_fit(list(photos), None, 0, True, watch), watch.seconds


def answer_of(result: Answer | FitResult | Head) -> Answer:
    """What a method returned, as an `Answer`."""
    if isinstance(result, Answer):
        return result
    head = result.head if isinstance(result, FitResult) else result
    observations = result.observations if isinstance(result, FitResult) else ()
    seconds = result.seconds if isinstance(result, FitResult) else None
    return Answer(model_mesh(load_head_model(), head.vertices), head, observations, seconds)


def model_mesh(model: HeadModel, vertices: torch.Tensor, metric: bool = True) -> Mesh:
    """The skin of a head in the head model's topology."""
    points = landmark_points(model, vertices) - model.landmark_offset
    skin = model.triangles[model.part == PARTS.index("skin")]
    return Mesh(vertices.double().numpy(), skin.numpy(), points[list(SEVEN_OF_MEDIAPIPE)].double().numpy(), metric)


def mean_head(photos: list[Photo], size: Size) -> Answer:
    """The mean head with the mean skin of the priors, placed by landmarks: what knowing nothing about a person gives.

    The light is the same from everywhere, as bright as the photo's face; a lens of 50 mm equivalent is assumed.
    """
    model = load_head_model()
    observations = tuple(observe(photo) for photo in photos)
    maps, colour = _mean_maps(size)
    fits = []
    for observation in observations:
        camera = _landmark_pose(model, observation)
        skin = observation.skin_mask > 0.5
        seen = observation.photo.linear[skin].mean(0) if skin.any() else observation.photo.linear.mean((0, 1))
        fits.append(
            FaceFit(
                method="mean",
                camera=camera,
                identity=torch.zeros(len(model.identity_modes)),
                expression=torch.zeros(52),
                gaze_rad=torch.zeros(2, 2),
                vertex_offset=torch.zeros_like(model.mean),
                albedo=torch.zeros(len(load_skin_model().names)),
                lighting=uniform_lighting(),
                exposure=seen / colour,
                energies={},
            )
        )
    head = Head(model.mean, _mean_morphs(), maps, tuple(fits), IRIS)
    return Answer(model_mesh(model, model.mean), head, observations)


@lru_cache(maxsize=1)
def _mean_morphs() -> torch.Tensor:
    model = load_head_model()
    return expression_morphs(model, model.mean)


@lru_cache(maxsize=1)
def _mean_maps(size: Size) -> tuple[ReflectanceMaps, torch.Tensor]:
    """Flat maps of the mean skin, and (3,) its mean colour."""
    model, skin = load_head_model(), load_skin_model()
    coarse = skin_albedo(skin, torch.zeros(len(skin.names)))
    enlarged = torch.nn.functional.interpolate(
        coarse.permute(2, 0, 1)[None], size, mode="bilinear", align_corners=False, antialias=size[0] < len(coarse)
    )
    albedo = paint_eyes(model, paint_mouth(model, enlarged[0].permute(1, 2, 0).contiguous()), IRIS)
    surface = infer_surface(albedo, torch.zeros(size))
    flat = torch.zeros(*size, 3)
    flat[..., 2] = 1
    zero, one = torch.zeros(size), torch.ones(size)
    maps = ReflectanceMaps(albedo, surface.specular_albedo, surface.roughness, flat, flat, zero, one, zero)
    return maps, coarse[coarse.shape[0] // 4 : coarse.shape[0] // 2].mean((0, 1))


def _landmark_pose(model: HeadModel, observation: Observation) -> Camera:
    """The camera that best explains the landmarks with the mean head, seen through a 50 mm lens."""
    width, height = observation.photo.linear.shape[1::-1]
    focal = max(width, height) * FOCAL_35MM / 36.0
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    head = landmark_points(model, model.mean)[:468].double().numpy()
    seen = observation.landmarks.points_px[:468].double().numpy()
    _, turn, shift = cv2.solvePnP(head, seen, intrinsics, None, flags=cv2.SOLVEPNP_SQPNP)
    _, turn, shift = cv2.solvePnP(head, seen, intrinsics, None, turn, shift, True, cv2.SOLVEPNP_ITERATIVE)
    rotation = torch.from_numpy(cv2.Rodrigues(turn)[0]).float()
    return Camera(
        torch.tensor(focal),
        torch.tensor([width / 2, height / 2]),
        (width, height),
        rigid(rotation, torch.from_numpy(shift[:, 0]).float()),
    )


def true_answer(subject: TrueSubject, photos: tuple[TruePhoto, ...]) -> Answer:
    """The truth itself: what relit's renderer and the metrics leave of a perfect recovery."""
    model = load_head_model()
    fits = tuple(
        FaceFit(
            method="truth",
            camera=photo.camera,
            identity=torch.zeros(len(model.identity_modes)),
            expression=photo.expression,
            gaze_rad=photo.gaze_rad,
            vertex_offset=subject.neutral - model.mean,
            albedo=torch.zeros(len(load_skin_model().names)),
            lighting=photo.lighting,
            exposure=torch.ones(3),
            energies={},
        )
        for photo in photos
    )
    head = Head(subject.neutral, expression_morphs(model, subject.neutral), subject.maps, fits, IRIS)
    return Answer(model_mesh(model, subject.neutral), head)


def landmark_depth(photos: list[Photo], size: Size) -> Answer:
    """MediaPipe's landmarks of the first photo with their own relative depth, on the triangles of its canonical face."""
    found = observe(photos[0]).landmarks
    points = torch.cat([found.points_px, found.depth_px[:, None]], 1)[:468].double().numpy() * [1, -1, -1]
    mesh = Mesh(points, canonical_face()[1], points[list(SEVEN_OF_MEDIAPIPE)], metric=False, posed=True)
    return Answer(mesh)


def canonical_mesh(photos: list[Photo], size: Size) -> Answer:
    """MediaPipe's canonical face, the same for everybody."""
    points, triangles = canonical_face()
    return Answer(Mesh(points, triangles, points[list(SEVEN_OF_MEDIAPIPE)]))


@lru_cache(maxsize=1)
def canonical_face() -> tuple[np.ndarray, np.ndarray]:
    """(468, 3) metres and (898, 3): the canonical face that the landmark task carries.

    Source: MediaPipe face geometry, `geometry_pipeline_metadata_landmarks.binarypb` (Apache-2.0): a protocol buffer in
    which field 1 is the mesh, its field 3 the vertices (x, y, z, u, v in centimetres) and its field 4 the corners.
    """
    import zipfile

    from relit.models.registry import asset_path

    with zipfile.ZipFile(asset_path("face_landmarker")) as task:
        message = task.read("geometry_pipeline_metadata_landmarks.binarypb")
    mesh = list(_fields(next(value for field, value in _fields(message) if field == 1)))
    packed = b"".join(value.to_bytes(4, "little") for field, value in mesh if field == 3)
    corners = [value for field, value in mesh if field == 4]
    vertices = np.frombuffer(packed, "<f4").reshape(-1, 5)[:, :3].astype(float) / 100
    return vertices, np.array(corners, np.int64).reshape(-1, 3)


def _fields(message: bytes):
    """(number, value) of a protocol buffer's fields: integers for varints and fixed32, bytes for the rest."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 2:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        else:
            width = {1: 8, 5: 4}[kind]
            value, at = int.from_bytes(message[at : at + width], "little"), at + width
        yield number, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at


def _eos() -> str:
    """The version of eos-py.

    Raises:
        AssetMissing: it is not installed.
    """
    try:
        import_module("eos")
        return version("eos-py")
    except (ImportError, PackageNotFoundError):
        raise AssetMissing("the baseline eos needs eos-py: pip install eos-py==1.5.0") from None


@lru_cache(maxsize=1)
def _eos_model():
    """The shape and expressions of relit's own head model, as eos takes them."""
    import eos

    model = load_head_model()
    flat = lambda tensor: tensor.reshape(len(tensor), -1).double().numpy() * 1000  # noqa: E731  # millimetres
    modes = flat(model.identity_modes)
    length = np.linalg.norm(modes, axis=1)
    mean = (model.mean.double().numpy() * 1000).ravel()
    triangles = model.triangles[model.part == 0].tolist()
    column = lambda values: values.astype(np.float32)[:, None]  # noqa: E731
    basis = (modes / length[:, None]).T.astype(np.float32)
    shape = eos.morphablemodel.PcaModel(column(mean), basis, column(length**2), triangles)
    blends = [
        eos.morphablemodel.Blendshape(str(k), column(mode))
        for k, mode in enumerate(flat(model.expression_modes))
        if np.abs(mode).max() > 0
    ]
    return eos.morphablemodel.MorphableModel(shape, blends, eos.morphablemodel.PcaModel())


def eos_shape(photos: list[Photo], size: Size) -> Answer:
    """eos (Huber et al. 2016) with relit's own head model: scaled orthographic camera, shape and expression by turns.

    Given are the 51 inner landmarks of the iBUG scheme that eos is made for, each at the nearest vertex; the settings are
    eos's own. With all of MediaPipe's landmarks, whose errors are not independent, it trusts them too far and does worse.
    """
    import eos

    model = load_head_model()
    points = observe(photos[0]).landmarks.points_px
    vertex = model.landmark_triangles.gather(1, model.landmark_barycentric.argmax(1)[:, None])[:, 0].tolist()
    marks = [eos.core.Landmark(str(vertex[k]), points[k].numpy().astype(np.float32)) for k in IBUG_51]
    height, width = photos[0].linear.shape[:2]
    _, _, identity, _ = eos.fitting.fit_shape_and_pose(_eos_model(), marks, eos.core.LandmarkMapper(), width, height)
    coefficients = torch.zeros(len(model.identity_modes))
    coefficients[: len(identity)] = torch.tensor(identity)
    return Answer(model_mesh(model, neutral_vertices(model, coefficients)))


BASELINES = {
    "truth": ("the truth itself: what renderer and metrics leave of a perfect recovery", None),
    "mean": ("mean head and mean skin of the priors, placed by landmarks", mean_head),
    "mediapipe": ("MediaPipe's landmarks with their depth; shape only", landmark_depth),
    "canonical": ("MediaPipe's canonical face, the same for everybody; shape only", canonical_mesh),
    "eos": ("eos-py with relit's head model; shape only", eos_shape),
}
