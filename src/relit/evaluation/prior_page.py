"""The page of the texture priors, of the figures and pictures that `relit.evaluation.texture_prior` left in a folder.

    python -m relit.evaluation.prior_page docs/priors
"""

import argparse
import json
from pathlib import Path

from relit.models import registry
from relit.models.texture_prior import CHANNELS, PRIORS

HEAD = """# The texture priors

Two generators of skin (`src/relit/models/texture_prior.py`), 576 x 384 texels of the middle of the layout: GANFIT's makes one
texture with the light in it, FitMe's diffuse albedo, specular albedo and normals. How they were trained: docs/training.md. This
page was written by `python -m relit.evaluation.prior_page docs/priors`, from what `relit.evaluation.texture_prior` found.

"Linear" are the principal components of the same full-size maps and their mirror images, as many as a latent has values.
"Refined" latents took 30 steps of gradient descent from what the encoder says. The Fréchet distance is that of Gaussians in the
features of the shipped de-lighting network, not the FID of the literature: figures compare with each other only.
"""
PICTURES = {
    "samples": "People who do not exist, truncation 1.0, with noise",
    "samples_0.7": "Truncation 0.7",
    "linear_samples": "What the Gaussian of the linear baseline draws",
    "walk": "Walks between two people, three times",
    "reconstructed": "Held-out people; refined latents; the encoder's; linear baseline",
    "nearest": "Samples, each beside the training subject nearest to it: the six nearest pairs of 64",
}


def page(folder: Path) -> str:
    """The page in Markdown, of all priors whose figures are in the folder."""
    parts = [HEAD]
    for kind in PRIORS:
        path = folder / f"{kind}.json"
        if path.exists():
            parts.append(_section(kind, json.loads(path.read_text(encoding="utf-8")), folder))
    return "\n".join(parts)


def _section(kind: str, found: dict, folder: Path) -> str:
    db, branches = found["psnr_db"], PRIORS[kind]
    tables = [
        f"\n## {kind}: {', '.join(branches)}\n\nLatents of {found['latent']} values; {_trained(kind)}.\n",
        _table(["held-out people, PSNR on the face, dB", *branches],
               [[name.replace("linear", "*linear*"), *(f"{row[b]:.2f}" for b in branches)] for name, row in db.items()]),
        _table(["Fréchet distance to the training maps", "of " + _first(branches)],
               [[name, f"{value:.3f}"] for name, value in found["frechet_delighting_features"].items()]),
        _table(["distance to the nearest training subject, s.d.", ""],
               [[name, f"{value:.3f}"] for name, value in found["nearest_training_subject"].items()]),
        _table(["surprise at held-out latents, nats per dimension", ""],
               [[name, f"{value:.3f}"] for name, value in found["surprise"].items()]),
        _tones(found["tones"]),
        *(f"{title}:\n\n![{title}]({kind}_{name}.jpg)\n"
          for name, title in PICTURES.items() if (folder / f"{kind}_{name}.jpg").exists()),
    ]  # fmt: skip
    return "\n".join(tables)


def _first(branches: tuple[str, ...]) -> str:
    return next(name for name in branches if CHANNELS[name] == 3)


def _trained(kind: str) -> str:
    card = registry.cards().get(f"prior_{kind}-0")
    return f"trained for {card['metrics']['steps']} steps, shipped" if card else "not shipped"


def _tones(tones: dict) -> str:
    bounds = tones["bounds_deg"]
    names = [f"{low:.0f} to {high:.0f}" for low, high in zip(bounds, bounds[1:], strict=False)]
    rows = [[name, *(f"{100 * share:.0f}" for share in shares)] for name, shares in tones.items() if name != "bounds_deg"]
    return _table(["% with a typology angle, degrees, of", *names], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    (given.folder / "README.md").write_text(page(given.folder), encoding="utf-8")


if __name__ == "__main__":
    main()
