"""report.html stands alone and is right at the edges: no valid molecule, no atoms, many molecules."""

import re
from dataclasses import replace

import chains as toy
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule, nanotube

from gendesign.run.pictures import draw_atoms, draw_smiles, histogram, scatter
from gendesign.run.report import write_report
from gendesign.run.sections import reason_counts, sections
from gendesign.run.table import count, readable, terminal_lines
from gendesign.run.unit_cell import cell_edges, folded, with_images
from gendesign.structure.types import Candidate, Verdict


def test_report_of_a_run(tmp_path):
    toy.run_toy(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert not re.search(r"(src|href)=.http|url\((?!#)", page)
    assert page.count('class="card"') == toy.N
    assert "an odd chain" in page and "no room for &#34;hydrogen&#34;, given up" in page
    assert "strain energy, toy (kcal/mol)" in page and "heavy atoms" in page and "4 of 4 shards finished" in page


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


def page_of(tmp_path, candidates, verdicts, **summary) -> str:
    """The page of these candidates, without its folded details."""
    shards = {"finished": 1, "total": 1}
    known = {"identity": {"verb": "generate"}, "shards": shards, "table": count(candidates, verdicts), **summary}
    write_report(tmp_path / "report.html", known, candidates, verdicts, {"candidates": 0, "seconds": {}})
    return (tmp_path / "report.html").read_text().split("<details")[0]


def headings(found) -> dict[str, list[int]]:
    return {section.heading: [c.index for c in section.candidates] for section in found}


def test_molecules_by_what_became_of_them(tmp_path):
    candidates = [Candidate(molecule("CH4"), i) for i in range(4)]
    candidates.append(Candidate(Atoms(), 4, failure="no molecule: 3 atoms are left"))
    verdicts = [Verdict(i, "valid", i != 2, reason="2 fragments" if i == 2 else "") for i in range(4)]
    verdicts += [Verdict(4, "valid", False, reason="no molecule: 3 atoms are left")]
    verdicts += [Verdict(3, "unique", False, reason="same as candidate 0"), Verdict(0, "unique", True)]
    verdicts += [Verdict(0, "edm_molecule", False, reason="wrong valence at C0")]
    assert headings(sections(candidates, verdicts)) == {
        "Valid molecules": [0, 1], "Copies of valid molecules": [3], "Invalid molecules": [2], "Failed attempts": [4],
    }  # fmt: skip
    page = page_of(tmp_path, candidates, verdicts)
    assert "1: 2 fragments" in page and "1: no molecule: 3 atoms are left" in page and "same as candidate 0" in page
    assert "wrong valence" not in page  # EDM's table fails sound aromatic molecules; its share stands in the table


def test_ranked_candidates_keep_their_order_and_show_what_ranked_them(tmp_path):
    candidates = [Candidate(bulk("C"), i) for i in (2, 1)]
    verdicts = [Verdict(1, "layer_spacing", None, 9.46, "Angstrom"), Verdict(2, "valid", True)]
    page = page_of(tmp_path, candidates, verdicts, ranked_by=["layer_spacing"])
    assert "Ranked candidates (2)" in page and "by layer spacing; the best first" in page
    assert page.index("<b>2</b>") < page.index("<b>1</b>") and "layer spacing 9.46" in page


def test_a_search_says_what_it_did_not_go_on_with(tmp_path):
    reasons = [
        None, None, None, None, "stopped at rung 1: energy 0.100 eV per formula unit above the best",
        "merged at rung 1: same as 0", "broken at rung 2: bond C5-H7 of a cation is broken", None,
    ]  # fmt: skip
    candidates = [Candidate(bulk("C"), i, failure=reason) for i, reason in enumerate(reasons)]
    verdicts = [Verdict(i, "valid", reason is None, reason=reason or "") for i, reason in enumerate(reasons)]
    verdicts[7] = Verdict(7, "valid", False, reason="bond C12-H9 of a cation is broken")
    ranks = {2: 1.0, 0: 2.0, 3: 3.0}
    verdicts += [Verdict(i, "rank", None, rank) for i, rank in ranks.items()]
    verdicts += [Verdict(1, "unique", False, reason="same as candidate 0")]
    assert headings(sections(candidates, verdicts)) == {
        "Ranked structures": [2, 0, 3], "Copies of ranked structures": [1], "Not continued by the search": [4, 5],
        "Broken": [6, 7],
    }  # fmt: skip
    page = page_of(tmp_path, candidates, verdicts)
    assert "1 stopped early, because others were lower in energy; 1 merged with a copy" in page
    assert "Not valid" not in page and '<div class="soft">merged at rung 1: same as 0</div>' in page
    nothing = [Candidate(bulk("C"), 0, failure="stopped at rung 1: energy 0.1 eV per formula unit above the best")]
    assert headings(sections(nothing, []))["Not continued by the search"] == [0]


def test_reasons_of_one_kind_are_counted_together():
    texts = ["bond C5-H7 of a cation is broken", "bond N1-H12 of a cation is broken", "2 fragments", "", "2 fragments"]
    assert reason_counts(texts) == "2: bond C5-H7 of a cation is broken, and the like; 2: 2 fragments"
    assert reason_counts([chr(97 + i) * 3 for i in range(7)]).endswith("; 2 for other reasons")


def test_conditions_and_warnings(tmp_path):
    candidates = [Candidate(molecule("CH4"), i) for i in range(3)]
    verdicts = [Verdict(i, "valid", True) for i in range(3)]
    verdicts += [
        Verdict(0, "condition_ring", False, reason="the ring is open"),
        Verdict(1, "condition_ring", True, 24.0, "atoms"),
    ]
    verdicts += [Verdict(i, "condition_shape", None, 0.5 + i / 10) for i in range(3)]
    conditions = ["condition_ring", "condition_shape"]
    warning = "potential organic is made for molecules; this structure is periodic"
    page = page_of(tmp_path, candidates, verdicts, conditions=conditions, warnings=[warning])
    assert '<div class="bad">ring: no (the ring is open)</div>' in page
    assert '<div class="good">ring: 24 atoms</div>' in page and '<div class="soft">shape: 0.6</div>' in page
    assert page.index(warning) < page.index("<table>")
    assert "2 of them meet every condition" in page and page.index("<b>1</b>") < page.index("<b>0</b>")
    lines = terminal_lines({"table": [], "timings": {"candidates": 0, "seconds": {}}, "warnings": [warning]})
    assert lines[-1] == f"warning: {warning}"


def test_a_row_says_why_it_has_no_value():
    rows = [
        {"name": "valid", "value": None, "n": 0, "reason": "not applicable: periodic"},
        {"name": "rank", "value": None},
    ]
    assert readable(rows, {"seconds": {}, "candidates": 0})[1:] == [
        ("valid", "not applicable: periodic"), ("rank", "not measured"),
    ]  # fmt: skip


def test_what_was_still_too_large_when_a_relaxation_stopped(tmp_path):
    settings = {"relaxation": {"fmax": 0.05, "cell": True, "max_stress": 0.1, "pressure": 0.0}}
    info = {"converged": False, "fmax": 0.01, "stress_max": 0.3, "steps": 9}
    page = page_of(tmp_path, [Candidate(bulk("C"), 0, info=info)], [], identity={"verb": "relax", "settings": settings})
    assert "not converged after 9 steps: largest stress 0.3 GPa" in page
    assert "converged: the largest force is below 0.05 eV/Å" in page


def test_edges_of_the_cell():
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    slab, tube = fcc111("Al", (2, 2, 3)), nanotube(4, 0)
    tube.pbc = [False, False, True]
    assert [len(cell_edges(atoms)) for atoms in (salt, slab, tube, molecule("H2O"))] == [12, 4, 1, 0]
    lengths = np.linalg.norm(cell_edges(salt)[:, 1] - cell_edges(salt)[:, 0], axis=1)
    assert lengths == pytest.approx(5.6) and cell_edges(salt).reshape(-1, 3).min(axis=0) == pytest.approx(0)
    salt.positions += salt.cell[0] * 3
    assert cell_edges(salt).reshape(-1, 3).min(axis=0) == pytest.approx([3 * 5.6, 0, 0])
    assert "stroke-dasharray" in draw_atoms(salt)


def test_molecules_of_a_crystal_are_drawn_whole():
    water = molecule("H2O", cell=[4.0, 4.0, 4.0], pbc=True)
    water.positions += [0.2, 0.2, 3.9]
    water.wrap()
    assert max(water.get_distances(0, [1, 2])) > 3
    whole = with_images(folded(water))
    assert len(whole) == 3 and max(whole.get_distances(0, [1, 2])) < 1
    inside = whole.positions.mean(axis=0) / 4.0
    assert (inside > -0.01).all() and (inside < 1).all()


def test_pictures():
    assert draw_smiles("c1ccccc1").startswith("<svg") and draw_smiles("not a molecule") == ""
    assert draw_atoms(Atoms()) == "" and draw_atoms(Atoms("H")).count("<circle") == 1
    salt = draw_atoms(bulk("NaCl", "rocksalt", a=5.6, cubic=True))
    # eight atoms on a cube, and behind each of its six faces two sodiums, without which no chlorine has its six
    assert salt.count("<circle") == 8 + 6 * 2 and salt.count("<line") >= 4 * 6
    assert all(histogram(values, "strain", "kcal/mol") == "" for values in ([], [1.5], [1.5, 1.5], [None, 2.0]))
    assert histogram([9.0, 9.0], "heavy atoms", "", whole=True) == ""
    assert scatter([(1.0, 2.0)], "density", "energy") == "" and "<svg" in scatter([(1.0, 2.0), (2.0, 3.0)], "a", "b")
    assert histogram([1.0, 2.0], "strain", "") == histogram([1.0, 2.0], "strain", "")
    assert "larger" in histogram([1.0] * 50 + [900.0], "strain", "kcal/mol")
    assert "larger" not in histogram([0.0] * 50 + [1.0], "rings", "")
    energies = histogram([-400.0 + k for k in range(40)], "energy", "eV")
    assert "larger" not in energies and energies.count("<path") > 5


def test_large_energies_keep_their_last_digits():
    table = [{"name": "energy", "value": -4759.1234, "unit": "eV"}, {"name": "spacing", "value": 13.8123, "unit": "A"}]
    text = str(readable(table, {"seconds": {}, "candidates": 1}))
    assert "-4759.123 eV" in text and "13.8 A" in text
