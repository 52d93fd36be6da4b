"""A requested condition as a check: one verdict per candidate and one row in the table of a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from ase import Atoms
from rdkit import Chem

from gendesign.structure.bonds import perceive
from gendesign.structure.types import Candidate, Verdict


@dataclass(frozen=True)
class Finding:
    """The result of a condition for one structure: whether it is met (None for a measurement), a value and a reason."""

    passed: bool | None
    value: float | str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Subject:
    """The input of a condition: a structure without its cell, its candidate, and its molecule.

    mol is None for conditions that do not need a molecule.
    """

    atoms: Atoms
    candidate: Candidate
    mol: Chem.Mol | None = None


@dataclass(frozen=True)
class Condition:
    """A condition requested from a generator, as a `Check` (structure/types.py).

    name: the check of its verdicts. title: the name of its row. evaluate: the result for one structure, also an invalid
    one.
    passes: the row is the fraction of all attempts that meet the condition; if False, it is the median of the values.
    needs_molecule: the condition depends on bonds, so that a structure without a valid molecule does not meet it.
    """

    name: str
    title: str
    evaluate: Callable[[Subject], Finding]
    unit: str = ""
    passes: bool = True
    needs_molecule: bool = False

    def __call__(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict for each candidate, in order."""
        return [self._verdict(candidate) for candidate in candidates]

    def _verdict(self, candidate: Candidate) -> Verdict:
        atoms = candidate.atoms
        if not len(atoms) or not np.isfinite(atoms.positions).all():
            return self._missed(candidate, candidate.failure or "no atoms")
        bare = Atoms(atoms.numbers, atoms.positions)
        perceived = perceive(bare) if self.needs_molecule else None
        if perceived is not None and perceived.mol is None:
            return self._missed(candidate, candidate.failure or f"not valid: {perceived.reason}")
        finding = self.evaluate(Subject(bare, candidate, None if perceived is None else perceived.mol))
        return Verdict(candidate.index, self.name, finding.passed, finding.value, self.unit, finding.reason)

    def _missed(self, candidate: Candidate, reason: str) -> Verdict:
        return Verdict(candidate.index, self.name, False if self.passes else None, None, self.unit, reason)

    def row(self, verdicts: Sequence[Verdict], n: int) -> dict[str, Any]:
        """The row of the table (name, value, unit, n) from the verdicts of a run with `n` attempts."""
        verdicts = [v for v in verdicts if v.check == self.name]
        if self.passes:
            met = sum(v.passed is True for v in verdicts)
            return {"name": self.title, "value": met / n if n else None, "unit": "fraction", "n": n}
        values = [float(v.value) for v in verdicts if isinstance(v.value, int | float)]
        return {"name": self.title, "value": median(values) if values else None, "unit": self.unit, "n": len(values)}
