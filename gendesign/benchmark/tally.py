"""Counts and medians over the verdicts of a set of candidates. Every measure returns (value, n) over all candidates."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase.formula import Formula

from gendesign.structure.types import Verdict

Measured = tuple[float | None, int]
SMALL_RING = 4


@dataclass(frozen=True)
class Tally:
    """The verdicts of `n` attempts, as `verdicts[check][candidate]`."""

    verdicts: dict[str, dict[int, Verdict]]
    n: int

    @classmethod
    def of(cls, verdicts: Sequence[Verdict], n: int) -> "Tally":
        """A tally of a list of verdicts of `n` attempts."""
        by_check: dict[str, dict[int, Verdict]] = {}
        for verdict in verdicts:
            by_check.setdefault(verdict.check, {})[verdict.candidate] = verdict
        return cls(by_check, n)

    @property
    def valid(self) -> list[int]:
        """Candidates that are strictly valid."""
        return [i for i, verdict in self.verdicts.get("valid", {}).items() if verdict.passed]

    def heavy(self, candidate: int) -> Counter[str]:
        """Heavy atoms of a candidate by element; empty if its attempt ended without atoms."""
        formula = self.verdicts.get("formula", {}).get(candidate)
        counts = Counter(Formula(formula.value).count() if formula and formula.value else {})
        counts.pop("H", None)
        return counts

    def values(self, check: str) -> list[float | str | None]:
        """Values of `check` for the valid candidates, None where it has no value."""
        verdicts = self.verdicts.get(check, {})
        return [verdicts[i].value if i in verdicts else None for i in self.valid]


def per_attempt(check: str) -> Callable[[Tally], Measured]:
    """Fraction of all attempts that passed `check`."""

    def measure(tally: Tally) -> Measured:
        verdicts = tally.verdicts.get(check)
        passed = sum(v.passed is True for v in (verdicts or {}).values())
        return (_ratio(passed, tally.n) if verdicts else None), tally.n

    return measure


def per_valid(check: str, smallest: int = 0, largest: int = 10**6) -> Callable[[Tally], Measured]:
    """Fraction of the valid molecules of `smallest` to `largest` heavy atoms that passed `check`."""

    def measure(tally: Tally) -> Measured:
        selected = [i for i in tally.valid if smallest <= tally.heavy(i).total() <= largest]
        verdicts = [tally.verdicts.get(check, {}).get(i) for i in selected]
        if all(verdict is None or verdict.passed is None for verdict in verdicts):
            return None, len(selected)
        return _ratio(sum(v is not None and v.passed is True for v in verdicts), len(selected)), len(selected)

    return measure


def median(check: str) -> Callable[[Tally], Measured]:
    """Median over the valid molecules.

    A molecule without a number counts as infinite, so that failures count against.
    """

    def measure(tally: Tally) -> Measured:
        numbers = [np.inf if value is None else value for value in tally.values(check)]
        middle = float(np.median(numbers)) if numbers else np.inf
        return (middle if np.isfinite(middle) else None), len(numbers)

    return measure


def mean_over_attempts(check: str) -> Callable[[Tally], Measured]:
    """Mean over all attempts; an attempt without a number counts as zero."""

    def measure(tally: Tally) -> Measured:
        verdicts = tally.verdicts.get(check)
        return (_ratio(sum(v.value or 0.0 for v in verdicts.values()), tally.n) if verdicts else None), tally.n

    return measure


def small_rings(tally: Tally) -> Measured:
    """Fraction of three- and four-membered rings among the rings of valid molecules."""
    sizes = [int(size) for text in tally.values("ring_sizes") for size in str(text or "").split()]
    return _ratio(sum(size <= SMALL_RING for size in sizes), len(sizes)), len(sizes)


def crashes(tally: Tally) -> Measured:
    """Number of attempts without a verdict, that is, neither valid nor rejected with a reason."""
    decided = [v for v in tally.verdicts.get("valid", {}).values() if v.passed is not None]
    return tally.n - len(decided), tally.n


def shares(tally: Tally, elements: Sequence[str]) -> tuple[dict[str, float], int]:
    """Fraction of each of `elements` among the atoms of these elements in all candidates, and the number of atoms."""
    counts = sum((tally.heavy(i) for i in tally.verdicts.get("formula", {})), Counter())
    total = sum(counts[element] for element in elements)
    return {element: counts[element] / total if total else 0.0 for element in elements}, total


def variation(first: dict[str, float], second: dict[str, float]) -> float:
    """Total variation distance of two distributions over the same elements."""
    return sum(abs(first[element] - second[element]) for element in first) / 2


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
