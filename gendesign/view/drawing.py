"""What was drawn, as points in space: curves through points, and brush strokes with a density."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

CHAIN = 1.28  # Angstrom along a zigzag chain per atom, as in generate/simgen/shape.py
VOLUME = 15.0  # Angstrom^3 per heavy atom
STEP = 0.16  # Angstrom between the points of a curve
FEWEST = 3
Stroke = Mapping[str, Any]


def spline(points: Sequence[Sequence[float]], closed: bool = False, step: float = STEP) -> np.ndarray:
    """Points (points, 3) at equal distances along the Catmull-Rom curve through `points` (corners, 3), in Angstrom."""
    corners = np.asarray(points, float).reshape(-1, 3)
    corners = corners[[k for k in range(len(corners)) if k == 0 or np.ptp(corners[k - 1 : k + 1], axis=0).any()]]
    if len(corners) < 2:
        return corners
    closed = closed and len(corners) > 2
    padded = (
        np.concatenate([corners[-1:], corners, corners[:2]])
        if closed
        else np.concatenate([2 * corners[:1] - corners[1:2], corners, 2 * corners[-1:] - corners[-2:-1]])
    )
    t = np.linspace(0, 1, 24, endpoint=False)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False)
    ]
    curve = np.concatenate([*pieces, padded[-2:-1]])
    arc = np.concatenate([[0.0], np.linalg.norm(np.diff(curve, axis=0), axis=1).cumsum()])
    count = max(2, round(arc[-1] / step) + 1)
    even = np.linspace(0, arc[-1], count, endpoint=not closed)
    return np.stack([np.interp(even, arc, curve[:, k]) for k in range(3)], -1)


def length(stroke: Stroke) -> float:
    """Length of a curve in Angstrom, the closing piece included."""
    points = spline(stroke["points"], stroke.get("closed", False))
    if stroke.get("closed", False) and len(points) > 2:
        points = np.concatenate([points, points[:1]])
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def brushed(stroke: Stroke) -> np.ndarray:
    """Points (points, 3) in the balls of a brush stroke, `density` of them per Angstrom^3 of a ball. Deterministic."""
    radius, density = float(stroke.get("radius", 1.0)), float(stroke.get("density", 1.0))
    count = max(1, round(density * 4 / 3 * np.pi * radius**3))
    k = np.arange(count)
    # equal volumes between shells, turned by the golden angle
    z, angle = 1 - (2 * k + 1) / count, np.pi * (3 - np.sqrt(5)) * k
    ring, shell = np.sqrt(1 - z**2), radius * ((k * 0.7548776662 + 0.5) % 1) ** (1 / 3)
    ball = shell[:, None] * np.stack([ring * np.cos(angle), ring * np.sin(angle), z], -1)
    return (np.asarray(stroke["points"], float).reshape(-1, 1, 3) + ball).reshape(-1, 3)


def cloud(strokes: Sequence[Stroke]) -> np.ndarray:
    """The points (points, 3) of all strokes, in Angstrom."""
    parts = [
        spline(stroke["points"], stroke.get("closed", False)) if stroke["type"] == "curve" else brushed(stroke)
        for stroke in strokes
    ]
    return np.concatenate([np.empty((0, 3)), *parts])


def suggested_atoms(strokes: Sequence[Stroke]) -> int:
    """How many heavy atoms fill what was drawn: a chain along curves, VOLUME for each in brush strokes."""
    along = sum(length(stroke) / CHAIN + (not stroke.get("closed", False)) for stroke in strokes if _is_curve(stroke))
    cells = {
        tuple(cell)
        for stroke in strokes
        if not _is_curve(stroke)
        for cell in np.floor(brushed({**stroke, "density": 8.0}) / 0.5).astype(int).tolist()
    }
    return max(FEWEST, round(along + 0.125 * len(cells) / (VOLUME / 2)))


def _is_curve(stroke: Stroke) -> bool:
    return bool(stroke["type"] == "curve")
