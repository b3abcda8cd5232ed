"""Cameras from selfie to portrait, and what a sensor and its software make of the light."""

import math
from dataclasses import asdict, dataclass, replace

import cv2
import numpy as np
import torch

from relit.appearance.colour import as_bytes, srgb_from_linear
from relit.geometry.camera import camera_centre, look_at_face
from relit.geometry.transforms import rigid, rotation_from_vector
from relit.types import Camera

_STEPS, _BRIGHTEST = 1 << 14, 2.0  # of the table of the tone curve; brighter is white
# Calibrated on 369 portraits of SFHQ (MIT), whose cheeks have a median lightness of 45 (African adults) to 74 (Irish) and
# a median hue of 44 to 50 degrees in CIELAB: dark skin is exposed no longer than light skin, and the balance is cool.
_LOG_EXPOSURE, _LOG_EXPOSURE_SD = -0.2, 0.22
_LOG_BALANCE, _LOG_BALANCE_SD = (0.02, 0.0, 0.06), (0.06, 0.02, 0.08)


@dataclass(frozen=True)
class Shot:
    """How a picture is taken and processed."""

    focal_35mm: float  # of the uncropped photo
    distance_m: float
    field_m: float  # across the picture at the face
    yaw_rad: float
    pitch_rad: float
    roll_rad: float
    shift: tuple[float, float]  # of the face from the middle, in shares of the picture
    exposure: float
    white_balance: tuple[float, float, float]  # gains
    blur_px: float
    shot_noise: float  # variance per unit of signal, of the full scale
    read_noise: float  # standard deviation in the dark
    chroma_smoothing_px: float  # of the noise, by demosaicing and denoising
    contrast: float  # of the tone curve, 0 is plain sRGB
    saturation: float
    sharpening: float
    rescale: float  # the picture was once smaller by this
    jpeg_quality: int

    def record(self) -> dict:
        """JSON values."""
        rounded = lambda x: [round(v, 6) for v in x] if isinstance(x, tuple) else round(x, 6)  # noqa: E731
        return {name: rounded(value) for name, value in asdict(self).items()}


def draw_shot(rng: np.random.Generator) -> Shot:
    """A random shot: short lenses are held near, long ones far; indoor noise and heavy processing are rare but there."""
    focal = float(np.exp(rng.uniform(math.log(24), math.log(85))))
    near = 0.32 * (focal / 24) ** 1.05
    field = float(rng.uniform(0.22, 0.34))
    gain = float(np.exp(rng.normal(-0.2, 0.9)))
    return Shot(
        focal_35mm=focal,
        distance_m=float(np.clip(near * rng.lognormal(0, 0.22), 0.28, 2.2)),
        field_m=field,
        yaw_rad=float(np.clip(rng.normal(0, 0.33), -1.0, 1.0)),
        pitch_rad=float(np.clip(rng.normal(0.0, 0.14), -0.45, 0.45)),
        roll_rad=float(rng.normal(0, 0.07)),
        shift=(float(rng.normal(0, 0.03)), float(rng.normal(0.6 * (field - 0.22), 0.025))),
        exposure=float(np.exp(rng.normal(_LOG_EXPOSURE, _LOG_EXPOSURE_SD))),
        white_balance=tuple(float(x) for x in np.exp(rng.normal(_LOG_BALANCE, _LOG_BALANCE_SD))),
        blur_px=float(rng.choice([rng.uniform(0.2, 0.6), rng.uniform(0.6, 1.6)], p=[0.8, 0.2])),
        shot_noise=2.5e-4 * gain,
        read_noise=2.0e-3 * gain,
        chroma_smoothing_px=float(rng.uniform(0.3, 1.6)),
        contrast=float(np.clip(rng.normal(0.25, 0.25), -0.1, 0.9)),
        saturation=float(np.clip(rng.normal(1.05, 0.10), 0.8, 1.35)),
        sharpening=float(rng.choice([0.0, rng.uniform(0.1, 0.9)], p=[0.35, 0.65])),
        rescale=float(rng.choice([1.0, rng.uniform(0.45, 0.95)], p=[0.7, 0.3])),
        jpeg_quality=int(rng.integers(68, 98)),
    )


def camera_of(shot: Shot, size_px: tuple[int, int]) -> Camera:
    """The pinhole camera of a shot: a crop of the photo around the face."""
    plain = look_at_face(size_px, shot.distance_m, shot.field_m, shot.yaw_rad, shot.pitch_rad)
    roll = rigid(rotation_from_vector(torch.tensor([0.0, 0.0, shot.roll_rad])), torch.zeros(3))
    moved = plain.centre_px + torch.tensor(shot.shift) * min(size_px)
    return replace(plain, centre_px=moved, camera_from_head=roll @ plain.camera_from_head)


def towards_camera(shot: Shot) -> np.ndarray:
    """(3,) unit direction from the head to the camera, head frame."""
    centre = camera_centre(camera_of(shot, (64, 64))).numpy()
    return centre / np.linalg.norm(centre)


def developed(linear: np.ndarray, shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 sRGB-coded picture that the camera makes of linear radiance, before JPEG.

    Lens blur, exposure, white-balance error, noise (signal-dependent and read noise, smoothed in colour as by a
    demosaic), clipping, tone curve, saturation, sharpening, loss by an earlier rescale.

    Source: noise model of Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image
    raw-data", IEEE TIP 17, 2008.
    """
    picture = cv2.GaussianBlur(linear, (0, 0), max(shot.blur_px, 0.1)) * shot.exposure
    gains = np.array(shot.white_balance, np.float32)
    picture = picture * gains
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    noise *= np.sqrt(shot.shot_noise * np.clip(picture, 0, 1.2) * gains + shot.read_noise**2)
    grey = noise.mean(-1, keepdims=True)
    noise = grey + cv2.GaussianBlur(noise - grey, (0, 0), shot.chroma_smoothing_px)
    coded = _tone_curve(shot.contrast)[(np.clip(picture + noise, 0, _BRIGHTEST) * (_STEPS / _BRIGHTEST)).astype(np.int32)]
    level = coded @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    coded = level[..., None] + shot.saturation * (coded - level[..., None])
    if shot.rescale < 1:
        height, width = coded.shape[:2]
        small = (round(width * shot.rescale), round(height * shot.rescale))
        coded = cv2.resize(cv2.resize(coded, small, interpolation=cv2.INTER_AREA), (width, height))
    if shot.sharpening:
        coded = coded + shot.sharpening * (coded - cv2.GaussianBlur(coded, (0, 0), 1.0))
    return as_bytes(coded)


def _tone_curve(contrast: float) -> np.ndarray:
    """(_STEPS + 1,) display value of linear values from 0 to _BRIGHTEST.

    Highlights are bent towards white instead of cut, as the curve of every camera does above three quarters; then sRGB,
    and a swing about the middle for contrast.
    """
    linear = (np.arange(_STEPS + 1, dtype=np.float32) + 0.5) * (_BRIGHTEST / _STEPS)
    over = np.clip(linear - 0.75, 0, None)
    linear = np.where(over > 0, 0.75 + 0.25 * (1 - np.exp(-over / 0.35)), linear)
    coded = srgb_from_linear(torch.from_numpy(linear)).numpy()
    return (coded + contrast * 0.35 * np.sin(2 * np.pi * (coded - 0.5)) / np.pi * coded**0.5).astype(np.float32)
