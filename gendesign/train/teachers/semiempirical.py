"""Semi-empirical teachers: the xTB methods of tblite, and PM6 and its siblings of SCINE Sparrow."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, SCFError
from ase.data import chemical_symbols
from ase.neighborlist import natural_cutoffs, neighbor_list
from scipy.sparse import coo_matrix, csgraph
from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError

from gendesign.errors import UserError
from gendesign.fields import setting
from gendesign.potential.reference import Sparrow, gfn2_calculator, lowest_multiplicity
from gendesign.train.teacher import Attempt, Teacher, label, multiplicities

FAILURES = (CalculationFailed, SCFError, TBLiteRuntimeError, TBLiteValueError)
XTB = ("GFN2-xTB", "GFN1-xTB")
SPARROW = ("PM6", "PM3", "AM1", "RM1", "MNDO", "DFTB0", "DFTB2", "DFTB3")


@dataclass(frozen=True, kw_only=True)
class Tblite(Teacher):
    """GFN2-xTB (Bannwarth 2019) or GFN1-xTB (Grimme 2017), neutral; open shells with spin polarisation.

    tblite knows the Gamma point only, so a crystal is repeated until its cell is `supercell` wide.
    """

    method: str = setting("GFN2-xTB", "parametrisation", allowed=XTB)
    electronic_temperature: float = setting(300.0, "temperature of the electrons", unit="K", above=0)
    open_shell: bool = setting(False, "true tries the two lowest multiplicities, for radicals and broken molecules")
    supercell: float = setting(
        10.0, "width to which crystals are repeated, because xTB knows the Gamma point only", unit="Angstrom", above=0
    )

    @cached_property
    def title(self) -> str:
        return self.method

    def elements(self) -> frozenset[str]:
        return frozenset(chemical_symbols[1:87])

    def refuse(self, atoms: Atoms) -> str:
        if not atoms.pbc.any():
            return ""
        if not atoms.pbc.all():
            return f"is periodic in some directions only, and {self.title} takes molecules and crystals; leave it out"
        if self.method == "GFN2-xTB" and not molecular(atoms):
            # Between cells 9.8 and 13.0 Angstrom wide, NaCl's energy still moves by 96 meV per atom, GFN1-xTB's by 9.
            return "is a crystal without molecules, for which tblite's GFN2-xTB is not reliable; choose teacher=gfn1"
        return ""

    def prepare(self, atoms: Atoms) -> Atoms:
        return atoms.repeat(repetitions(atoms, self.supercell)) if atoms.pbc.all() else atoms

    def attempts(self, atoms: Atoms, scratch: Path | None) -> Iterator[Attempt]:
        from tblite.ase import TBLite

        for multiplicity in multiplicities(atoms, self.open_shell):
            # Without spin polarisation atoms and radicals come out too low.
            polarisation = None if multiplicity == 1 else 1.0
            calculator = TBLite(
                method=self.method,
                multiplicity=multiplicity,
                spin_polarization=polarisation,
                electronic_temperature=self.electronic_temperature,
                verbosity=0,
            )
            yield calculator, {"multiplicity": multiplicity}


@dataclass(frozen=True, kw_only=True)
class Pm6(Teacher):
    """PM6 (Stewart 2007) and its siblings, neutral molecules; open shells unrestricted."""

    periodic: ClassVar[bool] = False
    method: str = setting("PM6", "parametrisation, for molecules only", allowed=SPARROW)
    open_shell: bool = setting(False, "true tries the two lowest multiplicities, for radicals and broken molecules")

    @cached_property
    def title(self) -> str:
        return self.method

    def check(self, symbols: frozenset[str]) -> None:
        unknown = []
        for symbol in sorted(symbols):
            atom = Atoms(symbol)
            try:
                Sparrow(lowest_multiplicity(atom), self.method).calculate(atom)
            except CalculationFailed as error:  # a lone atom may fail for other reasons, which are not asked here
                if "arameter" in str(error):
                    unknown.append(symbol)
        if unknown:
            raise UserError(
                f"{self.title} does not know {', '.join(unknown)}; leave such structures out or choose another teacher"
            )

    def attempts(self, atoms: Atoms, scratch: Path | None) -> Iterator[Attempt]:
        for multiplicity in multiplicities(atoms, self.open_shell):
            yield Sparrow(multiplicity, self.method), {"multiplicity": multiplicity}


def repetitions(atoms: Atoms, width: float) -> tuple[int, int, int]:
    """How often a cell must be repeated along each vector for its opposite faces to be `width` (Angstrom) apart."""
    heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    a, b, c = (max(1, int(np.ceil(width / height - 1e-9))) for height in heights)
    return a, b, c


def molecular(crystal: Atoms) -> bool:
    """Whether the bonds of a crystal connect finite molecules only: eight cells then hold eight times as many."""
    one, eight = (
        connected_components(neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.2)), len(atoms))
        for atoms in (crystal, crystal.repeat(2))
    )
    return eight == 8 * one


def connected_components(pairs: tuple[np.ndarray, np.ndarray], n: int) -> int:
    """Number of groups that pairs (pairs,), (pairs,) join n atoms to."""
    return csgraph.connected_components(coo_matrix((np.ones(len(pairs[0])), pairs), (n, n)))[0]


def gfn2(multiplicity: int = 1) -> Calculator:
    """GFN2-xTB for a structure whose multiplicity 2S + 1 is known; see `gfn2_calculator`."""
    return gfn2_calculator(Atoms(), multiplicity)


def gfn2_label(atoms: Atoms, open_shell: bool = False) -> Atoms | None:
    """`label` of a molecule by GFN2-xTB; None when it does not converge or its answer is not finite."""
    answer = label(Tblite(open_shell=open_shell), Atoms(atoms.numbers, atoms.positions, info=atoms.info))
    return None if "failure" in answer.info else answer
