"""Density functional theory in Gaussian orbitals as teacher of molecules: PySCF, with density fitting."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes

from gendesign.errors import UserError
from gendesign.fields import setting
from gendesign.train.teacher import Attempt, Teacher, multiplicities


@dataclass(frozen=True, kw_only=True)
class Pyscf(Teacher):
    """PySCF (Sun et al. 2020), neutral molecules; open shells unrestricted."""

    periodic: ClassVar[bool] = False
    most_per_shard: ClassVar[int | None] = 1
    functional: str = setting("r2scan", "exchange and correlation, as PySCF names it")
    basis: str = setting("def2-svp", "basis set, as PySCF names it")
    grid: int = setting(3, "level of the integration grid", least=0, most=9)
    open_shell: bool = setting(False, "true tries the two lowest multiplicities of a molecule")

    @cached_property
    def title(self) -> str:
        return "PySCF"

    def check(self, symbols: frozenset[str]) -> None:
        """Raise UserError unless PySCF is installed and has functional and basis."""
        if importlib.util.find_spec("pyscf") is None:
            raise UserError("teacher=pyscf: PySCF is not installed; pip install pyscf, or choose another teacher")
        from pyscf import gto
        from pyscf.dft import libxc

        try:
            libxc.parse_xc(self.functional)
        except KeyError:
            raise UserError(
                f"teacher.functional={self.functional} is unknown to PySCF; give another, such as pbe"
            ) from None
        for symbol in sorted(symbols):
            try:
                gto.basis.load(self.basis, symbol)
            except Exception:  # PySCF has many kinds for a basis that is not there
                raise UserError(f"teacher.basis={self.basis} has no {symbol} in PySCF; give another basis") from None

    def attempts(self, atoms: Atoms, scratch: Path | None) -> Iterator[Attempt]:
        for multiplicity in multiplicities(atoms, self.open_shell):
            yield _PyscfCalculator(self, multiplicity), {"multiplicity": multiplicity}


class _PyscfCalculator(Calculator):
    """One single point of one multiplicity."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, teacher: Pyscf, multiplicity: int):
        super().__init__()
        self.teacher, self.multiplicity = teacher, multiplicity

    def calculate(self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes):
        """Energy in eV and forces in eV/Angstrom."""
        super().calculate(atoms, properties, system_changes)
        from pyscf import dft, gto, lib

        lib.num_threads(1)
        sites = list(zip(self.atoms.get_chemical_symbols(), self.atoms.positions.tolist(), strict=True))
        molecule = gto.M(atom=sites, basis=self.teacher.basis, spin=self.multiplicity - 1, verbose=0)
        kind = dft.RKS if self.multiplicity == 1 else dft.UKS
        field = kind(molecule, xc=self.teacher.functional).density_fit()
        field.grids.level = self.teacher.grid
        energy = field.kernel()
        if not field.converged:
            raise CalculationFailed("the self-consistent field did not converge")
        gradient = field.nuc_grad_method()
        gradient.grid_response = True  # forces are derivatives of the energy as computed
        self.results["energy"] = float(energy) * units.Hartree
        self.results["forces"] = -np.asarray(gradient.kernel()) * units.Hartree / units.Bohr
