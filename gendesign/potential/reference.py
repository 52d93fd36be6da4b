"""Reference methods of quantum chemistry as ASE calculators: they judge (and may teach) what a potential makes."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes


def lowest_multiplicity(atoms: Atoms) -> int:
    """2S + 1 of the lowest spin that a neutral structure can have: 1 for an even, 2 for an odd number of electrons."""
    return 1 + int(atoms.numbers.sum()) % 2


def gfn2_calculator(atoms: Atoms, multiplicity: int | None = None) -> Calculator:
    """GFN2-xTB (Bannwarth 2019) through tblite for `atoms`, neutral; energies in eV, forces in eV/Angstrom.

    The multiplicity 2S + 1 is the lowest possible one unless given. Open shells are treated with spin polarisation:
    without it atoms and radicals come out too low. Failures raise ASE's CalculationFailed.
    """
    from tblite.ase import TBLite

    multiplicity = lowest_multiplicity(atoms) if multiplicity is None else multiplicity
    polarisation = None if multiplicity == 1 else 1.0
    return TBLite(method="GFN2-xTB", multiplicity=multiplicity, spin_polarization=polarisation, verbosity=0)


def pm6_calculator(atoms: Atoms, multiplicity: int | None = None) -> Calculator:
    """PM6 (Stewart 2007) through SCINE Sparrow for `atoms`, neutral; energies in eV, forces in eV/Angstrom.

    The multiplicity 2S + 1 is the lowest possible one unless given. Failures raise ASE's CalculationFailed.
    """
    return Sparrow(lowest_multiplicity(atoms) if multiplicity is None else multiplicity)


class Sparrow(Calculator):
    """ASE calculator of one semi-empirical method of SCINE Sparrow, for neutral molecules."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE declares it as an attribute

    def __init__(self, multiplicity: int = 1, method: str = "PM6") -> None:
        super().__init__()
        import scine_sparrow  # noqa: F401  (registers the Sparrow module with scine_utilities)
        import scine_utilities as scine

        self._scine = scine
        self._method = method
        self._engine = scine.core.ModuleManager.get_instance().get("calculator", method)
        self._engine.log = scine.core.Log.silent()
        self._engine.settings["spin_multiplicity"] = multiplicity
        self._engine.settings["spin_mode"] = "restricted" if multiplicity == 1 else "unrestricted"

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy", "forces"),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results`: energy in eV, forces in eV/Angstrom; CalculationFailed where PM6 does not converge."""
        super().calculate(atoms, properties, system_changes)
        scine = self._scine
        copy = cast(Atoms, self.atoms)  # made by ASE from `atoms`
        positions = copy.positions / units.Bohr
        try:
            if self._engine.structure is None or "numbers" in system_changes:
                symbols = copy.get_chemical_symbols()
                elements = [scine.ElementInfo.element_from_symbol(symbol) for symbol in symbols]
                self._engine.structure = scine.AtomCollection(elements, positions)
            else:
                self._engine.positions = positions
            self._engine.set_required_properties([scine.Property.Energy, scine.Property.Gradients])
            result = self._engine.calculate()
        except RuntimeError as error:
            raise CalculationFailed(f"{self._method} failed: {error}") from error
        if not result.successful_calculation or not np.isfinite(result.gradients).all():
            raise CalculationFailed(f"{self._method} failed: the self-consistent field did not converge")
        self.results["energy"] = float(result.energy) * units.Hartree
        self.results["forces"] = -np.asarray(result.gradients) * units.Hartree / units.Bohr
