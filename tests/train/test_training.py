"""gendesign train beyond the plain case: crystals with stress, a start from a checkpoint, early stop, leaks."""

import csv
import json

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gendesign import cli
from gendesign.potential import Potential, load_potential, mace, save_folder
from gendesign.train.isolated_atoms import refit_by, shifted_energies
from gendesign.train.start import begin_from

TINY = [
    "architecture.channels=4",
    "architecture.max_ell=1",
    "architecture.layers=1",
    "fit.save_every=2",
    "fit.batch_size=4",
    "fit.warmup=1",
]


def emt(atoms: Atoms, **info) -> Atoms:
    work = atoms.copy()
    work.calc = EMT()
    results = {"energy": work.get_potential_energy(), "forces": work.get_forces()}
    if work.pbc.all():
        results["stress"] = work.get_stress()
    out = Atoms(work.numbers, work.positions, cell=work.cell, pbc=work.pbc, info=info)
    out.calc = SinglePointCalculator(out, **results)
    return out


def crystals(count: int) -> list[Atoms]:
    random, out = np.random.default_rng(0), []
    for k in range(count):
        atoms = bulk(("Cu", "Ag")[k % 2], cubic=True) if k % 4 else bulk("Cu", cubic=True)
        if k % 4 == 3:
            atoms.symbols[0] = "Au"
        atoms.set_cell(atoms.cell.array * random.normal(1, 0.02), scale_atoms=True)
        atoms.positions += random.normal(0, 0.05, atoms.positions.shape)
        out.append(emt(atoms))
    return out


def molecules(count: int, names=("CH4", "H2O", "CH3OH")) -> list[Atoms]:
    return [emt(tiny.rattled(name, k, 0.05)) for k in range(count) for name in names]


def train(tmp_path, frames, *keys: str, name: str = "out") -> int:
    write(tmp_path / "labels.extxyz", frames)
    return cli.main(["train", str(tmp_path / "labels.extxyz"), f"output={tmp_path / name}", *TINY, *keys])


def errors(tmp_path, name: str = "out") -> dict:
    return json.loads((tmp_path / name / "errors.json").read_text())


def test_crystals_and_molecules_in_one_set(tmp_path):
    assert (
        train(tmp_path, [*crystals(24), *molecules(4)], "fit.steps=200", "fit.learning_rate=0.03", "fit.save_every=20")
        == 0
    )
    table = errors(tmp_path)
    assert table["train"]["all"]["stress_mae_mev_a3"] > 0 and table["test"]["all"]["n"] >= 1
    log = list(csv.DictReader((tmp_path / "out" / "log.csv").read_text().splitlines()))
    assert float(log[-1]["valid_loss"]) < 0.8 * float(log[0]["valid_loss"])
    card = (tmp_path / "out" / "card.md").read_text()
    assert "stress MAE" in card and {"curves.png", "parity.png"} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert any((tmp_path / "out" / "tensorboard").iterdir())


def test_begin_from_a_checkpoint_with_a_new_element_and_old_data(tmp_path):
    save_folder(tiny.potential(0, "float32").net, tmp_path / "begin", name="tiny", licence="MIT", citation="none")
    frames = [*molecules(6), *(emt(tiny.rattled("CO", k)) for k in range(4))]
    new = [emt(Atoms("COPt", [[0, 0, 0], [0, 0, 1.15], [0, 1.8, 0]]), kind="new") for _ in range(3)]
    write(tmp_path / "old.extxyz", molecules(5))
    assert train(tmp_path, [*frames, *new], f"init={tmp_path / 'begin'}", f"replay=[{tmp_path / 'old.extxyz'}]",
                 "fit.steps=6", "fit.freeze=1", "check_units=false") == 0  # fmt: skip
    after = load_potential(str(tmp_path / "out"), device="cpu")
    assert set(after.elements) == {*"HCNO", "Pt"}
    before = load_potential(str(tmp_path / "begin"), device="cpu")
    same = dict(before.net.named_parameters())
    moved = {k for k, p in after.net.named_parameters() if p.shape == same[k].shape and not p.equal(same[k])}
    assert moved and not any(k.startswith(("products.0", "interactions.0")) for k in moved)


def test_energies_of_atoms_take_up_what_the_methods_differ_by():
    """Labels are those of the network as the fit begins, each element moved: the moves are found, a new one's too."""
    begun = {1: -13.5, 6: -1029.5, 8: -2042.0, 35: 0.0}
    architecture, weights = begin_from(tiny.potential(0, "float32"), begun)
    net = mace.from_plain(architecture)
    net.load_state_dict(weights)
    grown = Potential(net.requires_grad_(False), "grown", "0", "MIT", "none")
    moves = {1: 0.5, 6: -3.0, 8: 2.0, 35: -350.0}
    frames = [tiny.rattled(name) for name in ("CH4", "H2O", "CH3OH", "CO2")]
    frames.append(Atoms("CH3Br", [[0, 0, 0], [0.6, 0.6, 0.6], [-0.6, -0.6, 0.6], [-0.6, 0.6, -0.6], [1.1, -1.1, -1.1]]))
    for frame in frames:
        energy = float(grown.evaluate([frame]).energy[0]) + sum(moves[int(z)] for z in frame.numbers)
        frame.calc = SinglePointCalculator(frame, energy=energy, forces=frame.positions * 0)
    found = shifted_energies(tiny.potential(0, "float32"), frames, {7})
    assert found == pytest.approx({**{z: begun[z] + moves[z] for z in begun}, 7: tiny.ENERGIES[7]}, abs=2e-3)


def test_energies_of_atoms_settle_where_the_network_fits_them_best():
    net = mace.from_plain(tiny.settings(), torch.float64)
    frames = [tiny.rattled(name) for name in ("CH4", "H2O", "CH3OH", "CO2", "C2H6")]
    rng = np.random.default_rng(0)
    labels = [float(Potential(net, "", "", "", "").energies([frame])[0]) + rng.normal(0, 5) for frame in frames]
    for frame, energy in zip(frames, labels, strict=True):
        frame.calc = SinglePointCalculator(frame, energy=energy, forces=frame.positions * 0)
    alone = Atoms("H")
    alone.calc = SinglePointCalculator(alone, energy=-13.5, forces=np.zeros((1, 3)))
    refit_by([*frames, alone])(net)
    left = np.array(labels) - [float(Potential(net, "", "", "", "").energies([frame])[0]) for frame in frames]
    for z in (6, 8):  # what is left has no share of the elements that moved
        assert left @ [np.count_nonzero(frame.numbers == z) for frame in frames] == pytest.approx(0, abs=1e-6)
    assert dict(zip(net.atomic_numbers.tolist(), net.atomic_energies_fn.atomic_energies.flatten().tolist(),
                    strict=True))[1] == tiny.ENERGIES[1]  # fmt: skip


def test_vectors_between_the_layers(tmp_path):
    keys = ("architecture=equivariant", "architecture.layers=2", "architecture.max_l=1", "fit.steps=4")
    assert train(tmp_path, [*crystals(24), *molecules(4)], *keys) == 0
    assert load_potential(str(tmp_path / "out"), device="cpu").net.products[0].linear.irreps_out.lmax == 1


def test_early_stop(tmp_path):
    keys = ("fit.steps=400", "fit.patience=2", "fit.learning_rate=1e-9", "check_units=false")
    assert train(tmp_path, molecules(12), *keys) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "log.csv").read_text().splitlines()))
    assert int(rows[-1]["step"]) < 100


def test_other_geometries_of_one_molecule(tmp_path, capsys):
    frames = molecules(24, ("CH4",))
    write(tmp_path / "more.extxyz", molecules(30, ("CH4",))[24:])
    more = f"test=[{tmp_path / 'more.extxyz'}]"
    assert train(tmp_path, frames, "fit.steps=2", "test_share=0", more) == 2
    said = capsys.readouterr().err
    assert "holds 1 molecules of the training (CH4)" in said and "split=frame" in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert train(tmp_path, frames, "fit.steps=2", "split=frame", more) == 0
    assert errors(tmp_path)["more.extxyz"]["all"]["n"] == 6


def test_structures_without_labels_are_listed(tmp_path, capsys):
    frames = [*molecules(4), tiny.rattled("CH4")]
    assert train(tmp_path, frames, "fit.steps=2") == 2
    assert "structure 13" in (said := capsys.readouterr().err) and "skip_unlabelled=true" in said
    assert train(tmp_path, frames, "fit.steps=2", "skip_unlabelled=true") == 0
    assert "structure 13" in (tmp_path / "out" / "skipped.csv").read_text()
    wrong = molecules(8)
    for atoms in wrong:
        atoms.calc.results["energy"] /= 27.211
    assert train(tmp_path, wrong, "fit.steps=2", name="other") == 2
    assert "Hartree" in capsys.readouterr().err and not (tmp_path / "other").exists()
