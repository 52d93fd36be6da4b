"""Both methods give the same numbers for one calculator; choices and default molecules; a teacher made of labels."""

import numpy as np
import pytest
import tiny
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from gendesign.errors import UserError
from gendesign.validation.methods import Batched, OneByOne
from gendesign.validation.molecules import choose, default_molecules, displaced
from gendesign.validation.teachers import by_labels

EMTS = OneByOne(lambda atoms: EMT(), "EMT")


def test_a_potential_answers_alike_in_batches_and_one_by_one():
    potential = tiny.potential()
    structures = [tiny.rattled(name) for name in ("H2O", "CH4", "CH3OH")]
    together = Batched(potential, max_atoms=6).evaluate(structures)
    apart = OneByOne(lambda atoms: potential.as_ase()).evaluate(structures)
    for a, b in zip(together, apart, strict=True):
        assert a.energy == pytest.approx(b.energy) and np.allclose(a.forces, b.forces)


def test_relaxation_keeps_fixed_atoms():
    start = tiny.rattled("CH3OH")
    start.set_constraint(FixAtoms([0, 1]))
    for method in (EMTS, Batched(tiny.potential())):
        (end,) = method.relax([start], fmax=0.5, steps=5)
        assert np.allclose(end.atoms.positions[:2], start.positions[:2])
        assert not np.allclose(end.atoms.positions[2:], start.positions[2:]) and not end.atoms.constraints


def test_a_teacher_that_lacks_an_element_is_named():
    with pytest.raises(UserError, match="EMT cannot do H2S"):
        EMTS.evaluate([molecule("SH2")])


def test_a_teacher_of_labels():
    def label(atoms):
        if len(atoms) == 1:
            return Atoms(info={"failure": "too small"})
        atoms.info["energy"], atoms.arrays["forces"] = 1.0, np.ones((len(atoms), 3))
        return atoms

    bad, good = OneByOne(by_labels(label)).evaluate([Atoms("H"), molecule("H2")])
    assert bad is None and good.energy == 1.0 and good.forces.shape == (2, 3)
    with pytest.raises(CalculationFailed, match="too small"):
        by_labels(label)(Atoms("H")).get_potential_energy(Atoms("H"))


def test_default_molecules_hold_every_element_and_only_known_ones():
    found = default_molecules(("H", "C", "N", "O", "F", "S", "Cl"))
    assert {s for atoms in found for s in atoms.symbols} == {"H", "C", "N", "O", "F", "S", "Cl"}
    assert all(set(atoms.symbols) <= {"H", "C", "N"} for atoms in default_molecules(("H", "C", "N")))
    with pytest.raises(UserError, match="none of the package's molecules"):
        default_molecules(("Cu",))


def test_choice_prefers_minima_and_different_molecules():
    def frame(name, force):
        atoms = molecule(name)
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.full((len(atoms), 3), force))
        return atoms

    frames = [frame("H2O", 0.0), frame("H2O", 1.0), frame("CH4", 0.0), frame("NH3", 1.0), frame("H2O", 0.0)]
    assert [str(a.symbols) for a in choose(frames, 5)] == ["OH2", "CH4"]
    assert len(choose(frames, 1)) == 1 and choose([], 3) == []


def test_displaced_structures_carry_labels():
    frames = displaced([molecule("H2O")], EMTS)
    assert len(frames) == 4 and {f.info["kind"] for f in frames} >= {"minima", "displaced 0.03 A"}
    assert frames[0].get_potential_energy() < frames[3].get_potential_energy() + 100
