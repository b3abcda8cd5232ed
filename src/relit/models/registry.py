"""The shipped weights and assets: where they are, what they must hash to, where they come from.

`assets/assets.json` holds one card per file: file, sha256, bytes, licence, sources, command, metrics.
`python -m relit.models.registry add NAME FILE --licence L --sources S --command C` records a file anew.
"""

import argparse
import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path

from relit.errors import AssetCorrupt, AssetMissing, run_script


def assets_folder() -> Path:
    """The folder of the shipped files; the environment variable RELIT_ASSETS names another."""
    return Path(os.environ.get("RELIT_ASSETS") or Path(__file__).parent.parent / "assets")


def cards() -> dict[str, dict]:
    """The cards of all assets by name.

    Raises:
        AssetMissing: the list itself is not there.
    """
    path = assets_folder() / "assets.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AssetMissing(f"{path} is missing; reinstall relit") from None
    except ValueError:
        raise AssetMissing(f"{path} is no readable list of assets; reinstall relit") from None


def asset_path(name: str) -> Path:
    """The path of a verified asset.

    Raises:
        AssetMissing: it is not recorded or not there.
        AssetCorrupt: it differs from its recorded SHA-256.
    """
    card = cards().get(name)
    if card is None:
        raise AssetMissing(f"no asset is called {name!r}; reinstall relit")
    path = assets_folder() / card["file"]
    if not path.is_file():
        raise AssetMissing(f"{path} is missing; reinstall relit or remake it: {card['command']}")
    stat = path.stat()
    found = _sha256(path, stat.st_mtime_ns, stat.st_size)
    if found != card["sha256"]:
        raise AssetCorrupt(
            f"{path} is not the recorded file (expected SHA-256 {card['sha256']}, found {found}); reinstall relit"
        )
    return path


def load_tensors(name: str) -> dict:
    """The tensors of a verified safetensors asset."""
    from safetensors.torch import load_file

    return load_file(asset_path(name))


def assets_digest(names: tuple[str, ...]) -> str:
    """Eight digits that change when one of the assets does, or one of the files of an asset that is kept in several.

    Raises:
        AssetMissing: one is not recorded.
    """
    known = cards()
    files = {name: [name] if name in known else _parts(name) for name in sorted(names)}
    unknown = [name for name, found in files.items() if not found]
    if unknown:
        raise AssetMissing(f"no asset is called {unknown[0]!r}; reinstall relit")
    listed = "".join(f"{file} {known[file]['sha256']}\n" for found in files.values() for file in found)
    return hashlib.sha256(listed.encode()).hexdigest()[:8]


def load_parts(name: str) -> dict:
    """The tensors of an asset that is kept in several files: `name`-0, `name`-1 and so on, each with its card."""
    return {key: value for part in _parts(name) or [f"{name}-0"] for key, value in load_tensors(part).items()}


def _parts(name: str) -> list[str]:
    """The names of an asset's files, in order."""
    numbers = sorted(int(n.removeprefix(f"{name}-")) for n in cards() if n.startswith(f"{name}-"))
    return [f"{name}-{number}" for number in numbers]


@lru_cache(maxsize=64)
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record(name: str, file: str, *, licence: str, sources: list[str], command: str, metrics: dict | None = None) -> None:
    """Writes or replaces the card of an asset with the file's present hash."""
    path = assets_folder() / file
    known = cards() if (assets_folder() / "assets.json").exists() else {}
    known[name] = {
        "file": file,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "licence": licence,
        "sources": sources,
        "command": command,
        "metrics": metrics or {},
    }
    text = json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False)
    (assets_folder() / "assets.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Command line of `record`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("add", choices=["add"])
    parser.add_argument("name")
    parser.add_argument("file")
    parser.add_argument("--licence", required=True)
    parser.add_argument("--sources", nargs="+", required=True)
    parser.add_argument("--command", required=True)
    parser.add_argument("--metrics", type=json.loads, default={})
    given = parser.parse_args()
    facts = {"licence": given.licence, "sources": given.sources, "command": given.command, "metrics": given.metrics}
    record(given.name, given.file, **facts)


if __name__ == "__main__":
    run_script(main)
