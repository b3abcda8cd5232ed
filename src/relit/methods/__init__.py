"""The methods by name. Importing this module loads nothing heavy."""

from dataclasses import dataclass
from importlib import import_module

from relit.errors import InputError
from relit.progress import SILENT, Stopwatch

METHODS = {
    "avatarme": "as classical, but a trained network tells the light and the tone of the skin",
    "classical": "landmarks, statistical skin and light, then the photo's own texture: no trained generator",
    "fitme": "a generator of reflectance is inverted and tuned until its textures look as the photos do",
    "ganfit": "a generator of lit textures is inverted until the head looks like the person; networks take the light out",
    "yamaguchi": "networks alone turn the unwrapped photo into reflectance, complete it by symmetry and refine it",
}
DEFAULT = "avatarme"
WEIGHTS = {  # assets that a method reads beside what all start from
    "avatarme": ("avatarme_specular", "delighting"),
    "classical": (),
    "fitme": ("avatarme_specular", "delighting", "prior_fitme"),
    "ganfit": ("avatarme_specular", "delighting", "prior_ganfit"),
    "yamaguchi": (
        "delighting", "yamaguchi_completion_diffuse", "yamaguchi_completion_surface", "yamaguchi_diffuse",
        "yamaguchi_superresolution", "yamaguchi_surface",
    ),
}  # fmt: skip
HIGHEST_SEED = 2**31

_MODULES = {"yamaguchi": "yamaguchi2018"}  # where the name of the file differs


@dataclass(frozen=True)
class FitSettings:
    """How photos are read and fitted, whatever the method."""

    face: int | None = None  # which face of each photo, counted from the left from 1; the largest if None
    device: str = "auto"  # where fits descend: "cpu" or "cuda"; see `relit.devices.chosen_device`
    seed: int = 0  # of everything random (synthesised detail, second renders), 0 to 2**31
    same_person: bool = False  # the photos show one person, even if their faces look too different for that


def load_method(name: str):
    """The module of a method, whose `finish` makes a head of fitted photos."""
    return import_module(f"relit.methods.{_MODULES.get(name, name)}")


def fit_photos(photos, method=DEFAULT, size=(2048, 2048), settings=FitSettings(), progress=None):
    """The relightable head of the one person in the photos.

    Args:
        photos: list of `relit.types.Photo`.
        method: a name in `METHODS`.
        size: rows and columns of the maps.
        settings: see `FitSettings`.
        progress: see `relit.progress`.

    Returns:
        `relit.types.FitResult`.

    Raises:
        InputError: the method does not exist, there is no photo, or seed or device cannot be used.
        NoFaceFound: a photo shows no usable face.
        DifferentPeople: two photos seem to show different people.
        FitDiverged: an energy became not a number, or rose.
    """
    if method not in METHODS:
        raise InputError(f"there is no method {method!r}; choose one of: {', '.join(METHODS)}")
    if not 0 <= settings.seed <= HIGHEST_SEED:
        raise InputError(f"the seed must be from 0 to {HIGHEST_SEED}, got {settings.seed}")
    from relit.devices import chosen_device
    from relit.methods.fitted import observe_and_fit

    device = chosen_device(settings.device)
    watch = Stopwatch(progress or SILENT)
    started = observe_and_fit(photos, settings.face, settings.seed, settings.same_person, watch, device)
    return load_method(method).finish(started, size, settings.seed, watch)
