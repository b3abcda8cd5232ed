"""Which pixels of a photo show bare facial skin: not eyes, mouth, hair of the head, glasses, hats or background.

Brows, lips, moles, stubble and beards count as skin, because they belong to the face's albedo. The forehead above the
landmarks' oval, up to the hair, and the ears are included where they can be told from what surrounds them.
"""

import math

import cv2
import numpy as np
import scipy.ndimage as ndimage
import scipy.sparse as sparse
import torch
from jaxtyping import Bool, Float
from scipy.sparse.linalg import cg
from torch import Tensor

from relit.models.contours import LIPS, OVAL
from relit.observe.glasses import glasses
from relit.observe.regions import BEARD, BROWS, CHEEKS, EYES, NOSE, dilated, face_size_px, openings, polygons, signed_depth
from relit.types import Landmarks

SIDE_PX = 288  # of the working picture
VIEW = 1.75  # side of the working picture over the face's
# Histograms over (log luminance, log red/green, log green/blue) relative to the cheeks' and nose's medians.
BINS, LOW, HIGH = 24, (-3.0, -0.6, -0.6), (0.8, 0.6, 0.6)
SHADOW = 0.8  # how much rarer skin is per bin of darkness below the lit skin seen: a cast shadow keeps its chromaticity
UNSEEN = 0.1  # of the surroundings' density: colours that the ring around the face does not show
# Where skin is seen even above a mask or a scarf (MediaPipe indices); how much less red than it what covers the mouth is,
# in log red/green (lips are redder), and how far colours may be from the cover's, against that from the skin's.
UPPER, PALER, NEARER = (9, 151, 107, 336, 6, 197), 0.24, 1.0
# Log odds of hair that hangs over the middle of a face, and the share of the face that it must fill in each pass: what is dark
# there is an eye, a brow, a beard or a shadow else, up to 0.03 in the first pass and 0.007 in the second over 162 photos
# without and from 0.05 in four with such hair.
LIKE_HAIR, VEIL = -2.0, (0.04, 0.02)
HIGH_FOREHEAD = 1.45  # times the height of the landmarks' oval: where the highest hair lines are
EDGE, PRIOR_WEIGHT = 40.0, 0.01  # of the random walk: how much colour steps hinder it, how much the odds attract it


def skin_mask(linear: Float[Tensor, "H W 3"], landmarks: Landmarks) -> Float[Tensor, "H W"]:
    """The probability, in [0, 1], that a pixel shows bare facial skin, lips or brows.

    Cheeks and nose teach the colours of skin, a ring around the face those of hair, hat and background. A random walk
    that hesitates at edges carries both evidences, and the expectation that the landmarks' oval is skin, to every pixel.

    Source: Grady 2005, "Multilabel Random Walker Image Segmentation Using Prior Models".
    """
    view_from_photo = _view(landmarks.points_px[:468].numpy())
    points = landmarks.points_px.numpy() @ view_from_photo[:, :2].T + view_from_photo[:, 2]
    crop = _warp(linear.numpy(), view_from_photo)
    mask = segment_face(crop, points)
    height, width = linear.shape[:2]
    centred = view_from_photo.copy()
    centred[:, 2] += view_from_photo[:, :2] @ [0.5, 0.5] - 0.5
    full = cv2.warpAffine(mask, centred, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return torch.from_numpy(full * (1 - openings(landmarks.points_px.numpy(), height, width)))


def segment_face(crop: Float[np.ndarray, "S S 3"], points: Float[np.ndarray, "478 2"]) -> Float[np.ndarray, "S S"]:
    """The skin probability in an upright working picture (linear light), eyes and mouth still included."""
    side = len(crop)
    region = lambda *parts: polygons(points, parts, side, side)  # noqa: E731
    size = face_size_px(points)
    colour, texture = _features(crop)
    oval, eyes, brows, lips = region(OVAL), region(*EYES), region(*BROWS), region(LIPS)
    core = region(*CHEEKS, NOSE) & oval & ~dilated(eyes | lips, 0.01 * size)
    cover = _mouth_cover(colour, lips, points, size) & _grown(points, 1.1, 1.1, side)
    if not (core & ~cover).any():  # red hair over the forehead makes all skin look pale
        cover = np.zeros_like(cover)
    core = _typical(colour, core & ~cover)
    colour = colour - np.median(colour[core], 0)
    depth = signed_depth(oval) / size
    beneath_brows = np.arange(side)[:, None] > points[168, 1]
    uncovered = ~dilated(cover, 0.02 * size)
    bare, deep = core & uncovered, (depth > 0.12) & beneath_brows & uncovered
    # what is dark or red on every face says nothing about hair
    trust = np.where(region(BEARD), 0.25, 1.0)
    marked = dilated(eyes, 0.045 * size) | dilated(brows, 0.015 * size) | dilated(lips, 0.01 * size)
    trust = cv2.GaussianBlur(np.where(marked, 0.1, trust), (0, 0), 0.008 * size)
    # above the oval, which ends below many hair lines, forehead is nearly as likely as hair
    above = _grown(points, 1.0, HIGH_FOREHEAD, side) & (np.arange(side)[:, None] < points[10, 1] + 0.02 * size)
    expected = np.where(above, -0.5, np.clip(depth / 0.05, -3, 2.7))
    ring = _ring(points, side, size) & ~_skin_like(colour, core) | cover
    taught, probability = core, np.zeros((side, side))
    for least in VEIL:
        evidence = _odds(colour, texture, taught, ring & (probability < 0.5))
        odds = evidence * trust
        attraction = 1 / (1 + np.exp(-odds - expected))
        veil = _large(deep & ~core & (odds < LIKE_HAIR))
        if veil.sum() > least * oval.sum():
            likely = (evidence < LIKE_HAIR / 2) & ~core & ~_brows_in_view(evidence, points, size)
            veil, certain = ndimage.binary_propagation(veil, mask=veil | likely), bare
        else:
            veil, certain = np.zeros_like(veil), bare | deep
        seeds = np.where(certain, 1, np.where(_large(ring & (odds < 0)) | veil, -1, 0))
        seeds[~_grown(points, 1.6, 1.7, side) | cover] = -1
        probability = random_walk(colour * [1, 2.5, 2.5], attraction, seeds)
        taught = (probability > 0.95) & oval & ~marked & (trust > 0.9) | core
    mask = _one_piece(probability, core) * ~cover
    chin = points[list(OVAL), 1] > points[[61, 291], 1].mean()
    below = np.arange(side)[:, None] > points[np.array(OVAL)[chin], 1].min()
    mask = np.where(below & ~oval, 0, mask)
    return cv2.GaussianBlur((mask * ~glasses(colour[..., 0], points, size)).astype(np.float32), (0, 0), 0.8)


def _view(points: np.ndarray) -> np.ndarray:
    """The 2x3 matrix from photo pixels to the working picture: eyes level, face a little below the middle."""
    across = points[263] - points[33]
    angle = math.atan2(across[1], across[0])
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    upright = points @ turn.T
    low, high = upright.min(0), upright.max(0)
    size = (high - low).max()
    factor = SIDE_PX / (VIEW * size)
    centre = (low + high) / 2 - [0, 0.06 * size]
    return np.c_[turn * factor, SIDE_PX / 2 - centre * factor]


def _warp(picture: np.ndarray, view_from_photo: np.ndarray) -> np.ndarray:
    """The working picture, reduced by area first when the photo is much finer."""
    scale = 1 / float(np.linalg.norm(view_from_photo[:, 0]))
    turn, shift = view_from_photo[:, :2], view_from_photo[:, 2]
    if scale > 1.5:
        size = [max(1, round(length * 1.2 / scale)) for length in picture.shape[1::-1]]
        turn = turn * [picture.shape[1] / size[0], picture.shape[0] / size[1]]
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    centred = np.c_[turn, shift + turn @ [0.5, 0.5] - 0.5]
    return cv2.warpAffine(picture, centred, (SIDE_PX, SIDE_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _features(crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[S, S, 3] log luminance, log red/green, log green/blue; [S, S] log strength of fine texture."""
    logs = np.log(np.maximum(crop, 0) + 0.004).astype(np.float32)
    luminance = logs @ np.array([0.3, 0.6, 0.1], np.float32)
    chroma = np.stack([logs[..., 0] - logs[..., 1], logs[..., 1] - logs[..., 2]], -1)
    chroma = cv2.GaussianBlur(chroma, (0, 0), 0.8)
    fine = cv2.GaussianBlur(np.abs(luminance - cv2.GaussianBlur(luminance, (0, 0), 1.5)), (0, 0), 1.5)
    return np.concatenate([luminance[..., None], chroma], -1), np.log(fine + 0.003)


def _typical(colour: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The chosen pixels without outliers (deep shadow, glasses, hair)."""
    values = colour[chosen]
    middle = np.median(values, 0)
    spread = 1.5 * np.median(np.abs(values - middle), 0) + 0.02
    near = (np.abs(colour - middle)[..., 1:] < 3.5 * spread[1:]).all(-1) & (colour[..., 0] > middle[0] - 1.2)
    return chosen & near


def _skin_like(colour: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Pixels that the core's colours cover: they may be neck, ears or a bald head, and must not teach other colours."""
    values = colour[core][:, 1:]
    offset = colour[..., 1:] - values.mean(0)
    inverse = np.linalg.inv(np.cov(values.T) + np.eye(2) * 0.02**2)
    return (np.einsum("...i,ij,...j", offset, inverse, offset) < 9) & (np.abs(colour[..., 0]) < 0.8)


def _odds(colour: np.ndarray, texture: np.ndarray, skin: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """[S, S] bounded log odds of skin against surroundings, from colour and from texture."""
    # highlights on skin are as good as bright skin
    bounded = np.minimum(colour, [HIGH[0] - 0.1, np.inf, np.inf])
    bins = np.clip((bounded - LOW) / (np.array(HIGH) - LOW) * BINS, 0, BINS - 1).astype(int)
    of_skin, of_ring = _histogram(bins[skin], 1.4), _histogram(bins[ring], 0.9)
    for level in range(BINS - 2, -1, -1):
        of_skin[level] = np.maximum(of_skin[level], SHADOW * of_skin[level + 1])
    of_skin /= of_skin.sum()
    at, tiny = tuple(bins.transpose(2, 0, 1)), 1e-5
    broad = 20 / BINS**3  # surroundings of unseen colour fill about a twentieth of the space
    by_colour = np.log(of_skin[at] + tiny) - np.log((1 - UNSEEN) * of_ring[at] + UNSEEN * broad + tiny)
    strength = np.clip((texture + 6) / 6 * BINS, 0, BINS - 1).astype(int)[..., None]
    by_texture = np.log(_histogram(strength[skin], 1.5) + 0.01) - np.log(_histogram(strength[ring], 1.5) + 0.01)
    if ring.sum() < 50:
        by_texture = np.zeros(BINS)
    return np.clip(by_colour, -3, 3) + 0.6 * np.clip(by_texture, -2, 2)[strength[..., 0]]


def _histogram(bins: np.ndarray, smooth: float) -> np.ndarray:
    counts = np.zeros((BINS,) * bins.shape[1])
    np.add.at(counts, tuple(bins.T), 1.0)
    counts = ndimage.gaussian_filter(counts, smooth)
    return counts / max(counts.sum(), 1.0)


def random_walk(features: np.ndarray, attraction: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """[S, S] the probability that a walker from a pixel, hindered by colour steps, ends on skin.

    Args:
        attraction: (S, S) in [0, 1] prior probability of skin.
        seeds: (S, S) 1 on certain skin, -1 on certain surroundings, else 0.
    """
    index = np.arange(seeds.size).reshape(seeds.shape)
    ends, weights = [], []
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        step = ((features[here] - features[there]) ** 2).sum(-1)
        weights.append((np.exp(-EDGE * step) + 1e-4).ravel())
        ends.append(np.stack([index[here].ravel(), index[there].ravel()]))
    (rows, columns), weight = np.concatenate(ends, 1), np.concatenate(weights)
    links = sparse.coo_matrix((weight, (rows, columns)), (seeds.size, seeds.size)).tocsr()
    links = links + links.T
    to_skin = PRIOR_WEIGHT * attraction.ravel() + 100.0 * (seeds.ravel() == 1)
    to_rest = PRIOR_WEIGHT * (1 - attraction.ravel()) + 100.0 * (seeds.ravel() == -1)
    diagonal = np.asarray(links.sum(1)).ravel() + to_skin + to_rest
    system = sparse.diags(diagonal) - links
    start = to_skin / (to_skin + to_rest)
    # tight, because the seeds weigh so much that the start would pass for a solution
    solution, _ = cg(system, to_skin, x0=start, rtol=1e-7, maxiter=2000, M=sparse.diags(1 / diagonal))
    return np.clip(solution, 0, 1).reshape(seeds.shape)


def _one_piece(probability: np.ndarray, core: np.ndarray) -> np.ndarray:
    """The probability, sharpened, without islands of skin outside the face and without holes inside it."""
    sharp = np.clip((probability - 0.5) * 2.5 + 0.5, 0, 1)
    labels, _ = ndimage.label(sharp > 0.5)
    face = np.isin(labels, np.setdiff1d(labels[core], 0))
    filled = ndimage.binary_fill_holes(face)
    near = cv2.dilate(filled.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return np.where(filled & ~face, 1, np.where(near, sharp, 0))


def _mouth_cover(colour: np.ndarray, lips: np.ndarray, points: np.ndarray, size: float) -> Bool[np.ndarray, "S S"]:
    """What hides mouth and chin, such as a medical mask, a scarf or a microphone; nothing where lips are red.

    Only covers of another hue than skin are told: a hand is not.
    """
    skin = np.median(np.concatenate([colour[_disc(colour, points[k], 0.02 * size)] for k in UPPER]), 0)[1:]
    cover = np.median(colour[lips], 0)[1:]
    if not lips.any() or skin[0] - cover[0] < PALER:  # lips are redder than skin, in shadow hardly less red than lit skin
        return np.zeros(lips.shape, bool)
    away = lambda hue: np.linalg.norm(colour[..., 1:] - hue, axis=-1)  # noqa: E731
    below = np.arange(len(colour))[:, None] > points[168, 1]
    alike = cv2.morphologyEx(((away(cover) < NEARER * away(skin)) & below).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9)))
    return dilated(ndimage.binary_propagation(lips & (alike > 0), mask=alike > 0), 0.012 * size)


def _disc(picture: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """(S, S) bool"""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= max(radius, 1.0) ** 2


def _ring(points: np.ndarray, side: int, size: float) -> np.ndarray:
    """The surroundings above the mouth: hair, hat, background."""
    rows = np.arange(side)[:, None]
    between = (rows < points[[61, 291], 1].mean()) & (rows > points[:468, 1].min() - 0.35 * size)
    return between & ~_grown(points, 1.2, 1.15, side) & _grown(points, 1.6, 1.7, side)


def _grown(points: np.ndarray, across: float, along: float, side: int) -> np.ndarray:
    """The oval, scaled about its centre."""
    oval = points[list(OVAL)]
    return polygons((oval - oval.mean(0)) * [across, along] + oval.mean(0), (range(len(OVAL)),), side, side)


def _brows_in_view(evidence: np.ndarray, points: np.ndarray, size: float) -> Bool[np.ndarray, "S S"]:
    """The brows above eyes around which skin is seen, whatever hair they touch."""
    side, found = len(evidence), np.zeros(evidence.shape, bool)
    for brow, eye in zip(BROWS, EYES, strict=True):
        opening = polygons(points, (eye,), side, side)
        around = dilated(opening, 0.045 * size) & ~opening
        if (evidence[around] < LIKE_HAIR / 2).mean() < 0.5:
            found |= dilated(polygons(points, (brow,), side, side), 0.015 * size)
    return found


def _large(mask: np.ndarray) -> np.ndarray:
    """Without patches below a twentieth of the mask."""
    labels, count = ndimage.label(mask)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    return mask & (areas > 0.05 * mask.sum())[labels]
