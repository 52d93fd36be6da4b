"""explorer.html: what chemiscope gets to draw; how it looks in a browser is tested in test_report_browser.py."""

import json
import re

import chains as toy
import chemiscope
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from gendesign.run import explorer
from gendesign.run.explorer import dataset, explorable, explorer_page, installed
from gendesign.run.properties import check_name, number_text, properties_of, typeset
from gendesign.run.sections import by_candidate, sections
from gendesign.run.unit_cell import bonds_across_cells
from gendesign.structure.types import Candidate, Verdict


def forced(atoms: Atoms) -> Atoms:
    """The atoms with an energy and forces of 0.5 eV/Angstrom along x."""
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.tile([0.5, 0.0, 0.0], (len(atoms), 1)))
    return atoms


def test_the_dataset_is_one_that_chemiscope_makes():
    candidates = [Candidate(forced(molecule("CH3OH")), 3), Candidate(forced(molecule("H2O")), 8)]
    verdicts = [Verdict(3, "strain_pm6", None, 1.25, "kcal/mol"), Verdict(8, "strain_pm6", None, 2.5, "kcal/mol")]
    content = dataset("name", candidates, properties_of(candidates, by_candidate(verdicts), {3: "A", 8: "B"}))
    properties = content["properties"]
    assert properties["strain energy, PM6"] == {"target": "structure", "values": [1.25, 2.5], "units": "kcal/mol"}
    assert properties["candidate"]["values"] == [3, 8] and properties["result"]["values"] == ["A", "B"]
    assert set(properties["force on the atom"]["values"]) == {0.5}
    made = chemiscope.create_input(
        content["structures"],
        metadata=content["meta"],
        properties=properties,
        settings=content["settings"],
        environments=[(e["structure"], e["center"], e["cutoff"]) for e in content["environments"]],
    )
    assert json.loads(json.dumps(made)) == json.loads(json.dumps(content))
    positions = np.array([content["structures"][0][axis] for axis in "xyz"]).T
    original = Atoms("CH3OH", molecule("CH3OH").positions)
    assert Atoms("CH3OH", positions).get_all_distances() == pytest.approx(original.get_all_distances(), abs=1e-3)


def test_a_turned_molecule_keeps_its_handedness():
    atoms = Atoms("CHFClBr", [[0, 0, 0], [1, 0.1, 0], [-0.5, 1.2, 0.1], [-0.6, -0.7, 1.5], [-0.6, -0.8, -1.7]])
    content = dataset("", [Candidate(atoms, 0)], properties_of([Candidate(atoms, 0)], {}, {}))
    positions = np.array([content["structures"][0][axis] for axis in "xyz"]).T
    handedness = [np.sign(np.linalg.det(p[1:4] - p[0])) for p in (atoms.positions, positions)]
    assert handedness[0] == handedness[1]


def test_crystals_have_cells_and_bonds_across_them():
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    images, starts, vectors = bonds_across_cells(salt)
    assert len(images) == 12 and set(images.numbers) == {11}
    assert len(starts) == 24 and np.linalg.norm(vectors, axis=1) == pytest.approx(2.8)
    candidates = [Candidate(salt, 0), Candidate(molecule("H2O"), 1)]
    content = dataset("", candidates, properties_of(candidates, {}, {}))
    cell = np.array(content["structures"][0]["cell"]).reshape(3, 3)
    assert np.linalg.norm(cell, axis=1) == pytest.approx(5.6, abs=1e-3) and np.linalg.det(cell) > 0
    assert "cell" not in content["structures"][1]
    sticks, balls = content["shapes"][explorer.BONDS]["shapes"]
    assert [len(one["vectors"]) for one in sticks["parameters"]["structure"]] == [24, 0]
    assert balls["parameters"]["structure"][0]["colors"] == ["#ab5cf2"] * 12
    # of two molecules, one across the face of the cell, nothing is left to draw
    ice = molecule("H2O", cell=[4, 4, 4], pbc=True)
    assert len(bonds_across_cells(ice)[0]) == 0 and not len(bonds_across_cells(ice)[1])


def test_failed_attempts_are_absent_and_large_runs_are_cut(monkeypatch):
    candidates = [Candidate(molecule("H2O"), i, failure="lost" if i == 1 else None) for i in range(6)]
    placed = sections(candidates, [])
    assert [c.index for c in explorable(placed)[0]] == [0, 2, 3, 4, 5] and explorable(placed)[1] == 0
    monkeypatch.setattr(explorer, "MOST_ATOMS", 7)
    assert [c.index for c in explorable(placed)[0]] == [0, 2] and explorable(placed)[1] == 3
    page = explorer_page({"identity": {"verb": "relax"}}, candidates, [])
    assert "2 structures; 3 more did not fit on this page and are in candidates.extxyz; not shown: 1 unfini" in page
    assert explorer_page({"identity": {}}, candidates[1:2], []) is None


def test_values_per_atom_of_few_atoms_only(monkeypatch):
    candidates = [Candidate(forced(molecule("H2O")), 0), Candidate(molecule("CH4"), 1)]
    candidates[1].atoms.set_array("atom_deviation", np.arange(5.0))
    properties = properties_of(candidates, {}, {})
    content = dataset("", candidates, properties)
    assert content["properties"]["atom deviation"]["values"] == [None] * 3 + [0, 1, 2, 3, 4]
    assert content["properties"]["force on the atom"]["values"] == [0.5] * 3 + [None] * 5
    monkeypatch.setattr(explorer, "MOST_COLOURED", 5)
    assert "environments" not in dataset("", candidates, properties)


def test_pages_of_a_run(tmp_path, monkeypatch):
    toy.run_toy(tmp_path / "run")
    page = (tmp_path / "run" / "explorer.html").read_text()
    library = installed()
    assert library is not None and library.version == chemiscope.__version__
    assert f"chemiscope {library.version} (BSD-3-Clause" in page and "Redistribution and use in source" in page
    assert not re.search(r"(src|href)=.http", page.split("<script>")[0]) and len(page) < 4e6
    report = (tmp_path / "run" / "report.html").read_text()
    assert 'href="explorer.html#candidate-0"' in report and 'href="explorer.html#candidate-4"' not in report
    toy.run_toy(tmp_path / "again")
    assert (tmp_path / "again" / "explorer.html").read_text() == page
    monkeypatch.setattr(explorer, "PACKAGE", "no_such_package")
    toy.run_toy(tmp_path / "run")
    assert not (tmp_path / "run" / "explorer.html").exists()
    report = (tmp_path / "run" / "report.html").read_text()
    assert "pip install &#39;chemiscope" in report and 'href="explorer.html' not in report


def test_names_units_and_numbers():
    names = {
        "strain_gfn2": "strain energy, GFN2-xTB", "rmsd_potential": "RMSD on relaxation, potential",
        "sa_score": "synthetic accessibility score", "condition_ring_size": "ring size", "tilt": "tilt",
    }  # fmt: skip
    assert {check: check_name(check) for check in names} == names
    assert typeset("1 eV/Angstrom, 2 Angstrom^3, 3 g/cm3") == "1 eV/Å, 2 Å³, 3 g/cm³"
    texts = [number_text(value) for value in (None, 3.0, 0.12345, -4759.1234, 1.24e-08)]
    assert texts == ["", "3", "0.1235", "-4759.123", "1.24e-08"] and number_text(-123.45678, "eV") == "-123.457"


def test_properties_of_checks():
    candidates = [Candidate(molecule("H2O"), i, info={"energy": -1.0 - i, "converged": True}) for i in range(3)]
    verdicts = [Verdict(i, "posebusters", i != 1) for i in range(3)] + [Verdict(i, "novel", True) for i in range(3)]
    verdicts += [Verdict(0, "converged", True, 0.04, "eV/Angstrom"), Verdict(1, "converged", False, 0.2, "eV/Angstrom")]
    verdicts += [Verdict(i, "sa_score", None, reason="not valid") for i in range(3)]
    found = {one.name: one.values for one in properties_of(candidates, by_candidate(verdicts), {})}
    assert found["PoseBusters"] == ("yes", "no", "yes") and "novel" not in found
    assert found["largest force"] == (0.04, 0.2, None) and found["converged"] == ("yes", "no", "not judged")
    assert found["energy"] == (-1.0, -2.0, -3.0) and "synthetic accessibility score" not in found
