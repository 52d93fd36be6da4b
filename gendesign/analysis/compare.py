"""Comparison of a computed curve with a measured one in a file of two columns."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gendesign.errors import UserError
from gendesign.structure.formats import read_text


@dataclass(frozen=True)
class Measured:
    """A measured curve: x (points,), increasing, and y (points,)."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Agreement:
    """Agreement of a computed with a measured curve on the measured points where both exist.

    r_factor: sqrt(sum (y - s f)^2 / sum y^2). scale: the factor s, fitted if asked for, else 1. low, high: range of x.
    """

    r_factor: float
    scale: float
    low: float
    high: float
    n: int


def read_curve(path: str | Path) -> Measured:
    """Two columns of numbers; further columns, and lines that begin with # or hold no numbers, are left out."""
    rows = []
    for line in read_text(Path(path)).splitlines():
        words = line.replace(",", " ").split("#")[0].split()
        try:
            rows.append([float(word) for word in words[:2]])
        except ValueError:
            continue
    rows = [row for row in rows if len(row) == 2 and np.isfinite(row).all()]
    if len(rows) < 5:
        raise UserError(
            f"{path} has {len(rows)} lines of two numbers; give a file with two columns and 5 lines or more"
        )
    table = np.array(sorted(rows))
    return Measured(table[:, 0], table[:, 1])


def agreement(x: np.ndarray, computed: np.ndarray, measured: Measured, fit_scale: bool = False) -> Agreement:
    """R factor of a computed curve, interpolated linearly to the measured points within its range."""
    inside = (measured.x >= x[0]) & (measured.x <= x[-1])
    if inside.sum() < 5:
        raise UserError(
            f"the measured curve from {measured.x[0]:g} to {measured.x[-1]:g} shares fewer than 5 points with the "
            f"computed one from {x[0]:g} to {x[-1]:g}; give a larger r_max or q_max"
        )
    at, y = measured.x[inside], measured.y[inside]
    f = np.interp(at, x, computed)
    scale = float((y @ f) / (f @ f)) if fit_scale and f @ f > 0 else 1.0
    factor = float(np.sqrt(((y - scale * f) ** 2).sum() / (y**2).sum()))
    return Agreement(factor, scale, float(at[0]), float(at[-1]), int(inside.sum()))
