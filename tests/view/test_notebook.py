"""`view(candidates)` in a notebook, and the actions that ZnDraw is offered."""

import html
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from browser import Browser, chromium

from gendesign.errors import UserError
from gendesign.structure.types import Candidate, Verdict
from gendesign.view import view
from gendesign.view.zndraw import Actions, perform, serve_zndraw

pytest.importorskip("chemiscope", reason="chemiscope is not installed")


def test_molecules_and_crystals_are_shown_with_their_checks():
    candidates = [Candidate(molecule("CH3OH"), 4, info={"energy": -1.5}), Candidate(bulk("Si"), 7)]
    shown = view(candidates, [Verdict(4, "density", None, 0.79, "g/cm3"), Verdict(7, "density", None, 2.33, "g/cm3")])
    cell = shown._repr_html_()
    assert cell.startswith("<iframe") and html.unescape(cell.split('srcdoc="')[1].split('" width')[0]) == shown.page
    assert "density" in shown.page and "2 structures" in shown.page
    assert "http" not in cell.split("srcdoc")[0]


@pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt install chromium)")
def test_a_cell_shows_the_values_and_leads_nowhere(tmp_path):
    (tmp_path / "cell.html").write_text(view([molecule("CH3OH"), molecule("C6H6")])._repr_html_())
    with Browser(tmp_path / "chromium") as page:
        page.open(tmp_path / "cell.html")
        inside = "document.querySelector('iframe').contentDocument"
        page.wait(f"{inside}.querySelectorAll('#values tr').length > 1")
        assert "CH4O" in page.evaluate(f"{inside}.getElementById('values').textContent")
        assert page.evaluate(f"{inside}.getElementById('back').hidden") and page.problems == []


def test_plain_atoms_are_shown_and_nothing_is_refused():
    assert "2 structures" in view([molecule("H2O"), molecule("CH4")]).page
    with pytest.raises(UserError, match="none of these structures"):
        view([Candidate(Atoms(), 0, failure="exploded")])


class FakeScene(list):
    """What the adapter asks of ZnDraw's client: frames, step, selection, points, bookmarks, log."""

    def __init__(self, frames, selection=(), points=()):
        super().__init__(frames)
        self.step, self.selection, self.points, self.bookmarks, self.said = 0, list(selection), np.array(points), {}, []

    def log(self, text):
        self.said.append(text)


def test_zndraw_gets_hydrogens_and_lines_of_errors(tmp_path):
    actions = Actions(tmp_path, [])
    scene = FakeScene([Atoms("CC", [[0, 0, 0], [1.53, 0, 0]])])
    perform(actions.hydrogenate, scene, 1)
    assert [frame.get_chemical_formula() for frame in scene] == ["C2", "C2H6"] and scene.step == 1
    assert scene.bookmarks == {0: "before hydrogenate"}
    perform(actions.link, scene, 1)
    assert scene.said[-1] == "select an atom of each fragment, then press Link" and len(scene) == 2


def test_zndraw_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "zndraw", None)
    with pytest.raises(UserError, match=r"zndraw==0\.6\.0"):
        serve_zndraw("http://127.0.0.1:1", [])


def test_zndraw_is_given_four_buttons(monkeypatch):
    registered, waited = [], []
    client = SimpleNamespace(
        register=lambda cls, public: registered.append(cls), socket=SimpleNamespace(wait=lambda: waited.append(True))
    )
    base = type("Extension", (), {})
    monkeypatch.setitem(sys.modules, "zndraw", SimpleNamespace(ZnDraw=lambda **_: client))
    monkeypatch.setitem(sys.modules, "zndraw.base", SimpleNamespace(Extension=base))
    serve_zndraw("http://127.0.0.1:1", [])
    assert [cls.__name__ for cls in registered] == ["Generate", "Hydrogenate", "Relax", "Link"] and waited
    assert all(issubclass(cls, base) and cls.__doc__ for cls in registered)
