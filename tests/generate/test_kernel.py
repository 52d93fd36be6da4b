"""The similarity score: its derivative, its symmetry, and what holds a swarm together."""

import numpy as np
import pytest
import tiny
import torch
from ase.build import molecule
from scipy.spatial.transform import Rotation

from gendesign.generate.simgen import kernel
from gendesign.generate.simgen.cohesion import Cohesion
from gendesign.generate.simgen.prior import GaussianPrior, shapes_of, strength
from gendesign.generate.simgen.state import new_swarm
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import keys, normal


@pytest.fixture(scope="module")
def score():
    skeletons = [molecule(name) for name in ("CH3CH2OH", "CH3OCH3", "CH3CONH2", "CH3NO2", "HCOOH", "CH3CN")]
    skeletons = [a[[i for i, z in enumerate(a.numbers) if z > 1]] for a in skeletons]
    return kernel.KernelScore(tiny.potential(), kernel.environments(tiny.potential(), skeletons, channels=6))


def swarm_of(sizes, particles=2, spread=0.9):
    swarm = new_swarm(torch.tensor(sizes), keys(3, torch.arange(len(sizes))), particles)
    return swarm.at(spread * normal(swarm.key, Purpose.START_POSITIONS, 3))


def test_gradient_of_the_similarity(score):
    swarm, sigma, step = swarm_of([4, 5]), 0.3, 1e-5
    swarm.numbers[::3] = 8
    first, second = swarm.pairs
    lengths = (swarm.positions[first] - swarm.positions[second]).norm(dim=-1)
    assert lengths.min() < kernel.SHORTEST  # the clamp is at work, and no pair sits on its edge
    assert (lengths - kernel.SHORTEST).abs().min() > 10 * step
    found = score(swarm, sigma) - kernel.repulsion(swarm)
    free = (found.norm(dim=-1) < 0.99 * kernel.CLIP).nonzero().flatten()
    assert len(free) > 4 and found.norm(dim=-1).max() < kernel.CLIP + 1e-9
    for atom in free[:5].tolist():
        for axis in range(3):
            energy = []
            for sign in (1, -1):
                moved = swarm.positions.clone()
                moved[atom, axis] += sign * step
                energy.append(score.energies(swarm, moved, sigma).sum().item())
            assert found[atom, axis].item() == pytest.approx((energy[1] - energy[0]) / (2 * step), abs=1e-6)


def test_scores_turn_with_the_swarm(score):
    swarm, turn = swarm_of([4, 5]), torch.tensor(Rotation.random(random_state=1).as_matrix())
    for part in (score, kernel.repulsion, Cohesion(), GaussianPrior()):
        act = part if part is not kernel.repulsion else lambda state, sigma: kernel.repulsion(state)
        straight, turned = act(swarm, 0.3), act(swarm.at(swarm.positions @ turn.T), 0.3)
        assert torch.allclose(turned, straight @ turn.T, rtol=0, atol=1e-8)


def test_the_narrow_end_tells_environments_apart(score):
    """An atom placed exactly as in a reference is the most similar there is."""
    atoms = molecule("CH3CONH2")
    atoms = atoms[[i for i, z in enumerate(atoms.numbers) if z > 1]]
    swarm = new_swarm(torch.tensor([len(atoms)]), keys(0, torch.arange(1)), 1)
    swarm.numbers[:] = torch.tensor(atoms.numbers)
    exact = score.energies(swarm, torch.tensor(atoms.positions), 0.0)
    moved = torch.tensor(np.random.default_rng(0).normal(atoms.positions, 0.2))
    assert exact.max() < 1e-6 < (score.energies(swarm, moved, 0.0) - exact).min()


def test_repulsion_parts_atoms_that_fell_onto_each_other():
    swarm = new_swarm(torch.tensor([2]), keys(0, torch.arange(1)), 1)
    swarm.positions[1, 0] = 0.4
    force = kernel.repulsion(swarm)
    assert force[0, 0] < 0 < force[1, 0] and torch.equal(force[0], -force[1])
    swarm.positions[1, 0] = 1.2
    assert not kernel.repulsion(swarm).any()


def test_strength_is_the_published_one():
    assert strength(torch.tensor([5, 9, 20, 50])).tolist() == pytest.approx([1.99, 1.57, 1.06, 0.62], abs=0.01)


def test_prior_shapes():
    swarm = swarm_of([9] * 400, particles=1)
    covariance = torch.diag(torch.tensor([4.0, 1.0, 0.25]))
    start = GaussianPrior(covariance).sample(swarm)
    sample = torch.cov(start.T)
    wanted = 0.25 * torch.tensor([4.0, 1.0, 0.25])
    assert torch.allclose(sample.diagonal(), wanted.double(), rtol=4 * (2 / len(start)) ** 0.5, atol=0)
    pull = GaussianPrior(covariance)(swarm.at(torch.ones_like(start)), 1.0)[0]
    assert (pull / pull[1]).tolist() == pytest.approx([0.25, 1.0, 4.0])
    assert not GaussianPrior(covariance)(swarm, 0.0).any()  # it lets go at the end
    with pytest.raises(ValueError, match="positive definite"):
        GaussianPrior(torch.diag(torch.tensor([1.0, 1.0, -1.0])))


def test_shapes_of_flat_and_straight_molecules():
    shapes = shapes_of([molecule("C6H6"), molecule("HCN")])
    assert shapes.shape == (2, 3, 3) and torch.linalg.eigvalsh(shapes).min() > 0
    values = torch.linalg.eigvalsh(shapes)
    assert values[0, 1] == pytest.approx(values[0, 2]) and values[0, 0] < 0.2 * values[0, 2]


def test_particles_of_a_molecule_start_together():
    swarm = swarm_of([4, 6], particles=3)
    start = swarm.padded(GaussianPrior().sample(swarm)).view(2, 3, 6, 3)
    assert torch.equal(start[:, 0], start[:, 1]) and not torch.equal(start[0, 0, :4], start[1, 0, :4])


def test_cohesion_joins_two_pieces_and_leaves_one_alone():
    swarm = new_swarm(torch.tensor([4]), keys(0, torch.arange(1)), 1)
    swarm = swarm.at(torch.tensor([[0.0, 0, 0], [1.5, 0, 0], [5.0, 0, 0], [6.5, 0, 0]], dtype=torch.float64))
    assert not Cohesion()(swarm, 0.9).any()
    for _ in range(100):
        swarm = swarm.at(swarm.positions + 0.01 * Cohesion()(swarm, 0.2))
    x = swarm.positions[:, 0].numpy()
    assert np.diff(x)[[0, 2]] == pytest.approx(1.5) and 1.7 < x[2] - x[1] < 1.85
    assert not Cohesion()(swarm, 0.2).any()
