"""The benchmarks from the command line, with a tiny untrained potential and four reference molecules."""

import json

import pytest
import torch
from ase.build import molecule
from ase.io import write

from gendesign import cli
from gendesign.benchmark.molecules import METRICS

SMALL = ["n_heavy_atoms=3", "steps=4", "particles=2", "families=1"]
COMMON = ["device=cpu", "seed=1", *(f"generator.{word}" for word in SMALL)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a potential and reference molecules, and the words that name them."""
    from gendesign.potential import mace, save_folder

    torch.manual_seed(0)
    atoms = {1: -1.0, 6: -2.0, 7: -2.5, 8: -3.0}
    net = mace.from_plain(mace.new_mace(atomic_energies=atoms, cutoff=3.0, channels=4, radial_mlp=(8,), readout=4))
    folder = tmp_path_factory.mktemp("tiny")
    potentials = {"H": -1.0, "C": -2.0, "N": -2.5, "O": -3.0}
    save_folder(net, folder / "model", name="tiny", licence="MIT", citation="none", chemical_potentials=potentials)
    write(folder / "known.extxyz", [molecule(name) for name in ("CH3CH2OH", "CH3CONH2", "CH3CN", "C3H8")])
    return folder


def gendesign(place, name: str, *words: str) -> int:
    named = {"potential": "model", "generator.reference": "known.extxyz", "record": "record"}
    return cli.main(["benchmark", name, *(f"{key}={place / file}" for key, file in named.items()), *COMMON, *words])


def test_molecules_table_of_a_tiny_run(place, capsys):
    words = [f"output={place / 'out'}", "n=3", "shard_size=2", "references=2", "timed=1", "screening=quick",
             "screening.strain_methods=[]", "relaxation.max_steps=3"]  # fmt: skip
    assert gendesign(place, "molecules", *words) == 0
    shown = capsys.readouterr().out
    rows = {row["name"]: row for row in json.loads((place / "record" / "molecules.json").read_text())}
    for metric in METRICS:
        assert rows[metric.name]["target"] == metric.target and f"{metric.name}, references" in rows
    assert rows["strict validity"]["n"] == 3 and rows["strict validity, references"]["n"] == 4
    assert rows["PoseBusters, references"]["n"] == 2 and rows["PoseBusters"]["value"] is None
    assert rows["crashes"]["value"] == 0
    assert rows["time of sampling"]["n"] == 1 and rows["time of sampling"]["value"] > 0
    assert "not met" in shown and "crashes" in shown
    finished = place / "out" / "references" / "shards" / "00001"
    before = finished.stat().st_mtime_ns
    assert gendesign(place, "molecules", *words) == 0
    assert finished.stat().st_mtime_ns == before


def test_speed_table_of_a_tiny_run(place, capsys):
    words = ["speed.repeats=2", "speed.molecules=2", "speed.references=7", "speed.steps=3", "speed.particles=2"]
    assert gendesign(place, "speed", *words) == 0
    rows = {row["name"]: row for row in json.loads((place / "record" / "speed.json").read_text())}
    timed = rows["sampling, l_max 2 correlation 2, median of 2"]
    assert timed["n"] == 2 and timed["target"] == "<= 0.8"
    assert rows["sampling, l_max 3 correlation 3, fastest of 2"]["value"] > 0
    assert rows["model calls alone, l_max 2 correlation 2"]["value"] < timed["value"] * 2
    edges = rows["edges per atom, tiny"]["value"]
    assert rows["edges per atom, l_max 2 correlation 2"]["target"] == f">= {edges:.2f}"
    assert "s/molecule" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "word", "said"),
    [
        ("molecules", "references=1", "references=1"),
        ("molecules", "relaxation=null", "relaxation=null"),
        ("speed", "speed.repeats=0", "speed.repeats=0"),
        ("everything", "seed=1", "molecules, perovskites, potentials, pretraining, speed"),
    ],
)
def test_bad_input_is_one_line(place, tmp_path, capfd, name, word, said):
    assert gendesign(place, name, f"output={tmp_path / 'out'}", word) == 2
    error = capfd.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
