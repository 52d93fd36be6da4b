"""Compositions: limits on the numbers of atoms by element, and numbers drawn within them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers

from gendesign.errors import UserError
from gendesign.generate.simgen.skeleton import VALENCE
from gendesign.structure.formula import parse_formula

HYPERVALENT = {"S": 2}  # how far below zero one atom may bring the count of rings and pi bonds


@dataclass(frozen=True)
class Limits:
    """Fewest and most atoms of each allowed heavy element (elements,), and the number of hydrogens if fixed."""

    low: np.ndarray
    high: np.ndarray
    hydrogens: int | None = None

    @property
    def total(self) -> tuple[int, int]:
        """Fewest and most heavy atoms."""
        return int(self.low.sum()), int(min(self.high.sum(), 10**6))

    def drawn(self, share: np.ndarray, n: int, u: float) -> np.ndarray:
        """Numbers (elements,) that add up to `n` within the limits, near `share` (elements,) of n rounded by u."""
        edges = np.floor(np.cumsum(share) / share.sum() * n + u + 1e-9)
        counts = np.diff(np.concatenate([[np.floor(u)], edges])).astype(int)
        counts = np.clip(counts, self.low, self.high)
        while (excess := counts.sum() - n) != 0:
            room = counts - self.low if excess > 0 else self.high - counts
            # change the element that is farthest, in proportion, from what was wanted
            distance = np.where(room > 0, (counts + 1.0) / (share * n + 1.0) * np.sign(excess), -np.inf)
            counts[int(np.argmax(distance))] -= int(np.sign(excess))
        return counts


def limits_of(formula: str | None, counts: str | None, elements: Sequence[str]) -> Limits | None:
    """The limits that an exact formula or ranges such as "N0-2 O1" set on `elements`; None when there are neither.

    Raises UserError for a formula that no closed-shell molecule has, and for elements that are not allowed.
    """
    if formula is None and counts is None:
        return None
    formula, counts = (None if text is None else str(text) for text in (formula, counts))
    low, high = np.zeros(len(elements), int), np.full(len(elements), 10**6)
    if formula is not None:
        exact = parse_formula(formula)
        _refuse_open_shell(formula, exact)
        hydrogens = exact.pop("H", 0)
        for k, element in enumerate(elements):
            low[k] = high[k] = exact.get(element, 0)
        return Limits(low, high, hydrogens)
    for element, least, most in _ranges(counts):
        if element not in elements:
            raise UserError(
                f"generator.counts={counts}: {element} is not among generator.elements={list(elements)}; "
                "allow it there or leave it out"
            )
        k = list(elements).index(element)
        low[k], high[k] = least, most
    return Limits(low, high)


def elements_of(formula: str) -> list[str]:
    """Heavy elements of a formula, carbon first."""
    heavy = sorted(e for e in parse_formula(str(formula)) if e != "H")
    return sorted(heavy, key=lambda e: e != "C")


def unsaturation_of(counts: Mapping[str, int]) -> float:
    """Rings plus pi bonds of a neutral molecule of these atoms."""
    return 1 + sum((VALENCE.get(e, 1) - 2) * n for e, n in counts.items()) / 2


def _ranges(text: str) -> list[tuple[str, int, int]]:
    well_formed = re.fullmatch(r"(\s*[A-Z][a-z]?\d+(-\d+)?[\s,]*)+", text)
    ranges = [(e, int(low), int(high or low)) for e, low, high in re.findall(r"([A-Z][a-z]?)(\d+)(?:-(\d+))?", text)]
    if well_formed is None or any(low > high for _, low, high in ranges):
        raise UserError(f"generator.counts={text!r}: write numbers or ranges by element, such as N0-2 O1")
    return ranges


def weights_of(text: str | None, elements: Sequence[str]) -> dict[int, float]:
    """Weights by atomic number of a text such as "N2 O0.5"; raises UserError for anything else."""
    if text is None:
        return {}
    text = str(text)
    weights = re.findall(r"([A-Z][a-z]?)(\d*\.?\d+)", text)
    if not re.fullmatch(r"(\s*[A-Z][a-z]?\d*\.?\d+[\s,]*)+", text) or any(e not in elements for e, _ in weights):
        raise UserError(
            f"generator.importance={text!r}: write weights by element, such as N2 O0.5, for {' '.join(elements)}"
        )
    return {atomic_numbers[e]: float(weight) for e, weight in weights}


def _refuse_open_shell(formula: str, counts: Mapping[str, int]) -> None:
    if unknown := [e for e in counts if e != "H" and e not in VALENCE]:
        raise UserError(f"generator.formula={formula}: no molecules of {unknown[0]}; choose from H {' '.join(VALENCE)}")
    if not any(e != "H" for e in counts):
        raise UserError(f"generator.formula={formula} has no heavy atom; give one such as C7H8N2O2")
    rings = unsaturation_of(counts)
    least = -sum(HYPERVALENT.get(e, 0) * n for e, n in counts.items())
    if rings != int(rings):
        raise UserError(
            f"generator.formula={formula}: no neutral closed-shell molecule has it; one hydrogen more or fewer would do"
        )
    if rings < least:
        most = counts.get("H", 0) + 2 * int(rings - least)
        raise UserError(f"generator.formula={formula} has too many hydrogens; these heavy atoms bear {most} at most")


def numbers_of(counts: np.ndarray, elements: Sequence[str]) -> np.ndarray:
    """Atomic numbers (atoms,) from the numbers of each element."""
    return np.repeat([atomic_numbers[e] for e in elements], counts)
