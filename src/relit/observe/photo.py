"""Reading photos: any common file, upright, in linear light."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from relit.appearance.colour import linear_from_srgb
from relit.errors import PhotoUnreadable
from relit.types import Photo


def load_photo(path: str | Path) -> Photo:
    """The photo in a file.

    Raises:
        PhotoUnreadable: the file is missing, damaged or no picture.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            focal = image.getexif().get_ifd(0x8769).get(0xA405)
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError) as error:
        raise PhotoUnreadable(f"{path} cannot be read as a picture ({error}); give a JPEG, PNG, WebP or HEIC file") from None
    srgb = torch.from_numpy(np.asarray(upright, np.float32) / 255)
    return Photo(path.name, linear_from_srgb(srgb), float(focal) if focal else None, upright.size)
