"""Energies for rewards: functions from structures to Hartree, NaN for failures."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from ase import Atoms, units
from ase.data import atomic_numbers, chemical_symbols, ground_state_magnetic_moments

from gendesign.errors import UserError
from gendesign.potential.protocol import PotentialLike
from gendesign.potential.reference import gfn2_calculator, lowest_multiplicity, pm6_calculator

GFN2_LAST = 86  # GFN2-xTB is parametrised up to radon


class Energies(Protocol):
    """A function from n structures to energies (n,) in Hartree: 0 without atoms, NaN for a failure."""

    def __call__(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Energies (n,) in Hartree of n structures."""


@dataclass(frozen=True)
class PotentialEnergies:
    """Energies of a potential in one evaluation; isolated atoms from its table, which its labels were fitted to.

    Isolated atoms that the table lacks are evaluated like molecules.
    """

    potential: PotentialLike

    def require_elements(self, symbols: Iterable[str]) -> None:
        """Raise UserError for elements that the potential does not know."""
        self.potential.require_elements(symbols)

    def __call__(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Energies (n,) in Hartree of n structures."""
        out, evaluated = np.zeros(len(structures)), []
        for i, atoms in enumerate(structures):
            if len(atoms) == 1 and (symbol := atoms.get_chemical_symbols()[0]) in self.potential.isolated_energies:
                out[i] = self.potential.isolated_energies[symbol]
            elif len(atoms):
                evaluated.append(i)
        if evaluated:
            bare = [Atoms(structures[i].numbers, structures[i].positions) for i in evaluated]
            out[evaluated] = self.potential.energies(bare).cpu().numpy()
        return np.where(np.isfinite(out), out, np.nan) / units.Hartree


@dataclass(frozen=True)
class TeacherEnergies:
    """Energies of a reference method, the lowest over its spin multiplicities. Isolated atoms are computed once."""

    method: "Method"
    _atoms: dict[int, float] = field(default_factory=dict, init=False, repr=False)

    def require_elements(self, symbols: Iterable[str]) -> None:
        """Raise UserError for elements whose isolated atom the method cannot compute."""
        if unknown := [s for s in sorted(set(symbols)) if not math.isfinite(self([Atoms(s)])[0])]:
            raise UserError(
                f"{self.method.title} does not know {', '.join(unknown)}; leave these elements out or choose other "
                f"energies: {', '.join(METHODS)} or a potential"
            )

    def __call__(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Energies (n,) in Hartree of n structures."""
        return np.array([self._one(atoms) for atoms in structures], dtype=float)

    def _one(self, atoms: Atoms) -> float:
        if len(atoms) != 1:
            return self._lowest(atoms) if len(atoms) else 0.0
        number = int(atoms.numbers[0])
        if number not in self._atoms:
            self._atoms[number] = self._lowest(atoms)
        return self._atoms[number]

    def _lowest(self, atoms: Atoms) -> float:
        energies = [self._single_point(atoms, m) for m in self.method.multiplicities(atoms)]
        return min((e for e in energies if math.isfinite(e)), default=math.nan)

    def _single_point(self, atoms: Atoms, multiplicity: int) -> float:
        work = Atoms(atoms.numbers, atoms.positions)
        try:
            work.calc = self.method.calculator(work, multiplicity)
            return float(work.get_potential_energy()) / units.Hartree
        except Exception:  # a calculator may raise anything; the episode ends, not the run
            return math.nan


@dataclass(frozen=True)
class Gfn2:
    """GFN2-xTB at 300 K: isolated atoms with the spin of Hund's rule, others with the two lowest spins."""

    title = "GFN2-xTB"

    def multiplicities(self, atoms: Atoms) -> tuple[int, ...]:
        """Spin multiplicities to compute; the lowest energy counts."""
        if len(atoms) == 1:
            return (1 + int(ground_state_magnetic_moments[atoms.numbers[0]]),)
        low = lowest_multiplicity(atoms)
        return (low, low + 2)

    def calculator(self, atoms: Atoms, multiplicity: int) -> Any:
        """The calculator of a structure. Raises ValueError for elements without parameters."""
        if atoms.numbers.max() > GFN2_LAST:
            raise ValueError(f"no parameters beyond {chemical_symbols[GFN2_LAST]}")
        return gfn2_calculator(atoms, multiplicity)


@dataclass(frozen=True)
class Pm6:
    """PM6 with the lowest spin for all structures, isolated atoms included, as in the paper (CH4O: 1.03 Hartree).

    With Hund's rule for atoms the return of methanol is 0.78 Hartree.
    """

    title = "PM6"

    def multiplicities(self, atoms: Atoms) -> tuple[int, ...]:
        """Spin multiplicities to compute; the lowest energy counts."""
        return (lowest_multiplicity(atoms),)

    def calculator(self, atoms: Atoms, multiplicity: int) -> Any:
        """The calculator of a structure."""
        return pm6_calculator(atoms, multiplicity)


Method = Gfn2 | Pm6
METHODS: dict[str, Method] = {"gfn2": Gfn2(), "pm6": Pm6()}


def potential_energies(potential: PotentialLike) -> PotentialEnergies:
    """Energies of a loaded potential."""
    return PotentialEnergies(potential)


def teacher_energies(name: str) -> TeacherEnergies:
    """Energies of a reference method, gfn2 or pm6."""
    if name not in METHODS:
        raise UserError(f"energies={name}: allowed are {', '.join(METHODS)}, or a potential")
    return TeacherEnergies(METHODS[name])


def returns_of(structures: Sequence[Atoms], energies: Energies, initial: Sequence[Atoms] | None = None) -> np.ndarray:
    """Returns (n,) in Hartree of finished structures: E(initial) + sum E(new atom) - E(structure), for any order.

    `initial`: the first atoms of each structure, from which its episode started; None for an empty canvas.
    """
    initial = [Atoms()] * len(structures) if initial is None else list(initial)
    elements = sorted({int(z) for atoms in structures for z in atoms.numbers})
    values = np.asarray(energies([*structures, *initial, *(Atoms([z]) for z in elements)]), dtype=float)
    n = len(structures)
    isolated = np.zeros(len(atomic_numbers) + 1)
    isolated[elements] = values[2 * n :]
    atoms = np.array([isolated[a.numbers[len(start) :]].sum() for a, start in zip(structures, initial, strict=True)])
    return values[n : 2 * n] + atoms - values[:n]
