"""Dimers: every pair of elements must repel at short range; curves are compared with the reference if there is one."""

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from matplotlib.figure import Figure

from gendesign.structure.types import Row
from gendesign.validation.methods import Method
from gendesign.validation.picture import OWN, REFERENCE, grid

SHORTEST, CONTACT = 0.5, 0.8  # Angstrom; fraction of the sum of covalent radii: every pair must repel in between
REFERENCE_EVERY = 3  # the reference, which is slow, is evaluated at every third distance
NOT_REPULSIVE = "element pairs not repulsive at short range"
ALONE = "of these, where the teacher repels at the outer end"

Pair = tuple[str, str]


def pairs_of(elements: Sequence[str]) -> list[Pair]:
    """Every unordered pair of elements."""
    return list(combinations_with_replacement(elements, 2))


def isolated(method: Method, elements: Sequence[str]) -> dict[str, float]:
    """Energy (eV) of an isolated atom of each element, NaN if the method has no answer."""
    answers = method.evaluate([Atoms([symbol]) for symbol in elements])
    return {s: np.nan if a is None else a.energy for s, a in zip(elements, answers, strict=True)}


def curve(method: Method, pair: Pair, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Total energy (eV) and repulsive force (eV/Angstrom) at each distance (Angstrom); NaN without an answer."""
    answers = method.evaluate([Atoms(pair, [[0, 0, 0], [0, 0, r]]) for r in distances])
    points = [(np.nan, np.nan) if a is None else (a.energy, a.forces[1, 2]) for a in answers]
    return tuple(np.array(points).T)


def contact_distances(pair: Pair) -> np.ndarray:
    """Distances (Angstrom) at which a pair must repel, 0.01 apart."""
    contact = CONTACT * sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair)
    # The contact distance of H-H is below SHORTEST; it is then tested at SHORTEST.
    return np.unique(np.append(np.arange(SHORTEST, contact, 0.01), max(contact, SHORTEST)))


def attraction(method: Method, pair: Pair, reference: Method | None = None) -> dict[str, Any] | None:
    """The range in which the atoms attract each other although they should repel, None if they repel everywhere.

    Returns from and to (Angstrom), and whether the reference attracts at the outer end as well (teacher_too): the
    minimum of N2 or CO lies within the tested range.
    """
    distances = contact_distances(pair)
    force = curve(method, pair, distances)[1]
    if (force > 0).all():
        return None
    low, high = distances[~(force > 0)][[0, -1]]
    reference_attracts = None if reference is None else bool(curve(reference, pair, np.array([high]))[1][0] < 0)
    return {"from": round(float(low), 2), "to": round(float(high), 2), "teacher_too": reference_attracts}


def measure(
    method: Method, elements: Sequence[str], reference: Method | None = None, longest: float = 5.0
) -> dict[str, Any]:
    """Energy curves up to `longest` (Angstrom) and attractive ranges of every pair of `elements`."""
    distances = np.concatenate([np.arange(SHORTEST, 2.5, 0.05), np.arange(2.5, longest + 1e-9, 0.25)])
    coarse = distances[::REFERENCE_EVERY]
    isolated_energies = isolated(method, elements)
    reference_energies = None if reference is None else isolated(reference, elements)
    curves = {}
    for pair in pairs_of(elements):
        energy = curve(method, pair, distances)[0] - sum(isolated_energies[symbol] for symbol in pair)
        row: dict[str, Any] = {"energy": _plain(energy), "attractive": attraction(method, pair, reference)}
        if reference is not None:
            expected = curve(reference, pair, coarse)[0] - sum(reference_energies[symbol] for symbol in pair)
            row["reference"] = _plain(expected)
        curves["-".join(pair)] = row
    return {"distances": distances.round(6).tolist(), "reference_distances": coarse.round(6).tolist(), "pairs": curves}


def _plain(values: np.ndarray) -> list[float | None]:
    return [round(float(v), 6) if np.isfinite(v) else None for v in values]


def rows(results: dict[str, Any]) -> list[Row]:
    """The number of pairs that attract at short range."""
    wrong = [row["attractive"] for row in results["pairs"].values() if row["attractive"]]
    n = len(results["pairs"])
    out = [Row(NOT_REPULSIVE, len(wrong), "pairs", n)]
    if any("reference" in row for row in results["pairs"].values()):
        out.append(Row(ALONE, sum(not row["teacher_too"] for row in wrong), "pairs", n))
    return out


def picture(results: dict[str, Any]) -> Figure:
    """Energy against distance of every pair: the potential as a line, the reference as points."""
    pairs = results["pairs"]
    figure, panels = grid(len(pairs), columns=7, size=(1.9, 1.6), sharex=True)
    for panel, (name, row) in zip(panels, pairs.items(), strict=True):
        energy, reference = (np.array(row.get(key) or [], dtype=float) for key in ("energy", "reference"))
        panel.plot(results["distances"], energy, color=OWN, lw=1.3)
        low = -1.0
        if len(reference):
            panel.plot(results["reference_distances"], reference, ".", color=REFERENCE, ms=3)
            low = min(low, float(np.nanmin(reference)) if np.isfinite(reference).any() else low)
        panel.set_ylim(1.3 * low, max(5.0, -low))
        panel.set_title(name + (" (attracts)" if row["attractive"] else ""), fontsize=8, pad=2)
        panel.axhline(0, color="0.8", lw=0.6, zorder=0)
    figure.supxlabel("distance (Angstrom)", fontsize=9)
    figure.supylabel("energy relative to the isolated atoms (eV)", fontsize=9)
    return figure
