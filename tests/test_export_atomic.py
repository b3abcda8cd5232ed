"""Output appears whole or not at all."""

import os
import resource
import signal
import subprocess
import sys
import textwrap

import pytest

from relit.errors import OutputRefused
from relit.export import atomic


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def avatar_at(folder, text="old"):
    folder.mkdir(parents=True)
    (folder / atomic.MARK).write_text(text)
    return folder


def test_a_finished_folder_stands_in_place_and_nothing_beside_it(tmp_path):
    with atomic.replaced_folder(tmp_path / "new" / "deep") as folder:
        (folder / "file").write_text("x")
    assert tree(tmp_path) == ["new", "new/deep", "new/deep/file"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("existing", [False, True])
def test_a_failure_leaves_everything_as_it_was(tmp_path, error, existing):
    target = tmp_path / "made" / "avatar"
    if existing:
        avatar_at(target)
    before = tree(tmp_path)
    with pytest.raises(error), atomic.replaced_folder(target, force=True) as folder:
        (folder / "half").write_text("x")
        raise error
    assert tree(tmp_path) == before


def test_an_existing_folder_is_refused_without_force_and_swapped_with_it(tmp_path):
    target = avatar_at(tmp_path / "avatar")
    with pytest.raises(OutputRefused, match="--force"), atomic.replaced_folder(target):
        pytest.fail("the block must not run")
    with atomic.replaced_folder(target, force=True) as folder:
        assert (target / atomic.MARK).read_text() == "old"
        (folder / atomic.MARK).write_text("new")
    assert (target / atomic.MARK).read_text() == "new"
    assert tree(tmp_path) == ["avatar", f"avatar/{atomic.MARK}"]


def test_force_never_replaces_what_is_no_avatar(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").write_text("x")
    with pytest.raises(OutputRefused, match="no avatar|than an avatar"):
        atomic.check_output(tmp_path / "letters", force=True)
    assert (tmp_path / "letters" / "love.txt").exists()


def test_a_failed_swap_puts_the_old_folder_back(tmp_path, monkeypatch):
    target, rename = avatar_at(tmp_path / "avatar"), os.rename

    def second_fails(source, destination):
        if str(destination) == str(target) and ".old." not in str(source):
            raise OSError(5, "the disk went away")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(OutputRefused), atomic.replaced_folder(target, force=True) as folder:
        (folder / "file").write_text("new")
    assert (target / atomic.MARK).read_text() == "old"
    assert tree(tmp_path) == ["avatar", f"avatar/{atomic.MARK}"]


def test_the_early_check_leaves_no_trace_and_counts_the_disk(tmp_path):
    assert atomic.check_output(tmp_path / "a" / "b") == (tmp_path / "a" / "b").resolve()
    with pytest.raises(OutputRefused, match="MiB left"):
        atomic.check_output(tmp_path / "a" / "b", needed_bytes=1 << 60)
    assert tree(tmp_path) == []


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("n" * 300)):
        with pytest.raises(OutputRefused, match="file|long"):
            atomic.check_output(place)


def test_a_read_only_or_full_disk_is_one_line(tmp_path, monkeypatch):
    for number, said in ((30, "read-only"), (28, "full"), (13, "permission")):

        def refuse(number=number, **given):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(atomic.tempfile, "mkdtemp", refuse)
        with pytest.raises(OutputRefused, match=said):
            atomic.check_output(tmp_path / "avatar")
    assert tree(tmp_path) == []


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(OutputRefused, match="cannot be written"), atomic.replaced_folder(tmp_path / "avatar") as folder:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
            (folder / "large").write_bytes(b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert tree(tmp_path) == []


def test_a_file_is_replaced_whole(tmp_path):
    target = tmp_path / "picture.png"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic.replaced_file(target) as file:
        file.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    with atomic.replaced_file(target) as file:
        file.write_text("new")
    assert target.read_text() == "new" and tree(tmp_path) == ["picture.png"]


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_removes_the_temporary_folder_and_exits_130(tmp_path, kind):
    script = """
        import sys, time
        from relit import cli
        from relit.export.atomic import replaced_folder

        def slow(options):
            with replaced_folder(options.output) as folder:
                (folder / "half").write_text("x")
                print("ready", flush=True)
                time.sleep(30)

        cli.fit = slow
        sys.exit(cli.main(["fit", "photo.jpg", "-o", sys.argv[1]]))
    """
    running = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "avatar")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # as at a terminal: jobs that a shell starts in the background ignore interrupts, and so would what they start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stdout.readline() == "ready\n"
    running.send_signal(kind)
    _, said = running.communicate(timeout=20)
    assert running.returncode == 130
    assert said == "relit: interrupted; nothing was written\n"
    assert tree(tmp_path) == []
