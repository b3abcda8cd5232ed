"""Aligned maps of synthetic subjects in the box of the texture priors, in arrays that training reads at random.

    python -m relit.train.prior_maps MAPS --files 64 && python -m relit.train.prior_maps MAPS --files 4 --split test --seed 9

Arrays, not shards of `relit synth`: a record is read as it lies, a shard has to be decoded, at 25 subjects a second.
"""

import argparse
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from relit.appearance.colour import as_bytes, linear_from_srgb, srgb_from_linear, typology_angle_deg
from relit.models.regions import region_masks
from relit.models.texture_prior import CHANNELS, F0_SPAN, box_slices
from relit.synth.subject import ITA_DEG
from relit.train.arrays import PER_FILE, Records, write_arrays
from relit.train.lit_subject import lit_subject
from relit.types import ReflectanceMaps

LIGHTS = 2  # of a subject
TONES = np.linspace(*ITA_DEG, 7)  # bounds of the bins of the individual typology angle, degrees


def record_type(rows: int) -> np.dtype:
    """What is kept of a subject, at rows x 2/3 rows."""
    size = rows, rows * 2 // 3
    return np.dtype(
        [
            ("lit", "u1", (LIGHTS, *size, 3)),  # sRGB, as photographed
            ("albedo", "u1", (*size, 3)),  # sRGB
            ("specular", "u1", (*size, 1)),  # F0, 255 is F0_SPAN
            ("normal", "u1", (*size, 2)),  # specular normal along u and against v, 127.5 + 127.5 n
            ("ita_deg", "f4"),  # of plain skin
        ]
    )


def record_of(seed: int, index: int, split: str, rows: int) -> np.void:
    """The maps of one subject, and its skin in `LIGHTS` lights, each with its own camera."""
    record = np.zeros((), record_type(rows))
    maps, textures = lit_subject(seed, index, split, rows * 4 // 3, LIGHTS)
    for name, values in coded_maps(maps, rows).items():
        record[name] = values
    for k, (_, photo) in enumerate(textures):
        record["lit"][k] = _boxed(photo, rows)
    record["ita_deg"] = tone_of(record["albedo"])
    return record


def coded_maps(maps: ReflectanceMaps, rows: int) -> dict[str, np.ndarray]:
    """The box of maps in the layout as a record keeps it, by name."""
    return {
        "albedo": as_bytes(_boxed(srgb_from_linear(maps.diffuse_albedo).numpy(), rows)),
        "specular": as_bytes(_boxed(maps.specular_albedo.numpy(), rows) / F0_SPAN)[..., None],
        "normal": as_bytes(0.5 + 0.5 * _boxed(maps.specular_normal[..., :2].contiguous().numpy(), rows)),
    }


def _boxed(texture: np.ndarray, rows: int) -> np.ndarray:
    part = np.ascontiguousarray(texture[box_slices(len(texture))])
    return cv2.resize(part, (rows * 2 // 3, rows), interpolation=cv2.INTER_AREA)


def plain_skin(rows: int) -> np.ndarray:
    """(rows, 2/3 rows) bool: cheeks and forehead, without brows, lids, lips and beard."""
    return _mask(rows, lambda m: (m["cheeks"] + m["forehead"]) * (1 - m["beard"]) * (1 - m["brows"])) > 0.5


def face_weight(rows: int) -> Tensor:
    """(rows, 2/3 rows) 1 on the face."""
    return torch.from_numpy(_mask(rows, lambda masks: masks["face"]))


def _mask(rows: int, chosen) -> np.ndarray:
    size = rows * 4 // 3
    return _boxed(chosen(region_masks(size, size)).numpy(), rows)


def tone_of(albedo: np.ndarray) -> float:
    """The individual typology angle in degrees of the median plain skin of an sRGB-coded albedo (h, w, 3) uint8."""
    skin = torch.from_numpy(albedo[plain_skin(len(albedo))]).float() / 255
    return float(typology_angle_deg(linear_from_srgb(skin).median(0).values))


def tone_bin(ita_deg: np.ndarray) -> np.ndarray:
    """The bin of TONES of each angle; what lies outside counts to the first or the last."""
    return np.clip(np.digitize(ita_deg, TONES[1:-1]), 0, len(TONES) - 2)


class PriorMaps:
    """Batches of coded maps (B, C, H, W) in [0, 1], as many of each skin tone; on an accelerator all maps lie there."""

    def __init__(self, folder: Path, split: str, branches: tuple[str, ...], device: torch.device):
        self.branches, self.device = branches, device
        self.files = Records(folder, split, device).files
        self.rows = self.files[0]["albedo"].shape[1]
        self.ita_deg = np.concatenate([file["ita_deg"] for file in self.files])
        bins = tone_bin(self.ita_deg)
        self.of_tone = [np.flatnonzero(bins == k) for k in np.unique(bins)]
        self.held: Tensor | None = None  # (N, lights, H, W, C)
        if device.type == "cuda":
            self.hold()

    def hold(self) -> None:
        """Puts all maps on the device, where a batch is then picked."""
        lit = lambda record, name: record[name] if name == "lit" else record[name][:, None]  # noqa: E731
        joined = (np.concatenate([lit(file, name) for name in self.branches], -1) for file in self.files)
        self.held = torch.cat([torch.from_numpy(values).to(self.device) for values in joined])

    def __len__(self) -> int:
        return len(self.ita_deg)

    def codes(self, numbers: np.ndarray, lights: np.ndarray) -> Tensor:
        """Subjects by their running number; a lit texture in the light of the given number."""
        if self.held is not None:
            picked = self.held[torch.as_tensor(numbers), torch.as_tensor(lights) % self.held.shape[1]]
            return picked.permute(0, 3, 1, 2).float() / 255
        chosen = [(self.files[n // PER_FILE][n % PER_FILE], light) for n, light in zip(numbers, lights, strict=True)]
        of = lambda name: np.stack([record[name][k] if name == "lit" else record[name] for record, k in chosen])  # noqa: E731
        planes = [of(name) for name in self.branches]
        return torch.from_numpy(np.concatenate(planes, -1)).to(self.device).permute(0, 3, 1, 2).float() / 255

    def draw(self, size: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(size,) each: subjects drawn evenly over the tones, lights, and whether mirrored, which half of them are."""
        tones = generator.integers(len(self.of_tone), size=size)
        numbers = np.array([generator.choice(self.of_tone[tone]) for tone in tones])
        return numbers, generator.integers(LIGHTS, size=size), generator.random(size) < 0.5

    def random(self, size: int, generator: np.random.Generator) -> Tensor:
        """The coded maps of `draw`."""
        numbers, lights, flips = self.draw(size, generator)
        codes, flip = self.codes(numbers, lights), torch.from_numpy(flips).to(self.device)
        return torch.where(flip[:, None, None, None], mirrored(codes, self.branches), codes)


def mirrored(codes: Tensor, branches: tuple[str, ...]) -> Tensor:
    """Coded maps (B, C, H, W) of the mirrored face: the layout is symmetric, normals along u change their sign."""
    parts = codes.flip(3).split([CHANNELS[name] for name in branches], 1)
    across = lambda part: torch.cat([1 - part[:, :1], part[:, 1:]], 1)  # noqa: E731
    return torch.cat([across(p) if name == "normal" else p for name, p in zip(branches, parts, strict=True)], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=64, help=f"of {PER_FILE} subjects in {LIGHTS} lights each")
    parser.add_argument("--rows", type=int, default=576, help="of the textures: 576 for `cpu`, 1152 for `gpu`")
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--split", default="train")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    make = partial(record_of, rows=given.rows)
    write_arrays(given.folder, make, given.files, given.seed, given.split, given.workers)


if __name__ == "__main__":
    main()
