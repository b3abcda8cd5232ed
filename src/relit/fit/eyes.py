"""Where the eyes look and how far they are open, settled last and for themselves."""

import torch
from jaxtyping import Float
from torch import Tensor

from relit.fit.minimise import least_squares
from relit.geometry.camera import project
from relit.models.head import ARKIT_NAMES, HeadModel, expression_morphs, landmark_points, posed_vertices
from relit.types import Camera

UPPER = (246, 161, 160, 159, 158, 157, 173, 466, 388, 387, 386, 385, 384, 398)  # MediaPipe's landmarks, right and left
LOWER = (7, 163, 144, 145, 153, 154, 155, 249, 390, 373, 374, 380, 381, 382)  # each below the upper one
LIDS = tuple(ARKIT_NAMES.index(f"eye{name}{side}") for name in ("Blink", "Squint") for side in ("Left", "Right"))
LID_SD = 0.25  # how far the weights may move from where the whole fit left them
IRISES = (473, 468)  # MediaPipe's centres, left and right
IRIS_SD_M, GAZE_SD_RAD, TOGETHER_SD_RAD = 5e-4, 0.35, 0.05  # of a detected centre; of a gaze; between both eyes
FARTHEST_RAD = 0.8


def settled_gaze(
    model: HeadModel,
    neutral: Float[Tensor, "V 3"],
    pose: tuple[Float[Tensor, "52"], Float[Tensor, "2 2"]],
    camera: Camera,
    landmarks_px: Float[Tensor, "478 2"],
) -> Float[Tensor, "2 2"]:
    """The gaze in radians with the irises where the photo shows them.

    After landmarks alone the gaze is not looked for again, while shape, pose and expression move on: over 25 portraits the
    irises came to lie a tenth of their radius too low, up to a quarter, which makes a stare.

    Args:
        pose: expression and gaze in radians that the fit found.
        camera: of the picture that the landmarks are measured in.
    """
    expression, gaze_rad = pose
    seen = landmarks_px[list(IRISES)]
    noise = IRIS_SD_M * camera.focal_px / camera.camera_from_head[2, 3]

    def residuals(angles: Tensor) -> Tensor:
        own = angles.view(2, 2)
        places = project(camera, landmark_points(model, posed_vertices(model, neutral, expression, own))[list(IRISES)])
        apart = (own[0] - own[1]) / TOGETHER_SD_RAD
        return torch.cat([((places[:, :2] - seen) / noise).flatten(), angles / GAZE_SD_RAD, apart])

    bound = torch.full((4,), FARTHEST_RAD)
    return least_squares(residuals, gaze_rad.flatten(), -bound, bound, 6).view(2, 2)


def settled_lids(
    model: HeadModel,
    neutral: Float[Tensor, "V 3"],
    pose: tuple[Float[Tensor, "52"], Float[Tensor, "2 2"]],
    camera: Camera,
    landmarks_px: Float[Tensor, "478 2"],
) -> Float[Tensor, "52"]:
    """The expression with eyes as open as the landmarks say.

    In the energy of the whole face colours, the recognition network and other landmarks outweigh a millimetre of lid,
    and the prior prefers eyes of usual width: narrow eyes stay up to a fifth too open. Blink and squint of both eyes
    therefore follow the distances between upper and lower lid, with this identity's own morphs, as the head is
    rendered. The neutral shape stays, and so do lids that the fit opened wide: these distances do not tell how high
    the eyeball lies between the lids, and white above an iris makes a stare.

    Args:
        pose: expression and gaze in radians that the fit found.
        camera: of the picture that the landmarks are measured in.
    """
    expression, gaze_rad = pose
    morphs, lids = expression_morphs(model, neutral), torch.tensor(LIDS)
    noise = (model.landmark_sigma[list(UPPER)] * camera.focal_px / camera.camera_from_head[2, 3]).clamp_min(1e-3)
    seen = (landmarks_px[list(UPPER)] - landmarks_px[list(LOWER)]).norm(dim=1)

    def residuals(weights: Tensor) -> Tensor:
        own = expression.index_copy(0, lids, weights)
        points = landmark_points(model, posed_vertices(model, neutral, own, gaze_rad, morphs))
        places = project(camera, points)[:, :2]
        opening = (places[list(UPPER)] - places[list(LOWER)]).square().sum(1).add(1e-6).sqrt()
        return torch.cat([0.6 * (opening - seen) / noise, (weights - expression[lids]) / LID_SD])

    still = torch.zeros(len(lids))
    return expression.index_copy(0, lids, least_squares(residuals, expression[lids], still, still + 1, 6))
