"""Times the fit's render, forward and backward, beside Mitsuba 3: python bench/render.py [--size 512] [--threads 2]

Both draw the same head at the same resolution in the same run, and give gradients to vertices, an albedo texture and
the light. One JSON line, then a table. Mitsuba (`pip install mitsuba==3.9.1`, and Debian's libllvm19 named by
DRJIT_LIBLLVM_PATH) is reported as missing where it is not installed.

The two do different work: relit shades with prefiltered light and precomputed transfer, without noise; Mitsuba traces
paths (an environment map's direct light with shadows, `prb`, diffuse only) and its silhouettes carry no gradient.
"""

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import torch

from relit.appearance.lighting import equirect_from_lighting, load_lighting
from relit.geometry.camera import look_at_face
from relit.geometry.mesh import vertex_normals
from relit.models.head import load_head_model
from relit.render.occlusion import light_transfer
from relit.render.render import render_fit

TEXTURE = 512
MITSUBA_SAMPLES = 16
LIGHT = "overcast"


def median_ms(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median and minimum milliseconds of a call after two warm-up calls."""
    for _ in range(2):
        work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return round(statistics.median(times), 1), round(min(times), 1)


def relit_times(size: int, rounds: int) -> dict[str, float]:
    """Milliseconds of relit's forward and forward + backward."""
    model = load_head_model()
    camera, light = look_at_face((size, size)), load_lighting(LIGHT)
    transfer, before = (of(model.mean, model.triangles) for of in (light_transfer, vertex_normals))
    vertices, sh = model.mean.clone().requires_grad_(), light.sh.clone().requires_grad_()
    texture = torch.full((TEXTURE, TEXTURE, 3), 0.4).requires_grad_()

    def forward() -> torch.Tensor:
        image, _, _ = render_fit(model, vertices, texture, camera, replace(light, sh=sh), transfer, before)
        return image

    def both() -> None:
        vertices.grad = texture.grad = sh.grad = None
        (forward() - 0.3).square().mean().backward()

    with torch.no_grad():
        alone = median_ms(forward, rounds)
    return {"forward_ms": alone[0], "both_ms": (result := median_ms(both, rounds))[0], "both_min_ms": result[1]}


def mitsuba_scene(mi, size: int):
    """relit's mean head, grey, under its light `LIGHT`, as a scene of the module `mi`."""
    model, camera = load_head_model(), look_at_face((size, size))
    mesh = mi.Mesh("head", len(model.uv), len(model.render_triangles), has_vertex_texcoords=True)
    # Mitsuba's v points up.
    flipped = model.uv * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])
    values = mi.traverse(mesh)
    values["vertex_positions"] = model.mean[model.render_vertex].flatten().numpy()
    values["vertex_texcoords"] = flipped.flatten().numpy()
    values["faces"] = model.render_triangles.flatten().numpy().astype(np.uint32)
    values.update()
    bitmap = mi.Bitmap(np.full((TEXTURE, TEXTURE, 3), 0.4, np.float32))
    texture = {"type": "bitmap", "bitmap": bitmap, "raw": True}
    bsdf = {"type": "twosided", "inner": {"type": "diffuse", "reflectance": texture}}
    props = mi.Properties()
    props["mesh_bsdf"] = mi.load_dict(bsdf)
    head = mi.Mesh("head", len(model.uv), len(model.render_triangles), props, False, True)
    target = mi.traverse(head)
    for name in ("vertex_positions", "vertex_texcoords", "faces"):
        target[name] = values[name]
    target.update()
    to_world = mi.ScalarTransform4f().look_at([0, 0, 1.22], [0, 0, 0.02], [0, 1, 0])
    field = 2 * math.degrees(math.atan(size / 2 / float(camera.focal_px)))
    sky = mi.Bitmap(equirect_from_lighting(load_lighting(LIGHT), 64).numpy().astype(np.float32))
    film = {"type": "hdrfilm", "width": size, "height": size, "rfilter": {"type": "box"}}
    return mi.load_dict(
        {
            "type": "scene",
            "integrator": {"type": "prb", "max_depth": 2},
            "sensor": {"type": "perspective", "fov": field, "to_world": to_world, "film": film},
            "head": head,
            "light": {"type": "envmap", "bitmap": sky},
        }
    )


def mitsuba_times(size: int, rounds: int, threads: int) -> dict[str, float]:
    """Milliseconds of Mitsuba's forward and forward + backward on the same scene.

    Raises:
        ImportError: Mitsuba or its LLVM is not there.
    """
    import mitsuba as mi

    mi.set_variant("llvm_ad_rgb")
    import drjit as dr

    dr.set_thread_count(threads)
    scene = mitsuba_scene(mi, size)
    parameters = mi.traverse(scene)
    wanted = [
        next(key for key in parameters.keys() if key.endswith(end))  # noqa: SIM118
        for end in ("vertex_positions", "reflectance.data", "light.data")
    ]
    for name in wanted:
        dr.enable_grad(parameters[name])
    parameters.update()

    def forward() -> None:
        with dr.suspend_grad():
            dr.eval(mi.render(scene, spp=MITSUBA_SAMPLES))
        dr.sync_thread()

    def both() -> None:
        for name in wanted:
            dr.clear_grad(parameters[name])
        image = mi.render(scene, parameters, spp=MITSUBA_SAMPLES)
        dr.backward(dr.mean(dr.square(image - 0.3), axis=None))
        dr.eval(*[dr.grad(parameters[name]) for name in wanted])
        dr.sync_thread()

    return {
        "forward_ms": median_ms(forward, rounds)[0],
        "both_ms": (result := median_ms(both, rounds))[0],
        "both_min_ms": result[1],
    }


def main() -> None:
    """Prints the JSON line and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="the JSON line only")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load_head_model()
    result = {
        "bench": "render",
        "size_px": given.size,
        "threads": given.threads,
        "vertices": len(model.mean),
        "triangles": len(model.triangles),
        "load": round(os.getloadavg()[0], 1),
        "relit": relit_times(given.size, given.rounds),
    }
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as apart:  # LLVM ends the process where it lacks an instruction
            task = apart.submit(mitsuba_times, given.size, max(3, given.rounds // 4), given.threads)
            result["mitsuba"] = {**task.result(), "samples": MITSUBA_SAMPLES}
    except (ImportError, RuntimeError, AttributeError) as problem:
        result["mitsuba"] = None
        result["mitsuba_missing"] = str(problem).splitlines()[0]
    print(json.dumps(result))
    if given.json:
        return
    print(f"{given.size} x {given.size}, {result['vertices']} vertices, {given.threads} threads, ms (median)")
    print(f"{'renderer':<28}{'forward':>10}{'forward + backward':>22}")
    print(f"{'relit render_fit':<28}{result['relit']['forward_ms']:>10}{result['relit']['both_ms']:>22}")
    if result["mitsuba"]:
        name = f"Mitsuba 3 prb, {MITSUBA_SAMPLES} spp"
        print(f"{name:<28}{result['mitsuba']['forward_ms']:>10}{result['mitsuba']['both_ms']:>22}")
    else:
        print(f"Mitsuba 3 is missing: {result['mitsuba_missing']}")


if __name__ == "__main__":
    main()
