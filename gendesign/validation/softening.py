"""Softening: whether predicted forces off equilibrium are systematically too small (Deng et al., arXiv 2405.07105)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure

from gendesign.structure.labels import kind_of, labels_of
from gendesign.structure.types import Row
from gendesign.validation.errors import ALL
from gendesign.validation.methods import Answer
from gendesign.validation.picture import OWN, grid

LEAST = 0.2  # eV/Angstrom: a structure with a smaller root mean square force is at equilibrium


def slope(reference: np.ndarray, predicted: np.ndarray) -> float:
    """Least-squares slope through the origin of predicted against reference forces; below 1 is too soft."""
    return float((reference * predicted).sum() / np.square(reference).sum())


def measure(frames: Sequence[Atoms], answers: Sequence[Answer | None]) -> dict[str, Any]:
    """Slope and number of the structures off equilibrium, over all structures and by class."""
    groups: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {ALL: []}
    for frame, answer in zip(frames, answers, strict=True):
        reference = labels_of(frame, need_forces=False)[1].ravel()  # NaN without forces; NaN is never above LEAST
        if answer is not None and np.sqrt(np.square(reference).mean()) > LEAST:
            for kind in (ALL, kind_of(frame)):
                groups.setdefault(kind, []).append((reference, answer.forces.ravel()))
    return {
        kind: {"slope": slope(*(np.concatenate(part) for part in zip(*pairs, strict=True))), "n": len(pairs)}
        for kind, pairs in groups.items()
        if pairs
    }


def rows(results: dict[str, Any]) -> list[Row]:
    """The slope over all structures off equilibrium."""
    row = results.get(ALL, {"slope": None, "n": 0})
    return [Row("force slope off equilibrium (1 is exact, less is too soft)", row["slope"], "", row["n"])]


def picture(results: dict[str, Any]) -> Figure | None:
    """The slope of every class."""
    if not results:
        return None
    figure, (panel,) = grid(1, columns=1, size=(4.6, 0.9 + 0.32 * len(results)))
    kinds = list(results)[::-1]
    panel.barh(kinds, [results[kind]["slope"] for kind in kinds], color=OWN, height=0.6)
    panel.axvline(1, color="0.3", lw=0.9)
    low = min(results[kind]["slope"] for kind in kinds)
    panel.set(xlabel="slope of predicted against reference forces", xlim=(min(0.8, low - 0.02), None))
    return figure
