"""The card that lies beside a test set."""

import json
from collections import Counter

from relit.testset.sets import AGES, TestSet
from relit.testset.shape import DEVIATION_M

_WHAT = {
    "independent": "{subjects} people who do not exist, each photographed under two lights (`a` soft or indoor, `b` hard or"
    " coloured) with the head turned up to 25 degrees, {three} of them a third time (`c`: up to 35 degrees, another"
    " expression and light), for methods that use several photos.",
    "texture_swap": "{subjects} people who do not exist, each twice from the same camera with the same expression: under"
    " one hard light (`hard`, the source) and under soft light (`soft`, the target). A method sees the source; its maps"
    " are judged where they are used, in both lights. After the texture-swap test of DeFace (NeurIPS 2024).",
}


def card(wanted: TestSet, samples: dict[str, dict[str, bytes]], shards: list[dict]) -> str:
    """The text of README.md."""
    photos = [json.loads(files["json"]) for files in samples.values() if "photo.jpg" in files]
    tags = Counter(tag for photo in photos for tag in photo["tags"])
    what = _WHAT[wanted.name].format(subjects=wanted.subjects, three=wanted.three)
    megabytes = sum(shard["bytes"] for shard in shards) / 1e6
    listed = ", ".join(f"{tag} {count}" for tag, count in tags.most_common())
    return f"""# Test set `{wanted.name}`

{what}

{len(photos)} photos of 512 x 512, {megabytes:.1f} MB. Subjects, skins, panoramas and random numbers belong to the split
"test" and to seed {wanted.seed}, which no other data set uses (`tests/test_testset.py` proves it). Skin tones are spread
evenly over the Individual Typology Angle from -60 to +60 degrees and ages from {AGES[0]:.0f} to {AGES[1]:.0f}, independently.
Photos by tag: {listed}.

## How it was made

    python -m relit.testset.build {wanted.name} --hdri FOLDER

at commit {wanted.made_at}; later code may draw other people. `FOLDER` holds the original panoramas. Subjects come from
`relit.synth`; the pictures come from Blender Cycles, which shares no code with relit's renderer: random-walk scattering
below the skin (mean distance 1.5, 0.6, 0.3 mm for pale skin, down to 0.45 of it for the darkest), two specular lobes,
refracting corneas, light that goes from surface to surface, the panoramas themselves and lamps of true size.
`relit.synth.camera` then makes photographs of the radiance: exposure, white balance, noise, tone curve, sharpening, JPEG.

`dataset.json` says how every file is coded and gives the hashes of the shards, which `tarfile` and webdataset read.

## What is ground truth

- Maps: exactly those rendered, reduced from 1024 x 1024; WebP adds an error of about 1/255. The base colour given to
  Cycles is raised so that the diffuse albedo that reaches the eye is the one in the map (within 3 %, measured on a sphere
  under uniform light). Wrinkles of the first photo's expression are in the maps of all its photos.
- Shape: the neutral head, rounded to 0.04 mm. It is a draw of the head model **plus a smooth random deviation along the
  normal** that no mode of the model can express (standard deviation {1000 * DEVIATION_M:.1f} mm on the face, none at the
  edges of lids, lips and nostrils): a method that knows the model perfectly still cannot be perfect. The topology is
  the head model's.
- Camera, expression, gaze, landmarks; masks and labels at pixel centres; coverage as traced.
- Light: the panoramas' harmonics (degree 8) and strongest small sources, as in `relit synth`; the photo shows the full
  panorama. Brightness is before the camera's exposure and white balance, which `shot` records.

## What is not

- The people: they look like relit's own synthetic subjects, in whose making all methods of relit may have part. Real
  portraits judge what this set cannot.
- Hair, clothes, lashes and what is worn are no part of the maps. Backdrops are blurred pictures behind the head.

## Licence

Apache-2.0, as relit. Made from MakeHuman skins, meshes and hair (CC0), "Antonia Polygon" by Olaf Delgado-Friedrichs and
others (CC-BY 3.0; changed: warped to another layout, reduced to fine detail), ICT-FaceKit (MIT), SFHQ statistics (MIT) and
Poly Haven panoramas (CC0); see NOTICE. Blender (GPL-3) rendered the pictures; nothing of it is contained.
"""
