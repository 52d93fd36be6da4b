"""gendesign distil and export lammps; what needs LAMMPS is skipped where it is not installed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write

from gendesign import packages
from gendesign.cli import main
from gendesign.distil.copies import held_out, with_copies
from gendesign.distil.distilling import distil
from gendesign.distil.labels import boxed, labels, shortest
from gendesign.distil.settings import Distillation
from gendesign.distil.student import evaluate, run_script
from gendesign.errors import UserError
from gendesign.lammps.locate import INSTALL, LAMMPS
from gendesign.lammps.pair import pair_commands, pair_elements
from gendesign.potential.engines.custom import AsePotential

INSTALLED = pytest.mark.skipif(packages.installed_version(LAMMPS) is None, reason=f"not installed: {INSTALL}")


def emt() -> AsePotential:
    potential = AsePotential(EMT(), torch.float64)
    potential.name, potential.elements, potential.cutoff = "emt", ("Cu", "Ag"), 6.0
    return potential


def crystals() -> list[Atoms]:
    """Copper, silver and an ordered alloy, eight atoms and fewer."""
    alloy = bulk("Cu", "fcc", a=3.8, cubic=True)
    alloy.symbols[:2] = "Ag"
    return [bulk("Cu", cubic=True), bulk("Ag", cubic=True), alloy, bulk("Cu", "bcc", a=2.9, cubic=True),
            bulk("Ag", "hcp", a=2.9, c=4.7)]  # fmt: skip


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A student of EMT, once."""
    if packages.installed_version(LAMMPS) is None:
        pytest.skip(f"not installed: {INSTALL}")
    folder = tmp_path_factory.mktemp("student")
    settings = Distillation(size="small", copies=6, test_share=0.2, cutoff=5.5)
    return folder, distil(emt(), crystals(), folder, settings)


def test_copies_belong_to_their_original():
    groups = with_copies(crystals(), 3, 0.05, 0.1, seed=0)
    again = with_copies(crystals(), 3, 0.05, 0.1, seed=0)
    assert [number for number, _ in groups] == [k for k in range(5) for _ in range(4)]
    assert all(np.array_equal(a.positions, b.positions) for (_, a), (_, b) in zip(groups, again, strict=True))
    strains = [np.linalg.solve(crystals()[k].cell.array, a.cell.array) - np.eye(3) for k, a in groups]
    assert 0.01 < max(np.abs(strain).max() for strain in strains) <= 0.05
    held = held_out([number for number, _ in groups], 0.4, seed=0)
    assert len(held) == 2 and held < set(range(5))
    assert len(held_out([0, 0, 1], 0.9, seed=0)) == 1


def test_what_is_left_out_is_counted():
    close = Atoms("Cu2", [[0, 0, 0], [0, 0, 1.0]])
    strong = Atoms("Cu2", [[0, 0, 0], [0, 0, 1.4]])
    rows, reasons = labels(emt(), [(0, close), (1, strong), (2, bulk("Cu", cubic=True))], 5.0, 1.3, 5.0)
    assert [row.original for row in rows] == [2]
    assert reasons == {"a pair closer than 1.3 Angstrom": 1, "a force beyond 5 eV/Angstrom": 1}


def test_a_molecule_gets_a_box_without_images_in_reach():
    box = boxed(molecule("H2O"), 5.0)
    assert box.pbc.all() and len(box) == 3
    assert shortest(box, 1.2) == pytest.approx(0.969, abs=0.01)
    assert (box.cell.lengths() - np.ptp(box.positions, axis=0) > 5.0).all()


def test_settings_out_of_bounds():
    with pytest.raises(UserError, match=r"repulsion=\[1.3,0.8\]: give two distances"):
        Distillation(repulsion=(1.3, 0.8))
    with pytest.raises(UserError, match="size=huge: allowed are small, medium, large"):
        Distillation(size="huge")


def test_a_folder_without_commands(tmp_path):
    with pytest.raises(UserError, match=r"holds no pair.in; give the folder"):
        pair_elements(tmp_path)
    (tmp_path / "pair.in").write_text("pair_style sw\n")
    with pytest.raises(UserError, match="the first line must name the elements"):
        pair_elements(tmp_path)
    (tmp_path / "pair.in").write_text("# elements: Si\n# note\npair_style sw\npair_coeff * * $HERE/Si.sw Si\n")
    assert pair_elements(tmp_path) == ["Si"]
    assert pair_commands(tmp_path, here=".") == ["pair_style sw", "pair_coeff * * ./Si.sw Si"]


def test_without_lammps_the_command_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(packages.VARIABLE, str(tmp_path / "none"))
    write(tmp_path / "cu.extxyz", crystals())
    assert main(["distil", str(tmp_path / "cu.extxyz"), f"output={tmp_path / 'out'}", "device=cpu"]) == 2
    assert "LAMMPS is not installed; install it" in capsys.readouterr().err
    assert main(["export", "gromacs"]) == 2
    assert "export gromacs: give one of lammps" in capsys.readouterr().err


def test_the_student_learns_its_potential(student):
    """EMT forces of these crystals are 1 eV/Angstrom; a small POD fits them to a tenth of that."""
    folder, results = student
    assert results["train"]["force_rmse"] < 0.1 * results["train"]["force_rms"]
    assert results["train"]["energy_rmse_mev_atom"] < 20 and results["test"]["n"] > 0
    assert 0.1 < results["speed"]["student_us"] < 1e5 and results["speed"]["potential_us"] > 0.1
    assert json.loads((folder / "results.json").read_text())["elements"] == ["Ag", "Cu"]
    assert "| held out |" in (folder / "card.md").read_text()


def test_a_structure_of_one_element_has_its_energy(student):
    """pair_style pod takes types for its elements in their order, whatever pair_coeff says."""
    folder, _ = student
    copper, silver = bulk("Cu", cubic=True), bulk("Ag", cubic=True)
    energies, _ = evaluate(folder, [copper, silver])
    expected = emt().evaluate([copper, silver]).energy.numpy()
    assert np.abs(energies - expected).max() / 4 < 0.1


def test_forces_of_the_student_are_its_slope_in_any_cell(student):
    """Against central differences, in a skewed cell that LAMMPS turns."""
    folder, _ = student
    atoms = bulk("Cu", "fcc", a=3.7) * 2
    atoms.symbols[0] = "Ag"
    atoms.set_cell(atoms.cell.array + 0.1 * np.random.default_rng(0).normal(size=(3, 3)), scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    moved, step = [atoms], 1e-3
    for axis in range(3):
        for sign in (1, -1):
            copy = atoms.copy()
            copy.positions[3, axis] += sign * step
            moved.append(copy)
    energies, forces = evaluate(folder, moved)
    slope = -(energies[1::2] - energies[2::2]) / (2 * step)
    assert np.abs(slope - forces[0][3]).max() < 1e-4 and np.abs(forces[0][3]).max() > 0.05


def test_atoms_do_not_fall_into_each_other(student):
    folder, _ = student
    pairs = [boxed(Atoms("CuAg", [[0, 0, 0], [0, 0, d]]), 6.0) for d in (0.4, 0.6, 0.8)]
    energies, _ = evaluate(folder, pairs)
    assert (np.diff(energies) < 0).all() and energies[0] > 1000


def test_elements_that_the_student_lacks(student):
    with pytest.raises(UserError, match="has Au; the potential has Ag Cu"):
        evaluate(student[0], [bulk("Au", cubic=True)])


def test_the_deck_of_a_student_runs(student, tmp_path, capsys):
    write(tmp_path / "alloy.extxyz", crystals()[2])
    out = tmp_path / "deck"
    words = ["export", "lammps", f"potential={student[0]}", f"structure={tmp_path / 'alloy.extxyz'}", f"output={out}"]
    assert main([*words, "steps=20", "atoms=30"]) == 0
    assert "32 atoms" in capsys.readouterr().out
    text = run_script((out / "in.student").read_text(), out)
    assert "Loop time" in text and (out / "end.data").is_file()


@INSTALLED
def test_an_error_of_lammps_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"LAMMPS failed in .*Unknown command: nonsense") as error:
        run_script("nonsense\n", Path(tmp_path))
    assert "\n" not in str(error.value)


@INSTALLED
def test_the_command(tmp_path, monkeypatch, capsys):
    (tmp_path / "emtmodel.py").write_text(
        "from ase.calculators.emt import EMT\n\ndef copper():\n    return EMT()\n\n"
        "copper.elements, copper.cutoff = ['Cu', 'Ag'], 6.0\n"
    )
    monkeypatch.chdir(tmp_path)
    write("given.extxyz", crystals())
    words = ["distil", "given.extxyz", "potential=emtmodel.py:copper", "copies=2", "size=small", "cutoff=5"]
    assert main([*words, "output=out", "device=cpu"]) == 0
    text = capsys.readouterr().out
    assert "held out" in text and "times as fast" in text and Path("out/pair.in").is_file()
