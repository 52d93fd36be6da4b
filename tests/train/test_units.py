"""Wrong units are found by the work of the forces, whatever the potential."""

import numpy as np
import pytest
import tiny
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from gendesign.structure.types import UserError
from gendesign.train.units import check_units, work_ratio


def sample(energy_factor: float = 1.0, force_factor: float = 1.0) -> list[Atoms]:
    frames = []
    for name in ("CH4", "H2O", "CH3OH"):
        for seed in range(8):
            atoms = tiny.rattled(name, seed, 0.03)
            atoms.rotate(40.0 * seed, (1, 2, 3))
            work = atoms.copy()
            work.calc = EMT()
            energy, forces = work.get_potential_energy() * energy_factor, work.get_forces() * force_factor
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
            frames.append(atoms)
    return frames


def test_right_units_pass():
    ratio, pairs, atoms = work_ratio(sample())
    assert ratio == pytest.approx(1, abs=0.3) and pairs >= 15 and 3 < atoms < 6
    check_units(sample(), {1: -13.6})


@pytest.mark.parametrize(
    ("energy", "force", "said"),
    [
        (1 / units.Hartree, 1, "energies in Hartree"),
        (units.mol / units.kcal, 1, "energies in kcal/mol"),
        (1, -1, "gradients in place of forces"),
        (1, units.Bohr / units.Hartree, "forces in Hartree/Bohr"),
    ],
)
def test_wrong_units_are_named(energy, force, said):
    with pytest.raises(UserError, match=said) as refused:
        check_units(sample(energy, force), {1: -13.6})
    assert "\n" not in str(refused.value)


def test_a_hydrogen_atom_in_hartree():
    with pytest.raises(UserError, match="looks like its energy in Hartree"):
        check_units(sample(), {1: -0.4999})


def test_too_few_pairs_say_nothing():
    assert np.isnan(work_ratio(sample()[:3])[0])
    check_units(sample()[:3], {})
