"""The commands of the diffusion model, from data to molecules and figures."""

import pytest
from clouds import file_of, molecules

from gendesign.cli import main
from gendesign.structure.files import read_structures

SMALL = ["architecture.channels=4", "architecture.width=4", "architecture.n_radial=3", "architecture.layers=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of a few steps, made by the command."""
    path = tmp_path_factory.mktemp("diffusion")
    data = file_of(path, molecules())
    words = [f"data={data}", "fit.steps=2", "fit.batch_size=8", *SMALL, "threads=1"]
    assert main(["train", "generator=diffusion", *words, f"output={path / 'model'}"]) == 0
    return path / "model"


def test_a_training_resumes_and_refuses_other_settings(folder, capsys):
    data = folder.parent / "molecules.extxyz"
    words = [f"data={data}", "fit.batch_size=8", *SMALL, "threads=1", f"output={folder}"]
    assert main(["train", "generator=diffusion", "fit.steps=2", *words]) == 0
    assert "results in" in capsys.readouterr().out
    assert main(["train", "generator=diffusion", "fit.steps=2", *words, "seed=1"]) == 2
    assert "seed" in capsys.readouterr().err


def test_molecules_come_from_a_trained_model(folder, tmp_path):
    words = [f"generator.checkpoint={folder}", "generator.calls=4", "relaxation=null", "screening=quick", "workers=0"]
    assert main(["generate", "generator=diffusion", *words, "n=2", f"output={tmp_path / 'run'}"]) == 0
    made = read_structures([tmp_path / "run" / "candidates.extxyz"], strict=False)
    assert len(made) == 2 and made[0].generator == "diffusion"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["train", "generator=diffusion", "data=missing.sdf"], "missing.sdf does not exist"),
        (["train", "generator=diffusion", "architecture.channels=0"], "architecture.channels=0"),
        (["train", "generator=diffusion", "split=scaffold"], "split=scaffold"),
        (["analyse", "score", "checkpoint=organic"], "organic holds a potential, not a diffusion model"),
        (["analyse", "score", "methods=dft"], "methods=dft"),
        (["generate", "generator=diffusion", "generator.checkpoint=nowhere"], "train one: gendesign train"),
    ],
)
def test_mistakes_are_one_line(words, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "output=out"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert reason in line
