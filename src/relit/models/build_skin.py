"""Builds assets/skin.safetensors: python -m relit.models.build_skin --data FOLDER (see its card for the sources)."""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from scipy.ndimage import distance_transform_edt

from relit.errors import run_script
from relit.models import registry
from relit.models.contours import RIGHT_EYE
from relit.models.eye_texture import eye_albedo
from relit.models.head import PARTS, HeadModel, load_head_model
from relit.models.regions import REGIONS, draw_outline, draw_regions, landmark_uv, uv_positions
from relit.models.skin import TONE_NAMES, tone_colour
from relit.models.skin_portraits import unwrapped_portraits
from relit.models.skin_transfer import base_texture, carry_skin

SIZE = 512
ROWS = 450  # of 512: the skin; the strip begins at v = 0.88
LEARNED_MODES = 14
# How far each skin is trusted: make-up is damped, the mask-like gothic one is left out.
_WEIGHTS = {"GothMakeup": 0.0, "darthfurby": 0.3, "creamy": 0.4, "Bronze": 0.6}
# Modes that only ever darken: their amount is log-normal. The mean holds the amount 1 / skew of each.
_SKEW = {"beard_shadow": 1.0, "scalp_shadow": 0.8}
_BROW = np.array([-0.95, -1.05, -1.1])  # log albedo of the mean brow where it is densest
_UPPER_LASHES = (33, 246, 161, 160, 159, 158, 157, 173, 133)
_LOWER_LASHES = (33, 7, 163, 144, 145, 153, 154, 155, 133)
_MOUTH_HALF = (78, 191, 80, 81, 82, 13, 14, 87, 178, 88, 95)


def build_skin(data: Path, output: Path) -> dict[str, float]:
    """Learns the skin model, writes it and returns figures about it.

    Args:
        data: the folder that holds makehuman_skins/, makehuman_mesh/ and portraits/sfhq_collages/.
        output: safetensors file to write.
    """
    head = load_head_model()
    masks = dict(zip(REGIONS, draw_regions(head, SIZE).numpy(), strict=True))
    details, weights = _details(data, head, masks)
    faces = _portrait_details(data, head, masks)
    learned, photographed = np.average(details, axis=0, weights=weights), faces.mean(0)
    deviations = np.concatenate([details - learned, faces - photographed])
    modes, explained = _principal_modes(deviations, np.concatenate([weights, np.ones(len(faces))]))
    names = [f"detail_{k + 1}" for k in range(len(modes))]
    brows = _brows(masks, photographed)
    painted = _painted_modes(masks, brows)
    # brows and half of the lips' colour are those of photographed people
    lips = 0.5 * masks["lips"][..., None]
    learned = learned + lips * (photographed - learned) + brows[..., None] * _BROW
    mean = torch.from_numpy(learned.astype(np.float32)) + tone_colour(torch.zeros(len(TONE_NAMES))).log()
    mean = mean + torch.from_numpy(_painted_mean(head, masks))
    mean = mean + sum(torch.from_numpy(painted[name] / skew) for name, skew in _SKEW.items())
    strip, tone_weight = _strip(head)
    mean = torch.where(strip.isnan(), mean, strip)
    stack = torch.from_numpy(np.concatenate([np.stack(list(painted.values())), modes]).astype(np.float32))
    half = torch.nn.functional.interpolate(
        stack[:, :ROWS].permute(0, 3, 1, 2), (ROWS // 2, SIZE // 2), mode="area"
    ).permute(0, 2, 3, 1)[:, :, : SIZE // 4]
    scale = half.abs().amax((1, 2, 3)) / 127
    tensors = {
        "mean": mean.half(),
        "tone_weight": (tone_weight * 255).round().byte(),
        "modes": (half / scale[:, None, None, None]).round().to(torch.int8),
        "mode_scale": scale.float(),
        "mode_skew": torch.tensor([_SKEW.get(name, 0.0) for name in [*painted, *names]]),
        "mode_names": torch.tensor(list("\n".join([*painted, *names]).encode()), dtype=torch.uint8),
        "mode_rows": torch.tensor(ROWS),
    }
    save_file({key: value.contiguous() for key, value in tensors.items()}, output)
    return {
        "skins": int((weights > 0).sum()),
        "portraits": len(faces),
        "modes": len(stack),
        "variance_explained": round(float(explained), 3),
    }


def _details(data: Path, head: HeadModel, masks: dict) -> tuple[np.ndarray, np.ndarray]:
    """(N, S, S, 3) log albedo of each skin relative to its own tone, cleaned and symmetric, and (N,) weights."""
    texture = base_texture(head, data / "makehuman_mesh" / "base.obj", SIZE)
    folder = data / "makehuman_skins"
    crop = json.loads((folder / "crop.json").read_text())
    holes = _holes(head)
    near_hair = np.clip(2 * cv2.GaussianBlur(masks["scalp"], (0, 0), 14), 0, 1) * (1 - masks["ears"])
    keep = cv2.GaussianBlur(np.maximum(masks["face"], masks["ears"]) * (1 - near_hair), (0, 0), 5)
    keep = (keep * (1 - 0.6 * masks["ears"]) * (1 - masks["neck"]))[..., None]
    tone_area = (masks["cheeks"] + masks["forehead"]) * (1 - masks["scalp"])
    found, weights = [], []
    for path in sorted(folder.glob("*.jpg")):
        skin = carry_skin(path, texture, crop)
        valid = np.isfinite(skin).all(-1) & ~holes & (masks["scalp"] < 0.5)
        log = np.log(np.clip(np.nan_to_num(skin, nan=0.5), 0.004, 1))
        log = fill(log, valid)
        log = (log + log[:, ::-1]) / 2
        tone = (log * tone_area[..., None]).sum((0, 1)) / tone_area.sum()
        found.append((log - tone) * keep)
        weights.append(next((w for key, w in _WEIGHTS.items() if key in path.name), 1.0))
    cleaned = _without_light(np.array(found, np.float32), np.array(weights), masks)
    return _calm(cleaned, np.array(weights), masks, keep), np.array(weights)


def _portrait_details(data: Path, head: HeadModel, masks: dict) -> np.ndarray:
    """(N, S, S, 3) log albedo detail of portraits: symmetric, light and tone removed, the oddest eighth left out."""
    faces = unwrapped_portraits(data / "portraits" / "sfhq_collages", head, SIZE // 2)
    faces = np.stack([cv2.resize(face, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for face in faces])
    holes = _holes(head)
    keep = np.clip(2.6 * cv2.GaussianBlur(masks["face"], (0, 0), 16) - 1.6, 0, 1)[..., None]
    # light and wrinkles of an expression would pass for pigment, so bare skin counts little, hair and lips fully
    around_brows = np.clip(2 * cv2.GaussianBlur(masks["brows"], (0, 0), 7, sigmaY=5), 0, 1)
    whiskers = masks["beard"] * np.exp(-((((np.arange(SIZE) + 0.5) / SIZE - 0.5) / 0.13) ** 4))
    around_eyes = np.maximum(0.5 * masks["eyelids"], 0.3 * masks["under_eye"])
    told = np.maximum.reduce([0.75 * around_brows, masks["lips"], 0.7 * whiskers, around_eyes])
    keep = keep * cv2.GaussianBlur(np.maximum(told, 0.15), (0, 0), 3)[..., None]
    bare = masks["face"] * (1 - np.clip(1.5 * cv2.dilate(masks["brows"], np.ones((9, 11))), 0, 1))
    for name in ("lips", "eyelids", "nostrils", "beard"):
        bare = bare * (1 - np.clip(1.5 * masks[name], 0, 1))
    found = []
    for face in faces:
        valid = np.isfinite(face).all(-1)
        log = fill(np.log(np.clip(np.nan_to_num(face, nan=0.5), 0.004, 1)), valid & ~holes)
        log = (log + log[:, ::-1]) / 2
        log -= np.median(log[(masks["cheeks"] > 0.7) & valid], axis=0)
        found.append((log - _smooth(log.mean(-1), bare, 14)[..., None]) * keep)
    details = _calm(np.array(found, np.float32), np.ones(len(found)), masks, keep)
    oddness = ((details - details.mean(0)) ** 2).mean((1, 2, 3))
    return details[oddness < np.quantile(oddness, 7 / 8)]


def _holes(head: HeadModel) -> np.ndarray:
    """(S, S) bool: inside the lids and between the lips."""
    uv = landmark_uv(head).numpy()
    eyes, mouth = (draw_outline(uv[list(c)], SIZE, 0.001) for c in (RIGHT_EYE, _MOUTH_HALF))
    return (cv2.dilate(eyes, np.ones((5, 7))) + cv2.dilate(mouth, np.ones((9, 5)))) > 0.02


def _smooth(light: np.ndarray, bare: np.ndarray, sigma: float) -> np.ndarray:
    """(S, S) blurred over bare skin only."""
    blurred = cv2.GaussianBlur(light * bare, (0, 0), sigma) / (cv2.GaussianBlur(bare, (0, 0), sigma) + 0.02)
    return blurred.astype(np.float32)


def _without_light(details: np.ndarray, weights: np.ndarray, masks: dict) -> np.ndarray:
    """Removes the soft shading that the population shares, and half of what is each skin's own; keeps hue."""
    bare = masks["face"].copy()
    for name in ("lips", "brows", "eyelids", "nostrils"):
        bare *= 1 - np.clip(1.5 * cv2.dilate(masks[name], np.ones((5, 7))), 0, 1)
    grey = details.mean(-1)
    shared = np.average(grey, axis=0, weights=weights)
    own = np.stack([_smooth(g - shared, bare, 14) for g in grey])
    # what all share on the scale of nose, cheeks and folds is painted light; a trace of it is real pigment
    light = 0.3 * _smooth(shared, bare, 14) + 0.7 * _smooth(shared, bare, 3.5) + 0.5 * own
    cleaned = details - light[..., None]
    # painted occlusion in nostrils and ears would darken twice under a renderer that casts its own
    deep = np.clip(masks["nostrils"] + masks["ears"], 0, 1)[..., None]
    level = cleaned.mean(-1, keepdims=True)
    return cleaned + deep * (np.clip(level, -0.5, 0.2) - level)


def _calm(details: np.ndarray, weights: np.ndarray, masks: dict, keep: np.ndarray) -> np.ndarray:
    """Details without the painters' taste: no tone left over, soft hue deviations and painted lips damped."""
    bare = (masks["face"] * (1 - masks["brows"]) * (1 - masks["lips"]) * (1 - masks["eyelids"]))[..., None]
    details = details - keep * ((details * bare).sum((1, 2)) / bare.sum())[:, None, None]
    mean = np.average(details, axis=0, weights=weights)
    calmed = []
    for own in details - mean:
        soft = cv2.GaussianBlur(own, (0, 0), 9)
        hue = soft - soft.mean(-1, keepdims=True)
        calmed.append(0.8 * (own - 0.7 * hue) * (1 - 0.6 * masks["lips"][..., None]))
    return mean + np.array(calmed)


def _principal_modes(centred: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """(K, S, S, 3) principal components scaled to one standard deviation, and the share of variance they hold."""
    flat = centred.reshape(len(centred), -1) * np.sqrt(weights / weights.sum())[:, None]
    _, singular, rows = np.linalg.svd(flat, full_matrices=False)
    modes = (singular[:LEARNED_MODES, None] * rows[:LEARNED_MODES]).reshape(-1, *centred.shape[1:])
    return modes, (singular[:LEARNED_MODES] ** 2).sum() / (singular**2).sum()


def _pigment_direction(axis: int) -> np.ndarray:
    """(3,) change of log albedo for one standard deviation of a tone axis."""
    ahead = torch.zeros(len(TONE_NAMES))
    ahead[axis] = 1
    return (tone_colour(ahead).log() - tone_colour(-ahead).log()).numpy() / 2


def _painted_modes(masks: dict, brows: np.ndarray) -> dict[str, np.ndarray]:
    """Modes (S, S, 3) that the textures do not hold: each is a region moved along a pigment axis, one s.d. each."""
    melanin, blood = _pigment_direction(0), _pigment_direction(1)
    hair = np.array([-0.55, -0.62, -0.68])
    lower = np.roll(brows, 5, 0) - np.roll(brows, -5, 0)
    wider = np.clip(cv2.GaussianBlur(brows, (0, 0), 6, sigmaY=4) * 1.6 - brows, 0, 1)
    stubble = masks["beard"] * np.array([-0.11, -0.10, -0.08])[:, None, None]
    nose_cheeks = np.clip(masks["cheeks"] + 0.8 * masks["nose"], 0, 1)
    plain = {
        "brow_darkness": brows[..., None] * hair * 0.45,
        "brow_height": 0.35 * lower[..., None] * hair,
        "brow_thickness": wider[..., None] * hair * 0.6,
        "beard_shadow": np.moveaxis(stubble, 0, -1),
        "cheek_redness": nose_cheeks[..., None] * blood * 0.9,
        "under_eye_shadow": masks["under_eye"][..., None] * (0.14 * melanin + 0.4 * blood),
        "lip_redness": masks["lips"][..., None] * np.array([0.01, -0.15, -0.08]),
        "lip_darkness": masks["lips"][..., None] * np.array([-0.16, -0.16, -0.13]),
        "scalp_shadow": (masks["scalp"] * (1 - masks["ears"]))[..., None] * hair * 0.45,
    }
    return {name: (mode + mode[:, ::-1]) / 2 for name, mode in plain.items()}


def _painted_mean(head: HeadModel, masks: dict) -> np.ndarray:
    """(S, S, 3) what is added to the learned mean: fuller lips, lash lines and lid margins."""
    uv = landmark_uv(head).numpy()
    margin = draw_outline(uv[list(RIGHT_EYE)], SIZE, 0.0015)
    upper = _line(uv[list(_UPPER_LASHES)], 0.0022)
    lower = _line(uv[list(_LOWER_LASHES)], 0.0018)
    added = masks["lips"][..., None] * np.array([-0.04, -0.13, -0.10])
    added += upper[..., None] * np.array([-0.9, -0.85, -0.8]) + lower[..., None] * np.array([-0.3, -0.32, -0.3])
    added += margin[..., None] * np.array([0.05, -0.2, -0.15])
    added = (added + added[:, ::-1]) / 2
    return added.astype(np.float32)


def _brows(masks: dict, photographed: np.ndarray) -> np.ndarray:
    """(S, S) hair density of the mean brows, 1 in their densest fifth: what is dark around the landmarks' brows."""
    around = np.clip(2 * cv2.GaussianBlur(masks["brows"], (0, 0), 6, sigmaY=4), 0, 1) * (1 - masks["eyelids"])
    darker = np.clip(-photographed.mean(-1) - 0.05, 0, None) * around
    return np.clip(darker / np.quantile(darker[darker > 0.05], 0.8), 0, 1).astype(np.float32)


def _line(points: np.ndarray, width: float) -> np.ndarray:
    """(S, S) a soft line through UV points and its mirror image, 1 in the middle."""
    fine = np.zeros((4 * SIZE, 4 * SIZE), np.uint8)
    cv2.polylines(fine, [np.round(points * 4 * SIZE).astype(np.int32)], False, 255, 6, cv2.LINE_AA)
    line = cv2.resize(np.maximum(fine, fine[:, ::-1]), (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
    line = cv2.GaussianBlur(line, (0, 0), width * SIZE, sigmaY=width * SIZE / 1.5)
    return line / line.max()


def fill(picture: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(H, W, C) the picture with invalid texels replaced by a smooth continuation of the valid ones."""
    colour, weight = picture * valid[..., None], valid.astype(np.float32)
    levels = [(colour.astype(np.float32), weight)]
    while min(levels[-1][1].shape) > 2:
        levels.append(tuple(cv2.pyrDown(t) for t in levels[-1]))
    result = levels[-1][0] / np.maximum(levels[-1][1], 1e-6)[..., None]
    for colour, weight in levels[-2::-1]:
        result = cv2.pyrUp(result, dstsize=weight.shape[::-1])
        known = np.clip(weight * 4, 0, 1)[..., None]
        result = known * colour / np.maximum(weight, 1e-6)[..., None] + (1 - known) * result
    return np.where(valid[..., None], picture, result)


def _strip(head: HeadModel) -> tuple[torch.Tensor, torch.Tensor]:
    """(S, S, 3) log albedo of eyes, teeth, tongue and cavities, NaN on skin; (S, S) weight of the tone."""
    position, part = uv_positions(head, SIZE, SIZE)
    colour = torch.full((SIZE, SIZE, 3), float("nan"))
    for name in PARTS[1:]:
        here = part == PARTS.index(name)
        points = position[here]
        vertices = head.mean[head.triangles[head.part == PARTS.index(name)].unique()]
        low, high = vertices.amin(0), vertices.amax(0)
        if "eye" in name and name != "eye_sockets":
            colour[here] = eye_albedo(points - _eyeball_centre(head, name), torch.tensor([0.12, 0.065, 0.03]))
        else:
            colour[here] = _FLESH[name](points, low, high)
    # between the charts the nearest colour goes on, so that nothing foreign bleeds into teeth and eyes
    below = colour[ROWS + 1 :]
    nearest = distance_transform_edt(below[..., 0].isnan().numpy(), return_distances=False, return_indices=True)
    colour[ROWS + 1 :] = below[tuple(torch.from_numpy(nearest))]
    tone_weight = torch.zeros(SIZE, SIZE)
    tone_weight[: ROWS + 1] = 1
    return colour.clamp_min(0.004).log(), tone_weight


def _eyeball_centre(head: HeadModel, name: str) -> torch.Tensor:
    side = ("left_eye", "right_eye").index(name)
    return (head.mean[head.eye_vertices[side]] - head.eye_template).mean(0)


def _relative(points: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    return (points - low) / (high - low)


def _teeth(rooted: torch.Tensor) -> torch.Tensor:
    """Ivory: (N, 3) for `rooted` (N,) 1 at the gum, where it is yellower and darker, 0 at the cutting edge."""
    return torch.tensor([0.64, 0.56, 0.44]) * (1 - rooted[:, None] * torch.tensor([0.18, 0.28, 0.42]))


def _tongue(points: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    forward = _relative(points, low, high)[:, 2:]
    return torch.tensor([0.40, 0.17, 0.15]) * (0.45 + 0.6 * forward)


def _mouth(points: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    forward = _relative(points, low, high)[:, 2:]
    return torch.tensor([0.30, 0.085, 0.075]) * (0.25 + 0.75 * forward)


_FLESH = {
    "mouth": _mouth,
    "eye_sockets": lambda points, low, high: torch.tensor([0.36, 0.16, 0.13]).expand(len(points), 3),
    "upper_teeth": lambda points, low, high: _teeth(_relative(points, low, high)[:, 1]),
    "lower_teeth": lambda points, low, high: _teeth(1 - _relative(points, low, high)[:, 1]),
    "tongue": _tongue,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="with makehuman_skins, makehuman_mesh, portraits")
    given = parser.parse_args()
    metrics = build_skin(given.data, registry.assets_folder() / "skin.safetensors")
    registry.record(
        "skin",
        "skin.safetensors",
        licence="CC0-1.0 AND MIT",
        sources=[
            "MakeHuman skins and base mesh (CC0: MakeHuman core, darthfurby, OnlyTheGhosts, skalldyrssuppe, "
            "MargaretToigo, Mindfront)",
            "SFHQ portrait collages (MIT, (c) 2022 David Beniaguev), 156 labelled adults",
        ],
        command="python -m relit.models.build_skin --data FOLDER",
        metrics=metrics,
    )
    print(json.dumps(metrics))


if __name__ == "__main__":
    run_script(main)
