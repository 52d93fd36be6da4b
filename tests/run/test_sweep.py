"""Sweeps: which runs a command means, and the table that compares them."""

import csv
import json

import pytest
from rdkit import Chem

from gendesign import cli
from gendesign.errors import SettingsError
from gendesign.run.settings import resolve
from gendesign.run.sweep import plan


def test_comma_lists_multiply_and_name_their_folders():
    runs = plan("generate", ["n=1,2", "seed=3", "generator.elements=[C,N],[C]"], True)
    assert [run.folder for run in runs] == [
        "n=1,generator.elements=_C,N_",
        "n=1,generator.elements=_C_",
        "n=2,generator.elements=_C,N_",
        "n=2,generator.elements=_C_",
    ]
    assert runs[3].varied == {"n": "2", "generator.elements": "[C]"} and "seed=3" in runs[3].overrides


def test_folders_differ_even_where_their_names_would_not():
    runs = plan("generate", ["output=a", "generator.formula=C(H)4,C[H]4"], True)
    assert len({run.folder for run in runs}) == 2


def test_an_experiment_brings_its_values_and_the_command_line_goes_before_them():
    runs = plan("generate", ["experiment=perovskite_cations"], True)
    cations = {run.varied["generator.composition.cation"] for run in runs}
    assert len(runs) == 2 * len(cations) >= 20
    assert all(Chem.GetFormalCharge(Chem.MolFromSmiles(smiles)) in (1, 2) for smiles in cations)
    config = resolve("generate", runs[-1].overrides)
    assert (
        config.generator.composition.cation == runs[-1].varied["generator.composition.cation"] and "sweep" not in config
    )
    few = plan("generate", ["experiment=perovskite_cations", "generator.composition.cation=CC[NH3+]"], True)
    assert [run.varied for run in few] == [{"generator.composition.metal": "Pb"}, {"generator.composition.metal": "Sn"}]
    with pytest.raises(
        SettingsError, match=r"generator.composition.cation and generator.composition.metal: add --sweep"
    ):
        plan("generate", ["experiment=perovskite_cations"], False)


def test_the_table_compares_the_runs_that_have_results(monkeypatch, tmp_path, capsys):
    def act(verb, files, config):
        from pathlib import Path

        folder = Path(config.output)
        if config.n == 3:
            raise SettingsError("stop")
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"table": [{"name": "valid", "value": config.n / 10}]}))

    monkeypatch.setitem(cli.VERBS, "generate", cli.Verb("make", act))
    assert cli.main(["generate", "--sweep", f"output={tmp_path / 'many'}", "n=1,3,2"]) == 2
    with open(tmp_path / "many" / "sweep.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["n"], row["valid"], row["folder"]) for row in rows] == [("1", "0.1", "n=1"), ("2", "0.2", "n=2")]
    said = capsys.readouterr()
    assert str(tmp_path / "many" / "sweep.csv") in said.out  # one that cannot be does not keep the others waiting
    assert "n=3: stop" in said.err and "1 of 3 runs ended with an error, said above: n=3" in said.err
