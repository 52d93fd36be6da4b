"""Counts and medians over the verdicts of a set of candidates; every measure is (value, n), nothing discarded."""

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
    """`verdicts[check][candidate]` of `n` attempts."""

    verdicts: dict[str, dict[int, Verdict]]
    n: int

    @classmethod
    def of(cls, verdicts: Sequence[Verdict], n: int) -> "Tally":
        by_check: dict[str, dict[int, Verdict]] = {}
        for verdict in verdicts:
            by_check.setdefault(verdict.check, {})[verdict.candidate] = verdict
        return cls(by_check, n)

    @property
    def valid(self) -> list[int]:
        """Candidates that are strictly valid."""
        return [i for i, verdict in self.verdicts.get("valid", {}).items() if verdict.passed]

    def heavy(self, candidate: int) -> Counter[str]:
        """Heavy atoms of a candidate by element; empty when its attempt ended without atoms."""
        formula = self.verdicts.get("formula", {}).get(candidate)
        counts = Counter(Formula(formula.value).count() if formula and formula.value else {})
        counts.pop("H", None)
        return counts

    def values(self, check: str) -> list[float | str | None]:
        """What `check` measured on the valid candidates; None where it has no answer."""
        verdicts = self.verdicts.get(check, {})
        return [verdicts[i].value if i in verdicts else None for i in self.valid]


def per_attempt(check: str) -> Callable[[Tally], Measured]:
    """Share of all attempts that passed."""

    def measure(tally: Tally) -> Measured:
        verdicts = tally.verdicts.get(check)
        passed = sum(v.passed is True for v in (verdicts or {}).values())
        return (_ratio(passed, tally.n) if verdicts else None), tally.n

    return measure


def per_valid(check: str, smallest: int = 0, largest: int = 10**6) -> Callable[[Tally], Measured]:
    """Share of the valid molecules of `smallest` to `largest` heavy atoms that passed."""

    def measure(tally: Tally) -> Measured:
        asked = [i for i in tally.valid if smallest <= tally.heavy(i).total() <= largest]
        verdicts = [tally.verdicts.get(check, {}).get(i) for i in asked]
        if all(verdict is None or verdict.passed is None for verdict in verdicts):
            return None, len(asked)
        return _ratio(sum(v is not None and v.passed is True for v in verdicts), len(asked)), len(asked)

    return measure


def median(check: str) -> Callable[[Tally], Measured]:
    """Median over the valid molecules; one without a number counts as infinite, so that failures cannot flatter."""

    def measure(tally: Tally) -> Measured:
        numbers = [np.inf if value is None else value for value in tally.values(check)]
        middle = float(np.median(numbers)) if numbers else np.inf
        return (middle if np.isfinite(middle) else None), len(numbers)

    return measure


def mean_over_attempts(check: str) -> Callable[[Tally], Measured]:
    """Mean over all attempts; one without a number counts as zero."""

    def measure(tally: Tally) -> Measured:
        verdicts = tally.verdicts.get(check)
        return (_ratio(sum(v.value or 0.0 for v in verdicts.values()), tally.n) if verdicts else None), tally.n

    return measure


def small_rings(tally: Tally) -> Measured:
    """Share of three- and four-membered rings among the rings of valid molecules."""
    sizes = [int(size) for text in tally.values("ring_sizes") for size in str(text or "").split()]
    return _ratio(sum(size <= SMALL_RING for size in sizes), len(sizes)), len(sizes)


def crashes(tally: Tally) -> Measured:
    """Attempts that ended without a verdict: neither judged valid nor rejected for a stated reason."""
    judged = [v for v in tally.verdicts.get("valid", {}).values() if v.passed is not None]
    return tally.n - len(judged), tally.n


def shares(tally: Tally, elements: Sequence[str]) -> tuple[dict[str, float], int]:
    """Fraction of each of `elements` among their atoms in all candidates, valid or not; how many atoms those are."""
    counts = sum((tally.heavy(i) for i in tally.verdicts.get("formula", {})), Counter())
    total = sum(counts[element] for element in elements)
    return {element: counts[element] / total if total else 0.0 for element in elements}, total


def variation(first: dict[str, float], second: dict[str, float]) -> float:
    """Total variation distance of two distributions over the same elements."""
    return sum(abs(first[element] - second[element]) for element in first) / 2


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
