"""The route by similarity: periodic scores against differences, and models that come to resemble their references."""

import numpy as np
import pytest
import tiny
import torch
from ase.build import bulk
from ase.io import write

from gendesign.errors import UserError
from gendesign.generate.amorphous import similarity
from gendesign.generate.amorphous.generator import Amorphous
from gendesign.generate.amorphous.similarity import Annealing, SimilarityRoute, Walk, noise_levels
from gendesign.generate.amorphous.starts import Starts
from gendesign.generate.simgen.kernel import energies
from gendesign.structure.counter_random import keys


@pytest.fixture(scope="module")
def references(tmp_path_factory) -> str:
    path, rng = tmp_path_factory.mktemp("references") / "carbon.xyz", np.random.default_rng(0)
    frames = [bulk("C", "diamond", a=3.57, cubic=True) * (2, 2, 2) for _ in range(3)]
    for frame in frames:
        frame.positions += rng.normal(0, 0.1, frame.positions.shape)
    write(path, frames, format="extxyz")
    return str(path)


def route(references: str, **changes) -> SimilarityRoute:
    settings = Annealing(references=(references,), **{**dict(steps=12, sigma=0.5), **changes})
    return SimilarityRoute.of(settings, tiny.potential(), Starts("C", 24, 3.3))


def walk(references: str, **changes) -> Walk:
    made = route(references, **changes)
    return Walk.of(made, [made.starts.make(i, 0) for i in range(2)], keys(0, torch.arange(2)))


def test_the_score_is_the_gradient_of_the_likeness(references, monkeypatch):
    monkeypatch.setattr(similarity, "clipped", lambda score: score)
    # the repulsion is switched off by walls of no reach
    start = walk(references, strength=1.0)
    start = Walk(start.route, start.batch, start.atom_key, start.moving, start.walls * 0 + 1e-3)
    x, step, sigma = start.batch.positions, 1e-5, 0.6

    def value(positions: torch.Tensor) -> float:
        features = start._features(positions)
        return float(energies(features, start.batch.numbers, start.route.environments, sigma).sum())

    score = start.score(x, sigma)
    for row in (0, 30):
        moved = torch.zeros_like(x)
        moved[row, 1] = step
        with torch.no_grad():
            slope = (value(x + moved) - value(x - moved)) / (2 * step)
        assert float(score[row, 1]) == pytest.approx(-slope, rel=2e-3, abs=2e-3 * float(score.abs().max()))


def test_annealed_models_resemble_the_references_more(references):
    before = walk(references)
    after, levels = before, noise_levels(before.route.settings)
    while after.step < 12:
        after = after.advance(levels)
    assert max(after.likeness()) < min(before.likeness())
    assert torch.isfinite(after.batch.positions).all()


def test_models_repeat_and_do_not_depend_on_their_company(references):
    settings = Annealing(references=(references,), steps=6, sigma=0.4)
    make = Amorphous(tiny.potential(), formula="C", n_atoms=16, density=3.3, route="similarity", similarity=settings)
    both, alone = list(make.generate([0, 1], seed=2)), list(make.generate([1], seed=2))
    assert np.allclose(both[1].atoms.positions, alone[0].atoms.positions, atol=1e-6)
    assert both[0].failure is None and both[0].info["route"] == "similarity" and "unlikeness" in both[0].info


def test_a_void_stays_empty_and_fixed_atoms_stay(references):
    start = walk(references, void=2.0, steps=30)
    moving = start.moving.clone()
    moving[0] = 0
    held, levels = (
        Walk(start.route, start.batch, start.atom_key, moving, start.walls),
        noise_levels(start.route.settings),
    )
    while held.step < 30:
        held = held.advance(levels)
    assert torch.equal(held.batch.positions[0], start.batch.positions[0])
    for atoms in held.batch.to_atoms():
        centre = atoms.cell.array.sum(0) / 2
        away = np.linalg.norm((atoms.get_scaled_positions() - 0.5) @ atoms.cell.array, axis=1)
        assert away[1:].min() > 1.7 and centre.all()


def test_references_without_an_element_are_refused(references):
    with pytest.raises(UserError, match="none has O; give a file"):
        SimilarityRoute.of(Annealing(references=(references,)), tiny.potential(), Starts("CO", 24, 2.0))
    with pytest.raises(UserError, match="give auto, one of"):
        SimilarityRoute.of(Annealing(references=("absent",)), tiny.potential(), Starts("C", 24, 2.0))
