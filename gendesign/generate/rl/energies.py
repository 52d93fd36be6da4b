"""Energies that rewards are made of: functions from structures to Hartree, NaN where there is no answer."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from ase import Atoms, units
from ase.data import atomic_numbers, chemical_symbols, ground_state_magnetic_moments

from gendesign.errors import UserError
from gendesign.potential.reference import gfn2_calculator, lowest_multiplicity, pm6_calculator

GFN2_LAST = 86  # GFN2-xTB is parametrised up to radon


class Energies(Protocol):
    """Energies (n,) in Hartree of n structures, all asked together; of no atoms 0, NaN for a failure."""

    def __call__(self, structures: Sequence[Atoms]) -> np.ndarray: ...


@dataclass(frozen=True)
class PotentialEnergies:
    """Of a potential, in one `Potential.energies` for all; lone atoms by its table, to which its labels were fitted."""

    potential: Any

    def require_elements(self, symbols: Iterable[str]) -> None:
        self.potential.require_elements(symbols)

    def __call__(self, structures: Sequence[Atoms]) -> np.ndarray:
        out, asked = np.zeros(len(structures)), []
        for i, atoms in enumerate(structures):
            if len(atoms) == 1:
                out[i] = self.potential.isolated_energies[atoms.get_chemical_symbols()[0]]
            elif len(atoms):
                asked.append(i)
        if asked:
            found = self.potential.energies([Atoms(structures[i].numbers, structures[i].positions) for i in asked])
            out[asked] = found.cpu().numpy()
        return np.where(np.isfinite(out), out, np.nan) / units.Hartree


@dataclass(frozen=True)
class TeacherEnergies:
    """Of a reference method, structure by structure; the lowest over `multiplicities`. Lone atoms are asked once."""

    method: "Method"
    _atoms: dict[int, float] = field(default_factory=dict, init=False, repr=False)

    def require_elements(self, symbols: Iterable[str]) -> None:
        """Raise UserError for elements of which the method gives no lone atom."""
        if unknown := [s for s in sorted(set(symbols)) if not math.isfinite(self([Atoms(s)])[0])]:
            raise UserError(
                f"{self.method.title} does not know {', '.join(unknown)}; leave such elements out or choose another "
                f"energy: {', '.join(METHODS)} or a potential"
            )

    def __call__(self, structures: Sequence[Atoms]) -> np.ndarray:
        return np.array([self._one(atoms) for atoms in structures], dtype=float)

    def _one(self, atoms: Atoms) -> float:
        if len(atoms) != 1:
            return self._lowest(atoms) if len(atoms) else 0.0
        number = int(atoms.numbers[0])
        if number not in self._atoms:
            self._atoms[number] = self._lowest(atoms)
        return self._atoms[number]

    def _lowest(self, atoms: Atoms) -> float:
        found = [self._single_point(atoms, m) for m in self.method.multiplicities(atoms)]
        return min((e for e in found if math.isfinite(e)), default=math.nan)

    def _single_point(self, atoms: Atoms, multiplicity: int) -> float:
        work = Atoms(atoms.numbers, atoms.positions)
        try:
            work.calc = self.method.calculator(work, multiplicity)
            return float(work.get_potential_energy()) / units.Hartree
        except Exception:  # calculators raise whatever they like; an episode ends, not the run
            return math.nan


@dataclass(frozen=True)
class Gfn2:
    """GFN2-xTB at 300 K, as labels with open shells have it: lone atoms by Hund's rule, else the two lowest spins."""

    title = "GFN2-xTB"

    def multiplicities(self, atoms: Atoms) -> tuple[int, ...]:
        if len(atoms) == 1:
            return (1 + int(ground_state_magnetic_moments[atoms.numbers[0]]),)
        low = lowest_multiplicity(atoms)
        return (low, low + 2)

    def calculator(self, atoms: Atoms, multiplicity: int) -> Any:
        if atoms.numbers.max() > GFN2_LAST:
            raise ValueError(f"no parameters beyond {chemical_symbols[GFN2_LAST]}")
        return gfn2_calculator(atoms, multiplicity)


@dataclass(frozen=True)
class Pm6:
    """PM6 with the lowest spin for everything, lone atoms too: so the paper's returns were made (CH4O 1.03 Hartree).

    By Hund's rule methanol would return 0.78 Hartree.
    """

    title = "PM6"

    def multiplicities(self, atoms: Atoms) -> tuple[int, ...]:
        return (lowest_multiplicity(atoms),)

    def calculator(self, atoms: Atoms, multiplicity: int) -> Any:
        return pm6_calculator(atoms, multiplicity)


Method = Gfn2 | Pm6
METHODS: dict[str, Method] = {"gfn2": Gfn2(), "pm6": Pm6()}


def potential_energies(potential: Any) -> PotentialEnergies:
    """Energies of a loaded potential."""
    return PotentialEnergies(potential)


def teacher_energies(name: str) -> TeacherEnergies:
    """Energies of a reference method, gfn2 or pm6, in place of the potential's."""
    if name not in METHODS:
        raise UserError(f"energies of '{name}' are unknown; allowed are {', '.join(METHODS)}: give one of them")
    return TeacherEnergies(METHODS[name])


def returned(structures: Sequence[Atoms], energies: Energies, given: Sequence[Atoms] | None = None) -> np.ndarray:
    """Return of finished structures (n,) in Hartree: E(given) + sum E(atom) - E(structure), whatever the order.

    `given` are the atoms that were there at the start, first in each structure; none means an empty canvas.
    """
    given = [Atoms()] * len(structures) if given is None else list(given)
    kinds = sorted({int(z) for atoms in structures for z in atoms.numbers})
    found = np.asarray(energies([*structures, *given, *(Atoms([z]) for z in kinds)]), dtype=float)
    n = len(structures)
    table = np.zeros(len(atomic_numbers) + 1)
    table[kinds] = found[2 * n :]
    atoms = np.array([table[a.numbers[len(g) :]].sum() for a, g in zip(structures, given, strict=True)])
    return found[n : 2 * n] + atoms - found[:n]
