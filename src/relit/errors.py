"""Every error a user can meet. Each message names the thing and the remedy, in one line.

`InputError` ends a command with exit code 2, `AssetError` with 3, any other `RelitError` with 1.
"""

import sys
from collections.abc import Callable


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


class DifferentPeople(InputError):
    """Photos that should show one person seem to show several."""


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


def line_and_code(error: RelitError | OSError) -> tuple[str, int]:
    """What is told of an error, and the exit code."""
    if isinstance(error, OSError):
        return f"{error.filename or 'the system'}: {error.strerror or error}", InputError.exit_code
    return str(error), error.exit_code


def run_script(main: Callable[[], None]) -> None:
    """Runs the `main` of a module that is a script, too; what a user can mend ends it with one line."""
    try:
        main()
    except (RelitError, OSError) as error:
        line, code = line_and_code(error)
        print(f"relit: {line}", file=sys.stderr)
        sys.exit(code)
