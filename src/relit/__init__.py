"""relit: photos of a person in, a relightable 3D head out.

Importing this package reads no file and starts nothing; the names below are resolved on first use.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "load_photo": "relit.observe.photo",
    "observe": "relit.observe.observe",
    "fit_photos": "relit.methods",
    "load_head_model": "relit.models.head",
    "load_avatar": "relit.export.avatar",
    "write_avatar": "relit.export.avatar",
    "render_head": "relit.render.portrait",
    "load_lighting": "relit.appearance.lighting",
    "RelitError": "relit.errors",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name):
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'relit' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
