import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from torch_sim.models.interface import ModelInterface
from toy import ToyPotential

from gendesign.dynamics import molecular_dynamics
from gendesign.errors import UserError


class Springs(ModelInterface):
    """Every atom on a spring to the origin: U = k x^2 / 2, all averages known."""

    stiffness = 5.0

    def __init__(self) -> None:
        super().__init__()
        self._device, self._dtype = torch.device("cpu"), torch.float64
        self._compute_stress, self._compute_forces = False, True

    def forward(self, state, **kwargs):
        energy = torch.zeros(state.n_systems, dtype=self._dtype)
        energy.index_add_(0, state.system_idx, 0.5 * self.stiffness * state.positions.pow(2).sum(1))
        return {"energy": energy, "forces": -self.stiffness * state.positions}


class SpringPotential(ToyPotential):
    def as_torchsim(self, *, stress=False):
        return Springs()


def tetramer(shift: float = 0.0) -> Atoms:
    positions = 1.5 / np.sqrt(8) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return Atoms("CNOC", positions * (1 + shift))


def total(atoms: Atoms) -> float:
    return atoms.get_potential_energy() + atoms.get_kinetic_energy()


def drift(timestep: float, time: float = 40.0) -> float:
    run = dict(temperature=300, timestep=timestep, steps=round(time / timestep), ensemble="nve", every=1)
    (trajectory,) = molecular_dynamics([tetramer()], ToyPotential(), **run)
    energies = np.array([total(frame) for frame in trajectory])
    return float(np.abs(energies - energies[0]).max())


def test_nve_keeps_the_energy_to_second_order_in_the_timestep():
    coarse, fine = drift(0.5), drift(0.25)
    assert fine < 1e-3
    assert coarse / fine == pytest.approx(4.0, rel=0.25)


def test_frames_and_units():
    start = [tetramer(0.05), Atoms("H", [[1.0, 0, 0]])]
    run = dict(temperature=0, timestep=0.5, steps=10, ensemble="nve", every=5)
    first, second = molecular_dynamics(start, SpringPotential(), **run)
    assert [frame.info["time"] for frame in first] == [0.0, 2.5, 5.0]
    assert np.array_equal(first[0].positions, start[0].positions) and len(second) == 3
    omega = np.sqrt(Springs.stiffness / start[1].get_masses()[0])
    assert second[-1].positions[0, 0] == pytest.approx(np.cos(omega * 5.0 * units.fs), abs=1e-3)
    speed = -omega * np.sin(omega * 5.0 * units.fs)
    assert second[-1].get_velocities()[0, 0] == pytest.approx(speed, rel=1e-2)


def test_langevin_equipartition():
    """Kinetic and potential energy are kT/2 a degree of freedom, light atoms and heavy ones alike."""
    atoms = Atoms("H20C20", np.zeros((40, 3)))
    run = dict(temperature=400, timestep=1.0, steps=600, friction=50.0, seed=3, every=5)
    trajectories = molecular_dynamics([atoms] * 4, SpringPotential(), **run)
    frames = [frame for trajectory in trajectories for frame in trajectory[20:]]
    half = 0.5 * units.kB * 400
    kinetic = np.array([frame.get_momenta() ** 2 / (2 * frame.get_masses()[:, None]) for frame in frames])
    potential = np.array([0.5 * Springs.stiffness * frame.positions**2 for frame in frames])
    for element in (slice(0, 20), slice(20, 40)):
        assert kinetic[:, element].mean() == pytest.approx(half, rel=0.05)
        assert potential[:, element].mean() == pytest.approx(half, rel=0.05)


def test_seeded_and_without_a_trace_in_the_global_generator():
    before = torch.random.get_rng_state()
    run = dict(temperature=500, timestep=0.5, steps=10, friction=10.0)
    one, same, other = (
        molecular_dynamics([tetramer(), tetramer(0.1)], ToyPotential(), seed=seed, **run)[1][-1].positions
        for seed in (1, 1, 2)
    )
    assert one.tobytes() == same.tobytes() and not np.allclose(one, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_explosion_ends_its_own_trajectory_only():
    run = dict(temperature=300, timestep=0.5, steps=6, ensemble="nve", every=2)
    structures = [tetramer(), Atoms("H2", [[0, 0, 0], [1.5, 0, 0]]), tetramer(0.1)]
    calm, burst, other = molecular_dynamics(structures, ToyPotential(poison=1, after=4), **run)
    assert len(calm) == len(other) == 4 and not calm[-1].info["exploded"]
    assert len(burst) == 2 and burst[-1].info["exploded"] and np.isfinite(burst[-1].positions).all()
    (alone,) = molecular_dynamics([structures[1]], ToyPotential(poison=1), **run)
    assert alone == []


def test_bad_input_is_refused_in_words():
    good = dict(temperature=300, timestep=1.0, steps=1)
    mixed = [tetramer(), bulk("Ar", a=5.3)]
    for structures, changes, words in (
        ([tetramer()], {"ensemble": "npt"}, "ensemble='npt' is unknown"),
        ([tetramer()], {"timestep": 0.0}, "timestep=0.0 must be above zero"),
        ([tetramer()], {"temperature": -1}, "temperature=-1 must not be negative"),
        ([tetramer()], {"every": 0}, "every=0 must be above zero"),
        ([Atoms()], {}, "no atoms"),
        (mixed, {}, "structure 1 differs from the first in its periodicity"),
        ([Atoms("Xe")], {}, "Xe"),
    ):
        with pytest.raises(UserError, match=words):
            molecular_dynamics(structures, ToyPotential(), **(good | changes))
    assert molecular_dynamics([], ToyPotential(), **good) == []
