"""The few types that every room shares."""

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
    """What a potential says of a batch; eV and Angstrom.

    energy (systems,), forces (atoms, 3); atom_energy (atoms,) and stress (systems, 3, 3) in eV/Angstrom^3, None where
    the potential has none or was not asked; standard_deviation (systems,) of the energy, force_deviation (atoms, 3) and
    atom_deviation (atoms,) of forces and per-atom energies, None where it was not estimated.
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
    """One structure a generator proposed and what has been done to it since.

    `index` numbers the attempt within the run; `failure` says why the attempt ended without a usable structure
    (`atoms` then holds whatever was reached, possibly nothing). `history` lists the steps in order; `info` holds plain
    values (float, int, str, bool) that later steps stored, such as energy, fmax, converged.
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
        """The candidate after one more step of its history."""
        return replace(
            self,
            atoms=self.atoms if atoms is None else atoms,
            history=(*self.history, step),
            failure=self.failure or failure,
            info={**self.info, **info},
        )


@dataclass(frozen=True)
class Verdict:
    """One row of verdicts.parquet: what one check says of one candidate. `passed` is None for a plain measurement."""

    candidate: int
    check: str
    passed: bool | None
    value: float | str | None = None
    unit: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """One measured number: `value` None where nothing could be measured, `target` such as ">= 0.90", `n` its sample."""

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
        """Whether the value reaches the target; None without one. What was not measured misses it."""
        if self.target is None:
            return None
        if self.value is None or not math.isfinite(self.value):
            return False
        relation, number = self.target.split()
        return self.value >= float(number) if relation == ">=" else self.value <= float(number)


class TableRow(TypedDict):
    """One row of the table of a run, as summary.json holds it.

    value None where nothing was measured, and reason then says why, or what was left out; n: the sample behind the
    value; references: the same number for the molecules that candidates resemble.
    """

    name: str
    value: float | str | None
    unit: str
    n: int
    reason: NotRequired[str]
    references: NotRequired[float | None]


class Score(Protocol):
    """A vector per atom, (atoms, 3), that a sampler follows; scores add."""

    def __call__(self, state: Any, sigma: float) -> Tensor: ...


class Check(Protocol):
    """Judge candidates; any number of verdicts each."""

    def __call__(self, candidates: Sequence[Candidate]) -> list[Verdict]: ...
