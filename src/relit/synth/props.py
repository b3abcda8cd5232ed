"""What people wear or hold before their faces: glasses, hats, masks, headscarves, microphones, hands."""

import numpy as np

from relit.models.head import HeadModel
from relit.synth import eyewear, headwear, held
from relit.synth.geometry import Posed
from relit.synth.solids import Prop
from relit.synth.subject import Subject
from relit.synth.wearer import Wearer

WORN = 0.27  # share of subjects that wear something
KINDS = ("glasses", "hat", "mask", "headscarf", "microphone", "hand")
_SHARES = (0.40, 0.20, 0.11, 0.13, 0.08, 0.08)


def draw_props(subject: Subject, posed: Posed, model: HeadModel, rng: np.random.Generator) -> tuple[Prop, ...]:
    """What a subject wears and holds in one photograph: mostly nothing.

    Args:
        posed: the subject's head in its expression, from `relit.synth.geometry.pose`.
        rng: decides whether, what, and what it looks like.
    """
    if rng.random() >= WORN:
        return ()
    kind = str(rng.choice(KINDS, p=_SHARES))
    if kind == "headscarf" and subject.marks.shave_shadow:
        kind = "hat"
    return props_of(kind, subject, posed, model, rng)


def props_of(kind: str, subject: Subject, posed: Posed, model: HeadModel, rng: np.random.Generator) -> tuple[Prop, ...]:
    """The parts of one prop.

    Args:
        kind: of KINDS.
    """
    make = {
        "glasses": eyewear.glasses,
        "hat": headwear.hat,
        "mask": headwear.mask,
        "headscarf": headwear.headscarf,
        "microphone": held.microphone,
        "hand": held.hand,
    }[kind]
    return make(Wearer(posed, model), subject, rng)
