"""Training of a diffusion model: data and their refusals, splits, exact resume after a kill, checkpoints."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from clouds import file_of, model, molecules
from pairs import was_killed

from gendesign.errors import UserError
from gendesign.generate.diffusion import checkpoint, data
from gendesign.generate.diffusion.loss import NoiseLevels, Weights, level_errors, loss, noisy, squared_errors
from gendesign.generate.diffusion.training import DiffusionFit, State, train
from gendesign.run.diffusion import train_diffusion
from gendesign.run.score import Analysis
from gendesign.run.score_settings import ScoreSettings
from gendesign.structure.journal import read_log

SMALL = {"channels": 6, "width": 8, "n_radial": 5, "layers": 1}


def charged():
    frames = molecules()
    frames[3].info["charge"] = 1
    return frames


@pytest.mark.parametrize(
    ("frames", "elements", "reason"),
    [
        (molecules(99), None, "99 molecules; a diffusion model needs 100"),
        (charged(), None, "charge"),
        (molecules(), ["H", "C", "O"], "data holds N, F, which elements=[H,C,O] lacks"),
        (molecules(), ["H", "C", "N", "O", "F", "Si"], "no molecule of the data holds Si"),
        ([a[[i for i, z in enumerate(a.numbers) if z > 1]] for a in molecules()], None, "hydrogen"),
        ([*molecules(), molecule("CH3Cl")], None, "1 atoms of Cl, too few"),
        ([*molecules(), Atoms("Ne", cell=[5] * 3, pbc=True)], None, "periodic"),
    ],
    ids=["few", "charged", "unknown", "absent", "hydrogens", "rare", "periodic"],
)
def test_data_that_cannot_be_trained_on_is_refused_in_one_line(frames, elements, reason, tmp_path):
    with pytest.raises(UserError) as refused:
        data.read(file_of(tmp_path, frames), elements)
    assert reason in str(refused.value) and "\n" not in str(refused.value)


def test_a_split_keeps_equal_molecules_and_scaffolds_together():
    some = data.Molecules.from_atoms(molecules())
    for by in (data.RANDOM, data.CLUSTER):
        trained, held = data.split(some, 0.3, by)
        assert len(trained) + len(held) == len(some) and len(held)
        names = some.groups if by == data.RANDOM else data.clusters(some)
        assert not set(names[trained]) & set(names[held])
        again = data.split(some.chosen(np.arange(len(some))[::-1]), 0.3, by)[1]
        assert set(len(some) - 1 - again) == set(held)  # whatever the order of the data
    assert len(data.split(some, 0.0)[0]) == len(some) and not len(data.split(some, 0.0)[1])
    rings = data.clusters(data.Molecules.from_atoms([molecule("C6H6"), molecule("C5H5N"), molecule("C4H4O")]))
    assert rings[0] == rings[1] != rings[2]


def test_statistics_are_those_of_the_arrays():
    rng = np.random.default_rng(0)
    gases = [Atoms("CH3", rng.normal(0, 1.7, (4, 3))) for _ in range(4000)]
    s = data.statistics(data.Molecules.from_atoms(gases), ["H", "C"])
    assert s.spread == pytest.approx(1.7 * 0.75**0.5, rel=0.02)  # the centre takes a quarter of the variance
    assert s.shares == (0.75, 0.25) and s.element_spread == pytest.approx((0.75 * 0.25) ** 0.5)
    assert s.size_counts == ((1, 4, 4000),)


def test_the_errors_of_a_new_model_are_those_of_the_best_gaussian():
    net = model(random=False, layers=1, channels=2, width=4)
    generator = torch.Generator().manual_seed(0)
    spread, sigma = net.statistics.spread, 0.9
    gas = data.Molecules.from_atoms([Atoms("CHNOF" * 8, positions=np.zeros((40, 3)))])
    clean = gas.clouds(net.elements)
    size = net.spread_of(torch.tensor([40.0]))
    clean = clean._replace(positions=size * torch.randn(40, 3, generator=generator, dtype=torch.float64),
                           vectors=clean.vectors.double())  # fmt: skip
    clean = clean._replace(positions=clean.positions - clean.positions.mean(0))
    errors = [squared_errors(net, noisy(clean, torch.tensor([sigma]).double(), generator))[0, 0] for _ in range(100)]
    expected = float(size**2 / (size**2 + sigma**2)) * 39 / 40
    assert spread > 0 and float(torch.stack(errors).mean()) == pytest.approx(expected, rel=0.05)


def test_training_learns_a_molecule_and_balances_the_noise_levels(tmp_path):
    """Of displaced copies of methane: far below what the best Gaussian does, which a new model is."""
    some = data.Molecules.from_atoms(molecules(120)[::18] * 15)
    net = model(random=False, dtype=torch.float32)
    before = level_errors(net, some.chosen(np.arange(30)).clouds(net.elements))
    settings = DiffusionFit(steps=60, batch_size=16, warmup=5, learning_rate=0.02, save_every=60, n_valid=30)
    state = train(net, some, some, tmp_path, settings, NoiseLevels(spread=0.7))
    (row,) = read_log(tmp_path / "log.csv")
    assert row["x@0.3"] < 0.8 * before["x@0.3"] and row["z@0.3"] < 0.8 * before["z@0.3"]
    assert float(state.weights(torch.tensor([0.3])).detach().abs().max()) > 0.01


def test_the_learned_weights_are_the_logarithms_of_the_errors():
    """At the minimum in u of exp(-u) e + u, u is ln e: gradients vanish there."""
    net, clean = model(), data.Molecules.from_atoms(molecules(18)).clouds(model().elements)
    clean = clean._replace(positions=clean.positions.double(), vectors=clean.vectors.double())
    sigma = torch.full((18,), 0.3, dtype=torch.float64)
    batch = noisy(clean, sigma, torch.Generator().manual_seed(0))
    s = net.statistics
    scale = torch.tensor([(0.09 + v**2) / v**2 for v in (s.spread, s.element_spread)])
    weights = Weights().double()
    with torch.no_grad():
        weights.linear.bias.copy_((squared_errors(net, batch) * scale).mean(0).log())
    (gradient,) = torch.autograd.grad(loss(net, weights, batch), weights.linear.bias)
    assert gradient.abs().max() < 1e-6


def begin() -> tuple:
    """A model and its data for the run that is killed."""
    some = data.Molecules.from_atoms(molecules(100))
    return model(random=False, dtype=torch.float32), some, some


KILLED = DiffusionFit(steps=8, batch_size=8, save_every=3, warmup=2)


def killed_run(folder: str) -> None:
    """A training in a process of its own, which kills itself when it has saved its first state."""

    def kill(state: State) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    train(*begin(), Path(folder), KILLED, NoiseLevels(), kill)


def test_a_killed_training_resumes_to_the_bit(tmp_path):
    whole = train(*begin(), tmp_path / "whole", KILLED, NoiseLevels())
    assert was_killed(__file__, "killed_run", str(tmp_path / "killed"))
    resumed = train(*begin(), tmp_path / "killed", KILLED, NoiseLevels())
    assert resumed.step == whole.step == 8
    for name, value in whole.average.items():
        assert torch.equal(value, resumed.average[name])
    for old, new in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(old, new)
    lines = [
        [line.split(",")[:2] for line in (tmp_path / part / "log.csv").read_text().splitlines()]
        for part in ("whole", "killed")
    ]
    assert [row[0] for row in lines[0]] == [row[0] for row in lines[1]]


def test_a_training_killed_before_its_last_checkpoint_writes_it_when_it_is_continued(tmp_path):
    some = data.Molecules.from_atoms(molecules(100))
    settings = DiffusionFit(steps=2, batch_size=8, save_every=2)

    def killed(state: State) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(model(random=False, dtype=torch.float32), some, None, tmp_path, settings, NoiseLevels(), killed)
    steps = []
    train(
        model(random=False, dtype=torch.float32),
        some,
        None,
        tmp_path,
        settings,
        NoiseLevels(),
        lambda state: steps.append(state.step),
    )
    assert steps == [2]


def test_the_analysis_takes_no_molecule_that_was_trained_on(tmp_path):
    some, folder = molecules(), tmp_path / "model"
    for k, atoms in enumerate(some):
        atoms.info["molecule"] = str(k)  # groups of their own, so that the shares are met
    file = file_of(tmp_path, some)
    fit = {"steps": 1, "batch_size": 8, "save_every": 1}
    train_diffusion(folder, data=file, architecture=SMALL, fit=fit, valid_share=0.04)
    read = data.read(file)
    held = set(read.groups[data.split(read, 0.04)[1]])
    analysed = Analysis(ScoreSettings(checkpoint=str(folder), data=file, methods=()), None, tmp_path).held
    assert 0 < len(held) < len(data.split(read, 0.1)[1]) and set(analysed.groups) <= held


def test_a_folder_holds_the_model_its_card_and_its_curves(tmp_path):
    file, folder = file_of(tmp_path, molecules()), tmp_path / "model"
    fit = {"steps": 2, "batch_size": 8, "save_every": 1}
    errors = train_diffusion(folder, data=file, architecture=SMALL, fit=fit, name="small")
    assert len(errors) == 7 and all(float(x) >= 0 for _, values in errors for x in values)
    trained = checkpoint.load(str(folder))
    assert trained.config["molecules"] + trained.config["held_out"] == 120
    assert trained.model.elements == ("H", "C", "N", "O", "F") and trained.name == "small"
    text = (folder / "card.md").read_text()
    assert text.startswith("# small") and "| 0.3 |" in text and (folder / "curves.png").stat().st_size > 1000
    further = tmp_path / "further"
    train_diffusion(further, data=file, architecture=SMALL, fit=fit, init=str(folder))
    with pytest.raises(UserError, match=r"architecture.channels=6, not 7"):
        train_diffusion(tmp_path / "a", data=file, architecture={**SMALL, "channels": 7}, fit=fit, init=str(folder))
    bare = tmp_path / "b"
    bare.mkdir()
    with pytest.raises(UserError, match="but the data holds H C O"):
        few = file_of(bare, [a for a in molecules(300) if not set(a.symbols) & {"N", "F"}])
        train_diffusion(tmp_path / "b", data=few, architecture=SMALL, fit=fit, init=str(folder))
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="do not match their hash"):
        checkpoint.load(str(folder))
    with pytest.raises(UserError, match="holds a potential"):
        checkpoint.load("organic")
