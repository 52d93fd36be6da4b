"""gendesign validate and gendesign benchmark potentials, from files to the card."""

import json
import re

import pytest
import tiny
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gendesign import cli
from gendesign.potential import save_folder
from gendesign.validation.case import Case
from gendesign.validation.settings import ValidationSettings
from gendesign.validation.suite import rows_of, validate

QUICK = ["molecules=1", "time=0.005", "drift_time=0.005", "device=cpu"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny potential as a folder, and molecules that it labelled itself, one class of them wrongly."""
    folder = tmp_path_factory.mktemp("validate")
    potential = tiny.potential()
    save_folder(potential.net, folder / "model", name="tiny", licence="MIT", citation="none")
    frames = []
    for kind, wrong in (("relaxed", 0.0), ("md300", 0.3)):
        for name in ("H2O", "CH4", "CH3OH"):
            atoms = tiny.rattled(name)
            found = potential.evaluate([atoms])
            label = {"energy": float(found.energy[0]) + wrong, "forces": found.forces.numpy()}
            atoms.calc = SinglePointCalculator(atoms, **label)
            atoms.info.update(kind=kind, molecule=name)
            frames.append(atoms)
    write(folder / "labels.extxyz", frames)
    return folder


def test_validate_goes_on_where_it_stopped(place, capsys):
    output = place / "out"
    words = ["validate", str(place / "model"), str(place / "labels.extxyz"), f"output={output}", *QUICK,
             "tests=[errors,softening,stability]"]  # fmt: skip
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "force MAE, relaxed" in shown and "card.html" in shown
    content = json.loads((output / "validation.json").read_text())
    rows = {row["name"]: row for row in content["rows"]}
    assert rows["force MAE, md300"]["value"] < 1e-3 and rows["force MAE, combined"]["n"] == 6
    assert rows["energy MAE, md300"]["value"] == pytest.approx(1000 * (0.3 / 3 + 0.3 / 5 + 0.3 / 6) / 3, rel=1e-4)
    assert rows["exploded, 1000 K, 0.005 ps"]["n"] == 1 and content["about"]["teacher"] == "GFN2-xTB"
    page = (output / "card.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and not re.search(r"(src|href)=.https?:", page)
    before = (output / "parts" / "stability.json").stat().st_mtime_ns
    (output / "parts" / "errors.json").unlink()  # as after a kill
    (output / "card.html").unlink()
    assert cli.main(words) == 0
    assert (output / "parts" / "stability.json").stat().st_mtime_ns == before and (output / "card.html").is_file()
    assert cli.main([*words, "seed=3"]) == 2
    assert "seed was 0, now 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "validate needs POTENTIAL [FILE ...]"),
        (["nothing"], "potential='nothing' is neither a file nor a known name"),
        (["MODEL", "missing.extxyz"], "missing.extxyz does not exist"),
        (["MODEL", "LABELS", "tests=[magic]"], "tests=magic: allowed are errors"),
        (["MODEL", "LABELS", "tests=[phonons]"], "tests=phonons needs what is missing"),
        (["MODEL", "LABELS", "molecules=0"], "molecules=0: give a whole number of 1 or more"),
        (["MODEL", "LABELS", "time=0"], "time=0.0: give a number above 0"),
        (["MODEL", "LABELS", "teacher=magic"], "teacher=magic is unknown; allowed: "),
        (["MODEL", "LABELS", "teacher=emt"], "EMT does not know"),
        (["MODEL", "METAL"], "does not know Cu"),
        (["MODEL", "SLAB"], "periodic in 1 or 2 of 3 directions"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(place, tmp_path, capfd, words, said):
    write(tmp_path / "metal.extxyz", bulk("Cu"))
    write(tmp_path / "slab.extxyz", Atoms("C", cell=[3, 3, 9], pbc=(True, True, False)))
    named = {"MODEL": place / "model", "LABELS": place / "labels.extxyz", "METAL": tmp_path / "metal.extxyz",
             "SLAB": tmp_path / "slab.extxyz"}  # fmt: skip
    words = [str(named.get(word, word)) for word in words]
    assert cli.main(["validate", *words, f"output={tmp_path / 'out'}", *([] if not words else QUICK[3:])]) == 2
    error = capfd.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("gendesign: ")]
    assert said in error and len(lines) == 1
    assert not (tmp_path / "out").exists()


def test_benchmark_writes_rows_with_targets(place, capsys):
    words = ["benchmark", "potentials", f"potential={place / 'model'}", f"output={place / 'bench'}", "device=cpu",
             f"record={place / 'record'}", "dtype=float64", f"potentials.test=[{place / 'lab*.extxyz'}]",
             "potentials.molecules=1", "potentials.vibrations=1", "potentials.torsions=1"]  # fmt: skip
    from gendesign.benchmark import potentials

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(potentials, "TESTS", ("errors",))
        assert cli.main(words) == 0
    rows = {row["name"]: row for row in json.loads((place / "record" / "potentials.json").read_text())}
    assert set(potentials.TARGETS) <= set(rows)
    assert rows["force MAE, combined"]["target"] == "<= 60" and rows["force MAE, combined"]["value"] < 1e-3
    assert rows["force MAE, fragment"]["value"] is None and rows["torsion barriers MAE"]["unit"] == "kcal/mol"
    page = (place / "bench" / "potentials" / "card.html").read_text()
    assert "1 of 2 targets met" in " ".join(page.split())
    capsys.readouterr()
    assert cli.main([*words[:-4], "potentials.test=[nowhere/*.xyz]"]) == 2
    assert "potentials.test=nowhere/*.xyz matches no file" in capsys.readouterr().err


def test_without_files_the_package_brings_molecules_and_the_teacher_labels():
    case = Case(tiny.potential(), [], ValidationSettings(molecules=2))
    assert len(case.initial_molecules) == 2 and case.elements == ["H", "C", "N", "O"] and not case.crystals
    settings = ValidationSettings(tests=("errors", "softening"), molecules=1)
    found = validate(tiny.potential(), [molecule("H2O")], settings, molecular=lambda atoms: EMT())
    names = [row.name for row in rows_of(found)["errors"]]
    assert "force MAE, minima" in names and "force MAE, displaced 0.12 A" in names
