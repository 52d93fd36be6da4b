"""Labels under any name, in any unit: recognised where they are unambiguous, else refused in one line."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from gendesign.errors import UserError
from gendesign.structure.label_files import read_labelled
from gendesign.structure.label_keys import LabelSettings, with_labels
from gendesign.structure.label_units import energy_factor, force_factor, stress_factor
from gendesign.structure.labels import (
    is_isolated,
    isolated_energies,
    labels_of,
    stress_of,
    teacher_of,
)

TROUBLES = Path(__file__).parents[1] / "data" / "troubles"
GOOD = TROUBLES / "t_good.xyz"


def renamed(tmp_path: Path, name: str, source: Path = GOOD, **names: str) -> Path:
    """A file of tests/data/troubles with keys renamed, as text."""
    text = source.read_text()
    for old, new in names.items():
        text = text.replace(f"{old}=", f"{new}=").replace(f":{old}:R:3", f":{new}:R:3")
    file = tmp_path / name
    file.write_text(text)
    return file


def frames_of(file: Path, **labels) -> list[Atoms]:
    return [record.candidate.atoms for record in read_labelled([file], labels)]


def same(frames, wanted=None) -> bool:
    wanted = wanted or ase.io.read(GOOD, ":")
    return all(
        labels_of(a)[0] == pytest.approx(b.get_potential_energy(), abs=1e-6)
        and np.allclose(labels_of(a)[1], b.get_forces(apply_constraint=False), atol=1e-6)
        for a, b in zip(frames, wanted, strict=True)
    )


@pytest.mark.parametrize(
    ("energy", "forces"),
    [
        ("REF_energy", "REF_forces"),
        ("dft_energy", "dft_force"),
        ("energy", "force"),
        ("energy_xtb", "forces_xtb"),
        ("TotEnergy", "Forces"),
    ],
)
def test_usual_names_are_recognised_and_said(tmp_path, capsys, energy, forces):
    file = renamed(tmp_path, "t.xyz", energy=energy, forces=forces)
    assert same(frames_of(file))
    said = capsys.readouterr().err
    assert said == f"gendesign: t.xyz: energy from {energy}, forces from {forces}\n"


def test_plain_names_need_no_words(capsys):
    assert same(frames_of(GOOD))
    assert capsys.readouterr().err == ""


def both(tmp_path: Path, shift: float) -> Path:
    frames = ase.io.read(GOOD, ":5")
    for frame in frames:
        frame.info["REF_energy"] = frame.get_potential_energy() + shift
        frame.info["xtb_energy"] = 1.0
        frame.arrays["REF_forces"] = frame.get_forces() + shift
    ase.io.write(tmp_path / "both.xyz", frames, format="extxyz")
    return tmp_path / "both.xyz"


def test_two_energies_that_differ_are_ambiguous(tmp_path, capsys):
    assert same(frames_of(both(tmp_path, 0.0)), ase.io.read(GOOD, ":5"))
    assert "not used: xtb_energy" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"holds energy and REF_energy, which differ; .*labels.energy=REF_energy"):
        frames_of(both(tmp_path, 1.0))
    frames = frames_of(both(tmp_path, 1.0), energy="REF_energy")  # whose forces are those of the same name
    wanted = ase.io.read(GOOD, ":5")
    assert labels_of(frames[0])[0] == pytest.approx(wanted[0].get_potential_energy() + 1, abs=1e-6)
    assert np.allclose(labels_of(frames[0])[1], wanted[0].get_forces() + 1, atol=1e-6)
    assert "energy from REF_energy, forces from REF_forces" in capsys.readouterr().err


def test_names_that_are_not_there_or_not_labels(tmp_path):
    with pytest.raises(UserError, match=r"labels.energy=E: .* no such number; it holds .*energy \(number\)"):
        frames_of(GOOD, energy="E")
    with pytest.raises(UserError, match=r"labels.energy=forces: t_good.xyz has no such number"):
        frames_of(GOOD, energy="forces")
    with pytest.raises(UserError, match=r"labels.enrgy is unknown"):
        frames_of(GOOD, enrgy="E")
    for name in ("formation_energy", "kinetic_energy", "energy_per_atom", "config_energy_weight"):
        (frame, *_) = frames_of(renamed(tmp_path, "t.xyz", energy=name))
        with pytest.raises(UserError, match="has no energy; label it first"):
            labels_of(frame)
    with pytest.raises(UserError, match=r"energy_hartree looks like Hartree .*labels.energy_unit=Hartree"):
        frames_of(renamed(tmp_path, "t.xyz", energy="energy_hartree"))
    with pytest.raises(UserError, match="pbe_energy and xtb_forces look like two methods"):
        frames_of(renamed(tmp_path, "t.xyz", energy="pbe_energy", forces="xtb_forces"))


def test_energies_alone_say_what_is_missing(tmp_path):
    text = GOOD.read_text().replace("forces:R:3", "velo:R:3")
    (tmp_path / "t.xyz").write_text(text)
    with pytest.raises(UserError, match="C2H6O has no forces; label it first"):
        labels_of(frames_of(tmp_path / "t.xyz")[0])


def test_a_virial_is_minus_the_stress_times_the_volume(capsys):
    wanted = ase.io.read(TROUBLES / "c_good.xyz", ":")
    found = frames_of(TROUBLES / "c_virial.xyz")
    assert "stress from virial (-virial/volume)" in capsys.readouterr().err
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(stress_of(a), b.get_stress(voigt=False), atol=1e-6)
    assert np.isnan(stress_of(frames_of(TROUBLES / "c_virial.xyz", virial="none")[0])).all()
    six = frames_of(TROUBLES / "c_virial.xyz", energy_unit="kcal/mol")
    np.testing.assert_allclose(stress_of(six[0]), stress_of(found[0]) * units.kcal / units.mol)


def crystal(**info) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.info.update(energy=-1.0, **info)
    atoms.arrays["forces"] = np.zeros((4, 3))
    return atoms


def test_tensors_that_are_not_understood_are_refused_or_said():
    stress = np.diag([0.01, 0.02, 0.03])
    virial = -stress * crystal().get_volume()
    found = with_labels([crystal(stress=stress, virial=virial)], "f", LabelSettings())
    np.testing.assert_allclose(stress_of(found.frames[0]), stress)
    with pytest.raises(UserError, match="f holds stress and virial, which differ"):
        with_labels([crystal(stress=stress, virial=-virial)], "f", LabelSettings())
    with pytest.raises(UserError, match="virial is not symmetric"):
        with_labels([crystal(virial=np.arange(9.0).reshape(3, 3))], "f", LabelSettings())
    found = with_labels([crystal(virial_stress=np.ones(6))], "f", LabelSettings())
    assert "not used: virial_stress" in found.note and np.isnan(stress_of(found.frames[0])).all()
    found = with_labels([crystal(virial_stress=-10 * stress / units.GPa)], "f",
                        LabelSettings(stress="virial_stress", stress_unit="-kB"))  # fmt: skip
    np.testing.assert_allclose(stress_of(found.frames[0]), stress)


def test_units_by_name():
    assert energy_factor("kcal/mol") == pytest.approx(0.0433641, rel=1e-5)
    assert energy_factor("Ha") == energy_factor("hartree") == pytest.approx(27.2114, rel=1e-5)
    assert force_factor("Hartree/Bohr") == pytest.approx(51.4221, rel=1e-5)
    assert force_factor("-kcal/mol/A") == pytest.approx(-0.0433641, rel=1e-5)
    assert stress_factor("kB") == stress_factor("kbar") == pytest.approx(6.241509e-4, rel=1e-5)
    assert stress_factor("-GPa") == pytest.approx(-6.241509e-3, rel=1e-5)
    assert stress_factor("Hartree/Bohr^3") == pytest.approx(183.631, rel=1e-5)
    assert stress_factor("eV/Angstrom^3") == stress_factor("eV/A^3") == 1.0
    for key, wrong in (("energy_unit", "J"), ("force_unit", "kcal/mol"), ("stress_unit", "eV/Angstrom")):
        with pytest.raises(UserError, match=f"labels.{key}={wrong}: allowed are"):
            LabelSettings(**{key: wrong})


def test_units_are_converted_as_files_are_read(capsys):
    wanted = frames_of(TROUBLES / "t_md17_kcal.xyz")
    frames = frames_of(TROUBLES / "t_md17_kcal.xyz", energy_unit="kcal/mol", force_unit="kcal/mol/Angstrom")
    assert labels_of(frames[0])[0] == pytest.approx(-309.3738206440858, abs=1e-5)  # t_md17_eV.xyz
    assert labels_of(frames[0])[1][0] == pytest.approx([3.15153208, -0.62694707, 4.43617184], abs=1e-6)
    assert labels_of(wanted[0])[0] == pytest.approx(-7134.329844640318)
    assert "energies in kcal/mol, forces in kcal/mol/Angstrom" in capsys.readouterr().err


def test_isolated_atoms_have_no_neighbour():
    frames = ase.io.read(TROUBLES / "c_primitive_iso.xyz", ":")
    assert isolated_energies(frames, 4.0) == {29: 3.51}  # and not -0.006, of the lowest primitive cell
    assert [is_isolated(frame, 4.0) for frame in frames].count(True) == 1
    cell, line = Atoms("Cu", cell=[5, 9, 9], pbc=True), Atoms("Cu", cell=[5, 0, 0], pbc=[True, False, False])
    skewed = Atoms("Cu", cell=[[9, 0, 0], [8, 3, 0], [0, 0, 9]], pbc=True)  # b - a is shorter than either
    assert [is_isolated(x, 4.0) for x in (cell, line, skewed, Atoms("Cu"))] == [True, True, False, True]
    assert not is_isolated(cell, 6.0) and not is_isolated(line, 6.0) and not is_isolated(Atoms("Cu2"), 1.0)
    for name in ("IsolatedAtom", "isolated_atom", "ISOLATED ATOM"):
        skewed.info["config_type"] = name
        assert is_isolated(skewed, 6.0)
    skewed.calc = SinglePointCalculator(skewed, energy=3.0)
    lone = Atoms("Cu", info={"energy": -5.0})
    assert isolated_energies([lone, skewed], 6.0) == {29: 3.0}  # the marked one wins


def test_forces_of_fixed_atoms_are_those_of_the_file():
    frame = ase.io.read(GOOD)
    wanted = frame.get_forces()
    frame.set_constraint(FixAtoms([0, 1]))
    found = with_labels([frame], "f", LabelSettings()).frames[0]
    np.testing.assert_allclose(labels_of(found)[1], wanted)


def test_settings_of_convergence_make_no_other_teacher():
    def teacher(text: str) -> str:
        return teacher_of(Atoms("H", info={"teacher": text}))

    assert teacher("CP2K(PBE, 400 Ry, k 2/Angstrom)") == teacher("CP2K(PBE, 400 Ry, k 6/Angstrom)")
    assert teacher("GFN2-xTB(electronic_temperature=300.0, open_shell=False, supercell=10.0)") == teacher(
        "GFN2-xTB(electronic_temperature=300.0, open_shell=True, supercell=20.0)"
    )
    assert teacher("GPAW(functional=PBE)") != teacher("GPAW(functional=RPBE)") and teacher_of(Atoms("H")) == ""


def test_a_word_where_a_number_belongs_is_no_label(tmp_path):
    text = GOOD.read_text()
    energy = text.split("energy=")[2].split()[0]
    (tmp_path / "w.xyz").write_text(text.replace(f"energy={energy}", "energy=-30a.5"))
    frames = [record.candidate.atoms for record in read_labelled([tmp_path / "w.xyz"])]
    with pytest.raises(UserError, match="has no energy"):
        labels_of(frames[1])
    assert np.isfinite([labels_of(frame)[0] for frame in frames[:1] + frames[2:]]).all()
