"""gendesign train and validate on files of real users: keys, units, isolated atoms, teachers, broken records."""

import json
import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
import tiny
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from gendesign import cli
from gendesign.errors import UserError
from gendesign.potential import save_folder
from gendesign.structure.labels import teacher_of
from gendesign.structure.types import Candidate
from gendesign.train import label_files
from gendesign.train.data_sets import labelled_frames
from gendesign.train.mixture import refuse_mixture
from gendesign.train.split import split
from gendesign.validation.settings import ValidationSettings
from gendesign.validation.suite import read_frames, validate

TROUBLES = Path(__file__).parents[1] / "data" / "troubles"
TINY = ["architecture.channels=2", "architecture.max_ell=1", "architecture.layers=1", "architecture.cutoff=3.0",
        "fit.steps=2", "fit.save_every=2", "fit.batch_size=4", "fit.warmup=1", "split=frame",
        "valid_share=0"]  # fmt: skip


def train(file: Path, output: Path, *keys: str) -> int:
    return cli.main(["train", str(file), f"output={output}", *TINY, *keys])


def ref(tmp_path: Path) -> Path:
    text = (TROUBLES / "t_good.xyz").read_text().replace(":forces", ":REF_forces")
    (tmp_path / "t_REF.xyz").write_text(text.replace(" energy=", " REF_energy="))
    return tmp_path / "t_REF.xyz"


def test_train_takes_labels_under_other_names_and_says_it(tmp_path, capsys):
    assert train(ref(tmp_path), tmp_path / "a") == 0
    assert "gendesign: t_REF.xyz: energy from REF_energy, forces from REF_forces\n" in capsys.readouterr().err
    assert train(TROUBLES / "t_good.xyz", tmp_path / "b") == 0
    assert (tmp_path / "a" / "errors.json").read_text() == (tmp_path / "b" / "errors.json").read_text()
    assert train(ref(tmp_path), tmp_path / "c", "labels.energy=energy") == 2
    said = capsys.readouterr().err
    assert "labels.energy=energy: t_REF.xyz has no such number" in said and "REF_energy (number)" in said


def test_train_refuses_and_converts_units(tmp_path, capsys):
    file = TROUBLES / "t_md17_kcal.xyz"
    assert train(file, tmp_path / "a") == 2
    said = capsys.readouterr().err
    assert "convert by labels.energy_unit=kcal/mol labels.force_unit=kcal/mol/Angstrom" in said
    assert said.count("\n") == 1 and not (tmp_path / "a").exists()
    assert train(file, tmp_path / "b", "labels.energy_unit=kcal/mol", "labels.force_unit=kcal/mol/Angstrom") == 0
    table = json.loads((tmp_path / "b" / "errors.json").read_text())
    assert 1000 < table["train"]["all"]["force_rms_mev_a"] < 3000  # and not 50,000


def test_train_reads_virials_and_marked_isolated_atoms(tmp_path):
    assert train(TROUBLES / "c_virial.xyz", tmp_path / "virial") == 0
    assert train(TROUBLES / "c_good.xyz", tmp_path / "good") == 0
    first, second = (json.loads((tmp_path / name / "errors.json").read_text()) for name in ("virial", "good"))
    key = "stress_mae_mev_a3"
    assert first["train"]["all"][key] == pytest.approx(second["train"]["all"][key], rel=1e-4)
    assert train(TROUBLES / "c_primitive_iso.xyz", tmp_path / "iso") == 0
    assert re.search(r"Isolated atoms, eV:\*\* Cu 3\.5100", (tmp_path / "iso" / "card.md").read_text())


def molecules(teacher: str, count: int = 6) -> list[Atoms]:
    frames = []
    for k in range(count):
        frame = tiny.rattled("CH4", k)
        frame.calc = SinglePointCalculator(frame, energy=-1.0 - k, forces=frame.positions * 0)
        frame.info["teacher"] = teacher
        frames.append(frame)
    return frames


def test_labels_of_several_teachers_are_not_mixed(tmp_path, capsys):
    ase.io.write(tmp_path / "t.extxyz", [*molecules("GFN2-xTB()"), *molecules("PM6()", 2)])
    assert train(tmp_path / "t.extxyz", tmp_path / "out", "check_units=false") == 2
    said = capsys.readouterr().err
    assert "by 2 teachers" in said and "6 by GFN2-xTB, 2 by PM6" in said and "mixed_teachers=true" in said
    assert train(tmp_path / "t.extxyz", tmp_path / "out", "check_units=false", "mixed_teachers=true") == 0
    own, other = molecules("A"), molecules("B")
    refuse_mixture(own, {"t": own}, own, True)
    refuse_mixture(own, {}, other, False)
    with pytest.raises(UserError, match=r"replay is by another teacher .*fit.replay_energies=false"):
        refuse_mixture(own, {}, other, True)
    with pytest.raises(UserError, match="test=t is by another teacher than the files: 6 by B, not 6 by A"):
        refuse_mixture(own, {"t": other}, [], True)
    with pytest.raises(UserError, match="no named teacher"):
        refuse_mixture([*own, tiny.rattled("CH4")], {}, [], True)


def test_gendesign_label_writes_the_teacher(tmp_path):
    ase.io.write(tmp_path / "in.xyz", Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]]))
    emt = {"_target_": "gendesign.train.teachers.classical.Emt"}
    label_files([tmp_path / "in.xyz"], tmp_path / "out", teacher=emt, workers=1)
    assert teacher_of(labelled_frames([tmp_path / "out" / "labels.extxyz"])[0][0])


def test_broken_records_are_refused_or_skipped(tmp_path, monkeypatch, capsys):
    good = molecules("")[0]
    broken = Candidate(Atoms(), 1, history=("read from f.sdf",), failure="record 2 of f.sdf cannot be read")
    (tmp_path / "f.sdf").write_text("")
    monkeypatch.setattr(
        "gendesign.structure.label_files.read_structures",
        lambda paths, **how: [Candidate(good, 0, history=("read from f.sdf",)), broken],
    )
    with pytest.raises(UserError, match=r"structure 2 \(read from f.sdf\): record 2 of f.sdf cannot be read"):
        labelled_frames([tmp_path / "f.sdf"])
    frames, without = labelled_frames([tmp_path / "f.sdf"], skip=True)
    assert len(frames) == 1 and without == [("structure 2 (read from f.sdf)", "record 2 of f.sdf cannot be read")]
    assert len(read_frames([tmp_path / "f.sdf"])) == 1
    assert "1 of 2 structures are left out" in capsys.readouterr().err


def test_validate_measures_the_labels_of_the_file_or_says_so(tmp_path, capsys):
    save_folder(tiny.potential(0, "float32").net, tmp_path / "p", name="tiny", licence="MIT", citation="none")
    found = {}
    for name, file in (("ref", ref(tmp_path)), ("good", TROUBLES / "t_good.xyz")):
        words = ["validate", str(tmp_path / "p"), str(file), "tests=[errors]", "teacher=null"]
        assert cli.main([*words, f"output={tmp_path / name}"]) == 0
        found[name] = json.loads((tmp_path / name / "validation.json").read_text())["rows"]
    assert found["ref"] == found["good"] and found["good"][0]["n"] == 80
    assert "energy from REF_energy" in capsys.readouterr().err
    file = TROUBLES / "t_md17_kcal.xyz"
    keys = ["labels.energy_unit=kcal/mol", "labels.force_unit=kcal/mol/Angstrom"]
    words = ["validate", str(tmp_path / "p"), str(file), "tests=[errors]", "teacher=null"]
    assert cli.main([*words, f"output={tmp_path / 'k'}"]) == 0
    assert "may not be in eV and Angstrom: bonds come out 23" in capsys.readouterr().err
    assert cli.main([*words, *keys, f"output={tmp_path / 'kcal'}"]) == 0
    said = capsys.readouterr().err
    assert "energies in kcal/mol" in said and "may not be" not in said


def test_validate_of_energies_alone_and_of_no_labels(capsys):
    frames = [Atoms("CH4", tiny.rattled("CH4", k).positions, info={"REF_energy": -1000.0 - k}) for k in range(3)]
    found = validate(tiny.potential(), frames, ValidationSettings(tests=("errors",)))
    assert found["errors"]["classes"]["all"]["energy_mae_mev_atom"] > 0
    assert "force_mae_mev_a" not in found["errors"]["classes"]["all"]
    assert "3 of 3 labelled structures have no forces" in capsys.readouterr().err
    bare = [Atoms("CH4", tiny.rattled("CH4", 0).positions)]
    validate(
        tiny.potential(), bare, ValidationSettings(tests=("errors",)), molecular=lambda atoms: EMT(), teacher="EMT"
    )
    assert "hence no labels: errors are measured on copies of them" in capsys.readouterr().err


def test_one_atom_cells_are_divided_like_other_structures():
    frames = []
    for k in range(10):
        frames.append(Atoms("Cu", cell=np.eye(3) * (2.2 + 0.02 * k), pbc=True))
    frames.append(Atoms("Cu", cell=np.eye(3) * 12, pbc=True))
    rest, held = split(frames, 0.5, "frame", "test_share", 4.0)
    assert len(held) == 5 and frames[-1] in rest
