"""Held torsions and conformations against finite differences, symmetry and closed forms."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS

from gendesign.errors import UserError
from gendesign.potential.reference import gfn2_calculator
from gendesign.validation.conformations import KCAL_PER_MOL, WELL, Conformation, Level, highest, levels, start_of
from gendesign.validation.holds import Held, Hold, dihedrals_of, held
from gendesign.validation.methods import OneByOne

GFN2 = OneByOne(gfn2_calculator, "gfn2")


@pytest.mark.parametrize("dihedrals", [((2, 1, 0, 3),), ((2, 1, 0, 3), (2, 1, 0, 4))])
def test_forces_of_the_restraint_are_gradients_of_its_energy(dihedrals):
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=1)
    restraint = Held(Hold(dihedrals, 40.0))
    forces, numeric = np.zeros((len(atoms), 3)), np.zeros((len(atoms), 3))
    restraint.adjust_forces(atoms, forces)
    for place in np.ndindex(forces.shape):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[place] += sign * 1e-5
            energies.append(restraint.adjust_potential_energy(moved))
        numeric[place] = -(energies[0] - energies[1]) / 2e-5
    assert np.abs(forces).max() > 1 and np.allclose(forces, numeric, atol=1e-6)


class Twist(Calculator):
    """A molecule that stays where it is but for its torsion: V (1 + cos 3 phi) / 2, and springs to its start."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE declares it as an attribute
    barrier, spring = 0.3, 20.0  # eV, eV/Angstrom^2 of the distances between neighbours in a chain

    def __init__(self, start: Atoms) -> None:
        super().__init__()
        self.lengths = start.get_all_distances()

    def energy(self, positions: np.ndarray) -> float:
        """Energy in eV of a chain of four atoms."""
        (phi,) = np.radians(dihedrals_of(positions, [(0, 1, 2, 3)]))
        pairs = [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3)]
        off = [np.linalg.norm(positions[i] - positions[j]) - self.lengths[i, j] for i, j in pairs]
        return float(self.barrier * (1 + np.cos(3 * phi)) / 2 + self.spring * np.square(off).sum() / 2)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        """Energy and numerical forces."""
        super().calculate(atoms, properties, system_changes)
        x, forces = self.atoms.positions, np.zeros((len(self.atoms), 3))
        for place in np.ndindex(forces.shape):
            shift = np.zeros_like(x)
            shift[place] = 1e-5
            forces[place] = -(self.energy(x + shift) - self.energy(x - shift)) / 2e-5
        self.results = {"energy": self.energy(x), "forces": forces}


def test_a_held_torsion_has_the_energy_of_the_potential_there():
    chain = Atoms("C4", [[-0.5, 1.4, 0], [0, 0, 0], [1.5, 0, 0], [2.0, 1.4, 0]])
    for degrees in (0.0, 20.0, 45.0):
        start = chain.copy()
        start.set_dihedral(0, 1, 2, 3, degrees + 10, indices=[3])
        hold = Hold(((0, 1, 2, 3),), degrees)
        (end,) = OneByOne(lambda atoms: Twist(chain), "twist").relax([held(start, hold)], fmax=1e-4)
        # the torque, at most 0.45 eV/rad, turns the spring of the restraint by less than a degree
        assert end.converged and abs(hold.deviation(end.atoms)) < 1.0
        at = np.radians(degrees)
        expected = Twist.barrier * (1 + np.cos(3 * at)) / 2
        torque = 1.5 * Twist.barrier * abs(np.sin(3 * at))
        assert Twist(chain).energy(end.atoms.positions) == pytest.approx(expected, abs=torque * np.radians(1) + 1e-5)


def test_the_barrier_of_ethane_is_that_between_its_symmetric_structures():
    """Eclipsed ethane stays eclipsed without any restraint if it starts with that symmetry."""
    low = Conformation("CC", ((2, 0, 1, 5, 60.0),))
    high = Conformation("CC", ((2, 0, 1, 5, 0.0),), Hold(((2, 0, 1, 5),), 0.0))
    energies = []
    for twist in (0.0, 60.0):
        ring = np.radians(np.arange(3) * 120)
        ends = [np.c_[np.cos(a), np.sin(a), 0 * a] * 1.03 for a in (ring, ring + np.radians(twist))]
        positions = [[0, 0, 0.76], [0, 0, -0.76], *(ends[0] + [0, 0, 1.16]), *(ends[1] - [0, 0, 1.16])]
        atoms = Atoms("C2H6", positions)
        atoms.calc = gfn2_calculator(atoms)
        assert BFGS(atoms, logfile=None).run(fmax=0.005, steps=100)
        energies.append(atoms.get_potential_energy() / KCAL_PER_MOL)
    found = levels([low, high], GFN2)
    assert found[1].energy - found[0].energy == pytest.approx(energies[0] - energies[1], abs=0.01)
    assert found[1].degrees == 0.0 and found[0].moved < 5


def test_a_minimum_that_the_method_lacks_is_told():
    """GFN2-xTB has hydrogen peroxide trans at its minimum; measured, it is at 112 degrees."""
    (level,) = levels([Conformation("OO", ((2, 0, 1, 3, 100.0),))], GFN2)
    assert level.moved > WELL and level.energy is not None


def test_the_top_of_a_scan():
    def parabola(degrees):
        return [Level(5 - 0.01 * (x - 103) ** 2, None, float(x)) for x in degrees]

    top = highest(parabola(range(81, 122, 10)))
    assert top.energy == pytest.approx(5) and top.degrees == pytest.approx(103)
    assert "no maximum from 110 to 130" in highest(parabola((110, 120, 130))).failure
    broken = [*parabola((90, 100)), Level(None, failure="the bond graph changed")]
    assert highest(broken).failure == "the bond graph changed"


def test_starts_have_their_angles():
    conformation = Conformation("CCCCC", ((0, 1, 2, 3, 63.0), (1, 2, 3, 4, -95.0)))
    start = start_of(conformation)
    assert start.get_chemical_formula() == "C5H12"
    assert dihedrals_of(start.positions, [(0, 1, 2, 3), (1, 2, 3, 4)]) == pytest.approx([63, -95], abs=3)
    with pytest.raises(UserError, match="no geometry with the dihedral angles"):
        start_of(Conformation("CCCC", ((0, 1, 2, 3, 60.0), (0, 1, 2, 3, 180.0))))
    with pytest.raises(UserError, match="not a SMILES"):
        start_of(Conformation("C(C"))
