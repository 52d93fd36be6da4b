"""The energy of the diffusion model: symmetries, gradients, limits, and that no atom is without company."""

import numpy as np
import pytest
import torch
from ase.build import molecule
from clouds import clouds, model
from scipy.spatial.transform import Rotation

from gendesign.structure.graph import all_pairs

LEVELS = (0.01, 0.3, 3.0)


def at(sigma: float, n: int = 3) -> torch.Tensor:
    return torch.full((n,), sigma, dtype=torch.float64)


@pytest.mark.parametrize("sigma", LEVELS)
def test_the_energy_does_not_change_under_motions_reflections_and_renumbering(sigma):
    net, some = model(), clouds()
    before = net.gradient(some, at(sigma))
    turn = torch.tensor(Rotation.random(rng=np.random.default_rng(0)).as_matrix())
    turn = -turn  # with a reflection
    moved = some.positions @ turn.T + torch.tensor([3.0, -2.0, 11.0])
    after = net.gradient(some._replace(positions=moved), at(sigma))
    scale = before.energy.abs() + 1
    assert ((after.energy - before.energy).abs() / scale).max() < 1e-5
    assert torch.allclose(
        after.positions, before.positions @ turn.T, rtol=1e-5, atol=1e-5 * before.positions.abs().max()
    )
    order = torch.cat([torch.arange(5).flip(0), 5 + torch.randperm(9), torch.tensor([15, 14])])
    renumbered = some._replace(positions=some.positions[order], vectors=some.vectors[order])
    again = net.gradient(renumbered, at(sigma))
    assert ((again.energy - before.energy).abs() / scale).max() < 1e-5
    assert torch.allclose(again.vectors, before.vectors[order], rtol=1e-5, atol=1e-5 * before.vectors.abs().max())


def test_a_molecule_does_not_know_the_others_of_its_batch():
    net, some = model(), clouds((5, 9))
    alone = clouds((5,))._replace(positions=some.positions[:5], vectors=some.vectors[:5])
    both, one = net.gradient(some, at(0.3, 2)), net.gradient(alone, at(0.3, 1))
    assert torch.allclose(one.positions, both.positions[:5], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sigma", LEVELS)
def test_the_score_is_minus_the_gradient_of_the_energy(sigma):
    net, some = model(), clouds((6,))
    gradient, step = net.gradient(some, at(sigma, 1)), 1e-6
    for kind, key in ((gradient.positions, "positions"), (gradient.vectors, "vectors")):
        for atom, column in ((0, 0), (3, 2), (5, 1)):
            ends = []
            for sign in (1, -1):
                changed = getattr(some, key).clone()
                changed[atom, column] += sign * step
                ends.append(net(some._replace(**{key: changed}), at(sigma, 1))[0].item())
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(kind[atom, column].item(), rel=1e-5, abs=1e-5)


def test_forces_are_finite_where_atoms_coincide():
    some = clouds((4,))
    some.positions[1] = some.positions[0]
    gradient = model().gradient(some, at(0.1, 1))
    assert torch.isfinite(gradient.positions).all() and torch.isfinite(gradient.vectors).all()


def test_a_new_model_is_the_best_gaussian_of_the_data():
    net, some, sigma = model(random=False), clouds((18,)), 0.7
    gradient = net.gradient(some, at(sigma, 1))
    centred = some.positions - some.positions.mean(0)
    assert torch.allclose(gradient.positions, centred / (1.4**2 + sigma**2))
    shares = torch.tensor(net.statistics.shares)
    assert torch.allclose(gradient.vectors, (some.vectors - shares) / (0.35**2 + sigma**2))


def test_the_score_is_restorative_to_a_percent_at_large_noise():
    net, sigma = model(), 3000.0
    some = clouds((18, 5), width=sigma)
    with torch.no_grad():  # gradients of order one, as the scaling promises of a trained network
        gradient = net.gradient(some, at(sigma, 2))
    size = torch.bincount(some.system)
    centre = torch.zeros(2, 3, dtype=torch.float64).index_add(0, some.system, some.positions) / size[:, None]
    pull = (some.positions - centre[some.system]) / sigma**2
    assert (gradient.positions - pull).norm() / pull.norm() < 0.01


def test_no_atom_loses_its_neighbours_at_any_noise():
    positions = torch.tensor(np.concatenate([molecule(name).positions for name in ("C6H6", "CH3CH2OCH3", "C60")]))
    system = torch.arange(3).repeat_interleave(torch.tensor([12, 12, 60]))
    pairs = all_pairs(system, 3)
    generator = torch.Generator().manual_seed(0)
    for sigma in (1e-3, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0):
        for _ in range(20):
            noise = sigma * torch.randn(positions.shape, generator=generator, dtype=torch.float64)
            some = clouds((12, 12, 60))._replace(positions=positions + noise, pairs=pairs, system=system)
            graph = model(random=False).graph(some, at(sigma))
            assert (torch.bincount(graph.index[0], minlength=len(system)) > 0).all()


def test_a_lone_atom_still_feels_the_molecule():
    net, some = model(), clouds((6,))
    some.positions[0] = torch.tensor([1e3, 0, 0], dtype=torch.float64)
    other = some._replace(vectors=some.vectors.clone())
    other.vectors[3] += 1
    before, after = (net.gradient(s, at(1.0, 1)).vectors[0] for s in (some, other))
    assert (before - after).abs().max() > 1e-8
