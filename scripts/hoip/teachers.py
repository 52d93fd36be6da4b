"""The teachers of `hoip`: PBE-D3(BJ) by CP2K (gendesign/train/teachers/cp2k.py), and universal potentials with D3(BJ).

The universal potential: PyPI packages sevenn (MIT licence, weights in the package, trained on PBE of Materials Project
trajectories) and dftd3. sevenn needs another version of e3nn than mace: install it in a separate environment or folder
(pip install --target, PYTHONPATH).
"""

from functools import cache
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from gendesign.train.teachers.cp2k import ELECTRONS, Failed, cp2k, kpoints, parsed, usual_density

METALLIC = -0.01  # eV; a crystal with a lower -TS of the electrons is metallic: PBE transfers charge between its ions
ROUGH = "7net-mf-0"  # three times as fast as 7net-l3i5
TUNED = "7net-l3i5"  # closer to CP2K, before and after tuning
__all__ = ["ELECTRONS", "METALLIC", "ROUGH", "TUNED", "Failed", "Universal", "cp2k", "dispersion", "kpoints", "parsed",
           "tuned_universal", "universal", "usual_density"]  # fmt: skip


def dispersion(atoms: Atoms) -> dict[str, np.ndarray | float]:
    """D3(BJ) for PBE with two-body terms as in CP2K: energy, forces and stress in eV and Angstrom."""
    from dftd3.interface import DispersionModel, RationalDampingParam

    lengths = (atoms.positions / units.Bohr, atoms.cell.array / units.Bohr)
    model = DispersionModel(atoms.numbers, *lengths, atoms.pbc)
    model.set_realspace_cutoff(disp2=40.0, disp3=1.0, cn=25.0)
    result = model.get_dispersion(RationalDampingParam(method="pbe", atm=False), grad=True)
    return {
        "energy": float(result["energy"]) * units.Hartree,
        "forces": -result["gradient"] * units.Hartree / units.Bohr,
        "stress": full_3x3_to_voigt_6_stress(result["virial"]) * units.Hartree / atoms.get_volume(),
    }


class Universal(Calculator):
    """A universal potential with dispersion, as published or tuned to labels by CP2K (finetune.py)."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, tuned: Path | None = None):
        super().__init__()
        self.inner, self.elements = universal(ROUGH) if tuned is None else tuned_universal(tuned)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.inner.calculate(self.atoms, ["energy", "forces", "stress"], all_changes)
        shifts = {"energy": sum(self.elements.get(int(z), 0.0) for z in self.atoms.numbers)}
        self.results = {
            name: self.inner.results[name] + value + shifts.get(name, 0.0)
            for name, value in dispersion(self.atoms).items()
        }


@cache
def universal(name: str):
    """(SevenNet's calculator of a bundled potential, energies of the elements, which are empty)."""
    import torch
    from sevenn.calculator import SevenNetCalculator

    torch.set_num_threads(1)
    return SevenNetCalculator(name, modal="PBE" if "mf" in name else None, device="cpu"), {}


@cache
def tuned_universal(path: Path):
    """(calculator of TUNED with the weights of finetune.py, energies of the elements that align it with CP2K)."""
    import torch

    calculator, _ = universal(TUNED)
    kept = torch.load(path, weights_only=True, map_location="cpu")
    calculator.model.load_state_dict(kept["weights"])
    return calculator, kept["elements"]
