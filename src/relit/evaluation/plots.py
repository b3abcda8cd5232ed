"""Plots drawn with Pillow: histograms of pairs, bars per skin type, errors on the mean head."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from relit.evaluation.evidence import WORST_LEVEL, WORST_MM, heat
from relit.evaluation.sheets import GROUND, INK, row
from relit.geometry.camera import look_at_face, project
from relit.geometry.mesh import vertex_normals
from relit.models.head import load_head_model
from relit.render.rasterise import interpolate, rasterise

SCALE = 2  # drawn larger, then reduced
COLOURS = ((54, 105, 166), (203, 97, 52), (96, 140, 82), (140, 96, 160), (120, 120, 120))
LEFT, TOP, RIGHT, BOTTOM = 52, 50, 16, 44


class Axes:
    """A plot area with ticks; coordinates are those of the data."""

    def __init__(self, size: tuple[int, int], x: tuple[float, float], y: tuple[float, float], title: str):
        self._size, self._x, self._y = size, x, y
        self._image = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), GROUND)
        self._draw = ImageDraw.Draw(self._image)
        self.text((LEFT, 9), title, 13)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels before reduction."""
        width, height = self._size[0] - LEFT - RIGHT, self._size[1] - TOP - BOTTOM
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - self._y[0]) / (self._y[1] - self._y[0])
        return SCALE * (LEFT + across * width), SCALE * (TOP + (1 - up) * height)

    def text(self, at: tuple[float, float], words: str, size: int = 11, colour=INK, anchor: str = "la") -> None:
        """Writes at a place in reduced pixels."""
        place = at[0] * SCALE, at[1] * SCALE
        self._draw.text(place, words, colour, ImageFont.load_default(size * SCALE), anchor)

    def ticks(self, x: list[tuple[float, str]], y: list[tuple[float, str]], label: str) -> None:
        """Lines and numbers of both axes."""
        for value, words in y:
            (x0, y0), (x1, _) = self.at(self._x[0], value), self.at(self._x[1], value)
            self._draw.line((x0, y0, x1, y0), (222, 220, 216), SCALE)
            self.text((x0 / SCALE - 6, y0 / SCALE), words, 10, anchor="rm")
        for value, words in x:
            place, below = self.at(value, self._y[0])
            self.text((place / SCALE, below / SCALE + 6), words, 10, anchor="ma")
        self.text(((LEFT + self._size[0] - RIGHT) / 2, self._size[1] - 17), label, 11, anchor="ma")

    def bar(self, x0: float, x1: float, y: float, colour: tuple[int, int, int], alpha: float = 1.0) -> None:
        """A filled rectangle from zero to y."""
        (left, bottom), (right, top) = self.at(x0, 0.0), self.at(x1, y)
        top, bottom = min(top, bottom), max(top, bottom)
        if bottom - top < 1:
            return
        box = tuple(round(value) for value in (left, top, right, bottom))
        below = self._image.crop(box)
        self._image.paste(Image.blend(below, Image.new("RGB", below.size, colour), alpha), box[:2])

    def line(self, x: float, words: str) -> None:
        """A vertical mark."""
        (place, bottom), (_, top) = self.at(x, self._y[0]), self.at(x, self._y[1])
        self._draw.line((place, top, place, bottom), INK, SCALE)
        self.text((place / SCALE + 4, top / SCALE + 2), words, 10)

    def legend(self, names: list[str], colours=COLOURS) -> None:
        """Names with their colours, below the title."""
        for index, name in enumerate(names):
            x, y = LEFT + 190 * index, 30
            self._draw.rectangle([SCALE * v for v in (x, y, x + 10, y + 10)], colours[index])
            self.text((x + 15, y - 1), name, 10)

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return np.asarray(self._image.resize(self._size, Image.LANCZOS))


def histogram(series: dict[str, np.ndarray], title: str, label: str, mark: tuple[float, str] | None = None) -> np.ndarray:
    """Overlaid histograms, each in per cent of its own values."""
    values = np.concatenate(list(series.values()))
    low, high = min(0.0, float(values.min())), float(values.max()) * 1.05
    edges = np.linspace(low, high, 41)
    shares = {name: 100 * np.histogram(own, edges)[0] / len(own) for name, own in series.items()}
    top = max(share.max() for share in shares.values()) * 1.1
    axes = Axes((560, 300), (low, high), (0.0, top), title)
    axes.ticks(_round_ticks(low, high, 6), _round_ticks(0, top, 5, "%"), label)
    for colour, share in zip(COLOURS, shares.values(), strict=False):
        for left, right, value in zip(edges[:-1], edges[1:], share, strict=True):
            axes.bar(left, right, value, colour, 0.62)
    if mark:
        axes.line(*mark)
    axes.legend([f"{name} ({len(own)})" for name, own in series.items()])
    return axes.picture()


def bars(groups: list[str], series: dict[str, list[float | None]], title: str, label: str, unit: str = "") -> np.ndarray:
    """Bars side by side, one group per name; negative values hang down."""
    known = [value for values in series.values() for value in values if value is not None]
    low, high = min(0.0, min(known)) * 1.15, max(0.0, max(known)) * 1.25 or 1.0
    axes = Axes((560, 300), (0.0, float(len(groups))), (low, high), title)
    axes.ticks([(index + 0.5, name) for index, name in enumerate(groups)], _round_ticks(low, high, 5, unit), label)
    width = 0.8 / len(series)
    for number, values in enumerate(series.values()):
        for index, value in enumerate(values):
            if value is not None:
                left = index + 0.1 + number * width
                axes.bar(left, left + 0.92 * width, value, COLOURS[number])
    axes.legend(list(series))
    return axes.picture()


def on_mean_head(distance_mm: np.ndarray, albedo_error: np.ndarray | None, size: int = 320) -> np.ndarray:
    """Errors painted on the mean head, from the front and from the side: shape, and albedo where there is one.

    Args:
        distance_mm: (V,) mean error of each vertex, NaN where unknown.
        albedo_error: (S, S) mean error of each texel in levels, NaN where unknown.
    """
    model = load_head_model()
    views = []
    for yaw in (0.0, 0.75):
        camera = look_at_face((size, size), yaw_rad=yaw, field_m=0.26)
        fragments = rasterise(project(camera, model.mean), model.triangles, camera.size_px)
        normals = vertex_normals(model.mean, model.triangles)
        seen = (fragments.triangle >= 0).numpy()
        turned = normals @ camera.camera_from_head[:3, :3].T
        light = (0.35 - 0.65 * interpolate(turned[:, 2:], model.triangles, fragments)[..., 0]).clamp(0.25, 1).numpy()
        known = torch.from_numpy(np.where(np.isnan(distance_mm), -1e3, distance_mm)).float()[:, None]
        error = interpolate(known, model.triangles, fragments)[..., 0].numpy()
        views.append(_painted(np.where(error < 0, np.nan, error), WORST_MM, seen, light))
        if albedo_error is not None:
            uv = interpolate(model.uv, model.render_triangles, fragments).numpy()
            at = (uv * len(albedo_error)).astype(int).clip(0, len(albedo_error) - 1)
            skin = seen & (model.part[fragments.triangle.clamp_min(0)] == 0).numpy()
            texels = np.where(skin, albedo_error[at[..., 1], at[..., 0]], np.nan)
            views.append(_painted(texels, WORST_LEVEL, seen, light))
    order = views[::2] + views[1::2] if albedo_error is not None else views
    words = [f"shape, 0 to {WORST_MM:.0f} mm"] * 2 + [f"albedo, 0 to {WORST_LEVEL:.0f} of 255"] * 2
    return row(order, size, words[: len(order)])


def _painted(error: np.ndarray, worst: float, seen: np.ndarray, light: np.ndarray) -> np.ndarray:
    colour = heat(error, worst) * light[..., None]
    return np.where(seen[..., None], colour, GROUND).astype(np.uint8)


def _round_ticks(low: float, high: float, most: int, unit: str = "") -> list[tuple[float, str]]:
    """At most so many round numbers in a range, as text."""
    step = 10.0 ** np.floor(np.log10((high - low) / most))
    step = next(step * k for k in (1, 2, 5, 10) if (high - low) / (step * k) <= most)
    values = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return [(float(value), f"{value:g}{unit}") for value in values.round(9)]
