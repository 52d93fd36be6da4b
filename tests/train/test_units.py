"""Wrong units are found by the work of the forces and of the stress and by the size of both, whatever the potential."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
import tiny
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from gendesign.errors import UserError
from gendesign.train.pairs import same_cell
from gendesign.train.units import check_units, evidence

TROUBLES = Path(__file__).parents[1] / "data" / "troubles"
KCAL, KJ = units.mol / units.kcal, units.mol / units.kJ


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


def converted(name: str, energy: float = 1.0, force: float = 1.0, stress: float = 1.0) -> list[Atoms]:
    """The frames of a file of tests/data/troubles, their labels times these factors."""
    frames = ase.io.read(TROUBLES / name, ":")
    for frame in frames:
        factors = {"energy": energy, "forces": force, "stress": stress}
        frame.calc.results = {key: value * factors[key] for key, value in frame.calc.results.items()}
    return frames


def test_right_units_pass():
    shown = evidence(sample())
    assert shown.ratio == pytest.approx(1, abs=0.3) and shown.pairs >= 15 and 3 < shown.atoms < 6
    check_units(sample(), {1: -13.6})
    for name in ("t_good.xyz", "c_good.xyz", "c_primitive_iso.xyz"):
        check_units(converted(name), {})


@pytest.mark.parametrize(
    ("energy", "force", "said"),
    [
        (1 / units.Hartree, 1, "energies in Hartree"),
        (KCAL, 1, "energies in kcal/mol"),
        (1, -1, "gradients in place of forces"),
        (1, units.Bohr / units.Hartree, "forces in Hartree/Bohr"),
    ],
)
def test_wrong_units_are_named(energy, force, said):
    with pytest.raises(UserError, match=said) as refused:
        check_units(sample(energy, force), {1: -13.6})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["t_good.xyz", "c_good.xyz"])
@pytest.mark.parametrize(
    ("energy", "force", "keys"),
    [
        (KCAL, KCAL, "labels.energy_unit=kcal/mol labels.force_unit=kcal/mol/Angstrom"),
        (KJ, KJ, "labels.energy_unit=kJ/mol labels.force_unit=kJ/mol/Angstrom"),
        (1 / units.Hartree, 1 / units.Hartree, "labels.energy_unit=Hartree labels.force_unit=Hartree/Angstrom"),
        (1 / units.Hartree, units.Bohr / units.Hartree, "labels.energy_unit=Hartree labels.force_unit=Hartree/Bohr"),
        (1000, 1000, "labels.energy_unit=meV labels.force_unit=meV/Angstrom"),
        (KCAL, -KCAL, "labels.energy_unit=kcal/mol labels.force_unit=-kcal/mol/Angstrom"),
        (1, KCAL, "labels.force_unit=kcal/mol/Angstrom"),
        (1000, 1, "labels.energy_unit=meV"),
    ],
)
def test_units_that_agree_with_each_other_are_told_by_the_stiffness_of_bonds(name, energy, force, keys):
    with pytest.raises(UserError) as refused:
        check_units(converted(name, energy, force), {})
    assert f"convert by {keys}," in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("factor", "unit"),
    [
        (-10 / units.GPa, "-kB"),  # VASP's OUTCAR
        (10 / units.GPa, "kB"),
        (1 / units.GPa, "GPa"),
        (-1, "-eV/Angstrom^3"),
    ],
)
def test_stress_against_energies_of_neighbouring_cells(factor, unit):
    for name in ("c_good.xyz", "c_primitive_iso.xyz"):
        with pytest.raises(UserError, match="neighbouring cells") as refused:
            check_units(converted(name, stress=factor), {})
        assert f"labels.stress_unit={unit}," in str(refused.value)


def test_stress_by_its_size_where_no_cells_are_neighbours():
    with pytest.raises(UserError, match=r"stresses reach .* labels.stress_unit=kB"):
        check_units(converted("c_good.xyz", stress=10 / units.GPa)[:4], {})


def test_a_hydrogen_atom_in_hartree():
    alone = Atoms("H")
    alone.calc = SinglePointCalculator(alone, energy=-0.4999)
    with pytest.raises(UserError, match="looks like its energy in Hartree"):
        check_units([*sample(), alone], {1: -0.4999})
    alone.calc.results["energy"] = -313.6
    with pytest.raises(UserError, match=r"a hydrogen atom .* in kcal/mol"):
        check_units([alone], {})


def test_all_electrons_of_single_structures():
    """CCSD(T)-like energies: methane has -40.5 Hartree, water -76.4, whatever the method with all electrons."""
    for factor, unit in ((1.0, "Hartree"), (units.Hartree * KCAL, "kcal/mol"), (units.Hartree * KJ, "kJ/mol")):
        frames = [tiny.rattled("CH4"), tiny.rattled("H2O")]
        for frame, energy in zip(frames, (-40.5, -76.4), strict=True):
            frame.calc = SinglePointCalculator(frame, energy=energy * factor, forces=frame.positions * 0)
        with pytest.raises(UserError, match=f"labels.energy_unit={unit} "):
            check_units(frames, {})
    for frame, energy in zip(frames, (-40.5, -76.4), strict=True):
        frame.calc = SinglePointCalculator(frame, energy=energy * units.Hartree, forces=frame.positions * 0)
    check_units(frames, {})


def test_too_few_pairs_say_nothing():
    assert np.isnan(evidence(sample()[:3]).ratio)
    check_units(sample()[:3], {})


def test_stiffness_of_bonds_is_not_moved_by_turned_groups():
    """A methyl group that turns by 60 degrees stretches nothing: bonds feel as little as before."""
    a = tiny.rattled("CH3OH", width=0.0)
    a.calc = SinglePointCalculator(a, energy=0.0, forces=a.positions * 0)
    b = a.copy()
    b.calc = SinglePointCalculator(b, energy=0.0, forces=b.positions * 0)
    hydrogens = [k for k in range(len(a)) if a.symbols[k] == "H" and a.get_distance(0, k) < 1.2]
    middle = b.positions[0].copy()
    b.positions -= middle
    part = b[hydrogens]
    part.rotate(20, b.positions[1])
    b.positions[hydrogens] = part.positions
    (pair,) = same_cell([a, b])
    found, expected = pair.bond_forces()
    assert np.abs(pair.step).max() > 0.1 and np.abs(expected).max() < 1e-9 and np.abs(found).max() < 1e-9


def test_forces_and_stresses_of_zeros_were_never_computed():
    with pytest.raises(UserError, match="forces are exactly zero in 80 of 80 molecules"):
        check_units(converted("t_good.xyz", force=0.0), {})
    with pytest.raises(UserError, match=r"stresses are exactly zero in .* labels\.stress=none"):
        check_units(converted("c_good.xyz", stress=0.0), {})
    boxed = converted("t_good.xyz", force=0.0)
    for frame in boxed:
        frame.set_cell([20, 20, 20])
        frame.pbc = True
    with pytest.raises(UserError, match="forces are exactly zero in 80 of 80 crystals"):
        check_units(boxed, {})
    copper = [bulk("Cu", a=a, cubic=True) for a in np.linspace(3.5, 3.8, 9)]
    for atoms in copper:  # where symmetry makes forces zero
        atoms.calc = EMT()
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=np.zeros((4, 3)))
    check_units(copper, {})
