"""report.html stands alone and is right at the edges: no valid molecule, no atoms, many molecules."""

import re
from dataclasses import replace

import chains as toy
from ase import Atoms
from ase.build import bulk

from gendesign.run.pictures import draw_atoms, draw_smiles, histogram
from gendesign.run.report import write_report
from gendesign.run.table import count
from gendesign.structure.types import Candidate, Verdict


def test_report_of_a_run(tmp_path):
    toy.run_toy(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert not re.search(r"(src|href)=.http|url\((?!#)", page)
    assert page.count('class="card"') == toy.N
    assert "an odd chain" in page and "no room for &#34;hydrogen&#34;, given up" in page
    assert "strain toy (kcal/mol)" in page and "heavy atoms" in page and "4 of 4 shards finished" in page


def test_report_without_a_valid_molecule(tmp_path):
    def invalid(candidates):
        return [Verdict(candidate.index, "valid", False, reason="<torn>") for candidate in candidates]

    summary = toy.run_toy(tmp_path / "run", made=replace(toy.stages(), screen=invalid, screen_set=None))
    assert {"name": "valid", "value": 0.0, "unit": "fraction", "n": toy.N} in summary["table"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Valid molecules (0)" in page and "&lt;torn&gt;" in page


def test_hundreds_of_molecules_stay_small(tmp_path):
    candidates = [Candidate(Atoms("C"), index) for index in range(700)]
    verdicts = [
        row
        for index in range(700)
        for row in (Verdict(index, "valid", True), Verdict(index, "smiles", None, "CC(=O)Oc1ccccc1C(=O)O"))
    ]
    shards = {"finished": 1, "total": 1}
    summary = {"identity": {"verb": "screen"}, "shards": shards, "table": count(candidates, verdicts)}
    write_report(tmp_path / "report.html", summary, candidates, verdicts, {"candidates": 0, "seconds": {}})
    page = (tmp_path / "report.html").read_text()
    assert "and 100 more" in page and len(page) < 6e6


def test_pictures():
    assert draw_smiles("c1ccccc1").startswith("<svg") and draw_smiles("not a molecule") == ""
    assert draw_atoms(Atoms()) == "" and draw_atoms(Atoms("H")).count("<circle") == 1
    salt = draw_atoms(bulk("NaCl", "rocksalt", a=5.6, cubic=True))
    # eight atoms on a cube, and behind each of its six faces two sodiums, without which no chlorine has its six
    assert salt.count("<circle") == 8 + 6 * 2 and salt.count("<line") >= 4 * 6
    assert "nothing to show" in histogram([], "strain", "kcal/mol")
    assert histogram([1.0, 2.0], "strain", "") == histogram([1.0, 2.0], "strain", "")
    assert "larger" in histogram([1.0] * 50 + [900.0], "strain", "kcal/mol")


def test_large_energies_keep_their_last_digits():
    from gendesign.run.table import readable

    table = [{"name": "energy", "value": -4759.1234, "unit": "eV"}, {"name": "spacing", "value": 13.8123, "unit": "A"}]
    text = str(readable(table, {"seconds": {}, "candidates": 1}))
    assert "-4759.123 eV" in text and "13.8 A" in text
