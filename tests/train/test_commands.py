"""gendesign label and gendesign train, from files to labels and from labels to a checkpoint."""

import csv
import json

import numpy as np
import pytest
import tiny
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import read, write

from gendesign import cli
from gendesign.errors import UserError
from gendesign.train.isolated_atoms import atomic_energies
from gendesign.train.split import split

TINY = [
    "architecture.channels=4",
    "architecture.max_ell=1",
    "architecture.layers=1",
    "fit.steps=4",
    "fit.save_every=2",
    "fit.batch_size=4",
    "fit.warmup=1",
]


def labelled(name: str, seed: int = 0, **info) -> Atoms:
    atoms = tiny.rattled(name, seed) if len(name) > 1 else Atoms(name)
    energy = sum(tiny.ENERGIES[int(z)] for z in atoms.numbers) - (0.5 * len(atoms) if len(atoms) > 1 else 0)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((len(atoms), 3)))
    atoms.info.update(info)
    return atoms


def test_label(tmp_path, capsys):
    source, output = tmp_path / "some.extxyz", tmp_path / "out"
    wreck = Atoms("C2", [[0, 0, 0], [0, 0, 0.3]])
    write(source, [molecule("H2O"), wreck, molecule("CH3")])
    words = ["label", str(source), f"output={output}", "workers=1", "shard_size=2"]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.split()[:6] == ["structures", "3", "labelled", "2", "failed", "1"]
    water, methyl = read(output / "labels.extxyz", ":")
    assert water.get_potential_energy() == pytest.approx(-137.968, abs=1e-2) and water.get_forces().shape == (3, 3)
    assert methyl.info["multiplicity"] == 2 and methyl.info["index"] == 2
    assert methyl.info["teacher"].startswith("GFN2-xTB(electronic_temperature=300.0")
    (failure,) = csv.DictReader((output / "failures.csv").read_text().splitlines())
    assert failure["index"] == "1" and failure["source"] == "read from some.extxyz" and failure["formula"] == "C2"
    whole, kept = (output / "labels.extxyz").read_bytes(), (output / "shards" / "00001.extxyz").stat().st_mtime_ns
    (output / "shards" / "00000.extxyz").unlink()  # as after a kill
    assert cli.main([*words, "workers=2"]) == 0
    assert (output / "labels.extxyz").read_bytes() == whole
    assert (output / "shards" / "00001.extxyz").stat().st_mtime_ns == kept
    assert cli.main([*words, "max_force=10"]) == 2
    assert "max_force was 60.0, now 10.0" in capsys.readouterr().err


def test_train(tmp_path, capsys):
    from gendesign.potential import load_potential

    source, output = tmp_path / "labels.extxyz", tmp_path / "out"
    names = ("CH4", "H2O", "NH3", "CH3OH", "H2CO", "HCN")
    write(source, [*(labelled(name, k) for name in names for k in range(2)), *(labelled(s) for s in "HCNO")])
    words = ["train", str(source), f"output={output}", "name=ours", "test_share=0.2", *TINY]
    assert cli.main(words) == 2 and "forces are exactly zero in" in capsys.readouterr().err
    words.append("check_units=false")
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "force MAE (meV/Angstrom)" in shown and "test   all    4 " in shown and "card.md" in shown
    assert {"weights.safetensors", "config.yaml", "log.csv", "errors.json"} <= {p.name for p in output.iterdir()}
    table = json.loads((output / "errors.json").read_text())
    assert table["test"]["all"]["n"] == 4 and table["train"]["all"]["n"] == 12
    potential = load_potential(str(output), device="cpu", dtype="float64")
    assert potential.name == "ours" and set(potential.chemical_potentials) <= set("HCNO")
    assert potential.evaluate([Atoms("C")]).energy.item() == tiny.ENERGIES[6]
    before = (output / "weights.safetensors").read_bytes()
    assert cli.main(words) == 0
    assert (output / "weights.safetensors").read_bytes() == before
    assert cli.main([*words, "fit.damping=2"]) == 2
    assert "fit.damping was 5.0, now 2.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "frames", "keys", "said"),
    [
        ("label", [bulk("C")], ["teacher=pm6"], "(read from bad.extxyz) cannot be used: not for PM6: it is periodic"),
        ("label", [molecule("H2O")], ["teacher=emt"], "EMT does not know H, O; it knows Ag Al Au Cu Ni Pd Pt"),
        ("label", [molecule("H2O")], ["teacher=null"], "labels need a teacher"),
        ("label", [molecule("H2O")], ["teacher.method=PM6"], "teacher.method=PM6: allowed are GFN2-xTB, GFN1-xTB"),
        ("label", [molecule("H2O")], ["workers=0"], "workers=0: give null, or a whole number of 1 or more"),
        ("train", [molecule("H2O")], [], "structure 1 (read from bad.extxyz): H2O has no energy and forces"),
        ("train", [labelled("H2O"), labelled("H2O", 1)], [], "too few to hold one out"),
        ("train", [labelled("H2O"), labelled("CH4")], ["test_share=1.5"], "test_share=1.5"),
        ("train", [labelled("H2O"), labelled("CH4")], ["fit.steps=0"], "fit.steps=0"),
        ("train", [labelled("H2O"), labelled("CH4")], ["architecture.channels=0"], "architecture.channels=0"),
        ("train", [labelled("H2O"), labelled("CH4")], ["architecture.max_l=3"], "no more than architecture.max_ell"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(tmp_path, capfd, verb, frames, keys, said):
    write(tmp_path / "bad.extxyz", frames)
    assert cli.main([verb, str(tmp_path / "bad.extxyz"), f"output={tmp_path / 'out'}", *keys]) == 2
    error = capfd.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_molecule_is_on_both_sides():
    frames = [labelled(name, k, molecule=f"{name}{k}") for name in ("CH4", "H2O") for k in range(10)] + [labelled("H")]
    train, test = split(frames, 0.2)
    assert len(test) == 4 and len(train) == 17 and train[-1].symbols[0] == "H"
    assert not {f.info["molecule"] for f in test} & {f.info.get("molecule") for f in train}
    assert split(frames, 0.0) == (frames, [])
    by_formula, _ = split([labelled(name, k) for name in ("CH4", "H2O") for k in range(3)], 0.5)
    assert len({str(f.symbols) for f in by_formula}) == 1


def test_atomic_energies():
    assert atomic_energies([labelled("H"), labelled("O"), labelled("H2O")], set()) == {1: -13.5, 8: -2042.0}
    found = atomic_energies([labelled("H"), labelled("H2O"), labelled("CH4")], set())
    assert found == pytest.approx({1: -13.5, 6: -1029.5 - 2.5, 8: -2042.0 - 1.5})
    with_another = atomic_energies([labelled("H2O")], {6})
    assert 2 * with_another[1] + with_another[8] == pytest.approx(-2042 - 27 - 1.5) and with_another[6] == 0
    with pytest.raises(UserError):
        atomic_energies([molecule("H2O")], set())


def test_label_goes_on_after_a_bad_record(tmp_path, capfd):
    ion, bare = molecule("CH3OH"), molecule("CH3CH2OH")
    ion.info["charge"] = -1
    gold = Atoms("U2", [[0, 0, 0], [0, 0, 2.5]])
    write(tmp_path / "f.extxyz", [molecule("H2O"), ion, bare[bare.numbers != 1], gold, Atoms("C")])
    words = ["label", str(tmp_path / "f.extxyz"), "workers=1"]
    assert cli.main([*words, f"output={tmp_path / 'out'}", "teacher=pm6"]) == 0
    said = capfd.readouterr().err
    assert "3 of 5 structures cannot be used: 1 charged (structure 2), 1 missing hydrogens (structure 3), 1" in said
    assert "the potential" not in said
    reasons = [row["reason"] for row in csv.DictReader((tmp_path / "out" / "failures.csv").read_text().splitlines())]
    assert reasons[0] == "charged: it has charge -1, but a label of PM6 has no charges; give neutral structures"
    assert cli.main([*words, f"output={tmp_path / 's'}", "strict=true"]) == 2
    assert "structure 2 cannot be used: charged" in capfd.readouterr().err


def test_labels_keep_what_came_in(tmp_path):
    water = molecule("H2O")
    water.set_masses([15.999, 2.01410178, 1.008])
    water.set_constraint(FixAtoms([0]))
    water.set_array("tags", np.arange(3))
    write(tmp_path / "f.extxyz", water)
    assert cli.main(["label", str(tmp_path / "f.extxyz"), f"output={tmp_path / 'out'}", "workers=1"]) == 0
    labelled = read(tmp_path / "out" / "labels.extxyz")
    assert labelled.get_masses()[1] == pytest.approx(2.01410178) and labelled.get_tags().tolist() == [0, 1, 2]
    assert labelled.constraints[0].get_indices().tolist() == [0]
    assert np.linalg.norm(labelled.get_forces(apply_constraint=False)[0]) > 0.01
