"""The recognition network: gradients to the pixels, invariance of the alignment, persons told apart."""

from functools import cache

import cv2
import numpy as np
import skimage.data
import torch

from relit.appearance.colour import linear_from_srgb
from relit.models.recognition import CROP_PX, TEMPLATE_PX, align_face, load_recognition


@cache
def astronaut():
    from relit.models.landmarks import detect_faces, detect_landmarks

    rgb8 = np.ascontiguousarray(skimage.data.astronaut()[0:256, 100:356])
    (face,) = detect_faces(rgb8)
    return rgb8, detect_landmarks(rgb8, face).points_px


def linear(rgb8: np.ndarray) -> torch.Tensor:
    return linear_from_srgb(torch.from_numpy(rgb8.astype(np.float32) / 255))


def test_embeddings_have_unit_length_and_repeat():
    network = load_recognition()
    crops = torch.rand(2, 3, CROP_PX, CROP_PX) * 255
    both = network(crops)
    assert both.shape == (2, 128)
    assert torch.allclose(both.norm(dim=1), torch.ones(2), atol=1e-5)
    assert torch.allclose(both[:1], network(crops[:1]), atol=1e-5)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_alignment_puts_five_points_on_the_template():
    """A picture of Gaussian dots at the five points, however turned and large, shows them at the template's places."""
    template = np.array(TEMPLATE_PX)
    for angle, scale in ((0.0, 1.3), (0.6, 3.7), (-1.1, 9.0)):
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = template @ turn.T
        points += 14 * scale - points.min(0)
        width, height = (np.ceil(points.max(0) + 14 * scale)).astype(int)
        y, x = np.mgrid[:height, :width] + 0.5
        dots = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * (2 * scale) ** 2)) for px, py in points)
        picture = torch.from_numpy(np.repeat(dots[..., None], 3, 2)).float()
        crop = align_face(picture, torch.from_numpy(points).float())[0, 0].numpy()
        for px, py in template:
            near = crop[int(py) - 4 : int(py) + 5, int(px) - 4 : int(px) + 5] ** 4
            rows, columns = np.mgrid[int(py) - 4 : int(py) + 5, int(px) - 4 : int(px) + 5] + 0.5
            centre = np.array([(columns * near).sum(), (rows * near).sum()]) / near.sum()
            assert np.abs(centre - [px, py]).max() < 0.35


def test_large_photos_are_reduced_without_aliasing():
    """The finest checkerboard becomes even grey of the same light."""
    picture = torch.from_numpy(np.indices((1200, 1200)).sum(0) % 2).float()[..., None].expand(-1, -1, 3)
    crop = align_face(picture, torch.tensor(TEMPLATE_PX) * 9 + 60)
    assert float(crop.std()) < 1.0
    assert abs(float(crop.mean()) - 255 * 0.7354) < 1.5  # sRGB of half the light


def test_gradient_to_the_pixels():
    rgb8, points = astronaut()
    network, picture = load_recognition(), linear(rgb8).clamp(0.02, 0.98)
    with torch.no_grad():
        target = torch.nn.functional.normalize(torch.randn(128, generator=torch.Generator().manual_seed(1)), dim=0)
    loss = lambda image: network(align_face(image, points))[0] @ target  # noqa: E731
    image = picture.clone().requires_grad_()
    loss(image).backward()
    direction = image.grad / image.grad.norm()
    step = 0.02
    with torch.no_grad():
        slope = (loss(picture + step * direction) - loss(picture - step * direction)) / (2 * step)
    assert abs(float(slope) / float(image.grad.norm()) - 1) < 0.05


def test_same_person_is_closer_than_another():
    network, (rgb8, points) = load_recognition(), astronaut()
    darker = linear(rgb8) * torch.tensor([0.6, 0.5, 0.4])
    flipped = torch.from_numpy(np.ascontiguousarray(rgb8[:, ::-1]))
    from relit.models.landmarks import mirror_partners

    mirrored = points[torch.from_numpy(mirror_partners())] * torch.tensor([-1.0, 1.0]) + torch.tensor([256.0, 0.0])
    half = cv2.resize(rgb8, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    reference = network(align_face(linear(rgb8), points))[0]
    others = [
        network(align_face(darker, points))[0],
        network(align_face(linear(flipped.numpy()), mirrored))[0],
        network(align_face(linear(half), points / 2))[0],
    ]
    assert min(float(reference @ other) for other in others) > 0.6
    # the same pixels with the features displaced are somebody else: 0.36 is the network's threshold
    stretched = cv2.resize(rgb8, None, fx=1.0, fy=1.5, interpolation=cv2.INTER_LINEAR)
    displaced = network(align_face(linear(stretched), points * torch.tensor([1.0, 1.5])))[0]
    assert float(reference @ displaced) < min(float(reference @ other) for other in others)
