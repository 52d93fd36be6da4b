"""gendesign benchmark pretraining: both ways at every size, kept and resumed; wrong settings in one line."""

import json

import tiny
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gendesign import cli
from gendesign.potential import save_folder


def emt(name: str, seed: int) -> Atoms:
    atoms = tiny.rattled(name, seed, 0.05)
    work = atoms.copy()
    work.calc = EMT()
    atoms.calc = SinglePointCalculator(atoms, energy=work.get_potential_energy(), forces=work.get_forces())
    return atoms


def test_both_ways_at_every_size(tmp_path, capsys):
    save_folder(tiny.potential(0, "float32").net, tmp_path / "cheap", name="tiny", licence="MIT", citation="none")
    write(tmp_path / "some.extxyz", [emt("CH3OH", k) for k in range(8)])
    write(tmp_path / "test.extxyz", [emt("CH3OH", k) for k in range(8, 12)])
    words = ["benchmark", "pretraining", f"output={tmp_path / 'out'}", f"record={tmp_path / 'record'}"]
    assert cli.main(words) == 2 and "add experiment=pretraining" in capsys.readouterr().err
    words += ["experiment=pretraining", f"pretraining.init={tmp_path / 'cheap'}"]
    assert cli.main(words) == 2 and "pretraining.files is empty" in capsys.readouterr().err
    words += [f"pretraining.files=[{tmp_path / 'some.extxyz'}]", f"pretraining.test=[{tmp_path}/te*.extxyz]",
              "pretraining.steps=4", "pretraining.finetune_steps=3", "pretraining.time=0.01",
              "pretraining.molecules=1"]  # fmt: skip
    assert cli.main([*words, "pretraining.sizes=[4,80]"]) == 2
    assert "give numbers from 2 to 8" in capsys.readouterr().err
    assert cli.main([*words, "pretraining.sizes=[3,6]"]) == 0
    rows = json.loads((tmp_path / "record" / "pretraining.json").read_text())
    names = [row["name"] for row in rows]
    assert len(rows) == 12 and "6 labels, pre-trained: force RMSE, test" in names
    assert (tmp_path / "record" / "pretraining.png").stat().st_size > 1000
    kept = tmp_path / "out" / "pretraining" / "scratch-3" / "measured.json"
    before = kept.stat().st_mtime_ns
    assert cli.main([*words, "pretraining.sizes=[3,6]"]) == 0 and kept.stat().st_mtime_ns == before
    assert json.loads((tmp_path / "record" / "pretraining.json").read_text()) == rows
