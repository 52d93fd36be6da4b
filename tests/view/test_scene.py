"""The scene: changes, undo, redo, what is refused, and what a new process reads back."""

import json

import pytest

from gendesign.errors import UserError
from gendesign.view.scene import EMPTY, Conflict, Scene, new_structure

CURVE = {"type": "curve", "closed": False, "points": [[0, 0, 0], [1.5, 0, 0]]}


def test_changes_are_undone_and_made_again(tmp_path):
    scene = Scene(tmp_path)
    scene.change({"strokes": [CURVE]}, "draw")
    scene.change({"prior": {"kind": "circle"}}, "choose")
    scene.change({"shown": ["0001-generate", 2]})  # what is looked at is not undone
    scene.undo()
    assert scene.content["prior"] == {"kind": "none"} and scene.content["strokes"] == [CURVE]
    scene.undo()
    scene.undo()
    assert scene.content["strokes"] == [] and scene.content["shown"] == ["0001-generate", 2]
    scene.redo()
    scene.redo()
    scene.redo()
    assert scene.content["prior"] == {"kind": "circle"} and scene.content["strokes"] == [CURVE]
    scene.undo()
    scene.change({"strokes": []}, "clear")
    assert scene.state()["redo"] is None


def test_another_process_reads_the_same_scene_and_history(tmp_path):
    scene = Scene(tmp_path)
    scene.change({"structures": [new_structure("a" * 24, "water")]}, "add")
    scene.change({"structures": []}, "remove")
    again = Scene(tmp_path)
    assert again.state() == scene.state()
    again.undo()
    assert again.content["structures"][0]["name"] == "water"


def test_tabs_may_change_different_keys_but_not_the_same(tmp_path):
    scene = Scene(tmp_path)
    base = scene.revision
    scene.change({"strokes": [CURVE]}, "draw", base)
    scene.change({"prior": {"kind": "heart"}}, "choose", base)
    with pytest.raises(Conflict):
        scene.change({"strokes": []}, "clear", base)
    assert scene.content["strokes"] == [CURVE]


@pytest.mark.parametrize(
    "changes",
    [
        {"unknown": 1},
        {"strokes": [{**CURVE, "points": [[0, 0, float("nan")]]}]},
        {"strokes": [{**CURVE, "points": [[0, 0, 1e9]]}]},
        {"strokes": [{"type": "brush", "points": [[0, 0, 0]], "radius": -1}]},
        {"strokes": [{**CURVE, "points": [[0, 0, 0]] * 30_000}]},
        {"plane": {"origin": [0, 0, 0], "normal": [0, 0, 0]}},
        {"prior": {"kind": "square"}},
        {"structures": [{**new_structure("a" * 24, "x"), "file": "../../etc/passwd"}]},
        {"structures": [{**new_structure("a" * 24, "x"), "fixed": [-1]}]},
        {"settings": {"generate": {"n=1 output": "elsewhere"}}},
        {"settings": {"generate": {"n": 5}}},
        {"shown": "0001"},
        {"kept": [["a"]]},
    ],
)
def test_impossible_values_are_refused_and_change_nothing(tmp_path, changes):
    scene = Scene(tmp_path)
    with pytest.raises(UserError, match="reload the page"):
        scene.change(changes, "wrong")
    assert scene.content == EMPTY and scene.revision == 0


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "scene.json").write_text(json.dumps({"revision": "x"}))
    with pytest.raises(UserError, match=r"scene\.json cannot be read .* move it away"):
        Scene(tmp_path)
