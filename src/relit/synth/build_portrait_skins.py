"""Builds assets/skin_portraits.safetensors: python -m relit.synth.build_portrait_skins --data FOLDER (sources: its card).

Portraits of people who do not exist are placed by landmarks, unwrapped, and freed of light by the de-lighting network, as
FitMe (Lattas et al. 2023) built its set from photographs. What a person's skin has of its own is coded as a picture.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

from relit.errors import NoFaceFound, run_script
from relit.models import registry
from relit.synth.detail import box_slices, places
from relit.synth.pattern import LIMIT, SIZE
from relit.synth.portrait_source import Seen, ita_deg, personal, seen_in, sure_of, typical, usable
from relit.synth.portrait_tiles import Tile, adult_tiles

SAME = 0.60  # likeness from which two portraits are taken for one person
QUALITY = 90


def build_portrait_skins(data: Path, output: Path, work: Path) -> dict[str, float]:
    """Writes what is personal about every usable portrait and returns figures about it.

    Args:
        data: the folder of the SFHQ collages.
        work: a folder for what is seen in each portrait: an interrupted build goes on there.
    """
    tiles = list(adult_tiles(data))
    people = [(tile, seen) for tile in tiles if (seen := _remembered(tile, work)) is not None and usable(seen)]
    people = _different(people)
    means = typical(*([seen for tile, seen in people if tile.male == male] for male in (False, True)))
    tensors, facts, shares = {}, [], places(SIZE)
    for tile, seen in sorted(people, key=lambda person: person[0].name):
        own = personal(seen, means[tile.male], tile.male)
        if own is None:
            continue
        code = np.clip(np.round(128 + 127 * own[box_slices(SIZE)] / LIMIT), 1, 255).astype(np.uint8)
        coded = cv2.imencode(".webp", code[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]
        tensors[tile.name] = torch.from_numpy(coded.ravel().copy())
        sure = sure_of(seen)
        sure = np.maximum(sure, sure[:, ::-1])[box_slices(SIZE)]
        facts.append([tile.male, tile.old, ita_deg(seen), *((sure * shares).sum((1, 2)) / shares.sum((1, 2)))])
    facts = np.array(facts, np.float32)
    save_file(tensors | {"facts": torch.from_numpy(facts)}, output)
    output.chmod(0o644)
    return {
        "portraits": len(tiles),
        "people": len(tensors),
        "women": int((facts[:, 0] == 0).sum()),
        "old": int(facts[:, 1].sum()),
        "ita_deg_tenth_median_ninetieth": np.quantile(facts[:, 2], (0.1, 0.5, 0.9)).round().tolist(),
    }


def _remembered(tile: Tile, work: Path) -> Seen | None:
    """What is seen in a portrait, read anew only where the folder does not hold it."""
    path = work / f"{tile.name}.npz"
    if not path.exists():
        try:
            seen = seen_in(tile.srgb8, tile.name)
        except NoFaceFound:
            seen = None
        np.savez(path, **({} if seen is None else vars(seen)))
    stored = np.load(path)
    if not stored.files:
        return None
    return Seen(stored["log"], stored["trust"], float(stored["colourful"]), stored["embedding"])


def _different(people: list[tuple[Tile, Seen]]) -> list[tuple[Tile, Seen]]:
    """The people without those who resemble one before them."""
    kept = []
    for tile, seen in people:
        if all(float(seen.embedding @ other.embedding) < SAME for _, other in kept):
            kept.append((tile, seen))
    return kept


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the SFHQ collages")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is seen in each portrait")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    metrics = build_portrait_skins(given.data, registry.assets_folder() / "skin_portraits.safetensors", given.work)
    registry.record(
        "skin_portraits",
        "skin_portraits.safetensors",
        licence="MIT",
        sources=["SFHQ, synthetic faces high quality: collages (MIT, (c) 2022 David Beniaguev)", "assets head, delighting"],
        command="python -m relit.synth.build_portrait_skins --data FOLDER --work FOLDER",
        metrics=metrics,
    )
    print(json.dumps(metrics))


if __name__ == "__main__":
    run_script(main)
