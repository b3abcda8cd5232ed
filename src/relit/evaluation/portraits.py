"""One portrait through the complete path, measured: identity, landmarks, time, memory, skin tone and pictures.

    python -m relit.evaluation.portraits PHOTO FOLDER [--method M] [--size 2048]

writes FOLDER/avatar, the pictures to judge by, and last of all FOLDER/record.json.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from relit.appearance.colour import linear_from_srgb, srgb_bytes, typology_angle_deg
from relit.appearance.lighting import load_lighting
from relit.errors import RelitError, run_script
from relit.evaluation.identity import identity_distance, identity_embedding
from relit.evaluation.landmarks import landmark_residual, worst_landmarks
from relit.evaluation.memory import peak_memory_gb
from relit.evaluation.sheets import row, save
from relit.export.avatar import load_avatar, write_avatar
from relit.geometry.camera import cropped, look_at_face
from relit.methods import DEFAULT, fit_photos
from relit.models.head import load_head_model
from relit.models.landmarks import detect_faces, detect_landmarks
from relit.models.regions import region_masks
from relit.observe.observe import observe
from relit.observe.photo import load_photo
from relit.render.portrait import render_head
from relit.types import Camera, Head, Lighting, Observation

LIGHTS = ("studio", "sunset", "overcast")  # none is the light of the photo
YAWS_DEG = (-25, 25)
PICTURE_PX = 400
CLOSE_PX = 1024
GREY = 0.18  # linear background of every render
LOST = 2.0  # distance given where no face is found in a render: further than any two faces lie
SKIN_REGIONS = ("forehead", "cheeks", "chin")


def measure(photo_path: Path, folder: Path, size: tuple[int, int], method: str = DEFAULT) -> dict:
    """Everything measured on one photo, ready for JSON; a photo that fails gives its error line instead.

    An avatar that already lies in the folder is measured as it is, without fitting again.
    """
    try:
        if not (folder / "fit.json").exists():
            _fit(photo_path, folder, size, method)
        cost = json.loads((folder / "fit.json").read_text())
        head = load_avatar(folder / "avatar")
        observation = observe(load_photo(photo_path))
    except RelitError as error:
        return {"name": photo_path.stem, "failure": f"{type(error).__name__}: {error}"}
    fit = head.fits[0]
    residual = landmark_residual(load_head_model(), fit, observation.landmarks)
    return {
        "name": photo_path.stem,
        **cost,
        "warnings": list(fit.warnings),
        "landmark_percent": residual.mean_percent,
        "landmark_worst": worst_landmarks(residual),
        "skin_typology_deg": skin_typology_deg(head),
        "identity_sd": float(fit.identity.square().mean().sqrt()),
        "energies": fit.energies,
        **identity_measures(head, observation, folder),
    }


def _fit(photo_path: Path, folder: Path, size: tuple[int, int], method: str) -> None:
    """Leaves the avatar and what it cost in the folder."""
    start = time.perf_counter()
    result = fit_photos([load_photo(photo_path)], method, size)
    seconds = {**result.seconds, "total": time.perf_counter() - start}
    cost = {"size": list(size), "seconds": seconds, "peak_rss_gb": peak_memory_gb()}
    write_avatar(result.head, result.observations, folder / "avatar", result.seconds, force=True)
    (folder / "fit.json").write_text(json.dumps(cost))


def identity_measures(head: Head, observation: Observation, folder: Path) -> dict:
    """dlib distances between the photo and renders of the head, whose pictures go to the folder.

    own: pose, expression, gaze and light as in the photo. new: each of LIGHTS from each of YAWS_DEG, with the photo's
    expression. Landmarks are detected anew in every render; the background is grey, without a pixel of the photo.
    """
    fit = head.fits[0]
    photo = observation.photo.linear
    truth = identity_embedding(photo, observation.landmarks.points_px)
    box = face_square(observation)
    own_camera = cropped(fit.camera, box, (PICTURE_PX, PICTURE_PX))
    own = picture_of(head, own_camera, fit.lighting, fit.expression, fit.gaze_rad) * fit.exposure
    save(srgb_bytes(crop(photo, box, PICTURE_PX)), folder / "photo.jpg")
    save(srgb_bytes(own), folder / "own.jpg")
    own_embedding = _embedding(own)
    embeddings = {"photo": truth.tolist(), "own": _listed(own_embedding)}
    new = {}
    for light in LIGHTS:
        lighting = load_lighting(light)
        front = picture_of(head, look_at_face((PICTURE_PX, PICTURE_PX)), lighting)
        save(srgb_bytes(front), folder / f"front_{light}.jpg")
        for yaw in YAWS_DEG:
            camera = look_at_face((PICTURE_PX, PICTURE_PX), yaw_rad=math.radians(yaw))
            turned = picture_of(head, camera, lighting, fit.expression)
            save(srgb_bytes(turned), folder / f"{light}_{yaw:+d}.jpg")
            new[f"{light} {yaw:+d}"] = _distance(truth, _embedding(turned))
    return {
        "identity_own": _distance(truth, own_embedding),
        "identity_new": new,
        "identity_new_mean": sum(new.values()) / len(new),
        "identity_new_worst": max(new.values()),
        "embeddings": embeddings,
    }


def close_look(head: Head, observation: Observation, out: Path, size: int = CLOSE_PX) -> None:
    """Writes the face at full size: the photo, the render in its own light, and the face from the front in LIGHTS."""
    fit = head.fits[0]
    box = face_square(observation, margin=1.15)
    own = picture_of(head, cropped(fit.camera, box, (size, size)), fit.lighting, fit.expression, fit.gaze_rad)
    pictures = [crop(observation.photo.linear, box, size), own * fit.exposure]
    camera = look_at_face((size, size), field_m=0.21)
    pictures += [picture_of(head, camera, load_lighting(light)) for light in LIGHTS]
    save(row([srgb_bytes(picture) for picture in pictures], size, ["photo", "own light", *LIGHTS]), out)


def picture_of(head: Head, camera: Camera, lighting: Lighting, expression=None, gaze_rad=None) -> Float[Tensor, "H W 3"]:
    """A linear render before grey; expression (52,) and gaze (2, 2) as in `render_head`."""
    return render_head(head, camera, lighting, expression, gaze_rad, background=torch.full((3,), GREY))[..., :3]


def skin_typology_deg(head: Head) -> float:
    """Individual typology angle in degrees of the median diffuse albedo of forehead, cheeks and chin.

    Source: Chardon et al. 1991; see `relit.appearance.colour.typology_angle_deg`.
    """
    albedo = head.maps.diffuse_albedo
    step = max(1, albedo.shape[0] // 512)
    albedo = albedo[::step, ::step]
    masks = region_masks(*albedo.shape[:2])
    chosen = sum(masks[name] for name in SKIN_REGIONS) > 0.5
    return float(typology_angle_deg(albedo[chosen].median(0).values))


def face_square(observation: Observation, margin: float = 1.7) -> tuple[float, float, float, float]:
    """A square around the face, `margin` times its landmarks' box, shifted up a little towards the forehead."""
    left, top, right, bottom = observation.face_box_px
    half = margin * max(right - left, bottom - top) / 2
    x, y = (left + right) / 2, (top + bottom) / 2 - 0.05 * half
    return (x - half, y - half, x + half, y + half)


def crop(linear: Float[Tensor, "H W 3"], box: tuple[float, float, float, float], size: int) -> Float[Tensor, "S S 3"]:
    """A square part of a picture, resampled with antialiasing; grey outside it."""
    left, top, right, bottom = (round(value) for value in box)
    height, width = linear.shape[:2]
    pad = max(0, -left, -top, right - width, bottom - height)
    padded = torch.nn.functional.pad(linear.permute(2, 0, 1)[None], (pad, pad, pad, pad), value=GREY)
    part = padded[..., top + pad : bottom + pad, left + pad : right + pad]
    part = torch.nn.functional.interpolate(part, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return part[0].permute(1, 2, 0)


def _embedding(render: Tensor) -> Tensor | None:
    """The identity of a render as a stranger's program would find it: detected and aligned anew; None without a face."""
    coded = srgb_bytes(render)
    faces = detect_faces(coded)
    if not faces:
        return None
    largest = max(faces, key=lambda face: face.box_px[2] - face.box_px[0])
    points = detect_landmarks(coded, largest).points_px
    return identity_embedding(linear_from_srgb(torch.from_numpy(coded) / 255), points)


def _distance(truth: Tensor, found: Tensor | None) -> float:
    return LOST if found is None else identity_distance(truth, found)


def _listed(embedding: Tensor | None) -> list[float] | None:
    return None if embedding is None else embedding.tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default=DEFAULT)
    parser.add_argument("--size", type=int, default=2048)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    record = measure(given.photo, given.folder, (given.size, given.size), given.method)
    partial = given.folder / "record.part"
    partial.write_text(json.dumps(record, indent=1))
    partial.rename(given.folder / "record.json")


if __name__ == "__main__":
    run_script(main)
