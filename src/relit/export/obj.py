"""The neutral head as Wavefront OBJ: quads kept, lashes in triangles, one group per material, maps named in the MTL."""

from pathlib import Path

import numpy as np
import torch

from relit.export.glb import LASHES, MATERIALS
from relit.geometry.mesh import vertex_normals
from relit.models.head import PARTS, HeadModel
from relit.render.lashes import lashes_of
from relit.types import Head

LASH_PICTURE = "maps/lashes.png"
CARD = "f {0}/{1}/{0} {2}/{3}/{2} {4}/{5}/{4}"
FACE = "f {}/{}/{} {}/{}/{} {}/{}/{} {}/{}/{}"
# Ks is multiplied with map_Ks, which holds F0 itself. Pm, map_Pr and norm are the usual PBR extension of MTL.
MTL = """newmtl {name}
Kd 1 1 1
Ks 1 1 1
Pm 0
illum 2
map_Kd maps/diffuse_albedo.png
map_Ks maps/specular_albedo.png
map_Pr maps/roughness.png
norm maps/specular_normal.png
"""
LASH_MTL = f"""newmtl {LASHES}
Kd 1 1 1
illum 1
map_Kd {LASH_PICTURE}
map_d {LASH_PICTURE}
"""


def write_obj(head: Head, model: HeadModel, path: Path) -> None:
    """Writes `path` and, beside it, the material library of the same name.

    Differs: v of the texture coordinates points up in OBJ, so it is 1 - v of the layout.
    """
    vertices, uv = head.vertices.detach().numpy(), model.uv.numpy()
    normals = vertex_normals(head.vertices.detach(), model.triangles).numpy()
    cards, placed = lashes_of(model, head.vertices.detach())
    own = cards.triangles + 1
    own = np.stack([own + len(vertices), own + len(uv)], -1).reshape(-1, 6)
    vertices, uv = np.concatenate([vertices, placed.numpy()]), np.concatenate([uv, cards.uv])
    normals = np.concatenate([normals, vertex_normals(placed, torch.from_numpy(cards.triangles)).numpy()])
    library = path.with_suffix(".mtl")
    lines = ["# neutral head, metres, +Y up, facing +Z", f"mtllib {library.name}", "o head"]
    lines += _rows("v", vertices, 7) + _rows("vt", uv * [1, -1] + [0, 1], 6) + _rows("vn", normals, 5)
    part = model.part.numpy()[::2]  # two triangles per quad, in one order
    corners = np.stack([model.quads.numpy(), model.render_quads.numpy(), model.quads.numpy()], -1).reshape(-1, 12) + 1
    for name, parts in MATERIALS.items():
        lines += [f"g {name}", f"usemtl {name}"]
        chosen = corners[np.isin(part, [PARTS.index(one) for one in parts])]
        lines += [FACE.format(*row) for row in chosen.tolist()]
    lines += [f"g {LASHES}", f"usemtl {LASHES}"] + [CARD.format(*row) for row in own.tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    library.write_text("\n".join([*(MTL.format(name=name) for name in MATERIALS), LASH_MTL]), encoding="ascii")


def _rows(word: str, numbers: np.ndarray, digits: int) -> list[str]:
    form = " ".join([word] + [f"%.{digits}f"] * numbers.shape[1])
    return [form % tuple(row) for row in numbers.tolist()]
