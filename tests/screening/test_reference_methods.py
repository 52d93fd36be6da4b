"""The reference methods against published or independently computed numbers."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed

from gendesign.potential.reference import gfn2_calculator, pm6_calculator
from gendesign.structure.superposition import aligned_rmsd


def energy(atoms, calculator):
    atoms.calc = calculator(atoms)
    return atoms.get_potential_energy()


def test_pm6_binds_hydrogen_as_it_should():
    """0.1696435 Hartree at 1 Angstrom; the atom is PM6's parameter U_ss of -11.246958 eV (Stewart 2007)."""
    pair, atom = energy(Atoms("H2", [[0, 0, 0], [0, 0, 1.0]]), pm6_calculator), energy(Atoms("H"), pm6_calculator)
    assert (2 * atom - pair) / units.Hartree == pytest.approx(0.1696435, abs=1e-6)
    assert atom == pytest.approx(-11.246958, abs=1e-3)


@pytest.mark.parametrize("calculator", [gfn2_calculator, pm6_calculator])
@pytest.mark.parametrize("name", ["CH3CH2OH", "SO2", "CH3Cl", "CH3"])
def test_forces_are_gradients_of_the_energy(calculator, name):
    atoms, step = molecule(name), 2e-3
    atoms.rattle(0.05, seed=3)
    atoms.calc = calculator(atoms)
    forces, positions = atoms.get_forces(), atoms.positions.copy()
    for i, axis in ((0, 2), (1, 0)):
        sides = []
        for sign in (1, -1):
            moved = positions.copy()
            moved[i, axis] += sign * step
            atoms.positions = moved
            sides.append(atoms.get_potential_energy())
        assert -(sides[0] - sides[1]) / (2 * step) == pytest.approx(forces[i, axis], abs=2e-3)


def test_pm6_follows_a_change_of_molecule():
    calculator = pm6_calculator(molecule("CH4"))
    first, second = molecule("CH4"), molecule("H2O")
    values = [calculator.get_potential_energy(atoms) for atoms in (first, second, first)]
    assert values[0] == pytest.approx(values[2], abs=1e-6)
    assert values[1] == pytest.approx(energy(second, pm6_calculator), abs=1e-6)


def test_pm6_fails_as_ase_expects():
    atoms = molecule("CH3")
    atoms.calc = pm6_calculator(atoms, multiplicity=1)  # nine electrons have no singlet
    with pytest.raises(CalculationFailed):
        atoms.get_potential_energy()


def test_aligned_rmsd():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(9, 3))
    turned = Atoms("C9", points)
    turned.rotate(50, (1, -2, 1))
    turned.translate((3, 1, 4))
    assert aligned_rmsd(points, turned.positions) == pytest.approx(0, abs=1e-6)
    assert aligned_rmsd(points, points * [1, 1, -1]) > 0.1  # a mirror image is no rotation
    assert aligned_rmsd(points[:2], points[:2] * 1.1) == pytest.approx(0.05 * np.linalg.norm(points[0] - points[1]))
    assert aligned_rmsd(points[:1], points[:1] + 5) == aligned_rmsd(points[:0], points[:0]) == 0
