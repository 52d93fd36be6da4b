"""`gendesign view`: what is refused before anything is served, in one line with status 2."""

import pytest

from gendesign.cli import main
from gendesign.view import command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.xyz"], "nothing.xyz does not exist"),
        (["."], "no results folder"),
        (["n=0"], "n=0: give a whole number of 1 or more"),
        (["--host", "0.0.0.0"], "--allow-remote"),
        (["--port", "many"], "invalid int value"),
        (["--colour", "red"], "unrecognized arguments"),
    ],
)
def test_wrong_words_are_one_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["view", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("gendesign: ") and len(error.splitlines()) == 1


def test_a_page_that_is_not_built_says_how(tmp_path, monkeypatch, capsys):
    pytest.importorskip("starlette", reason="the extra [view] is not installed")
    from gendesign.view import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, "LIBRARY", tmp_path / "3Dmol-min.js")
    assert main(["view"]) == 2
    assert "make view" in capsys.readouterr().err
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["view"]) == 2
    assert "pip install 'gendesign[view]'" in capsys.readouterr().err


def test_help_and_the_list_of_verbs_name_it(capsys):
    assert main(["view", "--help"]) == 0
    assert "--allow-remote" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "view [FOLDER|FILE ...]" in capsys.readouterr().out
