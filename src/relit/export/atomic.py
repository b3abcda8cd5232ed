"""Output that appears whole or not at all."""

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from relit.errors import OutputRefused

MARK = "avatar.json"  # what a folder must hold before --force may replace it


def check_output(directory: str | os.PathLike, force: bool = False, needed_bytes: int = 0) -> Path:
    """The resolved output folder, after everything that can be refused has been checked without leaving a trace.

    Raises:
        OutputRefused: it exists without `force`, is no avatar, cannot be written, or the disk is full.
    """
    with _explained(directory):
        target = Path(directory).expanduser().resolve()
        if target.is_dir():
            kept = next(target.iterdir(), None) is not None
            if kept and not force:
                raise OutputRefused(f"{directory} exists already; give another folder or --force to replace it")
            if kept and not (target / MARK).is_file():
                raise OutputRefused(f"{directory} holds something else than an avatar (no {MARK}); give another folder")
        elif target.exists():
            raise OutputRefused(f"{directory} is a file; give a folder")
        with _parents(target.parent) as parent:
            os.rmdir(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
            free = shutil.disk_usage(parent).free
            if free < needed_bytes:
                raise OutputRefused(
                    f"{directory} needs about {needed_bytes >> 20} MiB and the disk has {free >> 20} MiB left; make room"
                )
            raise _Undo
    return target


@contextmanager
def replaced_folder(directory: str | os.PathLike, force: bool = False):
    """A context that yields a temporary folder beside `directory` and puts it in place when the block succeeds.

    Whatever ends the block early, an interrupt included, removes the temporary folder and leaves `directory` as it was.

    Raises:
        OutputRefused: as `check_output`, or the disk became full or unwritable on the way.
    """
    target = check_output(directory, force)
    with _explained(directory), _parents(target.parent) as parent:
        built = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
        try:
            built.chmod(0o777 & ~_umask())
            yield built
            _swap(built, target)
        finally:
            shutil.rmtree(built, ignore_errors=True)


@contextmanager
def replaced_file(path: str | os.PathLike):
    """A context that yields a temporary file name beside `path` and renames it to `path` when the block succeeds."""
    target = Path(path).expanduser().resolve()
    if target.is_dir():
        raise OutputRefused(f"{path} is a folder; give a file name")
    with _explained(path), _parents(target.parent) as parent:
        built = parent / f".{target.stem}.{os.getpid()}{target.suffix}"
        try:
            built.touch()
            yield built
            os.replace(built, target)
        finally:
            built.unlink(missing_ok=True)


def _swap(built: Path, target: Path) -> None:
    """Renames `built` to `target`; an existing target goes only once the new one stands."""
    if not target.exists():
        os.rename(built, target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent)) / target.name
    try:
        os.rename(target, old)
        os.rename(built, target)
    finally:
        if not target.exists():
            os.rename(old, target)
        shutil.rmtree(old.parent, ignore_errors=True)


class _Undo(Exception):
    """Ends a block whose folders should go again."""


@contextmanager
def _parents(folder: Path):
    """Makes the missing folders down to `folder`; removes them again when the block does not succeed."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except BaseException as error:
        for path in made:
            if path.is_dir():
                path.rmdir()
        if not isinstance(error, _Undo):
            raise


@contextmanager
def _explained(name: str | os.PathLike):
    """Turns what the system says about a write into one line with a remedy."""
    try:
        yield
    except OSError as error:
        remedy = {
            errno.ENOSPC: "the disk is full; make room or choose another disk",
            errno.EDQUOT: "the quota is used up; make room or choose another disk",
            errno.EROFS: "the disk is read-only; choose another folder",
            errno.EACCES: "permission is missing; choose another folder",
            errno.EPERM: "permission is missing; choose another folder",
            errno.EEXIST: "a part of the path is a file; choose another folder",
            errno.ENOENT: "the folder above it cannot be made; choose another folder",
            errno.ENOTDIR: "a part of the path is a file; choose another folder",
            errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
        }.get(error.errno, error.strerror or str(error))
        raise OutputRefused(f"{name} cannot be written: {remedy}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
