"""What a teacher is: a method that labels structures with energy, forces and, in crystals, stress."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import ground_state_magnetic_moments
from hydra.utils import get_class

from gendesign.errors import UserError
from gendesign.fields import check_bounds, settings_of
from gendesign.potential.reference import lowest_multiplicity

ABSURD = 1e6  # eV per atom; no atom up to uranium has so much, all electrons counted
Attempt = tuple[Calculator, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Teacher(ABC):
    """The settings of one method. Subclasses are the `_target_`s of conf/teacher.

    Settings that do not belong to the identity of a run say by what means a label is made; all others, but those in
    `noted`, which labels name by themselves, are part of what a label says of its teacher.
    """

    periodic: ClassVar[bool] = True
    molecules: ClassVar[bool] = True
    noted: ClassVar[tuple[str, ...]] = ()
    most_per_shard: ClassVar[int | None] = None  # 1 where a single label is dear

    def __post_init__(self) -> None:
        check_bounds(self, "teacher")

    @cached_property
    def title(self) -> str:
        """What the method is called."""
        return type(self).__name__

    @cached_property
    def about(self) -> str:
        """Name and settings, as labels carry them."""
        part = [key for key, about in settings_of(type(self)).items() if about.identity and key not in self.noted]
        values = ", ".join(f"{key}={getattr(self, key)}" for key in part if key != "method")
        return f"{self.title}({values})"

    def elements(self) -> frozenset[str] | None:
        """Symbols of the elements the method knows; None means all, or that it cannot be told beforehand."""
        return None

    def check(self, symbols: frozenset[str]) -> None:
        """Raise UserError unless the method can label these elements with what is installed."""
        known = self.elements()
        if known is not None and (unknown := sorted(symbols - known)):
            few = f"it knows {' '.join(sorted(known))}" if len(known) < 20 else f"it knows {len(known)} others"
            raise UserError(
                f"{self.title} does not know {', '.join(unknown)}; {few}; "
                "leave such structures out or choose another teacher"
            )

    def refuse(self, atoms: Atoms) -> str:
        """Why the method does not support this structure, or ""."""
        if atoms.pbc.any() and not self.periodic:
            return f"is periodic, and {self.title} labels molecules only; choose another teacher, such as gfn1"
        if not atoms.pbc.any() and not self.molecules:
            return f"is not periodic, and {self.title} labels crystals only; choose another teacher"
        return ""

    def concerns(self, structures: Sequence[Atoms]) -> list[str]:
        """Warnings before these structures are labelled, a line each."""
        return []

    def workers(self, cores: int) -> int:
        """Default number of worker processes on a machine with `cores` cores."""
        return cores

    def prepare(self, atoms: Atoms) -> Atoms:
        """The structure to compute for `atoms`: itself, in a box, or repeated with itself as the first copy."""
        return atoms

    @abstractmethod
    def attempts(self, atoms: Atoms, scratch: Path | None) -> Iterator[Attempt]:
        """Calculators for the prepared structure, with notes for the label; the lowest energy counts."""


def make_teacher(settings: Mapping[str, Any]) -> Teacher:
    """The teacher that a file of conf/teacher describes."""
    values = dict(settings)
    return get_class(values.pop("_target_"))(**values)


def bare(atoms: Atoms) -> Atoms:
    """Elements, positions, cell and moments alone."""
    out = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if atoms.has("initial_magmoms"):
        out.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    return out


def multiplicities(atoms: Atoms, open_shell: bool) -> tuple[int, ...]:
    """2S + 1 to try: the lowest that the number of electrons allows and, with `open_shell`, the next one.

    Unfinished molecules are often triplets or quartets; an isolated atom obeys Hund's rule.
    """
    if len(atoms) == 1 and not atoms.pbc.any():
        return (1 + int(ground_state_magnetic_moments[atoms.numbers[0]]),)
    low = lowest_multiplicity(atoms)
    return (low, low + 2) if open_shell else (low,)


def label(teacher: Teacher, atoms: Atoms, max_force: float = math.inf, scratch: Path | None = None) -> Atoms:
    """A copy of `atoms` with energy (eV), forces (eV/Angstrom), in crystals stress (6,) (eV/Angstrom^3) and teacher.

    They stand in info["energy"], arrays["forces"], info["stress"] and info["teacher"]. A structure without a label
    comes back bare, with the reason in info["failure"]: the teacher failed, its answer is not finite or absurd, or a
    force is above `max_force`, as in a broken structure. DFT works in folders below `scratch`.
    """
    out = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=dict(atoms.info))
    best, reasons = None, []
    try:
        work = teacher.prepare(bare(atoms))
        for calculator, notes in teacher.attempts(work, scratch):
            try:
                answer = _answer(work, calculator, len(atoms))
            except Exception as error:  # a calculator may raise anything, and one structure must not end the run
                reasons.append(_reason(error))
                continue
            if fault := _fault(*answer, max_force):
                reasons.append(fault)
            elif best is None or answer[0] < best[0][0]:
                best = answer, notes
    except Exception as error:
        reasons.append(_reason(error))
    if best is None:
        out.info["failure"] = f"{teacher.title}: {reasons[0] if reasons else 'no answer'}"
        return out
    (energy, forces, stress), notes = best
    out.info.update(energy=energy, **notes, teacher=teacher.about)
    out.arrays["forces"] = forces
    if stress is not None:
        out.info["stress"] = stress
    return out


def label_all(
    structures: Sequence[Atoms], teacher: Teacher, max_force: float = math.inf, scratch: Path | None = None
) -> list[Atoms]:
    """`label` of every structure."""
    return [label(teacher, atoms, max_force, scratch) for atoms in structures]


def _answer(work: Atoms, calculator: Calculator, n: int) -> tuple[float, np.ndarray, np.ndarray | None]:
    """Energy, forces (n, 3) and stress (6,) of the first `n` atoms of `work`, which repeats them."""
    work = work.copy()
    work.calc = calculator
    energy = float(work.get_potential_energy()) * n / len(work)
    forces = np.array(work.get_forces(), dtype=float)[:n]
    stress = None
    if work.pbc.all():
        try:
            stress = np.array(work.get_stress(), dtype=float)
        except NotImplementedError:  # ASE raises it for methods without stress
            stress = None
    return energy, forces, stress


def _fault(energy: float, forces: np.ndarray, stress: np.ndarray | None, max_force: float) -> str:
    if not (math.isfinite(energy) and np.isfinite(forces).all() and (stress is None or np.isfinite(stress).all())):
        return "the answer is not finite"
    if abs(energy) > ABSURD * len(forces):
        return f"energy of {energy:.3g} eV for {len(forces)} atoms"
    largest = float(np.linalg.norm(forces, axis=1).max(initial=0.0))
    return f"force of {largest:.0f} eV/Angstrom" if largest > max_force else ""


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"no energy ({text[:200] or type(error).__name__})"
