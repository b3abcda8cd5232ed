"""Every error a user can meet. Each message names the thing and the remedy, in one line.

`InputError` ends a command with exit code 2, `AssetError` with 3, any other `RelitError` with 1.
"""


class RelitError(Exception):
    """Base of all errors that are reported as one line, without a traceback."""

    exit_code = 1


class InputError(RelitError):
    """Something the user gave cannot be used."""

    exit_code = 2


class PhotoUnreadable(InputError):
    """The file is missing, damaged, no image, too large or too small."""


class NoFaceFound(InputError):
    """The photo shows no face that can be fitted (none, too small, blurred or turned too far)."""


class OutputRefused(InputError):
    """The output cannot be written where it was asked for."""


class AssetError(RelitError):
    """A file that relit needs is not as it should be."""

    exit_code = 3


class AssetMissing(AssetError):
    """A weight or asset file is not there."""


class AssetCorrupt(AssetError):
    """A weight or asset file differs from its recorded SHA-256."""


class FitDiverged(RelitError):
    """The optimiser met a value that is not a number."""
