"""Makes docs/images/astronaut.jpg, the row at the top of the README, from the avatar of `make demo`.

    python examples/readme_pictures.py [AVATAR]
"""

import sys
from pathlib import Path

import cv2

from relit.export.images import jpeg

avatar = Path(sys.argv[1] if len(sys.argv) > 1 else "out/astronaut")
if not (avatar / "preview.png").is_file():
    raise SystemExit(f"{avatar} holds no preview.png; run `make demo` first, or name an avatar")
row = cv2.cvtColor(cv2.imread(str(avatar / "preview.png")), cv2.COLOR_BGR2RGB)
target = Path("docs/images/astronaut.jpg")
target.parent.mkdir(parents=True, exist_ok=True)
target.write_bytes(jpeg(cv2.resize(row, (1800, round(1800 * row.shape[0] / row.shape[1])), interpolation=cv2.INTER_AREA), 90))
print(target)
