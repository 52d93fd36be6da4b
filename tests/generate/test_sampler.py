"""The sampler against what is known exactly: Gaussians, schedules, indices."""

import pytest
import torch

from gendesign.generate.simgen.heun import Heun, integrate
from gendesign.generate.simgen.schedule import simgen_sigmas
from gendesign.generate.simgen.state import new_swarm
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import keys, normal, pick, uniform

N = 4000


@pytest.mark.parametrize("churn", [0.0, 10.0])
def test_exact_score_of_a_gaussian_gives_the_gaussian(churn):
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    covariance = turn @ torch.diag(torch.tensor([1.0, 0.25, 0.04], dtype=torch.float64)) @ turn.T
    mean, eye = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64), torch.eye(3, dtype=torch.float64)

    def score(swarm, sigma):  # sigma grad log p_sigma
        return -sigma * torch.linalg.solve(covariance + sigma**2 * eye, (swarm.positions - mean).T).T

    sigmas = simgen_sigmas(120 if churn else 60, largest=3.0)  # noise leaves an error of first order in the step
    swarm = new_swarm(torch.full((N // 20,), 20), keys(0, torch.arange(N // 20)), 1)
    root = torch.linalg.cholesky(covariance + sigmas[0] ** 2 * eye)
    swarm = swarm.at(mean + normal(swarm.key, Purpose.START_POSITIONS, 3) @ root.T)
    swarm, exploded = integrate(swarm, [score], sigmas, Heun(churn=churn, noise=1.0, floor=0.0))
    assert not exploded.any()
    inner = (swarm.positions - mean) @ turn  # along the axes of the Gaussian
    deviation = torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)
    assert (inner.mean(0).abs() / deviation).max() < 4 / N**0.5
    error = torch.cov((inner / deviation).T) - eye
    assert error.diagonal().abs().max() < 4 * (2 / N) ** 0.5
    assert (error - error.diagonal().diag()).abs().max() < 4 / N**0.5


def test_a_molecule_that_explodes_disturbs_no_other():
    swarm = new_swarm(torch.tensor([3, 4, 5]), keys(1, torch.arange(3)), 2)
    swarm = swarm.at(normal(swarm.key, Purpose.START_POSITIONS, 3))
    calls = []

    def pull(state, sigma):
        assert torch.isfinite(state.positions[state.molecule != 1]).all()
        return -state.positions

    def broken(state, sigma):
        calls.append(sigma)
        out = pull(state, sigma)
        return torch.where(((state.molecule == 1) & (len(calls) > 5))[:, None], torch.nan, out)

    sigmas = simgen_sigmas(8)
    sound, none = integrate(swarm, [pull], sigmas, Heun())
    found, exploded = integrate(swarm, [broken], sigmas, Heun())
    assert not none.any() and exploded.tolist() == [False, True, False]
    others = swarm.molecule != 1
    assert torch.equal(found.positions[others], sound.positions[others]) and torch.isfinite(found.positions).all()


def test_between_is_called_after_every_step():
    seen = []
    swarm = new_swarm(torch.tensor([2]), keys(0, torch.arange(1)), 1)
    sigmas = simgen_sigmas(4)
    integrate(
        swarm,
        [lambda state, sigma: -state.positions],
        sigmas,
        Heun(),
        lambda state, step, sigma: seen.append((step, sigma)) or state,
    )
    assert seen == list(enumerate(sigmas[1:].tolist()))


def test_schedule():
    sigmas = simgen_sigmas(50)
    assert len(sigmas) == 51 and sigmas[0] == 1 and sigmas[25] == pytest.approx(0.05)
    assert sigmas[49] == pytest.approx(1e-3) and sigmas[50] == 0 and (sigmas.diff() < 0).all()
    steps = sigmas[:26].diff()
    assert torch.allclose(steps, steps[0].expand(25))
    ratios = sigmas[26:50] / sigmas[25:49]
    assert torch.allclose(ratios, ratios[0].expand(24))
    assert simgen_sigmas(2).tolist() == pytest.approx([1.0, 0.05, 0.0])
    with pytest.raises(ValueError, match="at least 2"):
        simgen_sigmas(1)


def test_pick_follows_its_weights():
    logits = torch.tensor([0.0, 1.0, -torch.inf, 2.0]).expand(20_000, -1)
    counts = (
        torch.bincount(pick(logits, uniform(keys(0, torch.arange(20_000)), Purpose.CHOICE, 1)[:, 0]), minlength=4)
        / 20_000
    )
    assert counts[2] == 0 and torch.allclose(counts, logits[0].softmax(0), atol=0.015)


def test_swarm_indices():
    swarm = new_swarm(torch.tensor([2, 3]), torch.tensor([11, 12]), 2)
    assert swarm.system.tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 3]
    assert swarm.molecule.tolist() == [0] * 4 + [1] * 6 and swarm.slot.tolist() == [0, 1, 0, 1, 0, 1, 2, 0, 1, 2]
    assert swarm.particle.tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 1, 1] and len(set(swarm.key.tolist())) == 10
    pairs = {(i, j) for i in range(10) for j in range(10) if i != j and swarm.system[i] == swarm.system[j]}
    assert set(map(tuple, swarm.pairs.T.tolist())) == pairs and swarm.pairs.shape[1] == len(pairs)
    values = torch.arange(10.0)
    assert swarm.per_particle(values).tolist() == [[1, 5], [15, 24]]
    assert swarm.padded(values).tolist() == [[0, 1, 0], [2, 3, 0], [4, 5, 6], [7, 8, 9]]
    assert swarm.atoms_of(torch.tensor([1, 0])).tolist() == [2, 3, 2, 3, 4, 5, 6, 4, 5, 6]
