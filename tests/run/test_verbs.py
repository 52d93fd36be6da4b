"""relax and screen of files, from the command line into a results folder, with a tiny untrained potential."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from ase.build import bulk, molecule
from ase.constraints import FixBondLengths
from ase.io import read, write

from gendesign import cli
from gendesign.structure.constraints import fixed_components

TROUBLES = Path(__file__).resolve().parents[1] / "data" / "troubles"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from gendesign.potential import mace, save_folder

    torch.manual_seed(0)
    atoms = {1: -1.0, 6: -2.0, 8: -3.0}
    net = mace.from_plain(mace.new_mace(atomic_energies=atoms, cutoff=3.0, channels=4, radial_mlp=(8,), readout=4))
    folder = tmp_path_factory.mktemp("tiny")
    save_folder(net, folder, name="tiny", licence="MIT", citation="none")
    return folder


def gendesign(tiny, *words) -> int:
    return cli.main([*map(str, words), f"potential={tiny}", "device=cpu"])


def test_relax_molecules(tiny, tmp_path, capsys):
    source = tmp_path / "some.extxyz"
    write(source, [molecule(name) for name in ("CH3OH", "H2O", "CH4")])
    keys = [f"output={tmp_path / 'out'}", "shard_size=2", "relaxation.max_steps=3"]
    assert gendesign(tiny, "relax", source, *keys) == 0
    shown = capsys.readouterr()
    assert "time per candidate" in shown.out and "shard 2 of 2" in shown.err
    frames = read(tmp_path / "out" / "candidates.extxyz", ":")
    assert [str(atoms.symbols) for atoms in frames] == ["COH4", "OH2", "CH4"]
    assert all(
        atoms.info["index"] == i and atoms.get_forces().shape == (len(atoms), 3) for i, atoms in enumerate(frames)
    )
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["model"]["name"] == "tiny" and summary["identity"]["files"][str(source)]
    assert summary["identity"]["weights"] == summary["model"]["weights_sha256"]
    assert gendesign(tiny, "relax", source, *keys) == 0
    write(source, molecule("H2O"))
    assert gendesign(tiny, "relax", source, *keys) == 2
    assert "some.extxyz has changed)" in capsys.readouterr().err


def test_relax_a_crystal_under_pressure(tiny, tmp_path):
    write(tmp_path / "diamond.cif", bulk("C", cubic=True))
    output = f"output={tmp_path / 'out'}"
    steps = "relaxation.max_steps=2"
    words = [tmp_path / "diamond.cif", output, "relaxation=crystals", "relaxation.pressure=1.0", steps]
    assert gendesign(tiny, "relax", *words) == 0
    (atoms,) = read(tmp_path / "out" / "candidates.extxyz", ":")
    assert atoms.pbc.all() and atoms.info["pressure"] == 1.0 and "stress_max" in atoms.info
    assert atoms.get_stress().shape == (6,)
    assert (tmp_path / "out" / "report.html").is_file()


def test_screen_writes_a_row_per_check(tiny, tmp_path, capsys):
    write(tmp_path / "some.extxyz", [molecule("CH3OH"), molecule("CH3")])
    output = tmp_path / "out"
    assert gendesign(tiny, "screen", tmp_path / "some.extxyz", f"output={output}", "screening=quick") == 0
    rows = pq.read_table(output / "verdicts.parquet").to_pylist()
    assert {row["candidate"]: row["passed"] for row in rows if row["check"] == "valid"} == {0: True, 1: False}
    assert (output / "molecules.sdf").read_text().count("$$$$") == 1
    assert "valid" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "keys", "said"),
    [
        ("not a structure", [], "bad.xyz"),
        (molecule("SiH4"), [], "Si"),
        (molecule("CH4"), ["relaxation.pressure=2.0"], "relaxation.cell=true"),
        (molecule("CH4"), ["relaxation.optimizer=magic"], "magic"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tiny, tmp_path, capfd, content, keys, said):
    source = tmp_path / "bad.xyz"
    if isinstance(content, str):
        source.write_text(content)
    else:
        write(source, content)
    assert gendesign(tiny, "relax", source, f"output={tmp_path / 'out'}", *keys) == 2
    error = capfd.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def candidates_of(output):
    return read(output / "candidates.extxyz", ":") if (output / "candidates.extxyz").stat().st_size else []


def test_one_bad_record_never_stops_a_file(tiny, tmp_path, capfd):
    ion, bromide, fixed = molecule("CH3OH"), molecule("CH3Cl"), molecule("H2O")
    ion.info["charge"] = -1
    bromide.symbols[1] = "Br"
    fixed.set_constraint(FixBondLengths([[0, 1]]))
    good = molecule("CH4")
    for name, frames in {"a.extxyz": [good, ion, bromide, good[good.numbers == 1], ion], "b.traj": [fixed]}.items():
        write(tmp_path / name, frames)
    (tmp_path / "c.xyz").write_text("3\n\nO 0 0 0\nH 0 0 0.96\n")
    files = [tmp_path / name for name in ("a.extxyz", "b.traj", "c.xyz")]
    assert gendesign(tiny, "relax", *files[:2], f"output={tmp_path / 'r'}", "relaxation.max_steps=2") == 0
    assert (
        "4 of 6 structures cannot be used: 2 charged (structures 2 of a.extxyz, 5 of a.extxyz), "
        "1 with Br (structure 3 of a.extxyz), 1 not relaxable (structure 1 of b.traj)"
    ) in capfd.readouterr().err
    rows = pq.read_table(tmp_path / "r" / "verdicts.parquet").to_pylist()
    reasons = {row["candidate"]: row["reason"] for row in rows if row["check"] == "finished"}
    assert [bool(reason) for reason in reasons.values()] == [False, True, True, False, True, True]
    assert reasons[5].startswith("not relaxable: carries FixBondLengths; only fixed atoms")
    assert reasons[2].startswith("with Br: potential tiny does not know Br; it knows H C O")
    assert gendesign(tiny, "relax", *files, f"output={tmp_path / 's'}", "strict=true") == 2
    error = capfd.readouterr().err
    assert "structure 2 cannot be used: charged" in error and error.count("\n") == 1
    assert gendesign(tiny, "relax", files[2], f"output={tmp_path / 't'}") == 2
    error = capfd.readouterr().err
    assert "frame 1 of c.xyz: it is cut off after 2 of 3 atoms" in error and error.count("\n") == 1


def test_quick_screening_needs_no_potential(tiny, tmp_path, capfd):
    source = TROUBLES / "vendor.sdf"
    assert gendesign(tiny, "screen", source, f"output={tmp_path / 'q'}", "screening=quick") == 0
    assert "cannot be used" not in capfd.readouterr().err
    rows = pq.read_table(tmp_path / "q" / "verdicts.parquet").to_pylist()
    assert all(row["passed"] for row in rows if row["check"] == "finished")
    # the anion is judged, and is no neutral molecule; bromine, boron, silicon and phosphorus are judged as well
    assert {row["candidate"]: row["passed"] for row in rows if row["check"] == "valid"}[4] is False
    checks = ["screening.checks=[distances,validity,uncertainty]", "screening.workers=0"]
    assert gendesign(tiny, "screen", source, f"output={tmp_path / 'f'}", *checks) == 0
    said = capfd.readouterr().err
    assert "9 of 10 structures cannot be used: 2 with N (structures 2, 4), 1 with Br (structure 3)" in said


@pytest.mark.parametrize("name", ["POSCAR_sd", "POSCAR_sd_z"])
def test_a_second_relaxation_fixes_the_same_and_changes_nothing(tiny, tmp_path, name):
    start = read(TROUBLES / name)
    words = ["relaxation.max_steps=30", "relaxation.fmax=0.01"]
    assert gendesign(tiny, "relax", TROUBLES / name, f"output={tmp_path / 'a'}", *words) == 0
    (first,) = candidates_of(tmp_path / "a")
    axes = [0, 1, 2] if name == "POSCAR_sd" else [2]
    assert np.allclose(first.positions[:2, axes], start.positions[:2, axes], atol=1e-7)
    assert not np.allclose(first.positions[2:], start.positions[2:], atol=1e-3)
    assert gendesign(tiny, "relax", tmp_path / "a" / "candidates.extxyz", f"output={tmp_path / 'b'}",
                     "relaxation.fmax=100") == 0  # fmt: skip
    (second,) = candidates_of(tmp_path / "b")
    assert np.array_equal(first.positions, second.positions)
    for atoms in (first, second):
        assert np.argwhere(fixed_components(atoms)).tolist() == [[i, axis] for i in (0, 1) for axis in axes]


def test_isotopes_columns_and_values_survive_relaxation(tiny, tmp_path):
    atoms = molecule("CH3OH")
    masses = atoms.get_masses()
    masses[3] = 2.01410178
    atoms.set_masses(masses)
    atoms.set_array("tags", np.arange(6))
    atoms.info |= {"name": "methanol", "REF_energy": -5.0, "vector": np.array([1.0, 2.0])}
    atoms.set_array("REF_forces", np.ones((6, 3)))
    write(tmp_path / "m.extxyz", atoms)
    assert gendesign(tiny, "relax", tmp_path / "m.extxyz", f"output={tmp_path / 'r'}", "relaxation.max_steps=2") == 0
    (relaxed,) = candidates_of(tmp_path / "r")
    assert relaxed.get_masses()[3] == pytest.approx(2.01410178) and relaxed.get_tags().tolist() == list(range(6))
    assert relaxed.info["name"] == "methanol" and relaxed.info["vector"].tolist() == [1.0, 2.0]
    # labels of the geometry that came in are none of the relaxed one
    assert "REF_energy" not in relaxed.info and "REF_forces" not in relaxed.arrays
    assert "left out labels of another geometry: REF_energy, REF_forces" in relaxed.info["history"]


def test_graphite_with_rounded_positions_relaxes_as_the_exact_one(tiny, tmp_path):
    cells = []
    for name in ("graphite_3.cif", "graphite_4.cif"):
        words = ["relaxation=crystals", "relaxation.cell=false", "relaxation.max_steps=200", "relaxation.fmax=0.001"]
        assert gendesign(tiny, "relax", TROUBLES / name, f"output={tmp_path / name}", *words) == 0
        (atoms,) = candidates_of(tmp_path / name)
        assert str(atoms.symbols) == "C4"
        cells.append(atoms)
    assert cells[0].get_potential_energy() == pytest.approx(cells[1].get_potential_energy(), abs=1e-4)


def test_existing_files_with_signs_in_their_names(tiny, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("T=300K.xyz", "data/t=300.xyz", "n=3", "a @#[1] ü.xyz"):
        write(tmp_path / name, molecule("CH4"), format="extxyz")
    for k, name in enumerate(("T=300K.xyz", "data/t=300.xyz", "a @#[1] ü.xyz")):
        assert gendesign(tiny, "relax", name, f"output={k}", "relaxation.max_steps=1") == 0
        assert len(candidates_of(tmp_path / str(k))) == 1
    capfd.readouterr()
    assert gendesign(tiny, "relax", "T=77K.xyz", "output=x") == 2
    error = capfd.readouterr().err
    assert "T=77K.xyz does not exist" in error and error.count("\n") == 1
    assert gendesign(tiny, "relax", "T=300K.xyz", "strickt=true") == 2
    assert "unknown key 'strickt': did you mean strict" in capfd.readouterr().err


def test_a_molecule_in_a_box_is_screened_as_one_when_asked(tiny, tmp_path, capfd):
    for periodic, valid in (("auto", None), ("false", True)):
        words = [f"output={tmp_path / periodic}", f"periodic={periodic}", "screening=quick"]
        assert gendesign(tiny, "screen", TROUBLES / "CONTCAR", *words) == 0
        rows = pq.read_table(tmp_path / periodic / "verdicts.parquet").to_pylist()
        assert [row["passed"] for row in rows if row["check"] == "valid"] == [valid]
        said = "treated as periodic; periodic=false treats it as a molecule" in capfd.readouterr().err
        assert said == (periodic == "auto")
