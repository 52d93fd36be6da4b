"""Fitting: batches, a falling loss, and a restart that changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from gendesign.errors import UserError
from gendesign.potential import mace
from gendesign.randomness import Purpose
from gendesign.structure.graph import Batch
from gendesign.structure.labels import labels_of
from gendesign.train import fit as fit_module
from gendesign.train.dataset import Dataset
from gendesign.train.fit import Fit, State, fit
from gendesign.train.loss import errors, loss

FEW = Fit(steps=20, batch_size=4, warmup=2, save_every=10, learning_rate=0.01, energy_weight=(5.0, 5.0))


def emt(atoms: Atoms) -> Atoms:
    """With energy and forces of a potential that costs nothing; energies shifted to the tiny networks' atoms."""
    work = atoms.copy()
    work.calc = EMT()
    energy = work.get_potential_energy() + sum(tiny.ENERGIES[int(z)] for z in atoms.numbers)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=work.get_forces())
    return atoms


@pytest.fixture(scope="module")
def frames():
    return [emt(tiny.rattled(name, k)) for k in range(5) for name in ("CH4", "H2O", "CH3OH")]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_batch_is_that_of_the_structures(frames):
    data, chosen = Dataset.from_frames(frames), torch.tensor([4, 0, 11])
    batch, energy, forces = data.batch(chosen)
    wanted = Batch.from_atoms([frames[k] for k in chosen], torch.float32, "cpu")
    assert torch.equal(batch.positions, wanted.positions) and torch.equal(batch.numbers, wanted.numbers)
    assert torch.equal(batch.system, wanted.system) and batch.n_systems == wanted.n_systems == 3
    assert energy.tolist() == [frames[k].get_potential_energy() for k in chosen]
    np.testing.assert_allclose(forces, np.concatenate([frames[k].get_forces() for k in chosen]), rtol=1e-6)
    orders = [data.order(Purpose.FIT_ORDER, 1, epoch) for epoch in (2, 2, 3)]
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], data.order(Purpose.FIT_REPLAY_ORDER, 1, 2))
    assert torch.cat(list(data.chunks(4))).tolist() == list(range(15))


def test_labels_come_from_a_calculator_or_from_the_frame():
    atoms = Atoms("H", info={"energy": -13.0})
    assert labels_of(atoms)[0] == -13.0 and not labels_of(atoms)[1].any()
    pair = Atoms("H2", [[0, 0, 0], [0, 0, 0.7]], info={"energy": -27.0})
    with pytest.raises(UserError, match="H2 has no forces; label it first"):
        labels_of(pair)
    assert np.isnan(labels_of(pair, need_forces=False)[1]).all()
    atoms.arrays["forces"] = np.zeros((1, 3))
    atoms.arrays["forces"][0, 0] = np.nan
    with pytest.raises(UserError, match="forces that are not finite"):
        labels_of(atoms)


def test_fit_learns_and_a_restart_is_exact(frames, tmp_path, monkeypatch):
    data, architecture = Dataset.from_frames(frames), tiny.settings()
    whole = fit(architecture, data, tmp_path / "whole", FEW)
    batch, calls = Dataset.batch, []

    def stops(self, chosen):
        calls.append(chosen)
        if len(calls) > 13:
            raise KeyboardInterrupt
        return batch(self, chosen)

    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "batch", stops)
        with pytest.raises(KeyboardInterrupt):
            fit(architecture, data, tmp_path / "parts", FEW)
    parts = fit(architecture, data, tmp_path / "parts", FEW)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts"))
    assert one["step"] == two["step"] == 20 and all(torch.equal(one["net"][k], two["net"][k]) for k in one["net"])
    logs = [
        [line.split(",")[:2] for line in (tmp_path / name / "log.csv").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    assert logs[0] == logs[1] and [row[0] for row in logs[0]] == ["step", "10", "20"]
    assert float(logs[0][2][1]) < float(logs[0][1][1])
    table = errors(whole, data)["all"]
    assert table["n"] == 15 and 0 < table["force_mae_mev_a"] <= table["force_rmse_mev_a"]


def test_energies_of_atoms_are_refitted_in_the_first_third_only_and_a_restart_keeps_them(frames, tmp_path):
    data, calls = Dataset.from_frames(frames), []

    def refit(net):
        calls.append(1)
        net.atomic_energies_fn.atomic_energies += 0.5

    def energies(net):
        return net.atomic_energies_fn.atomic_energies.flatten()

    plan = replace(FEW, save_every=3)  # evaluated after 3, 6, 9 ... of 20 steps
    whole = fit(tiny.settings(), data, tmp_path / "whole", plan, refit_energies=refit)
    assert len(calls) == 2 and energies(whole).tolist() == [e + 1.0 for e in tiny.ENERGIES.values()]
    again = fit(tiny.settings(), data, tmp_path / "whole", plan, refit_energies=refit)  # finished: nothing is done anew
    assert len(calls) == 2 and torch.equal(energies(again), energies(whole))


def test_crystals_with_and_without_a_stress_learn_together():
    def crystals(*stresses):
        found = []
        for stress in stresses:
            atoms = Atoms("CO", [[0, 0, 0], [1.1, 0.2, 0]], cell=[3.5, 3.6, 3.7], pbc=True)
            more = {} if stress is None else {"stress": np.full(6, stress)}
            atoms.calc = SinglePointCalculator(atoms, energy=-3071.0, forces=np.zeros((2, 3)), **more)
            found.append(atoms)
        return Dataset.from_frames(found)

    def gradient(data, stress_weight):
        torch.manual_seed(3)
        net = mace.from_plain(tiny.settings())
        loss(net, data, torch.arange(len(data)), 1.0, stress_weight, 5.0).backward()
        return torch.cat([p.grad.flatten() for p in net.parameters()])

    mixed = crystals(0.01, None)
    both, half = crystals(0.01, 0.01), gradient(mixed, 2.0)
    assert torch.isfinite(half).all() and not torch.allclose(half, gradient(mixed, 0.0))
    torch.testing.assert_close(half, gradient(both, 1.0), rtol=1e-4, atol=1e-6)  # one of two counts half


def test_energies_of_old_data_can_be_left_out(frames, tmp_path):
    data = Dataset.from_frames(frames[:8])
    old = Dataset.from_frames(frames[8:])
    replays = [replace(old, energy=old.energy + move) for move in (-1000.0, 1000.0)]
    apart = {}
    for counted in (True, False):
        plan = replace(FEW, steps=4, replay_energies=counted)
        one, two = (
            fit(tiny.settings(), data, tmp_path / f"{counted}{k}", plan, replay=replay)
            for k, replay in enumerate(replays)
        )
        apart[counted] = max(
            float((a - b).detach().abs().max()) for a, b in zip(one.parameters(), two.parameters(), strict=True)
        )
    assert apart[False] == 0 and apart[True] > 0


def test_a_loss_that_is_not_finite_stops_in_one_line(frames, tmp_path):
    data = replace(Dataset.from_frames(frames), energy=torch.full((15,), torch.inf, dtype=torch.float64))
    with pytest.raises(UserError, match="step 0: the loss is") as refused:
        fit(tiny.settings(), data, tmp_path, FEW)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"energy_weight": (1.0,)}])
def test_wrong_settings(wrong):
    with pytest.raises(UserError, match=f"fit.{next(iter(wrong))}="):
        Fit(**wrong)


class Clock:
    """A clock that advances by `pace` seconds with every batch, from an arbitrary beginning."""

    def __init__(self, monkeypatch, begin: float, pace: float = 1.0) -> None:
        self.now, cut = begin, Dataset.batch
        monkeypatch.setattr("gendesign.train.fit.time.perf_counter", lambda: self.now)

        def ticking(data, chosen):
            self.now += pace
            return cut(data, chosen)

        monkeypatch.setattr(Dataset, "batch", ticking)


def test_a_fit_with_a_time_limit_ends_in_time_and_goes_on_exactly(frames, tmp_path):
    data, plan = (
        Dataset.from_frames(frames),
        replace(FEW, steps=10**6, time_limit=12.0, save_every=10**6, save_seconds=5),
    )
    states = {}
    with pytest.MonkeyPatch.context() as patch:
        Clock(patch, 100.0)
        fit(tiny.settings(), data, tmp_path / "whole", plan, on_save=lambda s: states.setdefault(s.step, s.seconds))
    assert states == {5: 5.0, 10: 10.0, 12: 12.0}

    class Killed(Exception):
        pass

    def kill(state):
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        Clock(patch, 0.0)
        fit(tiny.settings(), data, tmp_path / "parts", plan, on_save=kill)
    with pytest.MonkeyPatch.context() as patch:
        Clock(patch, 7777.0)
        fit(tiny.settings(), data, tmp_path / "parts", plan)
    whole, parts = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts"))
    assert parts["step"] == whole["step"] == 12 and parts["seconds"] == whole["seconds"] == 12.0
    for key in ("net", "average"):
        assert all(torch.equal(value, parts[key][name]) for name, value in whole[key].items())


def test_the_schedule_follows_the_larger_of_steps_and_time():
    plan = Fit(steps=100, time_limit=50.0, warmup=0, decay_from=0.5)

    def factor(step, seconds):
        return fit_module._schedule(State(None, None, {}, {}, step=step, seconds=seconds), plan)

    assert factor(20, 0.0) == factor(0, 25.0) == 1.0
    assert factor(75, 0.0) == factor(75, 30.0) == factor(10, 37.5) == 0.5
    assert factor(100, 10.0) == factor(10, 50.0) == factor(10, 60.0) == 0.0
    assert State(None, None, {}, {}, step=30, seconds=20.0).progress(plan) == 0.4


def test_a_state_without_a_time_is_one_of_an_earlier_version(frames, tmp_path):
    data = Dataset.from_frames(frames)
    fit(tiny.settings(), data, tmp_path, replace(FEW, steps=2, save_every=1))
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    del saved["seconds"]
    torch.save(saved, tmp_path / "state.pt")
    seconds = []
    fit(
        tiny.settings(),
        data,
        tmp_path,
        replace(FEW, steps=3, save_every=1),
        on_save=lambda s: seconds.append(s.seconds),
    )
    assert len(seconds) == 1 and 0 < seconds[0] < 60
