"""Types that all parts of the package share."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NotRequired, Protocol, TypedDict

from ase import Atoms

if TYPE_CHECKING:  # torch takes seconds to import, and files or bonds do not need it
    from torch import Tensor

TARGET = re.compile(r"(>=|<=) (-?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Prediction:
    """The prediction of a potential for a batch, in eV and Angstrom.

    energy (systems,); forces (atoms, 3); atom_energy (atoms,) and stress (systems, 3, 3) in eV/Angstrom^3, None if the
    potential has none or it was not requested. Standard deviations, None if not estimated: standard_deviation
    (systems,) of the energy, force_deviation (atoms, 3) of the forces, atom_deviation (atoms,) of the energies per
    atom.
    """

    energy: Tensor
    forces: Tensor
    atom_energy: Tensor | None = None
    stress: Tensor | None = None
    standard_deviation: Tensor | None = None
    force_deviation: Tensor | None = None
    atom_deviation: Tensor | None = None


@dataclass(frozen=True)
class Candidate:
    """One structure from a generator and the steps applied to it.

    index: number of the attempt within the run. failure: why the attempt ended without a usable structure; `atoms` is
    then the last state, possibly empty. history: the steps in order. info: plain values (float, int, str, bool) from
    later steps, such as energy, fmax, converged.
    """

    atoms: Atoms
    index: int
    generator: str = "file"
    seed: int = 0
    parent: int | None = None
    history: tuple[str, ...] = ()
    failure: str | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def after(self, step: str, atoms: Atoms | None = None, failure: str | None = None, **info: Any) -> Candidate:
        """The candidate after one more step, with new atoms and additional info if given.

        An earlier failure is kept.
        """
        return replace(
            self,
            atoms=self.atoms if atoms is None else atoms,
            history=(*self.history, step),
            failure=self.failure or failure,
            info={**self.info, **info},
        )


@dataclass(frozen=True)
class Verdict:
    """One row of verdicts.parquet: the result of one check for one candidate. `passed` is None for a measurement."""

    candidate: int
    check: str
    passed: bool | None
    value: float | str | None = None
    unit: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """One measured number with its sample size `n`.

    value is None if nothing could be measured; target is None or a text such as ">= 0.90". Raises ValueError for a
    malformed target.
    """

    name: str
    value: float | None
    unit: str
    n: int
    target: str | None = None

    def __post_init__(self) -> None:
        if self.target is not None and not TARGET.fullmatch(self.target):
            raise ValueError(f"{self.name}: the target {self.target!r} is neither '>= NUMBER' nor '<= NUMBER'")

    @property
    def met(self) -> bool | None:
        """Whether the value reaches the target; None without a target, False if the value was not measured."""
        if self.target is None:
            return None
        if self.value is None or not math.isfinite(self.value):
            return False
        relation, number = self.target.split()
        return self.value >= float(number) if relation == ">=" else self.value <= float(number)


class TableRow(TypedDict):
    """One row of the table of a run, as in summary.json.

    value: None if nothing was measured. reason: why it was not measured, or what was omitted. n: sample size.
    references: the same number for the reference molecules.
    """

    name: str
    value: float | str | None
    unit: str
    n: int
    reason: NotRequired[str]
    references: NotRequired[float | None]


class Score(Protocol):
    """A vector per atom (atoms, 3) that a sampler follows, such as the gradient of a log density; scores add."""

    def __call__(self, state: Any, sigma: float) -> Tensor:
        """The score (atoms, 3) of `state` at the noise level `sigma` in Angstrom."""


class Check(Protocol):
    """A check of candidates."""

    def __call__(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """Any number of verdicts for each candidate."""
