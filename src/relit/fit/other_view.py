"""A person seen otherwise than in the photo: random pose and expression, for the second render of GANFIT."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from relit.fit.view import View
from relit.geometry.camera import orbit, project
from relit.models.head import ARKIT_NAMES, HeadModel, landmark_points
from relit.types import Camera

YAW_RAD, PITCH_RAD = math.radians(30), math.radians(12)  # bounds of the turn
MOVES = 5  # blendshapes of a random expression
STRONGEST = 0.6


@dataclass(frozen=True)
class OtherView:
    """How a second render differs from a photo."""

    yaw_rad: float
    pitch_rad: float
    expression: Tensor  # (52,)
    chosen: float  # [0, 1) which photo's embedding it is compared with

    def view_of(self, view: View) -> View:
        """The view, turned and with the expression; the light stays."""
        camera = view.current_camera()
        centre = view.expression.new_tensor([0.0, 0.0, 0.05])
        camera = replace(camera, camera_from_head=camera.camera_from_head.detach())
        camera = orbit(camera, self.yaw_rad, self.pitch_rad, centre)
        return replace(view, camera=camera, pose=torch.zeros_like(view.pose), expression=self.expression.to(centre))

    def landmarks_px(self, model: HeadModel, vertices: Tensor, camera: Camera) -> Tensor:
        """(478, 2) where the head's landmarks are."""
        return project(camera, landmark_points(model, vertices))[:, :2].detach()


def draw_other_view(generator: torch.Generator) -> OtherView:
    """A pose to either side and an expression of a few blendshapes."""
    yaw, pitch, chosen = torch.rand(3, generator=generator).tolist()
    names = [k for k, name in enumerate(ARKIT_NAMES) if not name.startswith(("eyeLook", "eyeBlink", "tongue"))]
    order = torch.randperm(len(names), generator=generator)[:MOVES]
    expression = torch.zeros(len(ARKIT_NAMES))
    expression[torch.tensor(names)[order]] = STRONGEST * torch.rand(MOVES, generator=generator)
    return OtherView((2 * yaw - 1) * YAW_RAD, (2 * pitch - 1) * PITCH_RAD, expression, chosen)
