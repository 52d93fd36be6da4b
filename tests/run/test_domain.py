"""Every verb compares structures with the domain of its potential: refusal, warning, or neither."""

import json

import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from ase.spacegroup import crystal

from gendesign import cli

MOLECULES = {"kinds": ["molecules"], "about": "molecules", "excluded": ["cells"]}
CRYSTALS = {"kinds": ["crystals"], "about": "crystals", "excluded": ["molecules"]}


@pytest.fixture(scope="module")
def potentials(tmp_path_factory):
    import torch

    from gendesign.potential import mace, save_folder

    torch.manual_seed(0)
    energies = {1: -1.0, 6: -2.0, 7: -2.5, 8: -3.0}
    net = mace.from_plain(mace.new_mace(atomic_energies=energies, cutoff=3.0, channels=4, radial_mlp=(8,), readout=4))
    folders = {name: tmp_path_factory.mktemp(name) for name in ("molecules", "crystals")}
    for name, domain in (("molecules", MOLECULES), ("crystals", CRYSTALS)):
        save_folder(net, folders[name], name=name, licence="MIT", citation="none", domain=domain)
    return folders


def dry_ice() -> Atoms:
    """Carbon dioxide's cubic crystal, with an edge of 4.6 Angstrom: under pressure, its molecules are neighbours."""
    return crystal(("C", "O"), [(0, 0, 0), (0.145, 0.145, 0.145)], spacegroup=205, cellpar=[4.6] * 3 + [90] * 3)


def boxed() -> Atoms:
    atoms = molecule("H2O")
    atoms.set_cell([15.0] * 3)
    atoms.pbc = True
    return atoms


@pytest.fixture
def run(potentials, tmp_path, capfd):
    """Runs a verb on structures; (status, lines on stderr that come from us, content of summary.json or None)."""

    def act(verb, structures, potential, *words):
        files = [str(tmp_path / "given.extxyz")] if structures else []
        if structures:
            write(files[0], structures)
        output = tmp_path / "out"
        status = cli.main(
            [verb, *files, *words, f"potential={potentials[potential]}", "device=cpu", f"output={output}"]
        )
        lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("gendesign: ")]
        lines = [line for line in lines if "a molecule in a periodic box" not in line]  # said while reading
        summary = output / "summary.json"
        return status, lines, json.loads(summary.read_text()) if summary.is_file() else None

    return act


STEPS = "relaxation.max_steps=1"


def test_cells_are_not_relaxed_under_a_potential_for_molecules(run, tmp_path):
    status, (line,), _ = run("relax", [dry_ice()], "molecules", STEPS, "relaxation.cell=true")
    assert status == 2 and not (tmp_path / "out").exists()
    assert "crystals whose cells are relaxed (1 of 1 structures): its card excludes that" in line
    assert "potential=mace-mp-medium-mpa-0 fits" in line and line.endswith("outside_domain=warn uses it anyway")
    status, (line,), summary = run(
        "relax", [dry_ice()], "molecules", STEPS, "relaxation.cell=true", "outside_domain=warn"
    )
    assert status == 0 and line == f"gendesign: warning: {summary['warnings'][0]}" and len(summary["warnings"]) == 1


@pytest.mark.parametrize("verb", ["relax", "screen"])
def test_packed_molecules_at_fixed_cell_are_warned_of_once(run, verb):
    words = [STEPS] if verb == "relax" else ["screening=quick"]
    status, (line,), summary = run(
        verb, [dry_ice(), dry_ice(), boxed(), molecule("H2O")], "molecules", *words, "shard_size=1"
    )
    assert status == 0 and "given are crystals (2 of 4 structures)" in line
    assert summary["warnings"] == [line.removeprefix("gendesign: warning: ")]


def test_a_molecule_in_vacuum_is_a_molecule(run):
    status, lines, summary = run("relax", [boxed()], "molecules", STEPS, "relaxation.cell=true")
    assert (status, lines, summary["warnings"]) == (0, [], [])


def test_what_is_excluded_fails_beside_what_is_not(run, tmp_path):
    status, (line,), summary = run("relax", [dry_ice(), molecule("H2O")], "crystals", STEPS)
    assert status == 0 and "given are molecules (1 of 2 structures)" in line and "they are left out" in line
    first, second = read(tmp_path / "out" / "candidates.extxyz", ":")
    assert "failure" not in first.info and "molecules" in second.info["failure"] and summary["warnings"]


def test_generators_are_compared_before_they_start(run, tmp_path):
    quick = ["n=1", "screening=null", STEPS, "generator.steps=2", "generator.particles=1", "generator.families=1"]
    status, (line,), _ = run("generate", [], "crystals", *quick)
    assert status == 2 and "generator simgen makes molecules" in line and "potential=organic fits" in line
    status, (line,), _ = run("train", [], "crystals", "generator=agent", "generator.formula=CH4O")
    assert status == 2 and "generator agent makes molecules" in line and not (tmp_path / "out").exists()


def test_labels_and_validation_warn(potentials, tmp_path, capfd):
    write(tmp_path / "given.extxyz", [dry_ice(), molecule("H2O")])
    teacher = ["teacher=potential", f"teacher.potential={potentials['molecules']}", "teacher.device=cpu", "workers=1"]
    out = tmp_path / "labels"
    assert cli.main(["label", str(tmp_path / "given.extxyz"), *teacher, f"output={out}"]) == 0
    (line,) = [text for text in capfd.readouterr().err.splitlines() if text.startswith("gendesign: ")]
    assert "given are crystals (1 of 2 structures)" in line
    assert json.loads((out / "summary.json").read_text())["warnings"] == [line.removeprefix("gendesign: warning: ")]
    out = tmp_path / "validated"
    words = [str(potentials["crystals"]), "tests=[dimers]", "teacher=null", "device=cpu", f"output={out}"]
    assert cli.main(["validate", *words]) == 0
    (line,) = [text for text in capfd.readouterr().err.splitlines() if text.startswith("gendesign: ")]
    about = json.loads((out / "validation.json").read_text())["about"]
    assert "given are molecules" in line and about["warnings"] == [line.removeprefix("gendesign: warning: ")]


def test_ignored(run):
    status, lines, summary = run(
        "relax", [dry_ice()], "molecules", STEPS, "relaxation.cell=true", "outside_domain=ignore"
    )
    assert (status, lines, summary["warnings"]) == (0, [], [])
