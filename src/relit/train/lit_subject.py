"""A synthetic subject in several lights, each with its own camera: what all records of training are cut from."""

import numpy as np

from relit.models.head import load_head_model
from relit.synth.camera import draw_shot, towards_camera
from relit.synth.geometry import pose
from relit.synth.light import draw_scene
from relit.synth.skin import maps_of
from relit.synth.split import stream
from relit.synth.subject import draw_subject
from relit.synth.uv_pair import LitTexture, baked_occlusion, light_texture, photographed
from relit.types import ReflectanceMaps

_SHOT, _SCENE, _DEVELOP = 1000, 2000, 3000  # purposes of random numbers, plus the number of the light


def lit_subject(
    seed: int, index: int, split: str, size: int, lights: int
) -> tuple[ReflectanceMaps, list[tuple[LitTexture, np.ndarray]]]:
    """The maps of a subject, `size` x `size`, and in each light its lit texture and that as photographed, uint8 sRGB."""
    subject = draw_subject(seed, index, split)
    posed = pose(subject, load_head_model())
    maps = maps_of(subject, size, baked_occlusion(posed, size))
    found = []
    for k in range(lights):
        shot = draw_shot(stream(split, seed, index, _SHOT + k))
        scene = draw_scene(split, towards_camera(shot), stream(split, seed, index, _SCENE + k))
        lit = light_texture(posed, maps, scene.lighting, shot)
        found.append((lit, photographed(lit, shot, stream(split, seed, index, _DEVELOP + k))))
    return maps, found
