"""Makes docs/pictures/path_traced.jpg: avatars as Mitsuba 3 renders their maps under panoramas, beside the photos.

    pip install ".[evaluate]"                 # Mitsuba; it needs LLVM 19, named by DRJIT_LIBLLVM_PATH
    python examples/path_traced_pictures.py STUDIO.hdr SUNSET.hdr SQUARE.hdr PHOTO=AVATAR [PHOTO=AVATAR ...]

Nothing of relit's renderer takes part: neutral vertices and maps go into a principled BSDF with a normal map, path-traced with
6 bounces. That BSDF takes one F0 for all, and light does not scatter below it, so that shadows end harder than in relit's own
pictures.
"""

import sys
from pathlib import Path

import cv2
import mitsuba as mi
import numpy as np
import torch
from map_pictures import face_of

import relit
from relit.appearance.colour import as_bytes
from relit.export.images import jpeg
from relit.models.head import PARTS, load_head_model
from relit.render.portrait import WET_ROUGHNESS, tonemap_srgb

SIDE, SAMPLES = 256, 160
YAWS_DEG = -25.0, 25.0, 0.0  # of the camera about the head, panorama by panorama
SKY_DEG = 225.0, 0.0, 225.0  # how panoramas are turned
KEY = 0.24  # linear mean that pictures are exposed for
HEIGHT_M, DISTANCE_M = 0.27, 1.1


def main() -> None:
    panoramas = [argument for argument in sys.argv[1:] if argument.endswith(".hdr")]
    pairs = [argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument]
    if len(panoramas) != len(SKY_DEG) or not pairs:
        raise SystemExit(f"name {len(SKY_DEG)} panoramas (.hdr) and at least one PHOTO=AVATAR")
    mi.set_variant("llvm_ad_rgb")
    skies = [cv2.cvtColor(cv2.imread(path, cv2.IMREAD_UNCHANGED), cv2.COLOR_BGR2RGB) for path in panoramas]
    rows = []
    for photo, avatar in pairs:
        parts = shapes(relit.load_avatar(avatar))
        pictures = [rendered(parts, *view) for view in zip(skies, SKY_DEG, YAWS_DEG, strict=True)]
        rows.append(np.concatenate([cv2.resize(face_of(relit.load_photo(photo)), (SIDE, SIDE)), *pictures], 1))
    target = Path("docs/pictures/path_traced.jpg")
    target.write_bytes(jpeg(np.concatenate(rows), 88))
    print(target)


def shapes(head) -> dict:
    """Every part of the head as a mesh with its material."""
    model = load_head_model()
    found = {}
    for index, part in enumerate(PARTS):
        triangles = model.render_triangles[model.part == index]
        if not len(triangles):
            continue
        used, corners = triangles.unique(return_inverse=True)
        props = mi.Properties()
        props["mesh_bsdf"] = mi.load_dict(material(head.maps, WET_ROUGHNESS.get(part)))
        mesh = mi.Mesh(part, len(used), len(triangles), props, False, True)
        values = mi.traverse(mesh)
        values["vertex_positions"] = head.vertices[model.render_vertex[used]].flatten().numpy()
        values["vertex_texcoords"] = model.uv[used].flatten().numpy()
        values["faces"] = corners.reshape(-1, 3).flatten().numpy().astype(np.uint32)
        values.update()
        found[part] = mesh
    return found


def material(maps, wet: float | None) -> dict:
    """The principled BSDF of the maps, in which `specular` of 1 is F0 = 0.08."""
    texture = lambda values: {"type": "bitmap", "bitmap": mi.Bitmap(values.contiguous().numpy()), "raw": True}  # noqa: E731
    rough = maps.roughness if wet is None else maps.roughness.clamp_max(wet)
    skin = {
        "type": "principled",
        "base_color": texture(maps.diffuse_albedo),
        "roughness": texture(rough[..., None]),
        "specular": float(maps.specular_albedo.mean()) / 0.08,
    }
    bent = {"type": "normalmap", "normalmap": texture(0.5 + 0.5 * maps.specular_normal), "bsdf": skin}
    return {"type": "twosided", "inner": bent}


def rendered(parts: dict, sky: np.ndarray, sky_deg: float, yaw_deg: float) -> np.ndarray:
    """[SIDE, SIDE, 3] uint8; the camera goes round the head, which stands in the panorama as it is."""
    turn = mi.ScalarTransform4f().rotate([0, 1, 0], yaw_deg)
    eye = turn @ mi.ScalarPoint3f(0, 0.01, DISTANCE_M)
    film = {"type": "hdrfilm", "width": SIDE, "height": SIDE, "pixel_format": "rgba", "rfilter": {"type": "gaussian"}}
    scene = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 6, "hide_emitters": True},
        "sensor": {
            "type": "perspective",
            "fov": float(np.degrees(2 * np.arctan(HEIGHT_M / 2 / DISTANCE_M))),
            "to_world": mi.ScalarTransform4f().look_at(eye, [0, 0.0, 0], [0, 1, 0]),
            "film": film,
            "sampler": {"type": "independent", "sample_count": SAMPLES},
        },
        "sky": {
            "type": "envmap",
            "bitmap": mi.Bitmap(np.ascontiguousarray(sky)),
            "to_world": mi.ScalarTransform4f().rotate([0, 1, 0], sky_deg),
        },
        **parts,
    }
    rgba = torch.from_numpy(np.array(mi.render(mi.load_dict(scene)), np.float32))
    covered = rgba[..., 3] > 0.5
    level = rgba[..., :3][covered].mean()
    colour = tonemap_srgb(rgba[..., :3] * (KEY / level))
    coverage = rgba[..., 3:].clamp(0, 1)
    return as_bytes((colour * coverage + 0.46 * (1 - coverage)).numpy())


if __name__ == "__main__":
    main()
