"""A common interface of potentials, evaluated in batches, and teachers, evaluated structure by structure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, SCFError
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS
from ase.stress import voigt_6_to_full_3x3_stress

from gendesign.errors import UserError
from gendesign.potential.batching import in_batches
from gendesign.potential.protocol import PotentialLike
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.types import Candidate

Teacher = Callable[[Atoms], Calculator]
MAX_STEP = 0.15  # Angstrom, of a teacher's relaxation
MAX_STRESS = 0.01  # GPa, of a relaxed cell


@dataclass(frozen=True)
class Answer:
    """The result of a method for one structure.

    energy in eV; forces (atoms, 3) in eV/Angstrom; stress (3, 3) in eV/Angstrom^3, positive under tension, or None.
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray | None = None


@dataclass(frozen=True)
class Relaxed:
    """The final structure of a relaxation, without calculator and constraints."""

    atoms: Atoms
    converged: bool


class Method(Protocol):
    """Energies and minima by a potential or a teacher."""

    name: str

    def evaluate(self, structures: Sequence[Atoms], *, stress: bool = False) -> list[Answer | None]:
        """Energies and forces of each structure, with stresses on request; None where the method fails."""

    def relax(
        self, structures: Sequence[Atoms], *, fmax: float, steps: int = 500, cell: bool = False
    ) -> list[Relaxed | None]:
        """Relax each structure to `fmax` (eV/Angstrom), also its cell on request; None where the method fails."""


@dataclass(frozen=True)
class Batched:
    """A potential that is evaluated for many structures at once, at most `max_atoms` atoms per call."""

    potential: PotentialLike
    max_atoms: int = 1000

    @property
    def name(self) -> str:
        """Name of the potential."""
        return self.potential.name

    def evaluate(self, structures: Sequence[Atoms], *, stress: bool = False) -> list[Answer | None]:
        """Evaluate structures of one periodicity."""
        answers: list[Answer | None] = []
        for batch in in_batches(structures, self.max_atoms):
            prediction = self.potential.evaluate(batch, stress=stress)
            forces = prediction.forces.double().cpu().split([len(atoms) for atoms in batch])
            for k, structure_forces in enumerate(forces):
                tensor = prediction.stress[k].double().cpu().numpy() if stress else None
                answers.append(_finite(Answer(float(prediction.energy[k]), structure_forces.numpy(), tensor)))
        return answers

    def relax(
        self, structures: Sequence[Atoms], *, fmax: float, steps: int = 500, cell: bool = False
    ) -> list[Relaxed | None]:
        """Relax all structures together; FixAtoms constraints are applied."""
        settings = Relaxation(fmax=fmax, max_steps=steps, cell=cell, max_stress=MAX_STRESS, max_atoms=self.max_atoms)
        candidates = [Candidate(bare(atoms, constraints=True), k) for k, atoms in enumerate(structures)]
        prediction = relax(candidates, self.potential, settings)
        return [None if c.failure else Relaxed(bare(c.atoms), bool(c.info["converged"])) for c in prediction]


@dataclass(frozen=True)
class OneByOne:
    """A teacher: any callable that makes an ASE calculator for a structure."""

    teacher: Teacher
    name: str = "teacher"

    def evaluate(self, structures: Sequence[Atoms], *, stress: bool = False) -> list[Answer | None]:
        """Evaluate the structures one by one; None where the teacher does not converge."""
        return [self._answer(bare(atoms), stress) for atoms in structures]

    def relax(
        self, structures: Sequence[Atoms], *, fmax: float, steps: int = 500, cell: bool = False
    ) -> list[Relaxed | None]:
        """Relax the structures one by one with L-BFGS; FixAtoms constraints are applied."""
        return [self._relaxed(bare(atoms, constraints=True), fmax, steps, cell) for atoms in structures]

    def _answer(self, work: Atoms, stress: bool) -> Answer | None:
        try:
            work.calc = self.teacher(work)
            tensor = voigt_6_to_full_3x3_stress(work.get_stress()) if stress else None
            return _finite(Answer(float(work.get_potential_energy()), work.get_forces(apply_constraint=False), tensor))
        except NotImplementedError as error:
            raise self._unable(work, error) from error
        except failures():
            return None

    def _relaxed(self, work: Atoms, fmax: float, steps: int, cell: bool) -> Relaxed | None:
        try:
            work.calc = self.teacher(work)
            moving = FrechetCellFilter(work) if cell else work
            converged = LBFGS(moving, logfile=None, maxstep=MAX_STEP).run(fmax=fmax, steps=steps)
        except NotImplementedError as error:
            raise self._unable(work, error) from error
        except failures():
            return None
        return Relaxed(bare(work), bool(converged)) if np.isfinite(work.positions).all() else None

    def _unable(self, atoms: Atoms, error: NotImplementedError) -> UserError:
        """The UserError for a NotImplementedError, which ASE's calculators raise for unknown elements."""
        reason = " ".join(str(error).split()) or "not implemented"
        return UserError(
            f"teacher {self.name} cannot do {atoms.get_chemical_formula()}: {reason}; choose another teacher"
        )


def failures() -> tuple[type[Exception], ...]:
    """Errors that teachers raise for a structure that they cannot compute."""
    from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError

    return CalculationFailed, SCFError, TBLiteRuntimeError, TBLiteValueError


def bare(atoms: Atoms, *, constraints: bool = False) -> Atoms:
    """A copy with numbers, positions and cell only, and with the constraints on request."""
    constraint = atoms.constraints if constraints else None
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, constraint=constraint)


def _finite(answer: Answer) -> Answer | None:
    return answer if np.isfinite(answer.energy) and np.isfinite(answer.forces).all() else None
