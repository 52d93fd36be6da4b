import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import FixAtoms, FixBondLength, FixCartesian, FixScaled
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS
from torch_sim.optimizers import Optimizer
from toy import ToyPotential

from gendesign.errors import UserError
from gendesign.relaxation import Relaxation, relax
from gendesign.relaxation.settings import OPTIMIZERS, PRECONDITIONED
from gendesign.structure.types import Candidate


def cluster(size: int, seed: int = 0, element: str = "C") -> Atoms:
    """Atoms on a jittered grid near the Morse distance."""
    grid = np.array([(i, j, k) for i in range(3) for j in range(3) for k in range(3)][:size], float)
    return Atoms([element] * size, 1.6 * grid + np.random.default_rng(seed).normal(0, 0.15, (size, 3)))


def argon(strain: float = 0.04, seed: int = 0) -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.26, cubic=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * np.diag([1.0, -0.5, 0.3])), scale_atoms=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


@pytest.mark.parametrize("optimizer", ["precon_lbfgs", "lbfgs", "bfgs", "fire"])
def test_relaxes_and_stores_what_the_model_says(optimizer):
    potential = ToyPotential()
    found = relax([cluster(4), cluster(7, 1)], potential, Relaxation(optimizer=optimizer, fmax=0.01))
    for candidate in found:
        info = candidate.info
        assert info["converged"] is True and 0 < info["steps"] < 500
        assert info["fmax"] < 0.01
        assert candidate.atoms.get_potential_energy() == info["energy"]
        assert np.linalg.norm(candidate.atoms.get_forces(), axis=1).max() == pytest.approx(info["fmax"])
        assert "stress_max" not in info
    assert found[0].info["energy"] == pytest.approx(-6.0, abs=0.5)
    assert [c.index for c in found] == [0, 1]


def test_steps_are_the_model_calls_of_each_structure():
    potential = ToyPotential()
    found = relax([cluster(4), cluster(8, 1)], potential, Relaxation(fmax=0.01))
    # One evaluation before the first step and one after the last step, for every structure.
    assert sum(potential.models[0].systems) == sum(c.info["steps"] + 2 for c in found)
    again = relax(found, ToyPotential(), Relaxation(fmax=0.011))
    assert [c.info["steps"] for c in again] == [0, 0]


def test_unconverged_is_said():
    (candidate,) = relax([cluster(9)], ToyPotential(), Relaxation(max_steps=3))
    assert candidate.info["converged"] is False and candidate.info["steps"] == 3
    assert candidate.info["fmax"] > 0.05 and candidate.failure is None
    assert "not converged" in candidate.history[-1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_batch_equals_one_by_one(optimizer):
    settings = Relaxation(optimizer=optimizer, fmax=0.02, max_atoms=12, max_steps=25)
    structures = [cluster(size, seed) for seed, size in enumerate((3, 8, 5, 4, 6))]
    batch = relax(structures, ToyPotential(), settings)
    for one, together in zip(structures, batch, strict=True):
        (alone,) = relax([one], ToyPotential(), settings)
        assert alone.info["steps"] == together.info["steps"]
        np.testing.assert_allclose(alone.atoms.positions, together.atoms.positions, atol=1e-6)


def test_same_batch_same_bytes():
    first, second = (relax([cluster(5, 3), cluster(8, 4)], ToyPotential()) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.atoms.positions.tobytes() == b.atoms.positions.tobytes()
        assert a.info == b.info


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("after", [0, 4])
def test_nan_of_one_leaves_the_others_alone(optimizer, after):
    settings = Relaxation(optimizer=optimizer, max_steps=12)
    structures = [cluster(5, 1), cluster(6, 2, "N"), cluster(4, 3)]
    found = relax(
        [Candidate(atoms, index=10 + i) for i, atoms in enumerate(structures)],
        ToyPotential(poison=7, after=after),
        settings,
    )
    assert found[1].failure == f"exploded in relaxation at step {after}: forces are not finite (candidate 11)"
    assert found[1].info["converged"] is False
    healthy = relax([structures[0], structures[2]], ToyPotential(), settings)
    for a, b in zip((found[0], found[2]), healthy, strict=True):
        assert a.failure is None and a.info["steps"] == b.info["steps"]
        np.testing.assert_allclose(a.atoms.positions, b.atoms.positions, atol=1e-8)


def test_bad_coordinates_and_coincident_atoms_are_failures():
    nan = cluster(3)
    nan.positions[1, 2] = np.nan
    found = relax([nan, cluster(3, 1)], ToyPotential())
    assert "not finite before relaxation (candidate 0)" in found[0].failure
    assert found[1].info["converged"]


def test_failed_and_empty_pass_through_untouched():
    failed = Candidate(cluster(3), index=4, failure="no bonds")
    empty = Candidate(Atoms(), index=5)
    found = relax([failed, empty, Candidate(cluster(3), index=6)], ToyPotential())
    assert found[0] is failed and found[1] is empty and found[2].info["converged"]
    assert relax([], ToyPotential()) == []


def test_molecules_and_crystals_in_one_call_keep_their_order():
    mixed = [Candidate(a, index=i) for i, a in enumerate((argon(), cluster(4), argon(0.02), cluster(5)))]
    found = relax(mixed, ToyPotential("lj"), Relaxation(cell=True, max_steps=20))
    assert [c.index for c in found] == [0, 1, 2, 3]
    assert [all(c.atoms.pbc) for c in found] == [True, False, True, False]
    assert ["stress_max" in c.info for c in found] == [True, False, True, False]


@pytest.mark.parametrize("optimizer", ["precon_lbfgs", "lbfgs", "bfgs", "fire"])
@pytest.mark.parametrize("pressure", [0.0, 0.5])
def test_cell_relaxation_agrees_with_ase(optimizer, pressure):
    potential = ToyPotential("lj")
    settings = Relaxation(optimizer, fmax=1e-3, cell=True, pressure=pressure, max_stress=1e-3)
    (found,) = relax([argon()], potential, settings)
    reference = argon()
    reference.calc = ase_lennard_jones(potential)
    cell = FrechetCellFilter(reference, scalar_pressure=pressure * units.GPa)
    LBFGS(cell, logfile=None).run(fmax=1e-4, steps=500)
    assert found.info["converged"] and found.info["stress_max"] < 1e-3 and found.info["pressure"] == pressure
    assert found.info["energy"] == pytest.approx(reference.get_potential_energy(), abs=2e-4)
    np.testing.assert_allclose(found.atoms.cell.cellpar(), reference.cell.cellpar(), rtol=1e-3)
    # The stress under pressure p is -p: positive under tension.
    assert found.atoms.get_stress()[:3] / units.GPa == pytest.approx([-pressure] * 3, abs=1e-3)


def ase_lennard_jones(potential: ToyPotential):
    """The same model through an ASE calculator."""
    import torch_sim as ts
    from ase.calculators.calculator import Calculator, all_changes

    model = potential.as_torchsim(stress=True)

    class Wrapped(Calculator):
        implemented_properties = ("energy", "forces", "stress")

        def calculate(self, atoms=None, properties=(), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            output = model(ts.io.atoms_to_state([atoms], model.device, model.dtype))
            stress = output["stress"][0].numpy()
            self.results = dict(energy=float(output["energy"]), forces=output["forces"].numpy())
            self.results["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    return Wrapped()


def test_a_converged_cell_needs_a_converged_stress():
    perfect = bulk("Ar", "fcc", a=5.0, cubic=True)
    (fixed,) = relax([perfect], ToyPotential("lj"))
    assert fixed.info["converged"] and fixed.info["stress_max"] > 0.1 and fixed.info["steps"] == 0
    (short,) = relax([perfect], ToyPotential("lj"), Relaxation(cell=True, max_steps=0))
    assert not short.info["converged"] and short.info["fmax"] < 1e-6


@pytest.mark.parametrize("optimizer", ["fire", "lbfgs", "precon_lbfgs"])
def test_a_larger_cell_of_the_same_crystal_takes_no_more_steps(optimizer):
    one = bulk("Ar", "fcc", a=5.26, cubic=True)
    one.set_cell(one.cell.array @ np.diag([1.05, 0.97, 1.02]), scale_atoms=True)
    limits = Relaxation(optimizer=optimizer, fmax=1e-3, max_steps=300, cell=True, max_stress=0.002)
    few, many = relax([one, one.repeat(3)], ToyPotential("lj"), limits)
    assert few.info["converged"] and many.info["converged"]
    assert many.info["steps"] <= 1.5 * few.info["steps"]


@pytest.mark.parametrize("optimizer", ["lbfgs", "precon_lbfgs"])
def test_fixed_atoms_stay_also_in_a_batch(optimizer):
    fixed = cluster(6, 5)
    fixed.set_constraint(FixAtoms([0, 3]))
    found = relax([cluster(4), fixed, cluster(5)], ToyPotential(), Relaxation(optimizer, max_atoms=11))
    assert np.array_equal(found[1].atoms.positions[[0, 3]], fixed.positions[[0, 3]])
    assert all(c.info["converged"] for c in found)
    assert not np.allclose(found[1].atoms.positions[1], fixed.positions[1])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fixed_components_stay_also_in_a_batch(optimizer):
    fixed, other = cluster(6, 5), cluster(5)
    fixed.set_constraint([FixCartesian([0, 3], mask=(False, False, True)), FixCartesian([1], mask=(True, True, False))])
    other.set_constraint([FixAtoms([2]), FixScaled([1], (True, False, False))])
    other.set_cell([20.0, 20.0, 20.0])
    settings = Relaxation(optimizer, max_atoms=11, max_steps=400)
    found = [c.atoms for c in relax([cluster(4), fixed, other], ToyPotential(), settings)]
    assert np.array_equal(found[1].positions[[0, 3], 2], fixed.positions[[0, 3], 2])
    assert np.array_equal(found[1].positions[1, :2], fixed.positions[1, :2])
    assert np.array_equal(found[2].positions[2], other.positions[2])
    assert found[2].positions[1, 0] == other.positions[1, 0]
    assert not np.isclose(found[1].positions[0, :2], fixed.positions[0, :2]).any()
    assert not np.isclose(found[1].positions[1, 2], fixed.positions[1, 2])
    assert np.abs(found[1].get_forces()).max() < settings.fmax or optimizer == "gradient_descent"


@pytest.mark.parametrize("optimizer", ["lbfgs", "precon_lbfgs", "fire"])
def test_an_atom_on_a_line_goes_where_the_bond_is_right(optimizer):
    pair = Atoms("C2", [[0, 0, 0], [1.0, 0.9, 0]])
    pair.set_constraint([FixAtoms([0]), FixCartesian([1], mask=(False, True, True))])
    (found,) = relax([pair], ToyPotential(), Relaxation(optimizer, fmax=1e-4))
    # the bond is 1.5 Angstrom long, and 1.5^2 = 1.2^2 + 0.9^2
    np.testing.assert_allclose(found.atoms.positions[1], [1.2, 0.9, 0], atol=1e-3)
    assert found.info["converged"] and found.info["fmax"] < 1e-4


def test_memory_that_runs_out_shrinks_the_batch_and_says_so():
    structures = [cluster(6, seed) for seed in range(4)]
    found = relax(structures, ToyPotential(most=13))
    assert all(c.info["converged"] for c in found)
    assert all("batch shrunk to 12 atoms" in c.history[-1] for c in found)
    with pytest.raises(UserError, match="does not fit into the memory"):
        relax([cluster(6)], ToyPotential(most=5))


def test_progress_counts_every_structure():
    seen = []
    relax([cluster(3), Candidate(Atoms(), 1), argon()], ToyPotential("lj"), progress=lambda *n: seen.append(n))
    assert seen[-1] == (3, 3) and [n for n, _ in seen] == sorted(n for n, _ in seen)


def test_the_optimizers_are_those_of_torch_sim_and_our_own():
    assert set(OPTIMIZERS) == {PRECONDITIONED, *(optimizer.value for optimizer in Optimizer)}


@pytest.mark.parametrize(
    "wrong",
    [{"optimizer": "adam"}, {"fmax": 0}, {"max_steps": -1}, {"max_atoms": 0}, {"pressure": 1.0}, {"max_stress": -1}],
)
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(UserError, match=f"relaxation.{next(iter(wrong))}="):
        Relaxation(**wrong)


def test_what_cannot_be_relaxed_is_refused_in_words():
    slab = argon()
    slab.pbc = (True, True, False)
    with pytest.raises(UserError, match="periodic in 2 of 3"):
        relax([slab], ToyPotential("lj"), Relaxation(cell=True))
    (fine,) = relax([slab], ToyPotential("lj"), Relaxation(max_steps=2))
    assert "stress_max" not in fine.info
    bound = cluster(3)
    bound.set_constraint(FixBondLength(0, 1))
    with pytest.raises(UserError, match="FixBondLength"):
        relax([bound], ToyPotential())
    with pytest.raises(UserError, match="Xe"):
        relax([cluster(3, element="Xe")], ToyPotential())


def test_the_global_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    relax([cluster(4)], ToyPotential())
    assert torch.equal(before, torch.random.get_rng_state())
