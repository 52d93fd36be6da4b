"""Coordination numbers at stated cutoffs, by pair of elements, and defects against the ideal numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from gendesign.analysis.neighbours import Bonds

IDEAL = {"Si": 4, "O": 2, "Ge": 4, "H": 1}  # of continuous random networks


@dataclass(frozen=True)
class Coordination:
    """Coordination of one element.

    mean: by element of the neighbour. histogram: share of atoms with 0, 1, 2, ... bonds to all elements.
    ideal: number of bonds of an atom without defect. defects: share of atoms with another number.
    """

    element: str
    n: int
    mean: Mapping[str, float]
    histogram: tuple[float, ...]
    ideal: int
    defects: float

    @property
    def total(self) -> float:
        """Mean number of bonds."""
        return sum(self.mean.values())


def coordination(atoms: Atoms, bonds: Bonds, ideal: Mapping[str, int] | None = None) -> list[Coordination]:
    """Coordination of every element; `ideal` replaces `IDEAL`. An element in neither has its most frequent number."""
    wanted = {**IDEAL, **(ideal or {})}
    symbols = [str(symbol) for symbol in dict.fromkeys(atoms.symbols)]
    names = np.array(atoms.get_chemical_symbols())
    masks = {symbol: names == symbol for symbol in symbols}
    out = []
    for symbol in sorted(symbols, key=lambda s: -int(atoms.numbers[masks[s]][0])):
        counts, n = bonds.counts[masks[symbol]], int(masks[symbol].sum())
        of = masks[symbol][bonds.i]
        mean = {other: float((of & masks[other][bonds.j]).sum() / n) for other in symbols}
        number = wanted.get(symbol, int(np.bincount(counts).argmax()))
        histogram = tuple(float(x) for x in np.bincount(counts) / n)
        out.append(Coordination(symbol, n, mean, histogram, number, float((counts != number).mean())))
    return out


def defect_mask(atoms: Atoms, bonds: Bonds, found: Sequence[Coordination]) -> np.ndarray:
    """Excess coordination of every atom (n,): negative for missing bonds, 0 without defect."""
    ideal = np.zeros(119, dtype=int)
    for one in found:
        ideal[atoms.numbers[atoms.symbols == one.element]] = one.ideal
    return bonds.counts - ideal[atoms.numbers]


def formula_counts(atoms: Atoms) -> Counter[str]:
    """Numbers of atoms by element."""
    return Counter(atoms.get_chemical_symbols())
