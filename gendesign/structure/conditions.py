"""A requested condition as a check: one verdict for each candidate, one row in the table of a run."""

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
    """What a condition says of one structure: whether it is met (None: a plain measurement), a value, a reason."""

    passed: bool | None
    value: float | str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Subject:
    """What a condition looks at: a structure without its cell, the candidate it belongs to, and its molecule (None for
    conditions that do not need one)."""

    atoms: Atoms
    candidate: Candidate
    mol: Chem.Mol | None = None


@dataclass(frozen=True)
class Condition:
    """A condition that a generator was given, as a `Check` (structure/types.py).

    `name` is the check of its verdicts, `title` the name of its row; `judge` looks at one structure, whatever else is
    wrong with it. With `passes` the row is the share of all attempts that meet it; without, it is the median of the
    values. `needs_molecule`: bonds count, so a structure that is no valid molecule does not meet it.
    """

    name: str
    title: str
    judge: Callable[[Subject], Finding]
    unit: str = ""
    passes: bool = True
    needs_molecule: bool = False

    def __call__(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        return [self._verdict(candidate) for candidate in candidates]

    def _verdict(self, candidate: Candidate) -> Verdict:
        atoms = candidate.atoms
        if not len(atoms) or not np.isfinite(atoms.positions).all():
            return self._missed(candidate, candidate.failure or "no atoms")
        bare = Atoms(atoms.numbers, atoms.positions)
        perceived = perceive(bare) if self.needs_molecule else None
        if perceived is not None and perceived.mol is None:
            return self._missed(candidate, candidate.failure or f"not valid: {perceived.reason}")
        finding = self.judge(Subject(bare, candidate, None if perceived is None else perceived.mol))
        return Verdict(candidate.index, self.name, finding.passed, finding.value, self.unit, finding.reason)

    def _missed(self, candidate: Candidate, reason: str) -> Verdict:
        return Verdict(candidate.index, self.name, False if self.passes else None, None, self.unit, reason)

    def row(self, verdicts: Sequence[Verdict], n: int) -> dict[str, Any]:
        """The row of `n` attempts from the verdicts of a run: name, value, unit, n."""
        own = [v for v in verdicts if v.check == self.name]
        if self.passes:
            met = sum(v.passed is True for v in own)
            return {"name": self.title, "value": met / n if n else None, "unit": "fraction", "n": n}
        values = [float(v.value) for v in own if isinstance(v.value, int | float)]
        return {"name": self.title, "value": median(values) if values else None, "unit": self.unit, "n": len(values)}
