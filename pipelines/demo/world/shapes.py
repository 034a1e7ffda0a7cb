"""The outline of each noun, as polygons in a unit square.

A shape is a list of (filled, points) layers, drawn in order. A later unfilled layer cuts a hole. Points are in
[-1, 1] x [-1, 1], x to the right and y down, and touch the border of the square along the longer side.
"""

# K points of a polygon
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Layer = tuple[bool, Points]

_ROUND = 28


def _polygon(*points: tuple[float, float]) -> Points:
    return np.array(points, dtype=np.float64)


def _ellipse(cx: float, cy: float, rx: float, ry: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)
    return np.stack([cx + rx * np.cos(angle), cy + ry * np.sin(angle)], axis=1)


def _star() -> Points:
    angle = np.arange(10) * np.pi / 5 - np.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _heart() -> Points:
    angle = np.linspace(0, 2 * np.pi, 2 * _ROUND, endpoint=False)
    x = np.sin(angle) ** 3
    y = -(13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)) / 16
    return np.stack([x, y], axis=1)


def _cross() -> Points:
    arm = 0.33
    right = [(arm, -1.0), (arm, -arm), (1.0, -arm), (1.0, arm), (arm, arm), (arm, 1.0)]
    left = [(-arm, 1.0), (-arm, arm), (-1.0, arm), (-1.0, -arm), (-arm, -arm), (-arm, -1.0)]
    return _polygon(*right, *left)


def _arrow() -> Points:
    return _polygon((1, 0), (0.1, -0.8), (0.1, -0.3), (-1, -0.3), (-1, 0.3), (0.1, 0.3), (0.1, 0.8))


def _bolt() -> Points:
    return _polygon((0.25, -1), (-0.55, 0.15), (-0.05, 0.15), (-0.3, 1), (0.55, -0.25), (0.05, -0.25))


def _house() -> list[Layer]:
    walls = _polygon((0, -1), (0.95, -0.15), (0.7, -0.15), (0.7, 1), (-0.7, 1), (-0.7, -0.15), (-0.95, -0.15))
    door = _polygon((-0.2, 1.01), (-0.2, 0.35), (0.2, 0.35), (0.2, 1.01))
    return [(True, walls), (False, door)]


def _mushroom() -> list[Layer]:
    upper = _ellipse(0, -0.1, 1, 0.9)
    cap = upper[upper[:, 1] <= 0.01 - 0.1]
    stem = _polygon((-0.3, -0.15), (0.3, -0.15), (0.38, 1), (-0.38, 1))
    return [(True, cap), (True, stem)]


def _fish() -> list[Layer]:
    body, tail = _ellipse(-0.2, 0, 0.8, 0.52), _polygon((0.4, 0), (1, -0.55), (1, 0.55))
    return [(True, body), (True, tail), (False, _ellipse(-0.62, -0.12, 0.1, 0.1))]


SHAPES: dict[str, list[Layer]] = {
    "circle": [(True, _ellipse(0, 0, 1, 1))],
    "square": [(True, _polygon((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)))],
    "triangle": [(True, _polygon((0, -0.95), (1, 0.85), (-1, 0.85)))],
    "star": [(True, _star())],
    "cross": [(True, _cross())],
    "ring": [(True, _ellipse(0, 0, 1, 1)), (False, _ellipse(0, 0, 0.55, 0.55))],
    "heart": [(True, _heart())],
    "arrow": [(True, _arrow())],
    "diamond": [(True, _polygon((0, -1), (0.65, 0), (0, 1), (-0.65, 0)))],
    "plank": [(True, _polygon((-1, -0.25), (1, -0.25), (1, 0.25), (-1, 0.25)))],
    "crescent": [(True, _ellipse(0, 0, 1, 1)), (False, _ellipse(0.5, 0, 0.85, 0.85))],
    "house": _house(),
    "hourglass": [(True, _polygon((-0.7, -1), (0.7, -1), (0.1, 0), (0.7, 1), (-0.7, 1), (-0.1, 0)))],
    "bolt": [(True, _bolt())],
    "mushroom": _mushroom(),
    "fish": _fish(),
}


def place_shape(noun: str, center_xy: tuple[float, float], size: float, turn_rad: float) -> list[Layer]:
    """Return the layers of `noun` in px. size: longer side before turning; turn_rad: clockwise."""
    cos, sin = np.cos(turn_rad), np.sin(turn_rad)
    turn = np.array([[cos, sin], [-sin, cos]])
    return [(filled, points @ turn * (size / 2) + np.array(center_xy)) for filled, points in SHAPES[noun]]
