"""Teachers: their numbers against independent ones, what they refuse, and that no failure is lost."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.tersoff import Tersoff, TersoffParameters
from ase.data import chemical_symbols
from ase.io import read, write
from ase.stress import full_3x3_to_voigt_6_stress

from gendesign.errors import UserError
from gendesign.train import label_files
from gendesign.train.teacher import Teacher, label, make_teacher
from gendesign.train.teachers.classical import Emt, LennardJones, ManyBody
from gendesign.train.teachers.dft import Espresso, Gpaw, kpoints, moments
from gendesign.train.teachers.learned import Learned
from gendesign.train.teachers.semiempirical import Pm6, Tblite, repetitions

SILICON = TersoffParameters(  # Tersoff, Phys. Rev. B 39, 5566 (1989), table I
    m=3.0, gamma=1.0, lambda3=0.0, c=1.0039e5, d=16.217, h=-0.59825, n=0.78734, beta=1.1e-6,
    lambda2=1.7322, B=471.18, R=2.85, D=0.15, lambda1=2.4799, A=1830.8,
)  # fmt: skip


def crystal(name: str, seed: int = 1, **cell) -> Atoms:
    atoms = bulk(name, cubic=True, **cell)
    atoms.rattle(0.05, seed=seed)
    return atoms


def stress_by_differences(teacher: Teacher, atoms: Atoms, axes: tuple[int, int], step: float) -> float:
    energies = []
    for sign in (1, -1):
        strain = np.eye(3)
        strain[axes] += sign * step / 2
        strain[axes[::-1]] += sign * step / 2
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        energies.append(label(teacher, strained).info["energy"])
    return (energies[0] - energies[1]) / (2 * step * atoms.get_volume())


def test_emt_is_that_of_ase():
    atoms = crystal("Cu")
    found = label(Emt(), atoms)
    atoms.calc = EMT()
    assert found.info["energy"] == atoms.get_potential_energy() and found.info["teacher"] == "EMT()"
    np.testing.assert_array_equal(found.arrays["forces"], atoms.get_forces())
    np.testing.assert_array_equal(found.info["stress"], atoms.get_stress())


def test_tersoff_agrees_with_the_other_implementation():
    atoms = crystal("Si")
    found = label(ManyBody(), atoms)
    atoms.calc = Tersoff({("Si", "Si", "Si"): SILICON})
    assert found.info["energy"] == pytest.approx(atoms.get_potential_energy(), abs=2e-3)
    np.testing.assert_allclose(found.arrays["forces"], atoms.get_forces(), atol=2e-3)


def test_stillinger_weber_binds_silicon():
    """-4.3366 eV per atom in diamond at 5.431 Angstrom: what the parameters were scaled to (2 epsilon = 4.3366)."""
    silicon = ManyBody(form="Stillinger-Weber", parameters="Stillinger_Weber_PRB_31_5262_Si")
    assert label(silicon, bulk("Si", a=5.431)).info["energy"] / 2 == pytest.approx(-4.3366, abs=1e-4)


@pytest.mark.parametrize(
    ("teacher", "atoms"),
    [
        (Emt(), crystal("Cu")),
        (LennardJones(cutoff=7.0), crystal("Ar", a=5.3, crystalstructure="fcc")),
        (ManyBody(), crystal("Si")),
    ],
)
def test_stress_is_the_strain_derivative(teacher, atoms):
    stress = label(teacher, atoms).info["stress"]
    for k, axes in ((0, (0, 0)), (3, (1, 2))):
        assert stress[k] == pytest.approx(stress_by_differences(teacher, atoms, axes, 1e-4), rel=1e-3, abs=1e-6)


def test_lennard_jones_pair():
    pair = Atoms("Ar2", [[0, 0, 0], [0, 0, 3.4 * 2 ** (1 / 6)]])
    found = label(LennardJones(cutoff=20.0), pair)
    assert found.info["energy"] == pytest.approx(-0.0104, abs=1e-9) and "stress" not in found.info
    np.testing.assert_allclose(found.arrays["forces"], 0, atol=1e-9)


def test_gfn1_has_the_documented_energy():
    """-156.9675057724589 eV for ASE's water, from tblite's documentation."""
    assert label(Tblite(method="GFN1-xTB"), molecule("H2O")).info["energy"] == pytest.approx(-156.967506, abs=1e-4)


def test_xtb_repeats_crystals():
    """Cells are repeated because tblite knows the Gamma point only; the label is that of the cell given."""
    atoms = Atoms("He", cell=[3.0, 3.0, 3.0], pbc=True)
    assert repetitions(atoms, 6.0) == (2, 2, 2) and repetitions(atoms, 6.1) == (3, 3, 3)
    assert repetitions(bulk("Si"), 6.2) == (2, 2, 2)
    small, repeated = Tblite(method="GFN1-xTB", supercell=5.0), Tblite(method="GFN1-xTB", supercell=1.0)
    one, eight = label(small, atoms), label(repeated, atoms.repeat(2))
    assert 8 * one.info["energy"] == pytest.approx(eight.info["energy"], abs=1e-6)
    assert one.arrays["forces"].shape == (1, 3)
    np.testing.assert_allclose(one.info["stress"], eight.info["stress"], atol=1e-8)


def test_gfn2_takes_molecular_crystals_only():
    ice = molecule("H2O", cell=[4.0, 4.0, 4.0], pbc=True)
    assert Tblite().refuse(ice) == Tblite().refuse(molecule("H2O")) == ""
    for solid in (bulk("NaCl", "rocksalt", 5.64), bulk("Si"), bulk("Cu")):
        assert "choose teacher=gfn1" in Tblite().refuse(solid) and not Tblite(method="GFN1-xTB").refuse(solid)
    slab = molecule("H2O", cell=[4.0, 4.0, 9.0], pbc=(True, True, False))
    assert "some directions only" in Tblite().refuse(slab) and "molecules only" in Pm6().refuse(slab)


def test_siblings_of_pm6():
    methyl = label(Pm6(method="AM1", open_shell=True), molecule("CH3"))
    assert methyl.info["multiplicity"] == 2 and methyl.info["teacher"] == "AM1(open_shell=True)"
    Pm6().check(frozenset({"H", "Si", "Fe"}))
    with pytest.raises(UserError, match="DFTB3 does not know Fe, Si"):
        Pm6(method="DFTB3").check(frozenset({"H", "Si", "Fe"}))


def test_a_potential_teaches():
    teacher = Learned(potential="organic", device="cpu")
    teacher.check(frozenset("CHO"))
    with pytest.raises(UserError, match="does not know Fe"):
        teacher.check(frozenset({"Fe"}))
    boxed = molecule("CH3OH", cell=[6.0, 6.0, 6.0], pbc=True)
    for atoms in (molecule("CH3OH"), boxed):
        found, same = label(teacher, atoms), teacher.loaded.evaluate([atoms], stress=bool(atoms.pbc.all()))
        assert found.info["energy"] == pytest.approx(float(same.energy), abs=1e-9)
        np.testing.assert_allclose(found.arrays["forces"], same.forces.numpy(), atol=1e-9)
    np.testing.assert_allclose(found.info["stress"], full_3x3_to_voigt_6_stress(same.stress[0].numpy()), atol=1e-9)
    assert teacher.loaded.weights_hash[:16] in found.info["teacher"]


class Wrong(Teacher):
    """Answers with what it was made with."""

    def attempts(self, atoms, scratch):
        class Made(Calculator):
            implemented_properties = ("energy", "forces")

            def calculate(self, atoms=None, properties=(), system_changes=()):
                x = float(atoms.positions[0, 0])
                if x == 3:
                    raise ValueError("two\nlines")
                energy = {0: np.nan, 1: -1e9}.get(x, -1.0)
                self.results = {"energy": energy, "forces": np.full((len(atoms), 3), np.inf if x == 2 else 0.0)}

        yield Made(), {}


def test_absurd_answers_are_failures():
    reasons = [label(Wrong(), Atoms("H", [[x, 0, 0]])).info.get("failure") for x in range(5)]
    assert reasons == [
        "Wrong: the answer is not finite",
        "Wrong: energy of -1e+09 eV for 1 atoms",
        "Wrong: the answer is not finite",
        "Wrong: no energy (two lines)",
        None,
    ]


def test_crystals_keep_cell_and_stress(tmp_path, capsys):
    crushed = bulk("Cu", cubic=True, a=1.0)
    crushed.rattle(0.05, seed=3)
    write(tmp_path / "cu.extxyz", [crystal("Cu"), crushed])
    (tmp_path / "out").mkdir()
    settings = {"_target_": "gendesign.train.teachers.classical.Emt"}
    counts = label_files([tmp_path / "cu.extxyz"], tmp_path / "out", teacher=settings, workers=1)
    assert counts == {"structures": 2, "labelled": 1, "failed": 1}
    (found,) = read(tmp_path / "out" / "labels.extxyz", ":")
    np.testing.assert_allclose(found.get_stress(), label(Emt(), read(tmp_path / "cu.extxyz", 0)).info["stress"])
    assert found.pbc.all() and found.info["teacher"] == "EMT()"
    (failure,) = csv.DictReader((tmp_path / "out" / "failures.csv").read_text().splitlines())
    assert "structures have no label: structure" in capsys.readouterr().err
    assert failure["index"] == "1" and failure["formula"] == "Cu4" and "eV/Angstrom" in failure["reason"]
    with pytest.raises(UserError, match=r"holds labels of EMT\(\), not of Lennard-Jones"):
        label_files([tmp_path / "cu.extxyz"], tmp_path / "out", teacher=LennardJones(), workers=1)


def test_missing_programs_are_said_before_anything_is_done(tmp_path):
    (tmp_path / "Si.a.UPF").touch()
    (tmp_path / "Si.b.UPF").touch()
    with pytest.raises(UserError, match="apt install gpaw gpaw-data"):
        Gpaw(command="no-such-python").check(frozenset({"Si"}))
    with pytest.raises(UserError, match="apt install quantum-espresso"):
        Espresso(command="no-such-pw.x").check(frozenset({"Si"}))
    program, folder = sys.executable, str(tmp_path)
    for teacher, said in (
        (Espresso(command=program, pseudopotentials=folder), r"holds 2 pseudopotentials \(Si.a.UPF, Si.b.UPF\) of Si"),
        (Espresso(command=program, pseudopotentials=folder, files=["Si.c.UPF"]), "lacks Si.c.UPF for Si"),
        (Espresso(command=program, pseudopotentials=folder, files=["C.UPF"]), "names no pseudopotential of Si"),
    ):
        with pytest.raises(UserError, match=said):
            teacher.check(frozenset({"Si"}))
    Espresso(command=program, pseudopotentials=folder, files=["Si.a.UPF"]).check(frozenset({"Si"}))


def test_plane_waves():
    silicon = bulk("Si", a=5.43)  # heights of 3.135 Angstrom, reciprocal vectors of 2.004 / Angstrom
    assert kpoints(silicon, 4.0) == (9, 9, 9)
    molecule_in_box = Gpaw().prepare(molecule("O2"))
    assert kpoints(molecule_in_box, 4.0) == (1, 1, 1) and molecule_in_box.cell.rank == 3
    np.testing.assert_allclose(moments(molecule("O2"), 2), [1, 1])
    np.testing.assert_allclose(moments(Atoms("Fe"), None), [4])
    np.testing.assert_allclose(moments(Atoms("Fe", magmoms=[2.3]), None), [2.3])
    assert Gpaw(cores=4).workers(16) == 4 and Gpaw(cores=4).workers(2) == 1


def test_a_program_that_fails_is_a_failure(tmp_path):
    (tmp_path / "pw.x").write_text(
        '#!/bin/sh\necho "%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%"\necho "  too few bands"\n'
        'echo "%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%"\nexit 1\n'
    )
    (tmp_path / "pw.x").chmod(0o755)
    (tmp_path / "H.UPF").touch()
    teacher = Espresso(command=str(tmp_path / "pw.x"), pseudopotentials=str(tmp_path))
    found = label(teacher, molecule("H2"), scratch=tmp_path / "scratch")
    assert found.info["failure"] == "Quantum ESPRESSO: no energy (too few bands)"
    assert not list((tmp_path / "scratch").iterdir())


def test_settings_make_teachers():
    import yaml

    for path in sorted((Path(__file__).parents[2] / "conf" / "teacher").glob("*.yaml")):
        teacher = make_teacher(yaml.safe_load(path.read_text()))
        assert hash(teacher)
        known = None if isinstance(teacher, Pm6) else teacher.elements()
        assert known is None or known <= set(chemical_symbols)
    for wrong in ({"method": "GFN3"}, {"electronic_temperature": 0.0}):
        with pytest.raises(UserError, match=r"teacher\."):
            Tblite(**wrong)
