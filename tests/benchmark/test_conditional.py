"""The table of conditions: what counts as a success, and a tiny run from case to row that resumes."""

import json

import ase.io
import numpy as np
import pytest
import tiny
from ase import Atoms
from ase.build import molecule
from rdkit import Chem

from gendesign import cli
from gendesign.benchmark import conditional
from gendesign.benchmark.conditional import CASES, FORMULAS, SETS, Case, Try, evaluated, rows_of
from gendesign.generate.simgen.fragments import Fragments
from gendesign.structure.formula import parse_formula
from gendesign.structure.types import Candidate


def test_every_case_can_be_asked_for():
    for case in [*conditional.linkers(30), *conditional.scaffolds(20)]:
        fragments = Fragments(case.settings["fragments"], case.settings["attachments"])
        assert len(fragments.anchors) == len(case.settings["attachments"])
        assert 2 <= case.settings["n_heavy_atoms"] <= 6
    assert len(conditional.linkers(99)) == 30 and len(conditional.scaffolds(99)) == 20
    assert len(ase.io.read(CASES / "shapes.extxyz", index=":")) == 10


def test_linkers_are_cut_from_one_molecule_and_fit_back():
    for frames in conditional._frames("linkers"):
        whole = Chem.MolFromSmiles(str(frames[0].info["molecule"]))
        heavy = sum(int((f.numbers > 1).sum()) for f in frames) + int(frames[0].info["atoms"])
        assert len(frames) == 2 and heavy == whole.GetNumHeavyAtoms()


def test_formulas_are_those_of_closed_shells():
    for formula in FORMULAS:
        counts = parse_formula(formula)
        assert (2 + sum({"C": 2, "N": 1, "O": 0, "H": -1}[e] * n for e, n in counts.items())) % 2 == 0


def test_sets_are_molecules_without_a_common_one():
    known = [{Chem.CanonSmiles(text) for text in (CASES / f"{name}.smi").read_text().split()} for name in SETS]
    assert min(map(len, known)) > 40 and not known[0] & known[1]


def test_a_try_counts_when_valid_and_as_asked():
    case = Case("x", {}, lambda atoms, mol, generator: None if "O" in atoms.symbols else "no oxygen", len)
    good = evaluated(Candidate(molecule("CH3CH2OH"), 0), case, None)
    assert good == Try(None, "CCO", 9)
    assert evaluated(Candidate(molecule("C2H6"), 0), case, None).reason == "no oxygen"
    assert evaluated(Candidate(molecule("CH3"), 0), case, None).reason.startswith("not valid")
    assert evaluated(Candidate(Atoms(), 0, failure="lost"), case, None) == Try("lost", None)


def test_rows_count_attempts():
    tries = [[Try(None, "C", 0.8), Try("bad", None)], [Try("bad", "CC", 0.9), Try("bad", None)]]
    hit, share, valid = rows_of("linker", tries)
    assert (hit.value, hit.n, share.value, share.n, valid.value) == (0.5, 2, 0.25, 4, 0.5)
    over_all, over_valid = rows_of("shape", tries)
    assert over_all.value == 0.0 and over_valid.value == 0.8 and (over_all.n, over_valid.n) == (4, 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    from gendesign.potential import save_folder

    folder = tmp_path_factory.mktemp("conditional")
    save_folder(tiny.potential().net, folder / "model", name="tiny", licence="MIT", citation="none",
                chemical_potentials=tiny.CHEMICAL_POTENTIALS)  # fmt: skip
    return folder


def test_a_tiny_run_writes_its_rows_and_resumes(place, capsys):
    words = ["benchmark", "conditional", f"potential={place / 'model'}", f"record={place / 'record'}",
             f"output={place / 'out'}", "dtype=float64", "generator.steps=4", "generator.particles=2",
             "generator.families=1", "generator.finishing.sweeps=0", "generator.finishing.rough_steps=1",
             "relaxation.max_steps=2", "conditional.tries=1", "conditional.pairs=0", "conditional.scaffolds=1",
             "conditional.formulas=1", "conditional.macrocycles=1", "conditional.shapes=1", "conditional.likeness=0",
             "conditional.cost=false"]  # fmt: skip
    assert cli.main(words) == 0
    rows = {row["name"]: row for row in json.loads((place / "record" / "conditional.json").read_text())}
    assert rows["formula exact and valid, per try"]["n"] == 1
    assert rows["scaffolds grown in 1 tries"]["target"] == ">= 0.90"
    kept = place / "out" / "conditional" / f"formula-{FORMULAS[0]}.json"
    before = kept.stat().st_mtime_ns
    assert cli.main(words) == 0 and kept.stat().st_mtime_ns == before
    assert np.isfinite(rows["macrocycle closed and valid, per try"]["value"])
    capsys.readouterr()
    assert cli.main([*words[:-1], "conditional.tries=0"]) == 2
    assert "conditional.tries=0: give a whole number of 1 or more" in capsys.readouterr().err
