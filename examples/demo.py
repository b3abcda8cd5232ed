"""One photo becomes an avatar: the NASA portrait of Eileen Collins (public domain) that scikit-image carries."""

import sys
from pathlib import Path

from PIL import Image
from skimage.data import astronaut

from relit.cli import main

photo, avatar = Path("out/astronaut.png"), Path("out/astronaut")
photo.parent.mkdir(exist_ok=True)
Image.fromarray(astronaut()).save(photo)
code = main(["fit", str(photo), "-o", str(avatar), "--force"])
if code == 0:
    print(f"avatar: {avatar.resolve()}\nreport: {(avatar / 'report.html').resolve()}")
sys.exit(code)
