"""The search from the command line into a results folder, with a tiny untrained potential."""

import csv
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from ase import Atoms
from ase.io import write
from ionic import Ionic

from gendesign import cli
from gendesign.errors import SettingsError
from gendesign.generate.perovskite import Composition, Perovskite, RandomStarts
from gendesign.generate.perovskite.cation import read_cation
from gendesign.generate.perovskite.known_cell import KnownCell
from gendesign.run.build import make
from gendesign.run.records import read_candidates
from gendesign.run.settings import resolve

WORDS = [
    "generate", "generator=perovskite", "generator.composition.cation=C[NH3+]", "generator.start.cells=1",
    "device=cpu", "seed=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from gendesign.potential import mace, save_folder

    torch.manual_seed(0)
    atoms = {1: -1.0, 6: -2.0, 7: -3.0, 53: -4.0, 82: -5.0}
    net = mace.from_plain(mace.new_mace(atomic_energies=atoms, cutoff=3.5, channels=4, radial_mlp=(8,), readout=4))
    folder = tmp_path_factory.mktemp("tiny")
    save_folder(net, folder, name="tiny", licence="MIT", citation="none")
    return folder


def test_a_search_leaves_ranked_crystals(tiny, tmp_path, capsys):
    output = tmp_path / "out"
    keys = ["n=4", "shard_size=4", "generator.halving.rounds=1", "generator.halving.steps=1", "relaxation.max_steps=1"]
    words = [
        *WORDS,
        *keys,
        "screening.decomposition=0",
        "screening.competing_phases=0",
        f"output={output}",
        f"potential={tiny}",
    ]
    assert cli.main(words) == 0
    assert "stopped early" in capsys.readouterr().out
    rows = pq.read_table(output / "verdicts.parquet").to_pylist()
    finished = {row["candidate"]: row["passed"] for row in rows if row["check"] == "finished"}
    assert sorted(finished) == [0, 1, 2, 3] and sum(finished.values()) == 2
    ranked = list(csv.DictReader((output / "ranked.csv").open()))
    assert 1 <= len(ranked) <= 2 and ranked[0]["rank"] == "1" and (output / ranked[0]["cif"]).is_file()
    report = (output / "report.html").read_text()
    assert "Ranked structures" in report and "above the best" in report
    assert cli.main(words) == 0  # the same command again finds it finished


def test_competing_phases_are_sought_once_a_run(tiny, tmp_path, monkeypatch):
    from gendesign.generate.perovskite import generator

    asked = []
    monkeypatch.setattr(generator, "competing_phases_energy", lambda *words: asked.append(words[2]) or -1.0)
    output = tmp_path / "out"
    keys = [
        "n=4",
        "shard_size=2",
        "generator.halving.rounds=0",
        "relaxation.max_steps=1",
        "screening.competing_phases=3",
    ]
    words = [*WORDS, *keys, "screening.decomposition=0", f"output={output}", f"potential={tiny}"]
    assert cli.main(words) == 0
    assert cli.main(words) == 0
    assert asked == [3]  # not by the same command again either
    rows = pq.read_table(output / "verdicts.parquet").to_pylist()
    energies = {row["candidate"]: row["value"] for row in rows if row["check"] == "energy_per_formula"}
    above = {row["candidate"]: row["value"] for row in rows if row["check"] == "energy_above_competing_phases"}
    assert above and all(value == pytest.approx(energies[index] + 1.0) for index, value in above.items())
    assert "eV to competing phases" in (output / "report.html").read_text()


def test_another_cation_in_the_same_file_is_another_run(tiny, tmp_path, capfd):
    path, output = tmp_path / "cation.xyz", tmp_path / "out"
    keys = [
        "n=2",
        "generator.halving.rounds=0",
        "relaxation.max_steps=1",
        "screening.decomposition=0",
        "screening.competing_phases=0",
    ]
    words = [*WORDS, *keys, f"generator.composition.cation={path}", f"output={output}", f"potential={tiny}"]
    for smiles, status in (("C[NH3+]", 0), ("CC[NH3+]", 2)):
        cation = read_cation(smiles)
        write(path, Atoms(cation.numbers, cation.conformers[0]))
        assert cli.main(words) == status
    assert str(path) in capfd.readouterr().err


def test_null_where_a_value_is_wanted_is_one_line():
    with pytest.raises(SettingsError, match=r"^generator\.composition\.halide=null: this key needs a value"):
        resolve("generate", ["generator=perovskite", "generator.composition.halide=null"])


def test_groups_left_out_leave_their_step_out():
    words = ["generator=perovskite", "generator.composition.cation=MA", "generator.start.cells=1"]
    settings = resolve("generate", [*words, "generator/halving=null", "generator/evolution=null"])
    search = make(settings.generator, potential=Ionic())
    assert search.halving is None and search.evolution is None
    assert [c.history for c in search.generate(range(2), seed=0)] == [("built",)] * 2


def test_the_command_line_and_python_build_the_same_starts():
    words = ["generator=perovskite", "generator.composition.cation=BA", "generator.start.cells=1"]
    typed = make(resolve("generate", words).generator, potential=Ionic())
    written = Perovskite(Ionic(), Composition("BA"), RandomStarts(cells="1"))
    assert typed == replace(written, potential=typed.potential)
    cubic = ["generator.composition.thickness=3d", "generator.composition.cation=MA"]
    typed = make(resolve("generate", [*words, *cubic]).generator, potential=Ionic())
    assert typed.start.symmetry == 0.5  # which plays no part


def test_an_element_that_the_potential_lacks_is_one_line(tiny, tmp_path, capfd):
    output = tmp_path / "out"
    assert cli.main([*WORDS, "generator.composition.metal=Sn", f"output={output}", f"potential={tiny}"]) == 2
    error = capfd.readouterr().err
    assert "Sn" in error and error.count("\n") == 1 and not output.exists()


def test_relaxation_and_screening_come_with_the_generator():
    from gendesign.run.help import describe

    config = resolve("generate", ["generator=perovskite"])
    assert config.relaxation.cell and config.screening._target_.endswith("PerovskiteScreening")
    other = resolve("generate", ["generator=perovskite", "relaxation=molecules", "screening=null"])
    assert not other.relaxation.cell and other.get("screening") is None
    chosen = resolve("generate", ["experiment=perovskite", "generator.composition.thickness=3d"])
    assert chosen.generator.composition.thickness == "3d" and chosen.relaxation.cell
    assert resolve("generate").relaxation.cell is False
    assert "without" not in describe("generate", ["generator=perovskite"]).split("symprec")[1].split("\n")[0]


def test_a_measured_cell_comes_from_the_command_line(tiny, tmp_path):
    output = tmp_path / "out"
    cell = ["generator.start.known_cell=[22.0,8.6,8.8]", "generator.start.space_group=Pbca", "relaxation.cell=false"]
    keys = [
        "n=2",
        "generator.halving.rounds=0",
        "relaxation.max_steps=1",
        "screening.decomposition=0",
        "screening.competing_phases=0",
    ]
    assert cli.main([*WORDS, *cell, *keys, f"output={output}", f"potential={tiny}"]) == 0
    for candidate in read_candidates(output / "candidates.extxyz", []):
        assert candidate.atoms.cell.cellpar() == pytest.approx([8.6, 8.8, 22.0, 90, 90, 90])  # layers along b and c
        assert candidate.info["orientations"] == "Pbca" and candidate.info["formula_units"] == 4


def test_the_experiment_in_a_measured_cell_holds_it():
    chosen = resolve("generate", ["experiment=perovskite_known_cell"])
    assert KnownCell(chosen.generator.start.known_cell, chosen.generator.start.space_group).parameters == (
        8.428,
        8.986,
        26.233,
    )
    assert chosen.relaxation.cell is False and chosen.generator._target_.endswith("Perovskite")
