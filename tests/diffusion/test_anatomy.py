"""The analysis of a score: comparisons with known answers, cross-over, quality of samples, and all files."""

import json

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.build import molecule
from clouds import file_of, model, molecules

from gendesign.errors import UserError
from gendesign.generate.diffusion import anatomy, checkpoint
from gendesign.generate.diffusion.anatomy import RESTORATIVE, Comparison
from gendesign.generate.diffusion.data import Molecules
from gendesign.generate.diffusion.loss import NoiseLevels
from gendesign.generate.diffusion.quality import auroc, pieces, quality
from gendesign.run.score import Analysis
from gendesign.run.score_settings import ScoreSettings


def curves(cosine) -> Comparison:
    """A comparison with these cosines (levels, molecules) from 0.01 to 1 Angstrom."""
    cosine = np.asarray(cosine, float)
    return Comparison(np.geomspace(0.01, 1, len(cosine)), cosine, np.ones_like(cosine), {})


def test_a_new_model_is_restorative_at_every_noise_level():
    net, sigmas = model(random=False), (0.1, 1.0, 5.0)
    some = Molecules.from_atoms([molecule("C6H6"), molecule("CH3CH2OH")])
    net.float()
    found = anatomy.compare(net, some, sigmas, {"opposite": lambda structures: [
        a.positions - a.positions.mean(0) for a in structures]})  # fmt: skip
    assert np.allclose(found[RESTORATIVE].cosine, 1, atol=1e-5)
    assert np.allclose(found["opposite"].cosine, -1, atol=1e-5)
    spread = net.spread_of(torch.tensor([12.0, 9.0])).numpy()
    for k, sigma in enumerate(sigmas):
        assert np.allclose(found[RESTORATIVE].ratio[k], sigma**2 / (sigma**2 + spread**2), rtol=1e-4)
    assert np.isnan(found[RESTORATIVE].by_element["N"]).all()
    assert np.isfinite(found[RESTORATIVE].by_element["O"][:, 1]).all()


def test_a_method_that_fails_is_left_out_of_the_means():
    found = anatomy.compare(model(dtype=torch.float32), Molecules.from_atoms([molecule("H2O")] * 3), (0.1, 1.0),
                            {"some": lambda s: [None, np.ones((3, 3)), None]})  # fmt: skip
    assert np.isfinite(found["some"].cosine).sum(1).tolist() == [1, 1]
    assert np.isfinite(found["some"].mean()).all()


def test_the_cross_over_is_where_the_curves_meet():
    falling, rising = curves([[1.0] * 9, [0.8] * 9, [0.2] * 9]), curves([[0.0] * 9, [0.2] * 9, [0.8] * 9])
    sigma, error = anatomy.crossover(rising, falling)
    assert sigma == pytest.approx(0.1 * 10**0.5, rel=1e-6) and error == pytest.approx(0, abs=1e-12)
    rng = np.random.default_rng(0)
    noisy = curves(falling.cosine + rng.normal(0, 0.2, falling.cosine.shape))
    assert 0 < anatomy.crossover(rising, noisy)[1] < 0.3
    assert np.isnan(anatomy.crossover(falling, falling)[0]) and np.isnan(anatomy.crossover(falling, rising)[0])


def test_the_scale_of_a_force_is_the_slope_of_the_score_along_it():
    found = Comparison(np.array([0.01, 0.1]), np.full((2, 4), 0.5), np.array([[8.0] * 4, [4.0] * 4]), {})
    scale = anatomy.force_scale(found)
    assert scale(0.01) == pytest.approx(4) and scale(0.1) == pytest.approx(2)
    assert scale(1.0) == 0 and scale(0.0316227766) == pytest.approx(3)


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 5, 40).astype(float), rng.random(40) < 0.4
    pairs = scores[positive][:, None] - scores[~positive][None]
    assert auroc(scores, positive) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert np.isnan(auroc(scores, np.ones(40, bool)))


def test_quality_counts_what_is_whole():
    broken = molecule("CH3CH2OH")
    broken.positions[0] += 8
    found = quality([molecule("C2H6"), molecule("C2H6"), molecule("CH4"), broken, Atoms()])
    assert (found.n, found.valid, found.unique, found.molecules_stable) == (5, 0.6, 0.4, 0.6)
    assert pieces(broken) > 1 and pieces(molecule("C6H6")) == 1


def test_an_analysis_writes_every_figure_and_number(tmp_path):
    folder = tmp_path / "model"
    checkpoint.save(model(dtype=torch.float32), NoiseLevels(), folder, name="random", split="random", held_out=1)
    file = file_of(tmp_path, [a for a in molecules(200) if "F" not in a.symbols])
    few = dict(molecules=3, samples=2, levels=3, calls=4, sizes=(3,), per_size=2)
    settings = ScoreSettings(checkpoint=str(folder), data=file, methods=("potential",), **few)
    lines = Analysis(settings, tiny.potential(), tmp_path).run()
    names = ("landscape", "energy", "handmade", "forces", "generation", "sizes")
    assert all((tmp_path / f"{name}.png").stat().st_size > 1000 for name in names)
    content = json.loads((tmp_path / "score.json").read_text())
    assert set(content) == {"forces", "crossover", "landscape", "generation", "sizes"}
    assert content["generation"]["decided"][-1] == 1 and len(content["forces"]["potential"]["cosine"]) == 3
    assert any(line.startswith("cosine with restorative") for line in lines)
    with pytest.raises(UserError, match="give potential=NAME"):
        Analysis(settings, None, tmp_path)
