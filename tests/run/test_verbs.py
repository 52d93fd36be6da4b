"""relax and screen of files, from the command line into a results folder, with a tiny untrained potential."""

import json

import pyarrow.parquet as pq
import pytest
import torch
from ase.build import bulk, molecule
from ase.io import read, write

from gendesign import cli


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
