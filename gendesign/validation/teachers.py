"""Adapt a function that labels structures to a teacher, a callable that makes an ASE calculator."""

from collections.abc import Callable
from typing import ClassVar

from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes

from gendesign.validation.methods import Teacher

Label = Callable[[Atoms], Atoms]


class Labelling(Calculator):
    """An ASE calculator that calls `label`.

    label: returns a copy of a structure with info["energy"] (eV), arrays["forces"] (eV/Angstrom) and, for crystals,
    info["stress"] (6,) (eV/Angstrom^3), or with a reason in info["failure"].
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, label: Label) -> None:
        super().__init__()
        self.label_structure = label

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        """Compute the results of `atoms`. Raises CalculationFailed if labelling fails."""
        super().calculate(atoms, properties, system_changes)
        results = self.label_structure(self.atoms)
        if "failure" in results.info:
            raise CalculationFailed(str(results.info["failure"]))
        self.results = {"energy": results.info["energy"], "forces": results.arrays["forces"]}
        if "stress" in results.info:
            self.results["stress"] = results.info["stress"]


def by_labels(label: Label) -> Teacher:
    """The teacher whose calculators call `label`."""
    return lambda atoms: Labelling(label)
