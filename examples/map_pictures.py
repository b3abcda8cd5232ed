"""Makes docs/pictures/maps.jpg: photo, maps and three new lights, a row for each avatar.

    python examples/map_pictures.py PHOTO=AVATAR [PHOTO=AVATAR ...]
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import torch

import relit
from relit.appearance.colour import as_bytes, srgb_from_linear
from relit.export.images import jpeg
from relit.geometry.camera import look_at_face
from relit.observe.observe import observe

SIDE = 256
LIGHTS = (("studio", -0.4), ("sunset", 0.4), ("overcast", 0.0))
STEEPER = 5.0  # normals averaged over so few pixels look flat otherwise
FACE = (0.08, 0.72), (0.12, 0.88)  # of the layout


def main() -> None:
    rows = [np.concatenate(cells(*pair.split("=", 1)), 1) for pair in sys.argv[1:]]
    if not rows:
        raise SystemExit("name at least one PHOTO=AVATAR")
    target = Path("docs/pictures/maps.jpg")
    target.write_bytes(jpeg(np.concatenate(rows), 88))
    print(target)


def cells(photo_path: str, avatar: str) -> list[np.ndarray]:
    """uint8 pictures of SIDE x SIDE."""
    head = relit.load_avatar(avatar)
    maps = head.maps
    shown = [srgb_from_linear(maps.diffuse_albedo), grey(maps.specular_albedo / 0.06), grey(maps.roughness)]
    steep = torch.nn.functional.normalize(maps.specular_normal * torch.tensor([STEEPER, STEEPER, 1.0]), dim=-1)
    shown += [0.5 + 0.5 * steep]
    found = [face_of(relit.load_photo(photo_path))] + [as_bytes(cropped(texture.numpy())) for texture in shown]
    for light, yaw in LIGHTS:
        rgba = relit.render_head(head, look_at_face((SIDE, SIDE), 1.0, 0.25, yaw, 0.0), relit.load_lighting(light))
        found.append(as_bytes(srgb_from_linear(rgba[..., :3] + 0.18 * (1 - rgba[..., 3:])).numpy()))
    return found


def grey(texture: torch.Tensor) -> torch.Tensor:
    return texture[..., None].expand(-1, -1, 3)


def cropped(texture: np.ndarray) -> np.ndarray:
    rows, columns = (slice(round(a * n), round(b * n)) for (a, b), n in zip(FACE, texture.shape, strict=False))
    return cv2.resize(np.ascontiguousarray(texture[rows, columns]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def face_of(photo) -> np.ndarray:
    left, top, right, bottom = observe(photo).face_box_px
    half = 0.62 * max(right - left, bottom - top)
    low = np.array([(top + bottom) / 2 - half, (left + right) / 2 - half]).clip(0).astype(int)
    picture = srgb_from_linear(photo.linear).numpy()[low[0] : low[0] + int(2 * half), low[1] : low[1] + int(2 * half)]
    return as_bytes(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


if __name__ == "__main__":
    main()
