"""Batched dynamics against ASE, against analytic averages, and against itself after an interruption."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.calculators.lj import LennardJones
from ase.md.verlet import VelocityVerlet
from pairs import Argon, argon_crystal, was_killed

from gendesign.dynamics.integrators import chain_energy
from gendesign.dynamics.runs import Conditions, run_dynamics
from gendesign.dynamics.watch import Limits
from gendesign.errors import UserError
from gendesign.generate.amorphous.stages import Kept
from gendesign.potential.base import PotentialBase
from gendesign.potential.protocol import Capability
from gendesign.structure.counter_random import keys
from gendesign.structure.step_cache import StepCache
from gendesign.structure.types import Prediction

THREE = keys(0, torch.arange(3))
LOOSE = Limits(volume=50, fused=0, heat=9)  # of a gas, and of atoms on springs to one point


class Free(PotentialBase):
    """No forces: an ideal gas. With a stiffness every atom is on a spring to the origin."""

    name, elements, cutoff = "free", ("H", "C", "Ar"), 3.0
    device, dtype, supports = torch.device("cpu"), torch.float64, frozenset({Capability.STRESS})

    def __init__(self, stiffness: float = 0.0) -> None:
        self.stiffness = stiffness

    def evaluate(self, structures, *, stress=False):
        batch = self.batch(structures)
        energy = torch.zeros(batch.n_systems, dtype=self.dtype)
        energy.index_add_(0, batch.system, 0.5 * self.stiffness * batch.positions.square().sum(1))
        tension = torch.zeros(batch.n_systems, 3, 3, dtype=self.dtype) if stress else None
        return Prediction(energy, -self.stiffness * batch.positions, stress=tension)


class Poisoned(Argon):
    """Forces of structures with silicon are NaN after some calls; ends the process at a call on request."""

    def __init__(self, after: int = 10, kill_at: int | None = None) -> None:
        self.after, self.kill_at, self.calls = after, kill_at, 0

    def evaluate(self, structures, *, stress=False):
        batch, self.calls = self.batch(structures), self.calls + 1
        if self.calls == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        out = super().evaluate(batch, stress=stress)
        if self.calls > self.after:
            rows = (batch.numbers == 14)[:, None]
            out = Prediction(out.energy, out.forces.masked_fill(rows, torch.nan), stress=out.stress)
        return out


def test_argon_is_that_of_ase():
    atoms = argon_crystal(2)
    atoms.rattle(0.1)
    ours = Argon().evaluate([atoms], stress=True)
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.5, smooth=False)
    assert float(ours.energy[0]) == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    assert np.allclose(ours.forces, atoms.get_forces(), atol=1e-10)
    assert np.allclose(ours.stress[0], atoms.get_stress(voigt=False), atol=1e-12)


def test_nve_follows_ase_and_keeps_the_energy():
    start = argon_crystal(2)
    start.rattle(0.05, seed=1)
    start.set_momenta(np.random.default_rng(0).normal(0, 0.4, (len(start), 3)))
    start.set_momenta(start.get_momenta() - start.get_momenta().mean(0))
    (outcome,) = run_dynamics([start], Argon(), Conditions("nve", (100, 100), 40, timestep=4.0), keys=THREE[:1])
    reference = start.copy()
    reference.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.5, smooth=False)
    before = reference.get_total_energy()
    VelocityVerlet(reference, timestep=4.0 * units.fs).run(40)
    assert np.allclose(outcome.atoms.positions, reference.positions, atol=1e-8)
    assert np.allclose(outcome.atoms.get_momenta(), reference.get_momenta(), atol=1e-8)
    assert outcome.atoms.get_total_energy() == pytest.approx(before, abs=2e-4 * len(start))


def test_nose_hoover_keeps_its_energy_to_second_order():
    start = Atoms("H20C20", np.zeros((40, 3)))
    start.rattle(0.1, seed=0)

    def drift(timestep: float) -> float:
        conserved = []
        conditions = Conditions("nose_hoover", (300, 300), round(160 / timestep), timestep=timestep, thermostat=40.0)

        def report(step, state):
            thermal = torch.full_like(state.energy, 300.0)
            extra = chain_energy(state, thermal, conditions.coupling.thermostat)
            conserved.append(float((state.energy + state.kinetic + extra)[0]))

        run_dynamics([start.copy()], Free(5.0), conditions, keys=THREE[:1], report=report, limits=LOOSE)
        return max(conserved) - min(conserved)

    coarse, fine = drift(2.0), drift(0.5)  # looked at every 40 and every 10 fs
    assert fine < coarse / 6 and fine < 0.01


@pytest.mark.parametrize("ensemble", ["langevin", "nose_hoover"])
def test_equipartition(ensemble):
    """Springs: kT/2 in every degree of freedom, and the kinetic energy varies as it should."""
    atoms, kelvin = Atoms("H20C20", np.zeros((40, 3))), 400.0
    kinetic, potential = [], []

    def report(step, state):
        if step > 300:
            kinetic.append(state.kinetic.numpy())
            potential.append(state.energy.numpy())

    # a chain does not mix independent oscillators: only the mean kinetic energy is certain there
    conditions = Conditions(ensemble, (kelvin, kelvin), 1500, timestep=2.0, friction=50.0, thermostat=40.0)
    start = [atoms.copy() for _ in range(3)]
    for number, one in enumerate(start):
        one.rattle(0.05, seed=number)
    run_dynamics(start, Free(5.0), conditions, keys=THREE, report=report, limits=LOOSE)
    degrees = 117
    assert 2 * np.mean(kinetic) / degrees == pytest.approx(units.kB * kelvin, rel=0.05)
    if ensemble == "langevin":
        assert 2 * np.mean(potential) / 117 == pytest.approx(units.kB * kelvin, rel=0.08)
        expected = kelvin * units.kB * np.sqrt(degrees / 2)
        assert np.std(kinetic) == pytest.approx(expected, rel=0.15)


def test_npt_of_an_ideal_gas_has_the_exact_distribution_of_volumes():
    """N atoms without forces: V follows a gamma distribution of shape N and scale kT/P."""
    n, kelvin, gigapascal = 20, 300.0, 0.2
    edge = (n * units.kB * kelvin / (gigapascal * units.GPa)) ** (1 / 3)
    rng, volumes = np.random.default_rng(0), []
    gas = [Atoms(f"Ar{n}", rng.random((n, 3)) * edge, cell=[edge] * 3, pbc=True) for _ in range(60)]
    conditions = Conditions(
        "npt", (kelvin, kelvin), 2000, timestep=5.0, pressure=(gigapascal, gigapascal), friction=20.0,
        barostat=500.0, bulk_modulus=gigapascal,
    )  # fmt: skip

    def report(step, state):
        if step > 500:
            volumes.append(state.volume.numpy())

    run_dynamics(gas, Free(), conditions, keys=keys(3, torch.arange(60)), report=report,
                 limits=LOOSE)  # fmt: skip
    scale = units.kB * kelvin / (gigapascal * units.GPa)
    assert np.mean(volumes) == pytest.approx(n * scale, rel=0.03)
    assert np.std(volumes) == pytest.approx(np.sqrt(n) * scale, rel=0.1)


def test_npt_of_a_solid_has_no_pressure_at_its_mean_volume():
    volumes, pressures = [], []
    start = [argon_crystal(2, 5.25) for _ in range(3)]
    free = Conditions("npt", (40, 40), 500, timestep=8.0, bulk_modulus=3.0, barostat=500.0)

    def keep(step, state):
        if step > 200:
            volumes.append(state.volume.numpy())

    run_dynamics(start, Argon(), free, keys=THREE, report=keep)
    edge = float(np.mean(volumes) / 32) ** (1 / 3) * 4 ** (1 / 3)
    held = Conditions("npt", (40, 40), 300, timestep=8.0, bulk_modulus=1e6)  # so stiff that it keeps its volume

    def press(step, state):
        if step > 100:
            pressures.append(state.pressure.numpy() / units.GPa)

    run_dynamics([argon_crystal(2, edge) for _ in range(3)], Argon(), held, keys=THREE, report=press)
    assert 5.26 < edge < 5.40  # expanded from 5.25 at rest
    assert np.mean(pressures) == pytest.approx(0, abs=0.02)  # GPa, of a bulk modulus of 3


def test_ramps_of_temperature_and_volume():
    (outcome,) = run_dynamics(
        [argon_crystal(2)], Argon(), Conditions("langevin", (20, 80), 200, timestep=5.0, volume=1.1, friction=50.0),
        keys=THREE[:1],
    )  # fmt: skip
    assert outcome.atoms.get_volume() == pytest.approx(1.1 * argon_crystal(2).get_volume(), rel=1e-9)
    assert 45 < outcome.atoms.get_temperature() < 130


def test_a_broken_model_ends_alone_with_its_last_good_frame():
    bad = argon_crystal(2)
    bad.symbols[3] = "Si"
    conditions = Conditions("langevin", (30, 30), 60, timestep=5.0)
    good = [argon_crystal(2), argon_crystal(2)]
    # the test of the timestep takes 16 calls after the first
    first, broken, last = run_dynamics([good[0], bad, good[1]], Poisoned(after=45), conditions, keys=THREE)
    assert broken.failure == "positions or forces are no longer finite" and broken.steps == 20
    assert np.isfinite(broken.atoms.positions).all() and not np.allclose(broken.atoms.positions, bad.positions)
    alone = run_dynamics(good, Argon(), conditions, keys=THREE[[0, 2]])
    for one, other in zip((first, last), alone, strict=True):
        assert not one.failure and np.allclose(one.atoms.positions, other.atoms.positions, atol=1e-9)


def test_atoms_on_top_of_each_other_and_runaways_end():
    near = Atoms("Ar2", [[0, 0, 0], [0, 0, 4.0]], cell=[30] * 3, pbc=True)
    near.set_momenta([[0, 0, 2000.0], [0, 0, -2000.0]])
    from gendesign.dynamics.watch import faults

    still = near.copy()
    still.set_momenta(np.zeros((2, 3)))
    from gendesign.dynamics.state import State

    key = THREE[:1]
    state, calm = (State.from_atoms([atoms], key, "cpu") for atoms in (near, still))
    assert "ran away" in faults(state, 300, calm, 1.0)[0]
    assert faults(state, 300, state, 1.0) == [""]  # as hot as it began
    still.positions[1, 2] = 0.5
    assert "fused" in faults(State.from_atoms([still], key, "cpu"), 300, calm, 1.0)[0]
    assert faults(calm, 300, calm, 1.0) == [""]


def test_a_timestep_that_is_too_long_is_said():
    atoms = Atoms("H20C20", np.zeros((40, 3)))
    atoms.rattle(0.05, seed=0)
    with pytest.raises(UserError, match=r"timestep=9 fs is too long: .*; give a shorter timestep"):
        run_dynamics(
            [atoms], Free(6.0), Conditions("langevin", (300, 300), 100, timestep=9.0), keys=THREE[:1], limits=LOOSE
        )
    fine = Conditions("langevin", (300, 300), 20, timestep=0.5)
    assert not run_dynamics([atoms], Free(6.0), fine, keys=THREE[:1], limits=LOOSE)[0].failure


def test_pressure_needs_a_stress_and_three_periodic_directions():
    conditions = Conditions("npt", (30, 30), 5)
    slab = argon_crystal(2)
    slab.pbc = (True, True, False)
    with pytest.raises(UserError, match="periodic in three directions"):
        run_dynamics([slab], Argon(), conditions, keys=THREE[:1])


def spoiled_run(ensemble, potential, folder):
    """Two crystals, of which the second has a poisoned atom, with checkpoints in `folder`, if any, after each step."""
    bad = argon_crystal(2)
    bad.symbols[3] = "Si"
    conditions = Conditions(ensemble, (30, 60), 100, timestep=5.0, bulk_modulus=3.0)
    kept = Kept(StepCache(folder), "state") if folder else None
    options = dict(keys=THREE[:2], first_step=7, checkpoint=kept, save_seconds=0.0)
    return run_dynamics([argon_crystal(2), bad], potential, conditions, **options)


def killed_run(ensemble, folder):
    """`spoiled_run` until SIGKILL at step 75; 17 calls come before the first step."""
    spoiled_run(ensemble, Poisoned(after=50, kill_at=17 + 75), Path(folder))


@pytest.mark.parametrize("ensemble", ["langevin", "nose_hoover", "npt"])
def test_killed_and_continued_it_ends_with_the_same_bits(ensemble, tmp_path):
    whole = spoiled_run(ensemble, Poisoned(after=50), None)
    assert was_killed(__file__, "killed_run", ensemble, str(tmp_path)) and (tmp_path / "state.npz").is_file()
    again = Poisoned(after=0)  # the bad structure has ended already
    rest = spoiled_run(ensemble, again, tmp_path)
    assert again.calls < 60  # continued, not begun anew
    for one, other in zip(whole, rest, strict=True):
        assert one.failure == other.failure and one.steps == other.steps
        assert np.array_equal(one.atoms.positions, other.atoms.positions)
        assert np.array_equal(one.atoms.get_momenta(), other.atoms.get_momenta())
        assert np.array_equal(one.atoms.cell.array, other.atoms.cell.array)
