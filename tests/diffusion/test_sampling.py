"""Molecules from a diffusion model: exact limits of the sampler, conditions, refusals."""

from dataclasses import replace

import ase.io
import numpy as np
import pytest
import tiny
import torch
from ase.build import molecule
from clouds import STATISTICS, model

from gendesign.errors import UserError
from gendesign.generate.diffusion import checkpoint, sizes
from gendesign.generate.diffusion.cloud import Order, new_cloud
from gendesign.generate.diffusion.generator import Diffusion, molecules_of
from gendesign.generate.diffusion.loss import NoiseLevels
from gendesign.generate.diffusion.sampler import DiffusionSampler, LearnedScore, Steps
from gendesign.generate.simgen.guidance import Guidance
from gendesign.generate.simgen.heun import Heun, integrate
from gendesign.generate.simgen.prior import GaussianPrior
from gendesign.objective import build_objective
from gendesign.structure.counter_random import keys

ELEMENTS = (1, 6, 7, 8, 9)


def gaussian():
    """A new model, which is the best Gaussian of its data."""
    return LearnedScore(model(random=False, layers=1, channels=2, width=4, n_radial=2))


def cloud(n: int = 18, molecules: int = 3, numbers=None):
    order = Order(torch.zeros(n, dtype=torch.long) if numbers is None else numbers, torch.full((n, 3), torch.nan))
    return new_cloud([order] * molecules, keys(0, torch.arange(molecules)), ELEMENTS, ELEMENTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint with random weights."""
    path = tmp_path_factory.mktemp("model")
    checkpoint.save(model(dtype=torch.float32), NoiseLevels(), path, name="random")
    return path


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return tiny.references(tmp_path_factory.mktemp("references"))


def generator(folder, known, **changes) -> Diffusion:
    usual = dict(checkpoint=str(folder), elements=["C", "N", "O"], reference=known, calls=8, finish=False)
    return Diffusion(potential=tiny.potential(dtype="float32"), **{**usual, **changes})


def test_the_sampler_recovers_gaussian_data_exactly():
    """Of a new model the flow is x(0) = x(s) spread / sqrt(spread^2 + s^2), and the same for element vectors."""
    start = []
    sampler = DiffusionSampler(gaussian(), Steps(calls=300, churn=0))
    ended = sampler(cloud(), lambda state, sigma: start.append(state)).cloud
    for data, key, spread, middle in (
        (start[0].positions, "positions", STATISTICS.spread, torch.zeros(1)),
        (start[0].vectors, "vectors", STATISTICS.element_spread, torch.tensor(STATISTICS.shares)),
    ):
        expected = middle + (data - middle) * spread / (spread**2 + 100.0) ** 0.5
        assert torch.allclose(getattr(ended, key), expected, rtol=2e-3, atol=1e-3)


def test_the_error_falls_with_the_square_of_the_calls():
    errors, start = [], []
    for calls in (16, 32, 64):
        sampler = DiffusionSampler(gaussian(), Steps(calls=calls, sigma_min=1e-3, churn=0))
        ended = sampler(cloud(molecules=1), lambda state, sigma: start.append(state)).cloud
        exact = start[0].positions * STATISTICS.spread / (STATISTICS.spread**2 + 100.0) ** 0.5
        errors.append(float((ended.positions - exact).norm()))
    assert errors[1] < errors[0] / 2.5 and errors[2] < errors[1] / 2.5


def test_added_noise_keeps_gaussian_data():
    ended = DiffusionSampler(gaussian(), Steps(calls=60, churn=10))(cloud(molecules=40)).cloud
    centred = ended.positions.view(40, 18, 3) - ended.positions.view(40, 18, 3).mean(1, keepdim=True)
    assert centred.std() == pytest.approx(1.4 * (17 / 18) ** 0.5, rel=0.05)


def test_a_learned_score_is_a_score_of_the_similarity_sampler():
    some = cloud(molecules=2)
    swarm = some.with_vectors(torch.randn(36, 3, dtype=torch.float64), some.vectors)
    ended, exploded = integrate(swarm, [LearnedScore(model())], torch.tensor([1.0, 0.5, 0.0]), Heun(churn=0))
    assert not exploded.any() and torch.isfinite(ended.positions).all()


def test_what_is_known_is_kept_exactly():
    numbers = torch.tensor([6, 8, -1, -1, 1, 1, 1])
    where = torch.full((7, 3), torch.nan)
    where[:2] = torch.tensor([[0.0, 0, 0], [1.4, 0, 0]])
    some = new_cloud([Order(numbers, where)] * 3, keys(0, torch.arange(3)), ELEMENTS, ELEMENTS[:4])
    ended = DiffusionSampler(LearnedScore(model()), Steps(calls=10))(some).cloud
    for atoms in molecules_of(DiffusionSampler(LearnedScore(model()), Steps(calls=10))(some)):
        assert atoms.numbers[:2].tolist() == [6, 8] and atoms.numbers[4:].tolist() == [1, 1, 1]
        assert set(atoms.numbers[2:4]) <= {6, 7, 8}  # heavy, and no fluorine
        assert np.allclose(atoms.positions[:2], where[:2])
    assert ended.heavy_swarm.n_molecules == 3 and len(ended.heavy_swarm.numbers) == 12


def test_sizes_are_those_of_the_training_and_scale_beyond():
    u = (np.arange(700) + 0.5) / 700
    rows, times = np.unique(sizes.drawn(STATISTICS.size_counts, u), axis=0, return_counts=True)
    assert rows.tolist() == [[1, 5], [2, 8], [3, 9]] and times.tolist() == [200, 100, 400]
    assert sizes.drawn(STATISTICS.size_counts, u[:2], [2, 6]).tolist() == [[2, 8], [6, 18]]


def test_candidates_do_not_depend_on_their_batch(folder, known):
    made = generator(folder, known)
    together = list(made.generate(range(4), seed=3))
    alone = next(made.generate([2], seed=3))
    assert together[2].atoms.numbers.tolist() == alone.atoms.numbers.tolist()
    assert np.allclose(together[2].atoms.positions, alone.atoms.positions, atol=1e-3)
    assert {len(c.atoms) for c in together} <= {5, 8, 9} and "diffusion_energy" in alone.info


def test_a_formula_and_the_number_of_heavy_atoms_hold(folder, known):
    for candidate in generator(folder, known, formula="C2H6O").generate(range(3), seed=0):
        assert candidate.atoms.get_chemical_formula() == "C2H6O"
    for candidate in generator(folder, known, counts="N1", n_heavy_atoms=4).generate(range(4), seed=0):
        assert (candidate.atoms.numbers == 7).sum() == 1 and candidate.atoms.numbers.sum() % 2 == 0
    for candidate in generator(folder, known, n_heavy_atoms="4-5").generate(range(4), seed=0):
        assert 4 <= (candidate.atoms.numbers != 1).sum() <= 5


def test_fragments_stay_where_they_are(folder, known, tmp_path):
    path = tmp_path / "fragment.extxyz"
    fragment = molecule("CH3CH2OH")
    ase.io.write(path, fragment)
    hydrogen = next(i for i, z in enumerate(fragment.numbers) if z == 1)
    for c in generator(folder, known, fragments=str(path), attachments=[hydrogen]).generate(range(2), seed=0):
        heavy = fragment.positions[fragment.numbers != 1]
        assert np.allclose(c.atoms.positions[:3], heavy, atol=1e-4)
        kept = np.delete(fragment.positions, hydrogen, 0)
        distance = np.linalg.norm(c.atoms.positions[:, None] - kept[None], axis=-1).min(0)
        assert distance.max() < 1e-4


def test_conditions_and_the_kernel_act_on_heavy_atoms(folder, known):
    def spread(candidates, axis):
        return np.mean([np.abs(c.atoms.positions[c.atoms.numbers != 1][:, axis]).mean() for c in candidates])

    def flat(positions, mask):
        return 20 * (positions[..., 2] ** 2 * mask).sum(-1)

    plain = list(generator(folder, known, n_heavy_atoms=4, calls=30).generate(range(4), seed=0))
    pressed = generator(folder, known, n_heavy_atoms=4, calls=30, guidance=[Guidance(function=flat)])
    assert spread(pressed.generate(range(4), seed=0), 2) < 0.7 * spread(plain, 2)
    line = generator(
        folder, known, n_heavy_atoms=4, calls=30, prior=GaussianPrior(torch.diag(torch.tensor([9.0, 1, 1])))
    )
    assert spread(line.generate(range(4), seed=0), 0) != pytest.approx(spread(plain, 0), rel=1e-3)
    alike = list(generator(folder, known, n_heavy_atoms=4, calls=20, kernel_weight=1.0).generate(range(2), seed=0))
    assert not np.allclose(alike[0].atoms.positions, plain[0].atoms.positions, atol=0.1)


def test_the_best_of_several_has_the_lowest_learned_energy(folder, known):
    one, best = (list(generator(folder, known, best_of=n).generate(range(5), seed=0)) for n in (1, 4))
    assert all(b.info["diffusion_energy"] <= a.info["diffusion_energy"] for a, b in zip(one, best, strict=True))


def test_the_best_is_none_that_exploded_or_has_no_objective(folder, known):
    made, options = generator(folder, known, best_of=4), [molecule("CH4")] * 4
    energies = np.array([np.nan, -1.0, -3.0, -2.0])
    assert made._best(options, energies) == 2 and made._best(options, np.full(4, np.nan)) == 0
    rewards = {3: [0.1, np.nan, 0.2]}  # of the three that did not explode
    object.__setattr__(made, "problem", replace(made.problem, reward=lambda structures: rewards[len(structures)]))
    assert made._best(options, energies) == 3


def test_finishing_hands_every_candidate_back(folder, known):
    from gendesign.generate.simgen.finish import Finish

    made = generator(folder, known, finish=True, finishing=Finish(finalists=1, rough_steps=1, sweeps=0))
    candidates = list(made.generate(range(4), seed=0))
    assert [c.index for c in candidates] == [0, 1, 2, 3]
    assert all(c.failure or len(c.atoms) for c in candidates)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (dict(sigma_max=1e4), "was trained from 0.0061 to 49 Angstrom"),
        (dict(sigma_min=1e-4), "was trained from"),
        (dict(sigma_max=40.0, churn=20.0), "was trained from"),
        (dict(sigma_min=3.0, sigma_max=2.0), "give 0 < sigma_min < sigma_max"),
        (dict(elements=["C", "S"], reference=()), "holds S; the diffusion model knows H C N O F"),
        (dict(calls=1), "generator.calls=1"),
        (dict(best_of=2, finish=True), "needs generator.finish=false"),
        (dict(checkpoint="nothing"), "train one: gendesign train generator=diffusion"),
        (dict(objective=build_objective(["qed"]), finish=False), "with generator.best_of=1 and"),
    ],
)
def test_senseless_settings_are_one_line(folder, known, changes, reason):
    potential = tiny.potential(dtype="float32")
    usual = dict(checkpoint=str(folder), elements=["C", "N", "O"], reference=known)
    if "S" in changes.get("elements", ()):
        from gendesign.potential import load_potential

        potential = load_potential("organic", device="cpu")
    with pytest.raises(UserError) as refused:
        Diffusion(potential=potential, **{**usual, **changes})
    assert reason in str(refused.value) and "\n" not in str(refused.value)
