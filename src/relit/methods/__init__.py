"""The methods by name. Importing this module loads nothing heavy."""

from importlib import import_module

from relit.errors import InputError
from relit.progress import SILENT

METHODS = {
    "avatarme": "as classical, but a trained network tells the light and the tone of the skin",
    "classical": "landmarks, statistical skin and light, then the photo's own texture: no trained generator",
    "yamaguchi": "networks alone turn the unwrapped photo into reflectance, complete it by symmetry and refine it",
}
DEFAULT = "avatarme"
WEIGHTS = {  # assets that a method reads beside what all start from
    "avatarme": ("delighting",),
    "classical": (),
    "yamaguchi": (
        "delighting", "yamaguchi_completion_diffuse", "yamaguchi_completion_surface", "yamaguchi_diffuse",
        "yamaguchi_superresolution", "yamaguchi_surface",
    ),
}  # fmt: skip
HIGHEST_SEED = 2**31

_MODULES = {"yamaguchi": "yamaguchi2018"}  # where the name of the file differs


def load_method(name: str):
    """The module of a method: `run` from photos, `finish` from fitted ones."""
    return import_module(f"relit.methods.{_MODULES.get(name, name)}")


def fit_photos(photos, method=DEFAULT, size=(2048, 2048), face=None, device="auto", seed=0, progress=None):
    """The relightable head of the one person in the photos.

    Args:
        photos: list of `relit.types.Photo`.
        method: a name in `METHODS`.
        size: rows and columns of the maps.
        face: which face of each photo, counted from the left from 1; the largest if None.
        device: "auto" or "cpu"; no method computes on "cuda" yet.
        seed: of everything random (synthesised detail), 0 to 2**31.
        progress: see `relit.progress`.

    Returns:
        `relit.types.FitResult`.

    Raises:
        InputError: the method does not exist, there is no photo, or seed or device cannot be used.
        NoFaceFound: a photo shows no usable face.
        FitDiverged: an energy became not a number.
    """
    if method not in METHODS:
        raise InputError(f"there is no method {method!r}; choose one of: {', '.join(METHODS)}")
    if not 0 <= seed <= HIGHEST_SEED:
        raise InputError(f"the seed must be from 0 to {HIGHEST_SEED}, got {seed}")
    return load_method(method).run(photos, size=size, face=face, device=device, seed=seed, progress=progress or SILENT)
