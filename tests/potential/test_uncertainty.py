"""Uncertainties against Bayesian linear regression, finite differences and errors drawn from a known distribution."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from ase.build import bulk
from scipy.stats import norm

from gendesign.errors import UserError
from gendesign.potential import Potential, mace
from gendesign.potential.calibration import best_factor, calibration_plot, calibration_table, likelihood_loss
from gendesign.potential.committee import Committee
from gendesign.potential.rigidity import Rigidity, largest
from gendesign.potential.uncertainty import load_rigidity, save_rigidity, stored_rigidity
from gendesign.screening import Screening, screen_each
from gendesign.structure.types import Candidate

NAMES = ("CH3OH", "H2O", "NH3", "HCN", "CH4", "CO2")


def close(a, b, tolerance=1e-9):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=1e-12)


def structures(n: int, seed: int = 0, width: float = 0.1):
    return [tiny.rattled(NAMES[k % len(NAMES)], seed + k, width) for k in range(n)]


def rows(potential, frames) -> np.ndarray:
    """Last-layer features of the structures' energies (structures, n), one structure after the other."""
    with torch.no_grad():
        return np.stack([potential.last_layer([a]).features.sum(0).numpy() for a in frames])


@pytest.fixture(scope="module")
def rigidity():
    return Rigidity.fit(tiny.potential(), structures(40))


def other(seed: int, **shape) -> Potential:
    torch.manual_seed(seed)
    net = mace.from_plain(tiny.settings(**shape), torch.float64).requires_grad_(False)
    return Potential(net, f"tiny-{seed}", str(seed), "MIT", "none")


SHAPES = {
    "scalar messages": {},
    "vector messages": dict(max_l=1),
    "one layer": dict(layers=1),
    "three layers": dict(layers=3),
    "scaled": dict(scale=1.7, pair_repulsion=False),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_energy_is_linear_in_the_last_layer(shape):
    potential = other(3, **shape)
    crystal = bulk("C", cubic=True)
    crystal.numbers[1] = 8
    for frames in (structures(3), [crystal]):
        batch = potential.batch(frames)
        moved = batch.at(batch.positions.clone().requires_grad_(True))
        layer, known = potential.last_layer(moved), potential.evaluate(batch)
        close(layer.atom_energy.detach(), known.atom_energy)
        (slope,) = torch.autograd.grad(layer.atom_energy.sum(), moved.positions)
        np.testing.assert_allclose(-slope, known.forces, atol=1e-9)


def test_heads_shift_and_biased_readouts_are_linear_too():
    from mace.modules.blocks import NonLinearBiasReadoutBlock

    plain = tiny.settings(max_l=1) | {"heads": ["a", "b"], "atomic_inter_shift": [0.3, -0.2]}
    plain |= {"atomic_inter_scale": [1.5, 0.7], "atomic_energies": [list(tiny.ENERGIES.values())] * 2}
    plain |= {"readout_cls": f"{NonLinearBiasReadoutBlock.__module__}.NonLinearBiasReadoutBlock"}
    torch.manual_seed(0)
    net = mace.from_plain(plain, torch.float64).requires_grad_(False)
    for parameter in net.readouts.parameters():
        parameter.copy_(torch.randn_like(parameter))
    for head in (0, 1):
        potential = Potential(net, "two", "2", "MIT", "none", head)
        frames = structures(3)
        close(potential.last_layer(frames).atom_energy.detach(), potential.evaluate(frames).atom_energy)


def test_a_network_without_a_known_last_layer_is_refused():
    class Strange(type(tiny.potential().net)):
        pass

    net = mace.from_plain(tiny.settings(), torch.float64)
    net.__class__ = Strange
    with pytest.raises(UserError, match="Strange") as refused:
        Potential(net, "strange", "0", "MIT", "none").last_layer(structures(1))
    assert "\n" not in str(refused.value)


def test_variance_is_that_of_bayesian_linear_regression(rigidity):
    """Weights with prior N(0, alpha^2 / ridge) and labels with noise alpha^2, solved as one dense linear system."""
    potential, alpha = rigidity.potential, 0.7
    known, asked = rows(potential, structures(40)), structures(5, seed=90, width=0.2)
    ridge = rigidity.ridge
    assert ridge == pytest.approx(1e-6 * np.mean(np.sum(known**2, 0)))
    new = rows(potential, asked)
    # the kernel form of the same posterior: prior minus what the labels explain
    prior = alpha**2 / ridge
    joint = prior * known @ known.T + alpha**2 * np.eye(len(known))
    explained = np.linalg.solve(joint, prior * known @ new.T)
    variance = prior * np.sum(new**2, 1) - np.sum(prior * (new @ known.T) * explained.T, 1)
    np.testing.assert_allclose(replace(rigidity, factor=alpha)(asked) ** 2, variance, rtol=1e-5)


def test_atoms_and_local_rigidity_by_the_inverse(rigidity):
    frames = structures(4, seed=70)
    hessian = rigidity.covariance.numpy() + rigidity.ridge * np.eye(len(rigidity.covariance))
    with torch.no_grad():
        features = rigidity.potential.last_layer(frames).features.numpy()
    variance = np.array([g @ np.linalg.solve(hessian, g) for g in features])
    np.testing.assert_allclose(rigidity.local_rigidity(frames), 1 / variance, rtol=1e-6)
    np.testing.assert_allclose(rigidity.predict(frames).atom_deviation, np.sqrt(variance), rtol=1e-6)
    batch = rigidity.potential.batch(frames)
    worst = largest(torch.tensor(variance), batch)
    close(worst, [variance[(batch.system == k).numpy()].max() for k in range(4)])


def test_forces_deviate_as_finite_differences_of_the_features(rigidity):
    """The force along x is minus a derivative, whose features are minus the derivatives of the energy's features."""
    frames, step = structures(2, seed=5), 1e-4
    found = replace(rigidity, force_factor=2.0).predict(frames, forces=True).force_deviation
    inverse = np.linalg.inv(rigidity.covariance.numpy() + rigidity.ridge * np.eye(len(rigidity.covariance)))
    for system, atom, axis in ((0, 1, 2), (1, 0, 0)):
        up, down = frames[system].copy(), frames[system].copy()
        up.positions[atom, axis] += step
        down.positions[atom, axis] -= step
        slope = np.subtract(*rows(rigidity.potential, [up, down])) / (2 * step)
        at = atom + (len(frames[0]) if system else 0)
        assert float(found[at, axis]) == pytest.approx(2 * np.sqrt(slope @ inverse @ slope), rel=1e-5)


def test_covariance_with_forces_adds_their_features():
    potential, frames = tiny.potential(), structures(2)
    extra = Rigidity.fit(potential, frames, force_weight=0.5).covariance - Rigidity.fit(potential, frames).covariance
    step, expected = 1e-4, 0.0
    for frame in frames:
        for atom in range(len(frame)):
            for axis in range(3):
                moved = [frame.copy(), frame.copy()]
                for sign, one in zip((1, -1), moved, strict=True):
                    one.positions[atom, axis] += sign * step
                slope = np.subtract(*rows(potential, moved)) / (2 * step)
                expected = expected + 0.5 * np.outer(slope, slope)
    np.testing.assert_allclose(extra, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_streaming_changes_nothing(rigidity, monkeypatch):
    from gendesign.potential import rigidity as module

    monkeypatch.setattr(module, "MAX_ATOMS", 12)
    close(Rigidity.fit(rigidity.potential, structures(40)).covariance, rigidity.covariance, 1e-8)


def test_calibration_recovers_alpha_and_regulariser(rigidity):
    """Errors drawn from the model's own distribution with alpha 3 and s 1e-4 of the mean."""
    frames = structures(240, seed=500, width=0.2)
    truth = replace(rigidity, factor=3.0, regulariser=1e-4)
    energy = np.concatenate([rigidity.potential.evaluate(frames[k : k + 60]).energy for k in range(0, 240, 60)])
    noise = np.random.default_rng(0).normal(size=240) * truth(frames)
    found = rigidity.calibrated(frames, energy + noise)
    assert 1e-5 < found.regulariser < 1e-3
    np.testing.assert_allclose(np.median(found(frames) / truth(frames)), 1.0, atol=0.15)
    assert found.about["calibration"]["structures"] == 240 and found.about["training"]["structures"] == 40
    share = np.mean(found(frames) / [len(a) for a in frames] <= found.thresholds["energy"])
    assert share == pytest.approx(0.95, abs=0.01)
    few = frames[:3]
    forces = rigidity.potential.evaluate(few).forces.numpy()
    spread = truth.force_deviation(few).numpy()
    wrong = np.split(
        forces + spread * np.random.default_rng(1).normal(size=forces.shape), np.cumsum([len(a) for a in few])[:-1]
    )
    assert truth.with_forces(few, wrong).force_factor == pytest.approx(3.0 / 3.0, rel=0.3)
    with pytest.raises(UserError, match="3 held-out structures"):
        rigidity.calibrated(few, [0.0] * 3)


def test_the_unknown_is_less_certain_and_an_isolated_atom_is_exact(rigidity):
    assert np.median(rigidity(structures(12, seed=9, width=0.4)) / rigidity(structures(12))) > 3
    assert rigidity([tiny.Atoms("C")])[0] < 1e-9
    assert rigidity([]).shape == (0,)


@pytest.mark.parametrize("kind", ["rigidity", "committee"])
def test_deviations_can_be_followed(kind, rigidity):
    model = rigidity if kind == "rigidity" else Committee((tiny.potential(), other(8)))
    batch = tiny.potential().batch([tiny.rattled("CH3OH")])
    moved = batch.at(batch.positions.clone().requires_grad_(True))
    (slope,) = torch.autograd.grad(model.deviations(moved)[0].sum(), moved.positions)
    step = torch.zeros_like(batch.positions)
    step[2, 1] = 1e-5
    with torch.no_grad():
        up, down = (model.deviations(batch.at(batch.positions + sign * step))[0] for sign in (1, -1))
    assert float(slope[2, 1]) == pytest.approx(float((up - down) / 2e-5), rel=1e-4)


def test_a_committee_is_mean_and_spread():
    members = [other(seed) for seed in (1, 2, 3)]
    frames = structures(3)
    single = [p.evaluate(frames) for p in members]
    found = Committee(members, factor=2.0).predict(frames)
    for key, spread in (
        ("energy", "standard_deviation"),
        ("forces", "force_deviation"),
        ("atom_energy", "atom_deviation"),
    ):
        values = np.stack([getattr(one, key) for one in single])
        close(getattr(found, key), values.mean(0))
        close(getattr(found, spread), 2 * values.std(0, ddof=1))
    model = Committee(members)
    close(model.deviations(frames)[0], model(frames), 1e-6)
    energy = model.predict(frames).energy + torch.tensor([1.0, -2.0, 3.0])
    expected = np.sqrt(np.mean((np.array([1, 2, 3]) / model(frames)) ** 2))
    assert model.calibrated(frames, energy).factor == pytest.approx(expected)
    with pytest.raises(UserError, match="two or more"):
        Committee(members[:1])


def test_files_beside_the_weights(rigidity, tmp_path):
    made = replace(rigidity, factor=1.3, thresholds={"energy": 0.1, "atom": 0.2})
    save_rigidity(made, tmp_path)
    found = load_rigidity(tmp_path, rigidity.potential)
    assert (found.factor, found.thresholds, found.about) == (1.3, made.thresholds, made.about)
    frames = structures(2)
    np.testing.assert_array_equal(found(frames), made(frames))
    for changed, word in ((dict(weights_hash="exchanged"), "weights_sha256"), (dict(head=1), "head")):
        with pytest.raises(UserError, match=word) as refused:
            load_rigidity(tmp_path, replace(rigidity.potential, **changed))
        assert "\n" not in str(refused.value)
    (tmp_path / "rigidity.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="does not match"):
        load_rigidity(tmp_path, rigidity.potential)
    with pytest.raises(UserError, match=r"holds no rigidity\.yaml"):
        load_rigidity(tmp_path / "nowhere", rigidity.potential)


def test_a_bundled_checkpoint_is_found_by_its_hash(rigidity, tmp_path, monkeypatch):
    monkeypatch.setattr("gendesign.potential.uncertainty.checkpoints_folder", lambda: tmp_path)
    assert stored_rigidity(rigidity.potential) is None
    save_rigidity(rigidity, tmp_path / "some")
    assert stored_rigidity(rigidity.potential).about == rigidity.about
    assert stored_rigidity(replace(rigidity.potential, weights_hash="another")) is None


def test_the_screening_check(rigidity, tmp_path):
    potential = rigidity.potential
    good, torn = tiny.rattled("CH3OH", 0), tiny.rattled("CH3OH", 0, width=0.6)
    frames = [good, torn, bulk("C", cubic=True), tiny.Atoms(), tiny.Atoms("Xe")]
    candidates = [Candidate(atoms, 10 + i) for i, atoms in enumerate(frames)]
    without = screen_each(candidates, potential=potential, settings=Screening(checks=()))
    off = screen_each(candidates, potential=potential, settings=Screening(checks=("uncertainty",)))
    assert off == without == screen_each(candidates, settings=Screening(checks=("uncertainty",)))
    energy, atom = rigidity.deviations([good])
    limits = {"energy": 1.5 * float(energy) / 6, "atom": 1.5 * float(atom.max())}
    save_rigidity(replace(rigidity, thresholds=limits), tmp_path)
    settings = Screening(checks=("uncertainty",), uncertainty=str(tmp_path))
    verdicts = {(v.candidate, v.check): v for v in screen_each(candidates, potential=potential, settings=settings)}
    first = verdicts[10, "uncertainty"]
    assert first.passed and first.value == pytest.approx(float(energy) / 6) and first.unit == "eV/atom"
    assert verdicts[10, "uncertainty_atom"].value == pytest.approx(float(atom.max()))
    assert not verdicts[11, "uncertainty"].passed
    assert verdicts[12, "uncertainty"].value > 0
    assert verdicts[13, "uncertainty"].reason == "no atoms" and "Xe" in verdicts[14, "uncertainty"].reason
    strict = replace(settings, energy_deviation=float(energy) / 7)
    assert not screen_each(candidates[:1], potential=potential, settings=strict)[-2].passed
    strict = replace(settings, atom_deviation=0.9 * float(atom.max()))
    assert [v.passed for v in screen_each(candidates[:1], potential=potential, settings=strict)[-2:]] == [True, False]
    for wrong in (dict(energy_deviation=0), dict(atom_deviation=-1)):
        with pytest.raises(UserError, match=next(iter(wrong))):
            Screening(**wrong)


def test_tables_and_pictures_of_calibration(tmp_path):
    generator = np.random.default_rng(0)
    predicted = 10 ** generator.uniform(-2, 0, 4000)
    error = predicted * generator.normal(size=4000)
    table = calibration_table(predicted, error)
    assert [row.n for row in table] == [800] * 5 + [4000]
    for row in table:
        assert row.actual == pytest.approx(row.predicted, rel=0.15)
        assert row.within_one == pytest.approx(norm.cdf(1) - norm.cdf(-1), abs=0.05)
    assert best_factor(torch.tensor(3 * error), torch.tensor(predicted)) == pytest.approx(3, rel=0.05)
    reference = -norm.logpdf(error, scale=predicted).mean()
    assert likelihood_loss(torch.tensor(error), torch.tensor(predicted)) == pytest.approx(reference)
    calibration_plot(predicted, error, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(UserError, match="every deviation is zero"):
        best_factor(torch.ones(3), torch.zeros(3))
