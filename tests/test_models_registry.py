"""The list of assets: every file verified, every failure told with the file and the remedy."""

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from relit.errors import AssetCorrupt, AssetMissing
from relit.models import registry


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RELIT_ASSETS", str(tmp_path))
    save_file({"a": torch.arange(3.0)}, tmp_path / "small.safetensors")
    registry.record("small", "small.safetensors", licence="CC0-1.0", sources=["a test"], command="make small")
    return tmp_path


def test_shipped_assets_are_the_recorded_ones():
    paths = {name: registry.asset_path(name) for name in registry.cards()}
    assert {"face_landmarker", "sface", "head", "identity"} <= set(paths)
    for name, card in registry.cards().items():
        assert {"file", "sha256", "bytes", "licence", "sources", "command", "metrics"} <= set(card), name
        assert paths[name].stat().st_size == card["bytes"]
        assert card["licence"] and card["sources"] and card["command"]


def test_recorded_tensors_come_back(folder):
    assert torch.equal(registry.load_tensors("small")["a"], torch.arange(3.0))
    card = json.loads((folder / "assets.json").read_text())["small"]
    assert card["sha256"] == hashlib.sha256((folder / "small.safetensors").read_bytes()).hexdigest()


def test_altered_file_is_refused_even_after_it_was_read(folder):
    path = registry.asset_path("small")
    altered = bytearray(path.read_bytes())
    altered[-1] ^= 1
    path.write_bytes(altered)
    with pytest.raises(AssetCorrupt) as caught:
        registry.asset_path("small")
    told = str(caught.value)
    assert str(path) in told and "reinstall relit" in told and "\n" not in told
    assert registry.cards()["small"]["sha256"] in told
    assert hashlib.sha256(bytes(altered)).hexdigest() in told


def test_a_digest_follows_its_assets(folder):
    before = registry.assets_digest(("small",))
    save_file({"a": torch.arange(4.0)}, folder / "other.safetensors")
    facts = {"licence": "CC0-1.0", "sources": ["a test"], "command": "make other"}
    registry.record("other", "other.safetensors", **facts)
    assert registry.assets_digest(("small",)) == before != registry.assets_digest(("small", "other"))
    registry.record("small", "other.safetensors", **facts)
    assert registry.assets_digest(("small",)) != before
    with pytest.raises(AssetMissing, match="'large'"):
        registry.assets_digest(("small", "large"))
    digests = []
    for part in range(2):
        registry.record(f"large-{part}", "other.safetensors", **facts)
        digests.append(registry.assets_digest(("small", "large")))
    assert digests[0] != digests[1]


def test_missing_file_and_unknown_name(folder):
    (folder / "small.safetensors").unlink()
    with pytest.raises(AssetMissing, match=r"small\.safetensors is missing.*make small"):
        registry.asset_path("small")
    with pytest.raises(AssetMissing, match="no asset is called 'large'"):
        registry.asset_path("large")
    (folder / "assets.json").write_text("{")
    with pytest.raises(AssetMissing, match="no readable list"):
        registry.cards()
    shutil.rmtree(folder)
    with pytest.raises(AssetMissing, match=r"assets\.json is missing"):
        registry.cards()
