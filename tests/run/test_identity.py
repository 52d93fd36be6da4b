"""What makes two runs the same: settings that matter, and the content of the files they name."""

import hashlib

import pytest

from gendesign.errors import SettingsError
from gendesign.run.identity import identify
from gendesign.run.settings import flatten, resolve


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("generate", ["output=elsewhere"]),
        ("generate", ["workers=3"]),
        ("generate", ["screening.workers=3"]),
        ("generate", ["generator.trajectory=folder"]),
        ("train", ["threads=3"]),
        ("label", ["workers=2"]),
        ("label", ["teacher=gpaw", "teacher.cores=4", "teacher.command=mpiexec -n 4 gpaw python"]),
        ("validate", ["teacher=potential", "teacher.device=cpu"]),
    ],
)
def test_means_make_no_other_run(verb, words):
    groups = [word for word in words if word.startswith("teacher=")]
    assert identify([], resolve(verb, words)) == identify([], resolve(verb, groups))


@pytest.mark.parametrize(
    ("verb", "word"),
    [
        ("generate", "seed=1"),
        ("generate", "dtype=float64"),
        ("train", "fit.steps=7"),
        ("label", "teacher.supercell=12"),
    ],
)
def test_settings_make_another_run(verb, word):
    assert identify([], resolve(verb, [word])) != identify([], resolve(verb, []))


@pytest.mark.parametrize(
    ("verb", "key"),
    [
        ("generate", "screening.shape_target"),
        ("generate", "generator.fragments"),
        ("generate", "generator.host"),
        ("generate", "generator.reference"),
        ("train", "test"),
        ("train", "replay"),
    ],
)
def test_files_that_settings_name_are_read(verb, key, tmp_path):
    file = tmp_path / "structures.xyz"
    file.write_text("1\n\nH 0 0 0\n")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert identify([], resolve(verb, [f"{key}={file}"]))["files"] == {str(file): digest}
    assert not identify([], resolve(verb, [f"{key}={tmp_path / 'missing.xyz'}"]))["files"]


def test_own_code_is_read_wherever_it_is_named(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def score(atoms, mol):\n    return 1.0\n")
    config = resolve("generate", [f"generator.objective.components=[{file}:score]"])
    assert list(identify([], config)["files"]) == [str(file)]


def test_files_of_the_command_line_keep_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.xyz").write_text("1\n\nH 0 0 0\n")
    assert list(identify(["./a.xyz"], resolve("relax"))["files"]) == ["./a.xyz"]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        identify([str(tmp_path)], resolve("relax"))


def test_settings_stay_plain():
    settings = identify([], resolve("generate"))["settings"]
    assert "output" not in settings and flatten(settings)["screening.fmax"] == 0.02
