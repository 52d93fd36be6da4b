"""Crystals before and after a relaxation: the numbers, the files, the terminal."""

import csv
import io
import json

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms, units
from ase.build import bulk, graphene, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import read, write

from gendesign import cli
from gendesign.relaxation import Relaxation
from gendesign.relaxation.change import describe_inputs, relax_and_compare
from gendesign.run import crystals
from gendesign.run.records import read_verdicts
from gendesign.structure.types import Candidate


def salt(a: float = 5.0, before: float = 5.64, **info) -> Candidate:
    """Rock salt of lattice constant `a` that was relaxed from `before`, both in Angstrom, at -1 GPa."""
    atoms = bulk("NaCl", "rocksalt", a=a, cubic=True)
    stress = np.array([1, 1, 1, 0, 0, 0]) * units.GPa
    atoms.calc = SinglePointCalculator(atoms, energy=-30.0, forces=np.zeros((8, 3)), stress=stress)
    first = dict(zip(("a", "b", "c"), [before] * 3, strict=True)) | dict.fromkeys(("alpha", "beta", "gamma"), 90.0)
    first |= {"volume": before**3, "energy": -24.0, "fmax": 0.5, "stress_max": 2.0, "pressure": 3.0}
    values = {f"initial_{key}": value for key, value in first.items()}
    values |= {"energy": -30.0, "fmax": 0.01, "stress_max": 1.0, "converged": True, "steps": 7}
    return Candidate(atoms, 3, history=("read from salt.cif", "relaxed by lbfgs"), info=values | info)


def test_changes_by_hand():
    crystal = salt()
    first, last, change = crystals.before(crystal), crystals.after(crystal), crystals.changes(crystal)
    assert (first["volume"], last["volume"]) == (pytest.approx(179.406144), pytest.approx(125.0))
    assert change["a"] == pytest.approx(100 * (5 / 5.64 - 1)) and change["alpha"] == 0
    assert change["volume"] == pytest.approx(-30.326, abs=1e-3)
    assert first["density"] == pytest.approx(2.1637, abs=1e-3)
    assert change["density"] == pytest.approx(100 * (179.406144 / 125 - 1))
    assert (first["energy_per_atom"], change["energy_per_atom"]) == (-3.0, -0.75)
    assert last["pressure"] == pytest.approx(-1.0) and change["pressure"] == pytest.approx(-4.0)


def test_a_large_change_of_volume_is_a_question():
    assert crystals.remark(salt()) == "the volume changed by -30 %: is the potential made for this?"
    assert crystals.remark(salt(5.5)) == ""
    assert "at 50 GPa" in crystals.remark(salt(pressure=50.0))
    (verdict,) = (v for v in crystals.verdicts_of(salt()) if v.check == "volume_change")
    assert verdict.passed is None and verdict.value == pytest.approx(-30.326, abs=1e-3)
    assert "potential" in verdict.reason


def test_atoms_that_fell_into_each_other_are_said():
    crystal = salt(5.64)
    crystal.atoms.positions[1] = crystal.atoms.positions[0] + [0.1, 0, 0]
    assert crystals.remark(crystal).startswith("atoms overlap (0.04 of")


def test_a_failed_crystal_has_no_numbers_after():
    failed = salt().after(
        "relaxation failed", failure="exploded in relaxation at step 3: the cell collapsed or blew up"
    )
    assert crystals.after(failed) == {} and crystals.status(failed) == "failed"
    assert crystals.verdicts_of(failed) == []
    made = crystals.files([failed, salt()])
    assert made["relaxed.cif"].count("data_") == 1
    rows = list(csv.DictReader(io.StringIO(made["crystals.csv"])))
    assert rows[0]["volume_after"] == "" and rows[0]["volume_before"] == "179.4061" and "blew up" in rows[0]["remark"]
    assert "blew up" in "\n".join(crystals.terminal([failed]))


def test_files_lead_back_to_the_candidate_and_its_file():
    made = crystals.files([Candidate(molecule("H2O"), 0), salt()])
    assert "# candidate 3, read from salt.cif\ndata_3_salt_cif\n" in made["relaxed.cif"]
    (row,) = csv.DictReader(io.StringIO(made["crystals.csv"]))
    assert row["candidate"] == "3" and row["file"] == "salt.cif" and row["formula"] == "Cl4Na4"
    assert row["periodic"] == "abc" and row["status"] == "converged" and row["steps"] == "7"
    assert float(row["volume_change"]) == pytest.approx(-30.326, abs=1e-3)
    assert crystals.files([Candidate(molecule("H2O"), 0)]) == {}


def test_the_terminal_shows_few_crystals_whole_and_many_by_a_line():
    few = "\n".join(crystals.terminal([salt()], means="converged: ..."))
    assert (
        "crystal 3, salt.cif, Cl4Na4: converged" in few
        and "alpha (degrees)" in few
        and few.endswith("converged: ...\n")
    )
    many = crystals.terminal([salt()] * 6)
    assert sum("salt.cif" in line and "-30.33 %" in line for line in many) == 6
    assert not any("alpha" in line for line in many)
    assert crystals.terminal([Candidate(molecule("H2O"), 0)], means="converged: ...") == []


def test_what_converged_means():
    settings = {"fmax": 0.05, "cell": True, "pressure": 1.5, "max_stress": 0.1}
    assert "0.05 eV/Angstrom" in crystals.converged_means(settings)
    assert "within 0.1 GPa of 1.5 GPa" in crystals.converged_means(settings)
    assert "stress" not in crystals.converged_means({**settings, "cell": False})


def test_values_before_are_those_of_the_potential():
    carbon = bulk("C", cubic=True)
    carbon.rattle(0.05, seed=1)
    strained = carbon.copy()
    strained.set_cell(strained.cell * 1.02, scale_atoms=True)
    fixed = strained.copy()
    fixed.set_constraint(FixAtoms(range(8)))
    sheet, water = graphene(), molecule("H2O")
    sheet.positions[0] += [0.1, 0, 0.1]
    given = [Candidate(atoms, i) for i, atoms in enumerate([carbon, water, strained, sheet, fixed])]
    settings = Relaxation(cell=True, pressure=2.0, max_atoms=8)
    described = describe_inputs(given, tiny.potential(), settings)
    for i in (0, 2, 3):
        atoms = given[i].atoms.copy()
        atoms.calc = tiny.potential().as_ase()
        info = described[i].info
        assert info["initial_energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        assert info["initial_fmax"] == pytest.approx(np.linalg.norm(atoms.get_forces(), axis=1).max(), abs=1e-8)
        if i != 3:
            stress = atoms.get_stress(voigt=False) / units.GPa
            assert info["initial_pressure"] == pytest.approx(-np.trace(stress) / 3, abs=1e-8)
            assert info["initial_stress_max"] == pytest.approx(np.abs(stress + 2 * np.eye(3)).max(), abs=1e-8)
            assert info["initial_volume"] == pytest.approx(atoms.get_volume())
    assert not {"initial_volume", "initial_pressure", "initial_space_group"} & set(described[3].info)
    assert described[1].info == {} and described[4].info["initial_fmax"] == 0


def test_what_cannot_be_evaluated_gets_no_values_before():
    flat = Atoms("C", cell=[3, 3, 0], pbc=True)
    torn = bulk("C")
    torn.positions[0] = np.nan
    unknown = bulk("Si")
    broken = Candidate(bulk("C"), 3, failure="broken")
    given = [Candidate(flat, 0), Candidate(torn, 1), Candidate(unknown, 2), broken]
    assert [c.info for c in describe_inputs(given, tiny.potential(), Relaxation())] == [{}] * 4


def test_values_of_an_earlier_relaxation_are_replaced():
    (first,) = relax_and_compare([Candidate(bulk("C"), 0)], tiny.potential(), Relaxation(cell=True, max_steps=3))
    (second,) = relax_and_compare([first], tiny.potential(), Relaxation(cell=True, max_steps=1))
    assert second.info["initial_volume"] == pytest.approx(first.atoms.get_volume())
    assert second.info["initial_energy"] == pytest.approx(first.info["energy"])
    water = Candidate(molecule("H2O"), 0, info={"initial_volume": 3.0})
    assert describe_inputs([water], tiny.potential(), Relaxation())[0].info == {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from gendesign.potential import mace, save_folder

    torch.manual_seed(0)
    net = mace.from_plain(
        mace.new_mace(atomic_energies={1: -1.0, 6: -2.0, 8: -3.0}, cutoff=3.0, channels=4, radial_mlp=(8,), readout=4)
    )
    path = tmp_path_factory.mktemp("tiny")
    save_folder(net, path, name="tiny", licence="MIT", citation="none")
    return path


def relax(folder, *words) -> None:
    keys = ["device=cpu", "relaxation.max_steps=2", "relaxation.cell=true", f"potential={folder}"]
    assert cli.main(["relax", *map(str, words), *keys]) == 0


def test_relax_writes_crystals_and_no_empty_molecules(folder, tmp_path, capsys):
    write(tmp_path / "diamond.cif", bulk("C", cubic=True))
    relax(folder, tmp_path / "diamond.cif", f"output={tmp_path / 'out'}")
    said, output = capsys.readouterr().out, tmp_path / "out"
    assert "crystal 0, diamond.cif, C8" in said and "before" in said and "volume (Angstrom^3)" in said
    assert "every component of the stress is within 0.1 GPa" in said
    assert not (output / "molecules.sdf").exists()
    (crystal,) = read(output / "relaxed.cif", ":")
    assert crystal.get_volume() == pytest.approx(read(output / "candidates.extxyz").get_volume(), rel=1e-6)
    (row,) = csv.DictReader((output / "crystals.csv").open())
    assert float(row["volume_before"]) == pytest.approx(3.57**3, abs=1e-3)
    page = (output / "report.html").read_text()
    assert "Crystals before and after relaxation" in page and row["space_group_before"] == "Fd-3m (227)"
    names = {r["name"] for r in json.loads((output / "summary.json").read_text())["table"]}
    assert {"volume, median", "volume_change, median", "energy_per_atom, median"} <= names


def test_molecules_and_crystals_in_one_run_survive_an_interruption(folder, tmp_path):
    write(tmp_path / "water.xyz", molecule("H2O"))
    write(tmp_path / "crystals.extxyz", [bulk("C", cubic=True), bulk("C", a=3.2)])
    words = [tmp_path / "water.xyz", tmp_path / "crystals.extxyz", "shard_size=1"]
    relax(folder, *words, f"output={tmp_path / 'whole'}")
    relax(folder, *words, f"output={tmp_path / 'again'}")
    for path in (tmp_path / "again" / "shards" / "00002").iterdir():
        path.unlink()
    (tmp_path / "again" / "shards" / "00002").rmdir()
    for name in ("crystals.csv", "relaxed.cif"):
        (tmp_path / "again" / name).unlink()
    relax(folder, *words, f"output={tmp_path / 'again'}")
    for name in ("crystals.csv", "relaxed.cif", "molecules.sdf", "candidates.extxyz", "verdicts.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (tmp_path / "whole" / "molecules.sdf").read_text().count("$$$$") == 1
    text = (tmp_path / "whole" / "relaxed.cif").read_text()
    assert text.index("data_1_crystals_extxyz") < text.index("data_2_crystals_extxyz") and text.count("data_") == 2
    verdicts = read_verdicts(tmp_path / "whole" / "verdicts.parquet")
    assert [v.candidate for v in verdicts if v.check == "volume"] == [1, 2]


def test_a_slab_at_fixed_cell(folder, tmp_path, capsys):
    sheet = graphene()
    write(tmp_path / "sheet.extxyz", sheet)
    keys = ["device=cpu", "relaxation.max_steps=2", f"potential={folder}", f"output={tmp_path / 'out'}"]
    assert cli.main(["relax", str(tmp_path / "sheet.extxyz"), *keys]) == 0
    said = capsys.readouterr().out
    assert "a (Angstrom)" in said and "c (Angstrom)" not in said and "volume (" not in said and "stress" not in said
    (row,) = csv.DictReader((tmp_path / "out" / "crystals.csv").open())
    assert row["periodic"] == "ab" and row["volume_before"] == "" and float(row["gamma_before"]) == pytest.approx(120)
    assert "# periodic along a and b only" in (tmp_path / "out" / "relaxed.cif").read_text()
