"""From the scene to the command: its words resolve, say what was drawn, and a page cannot set what it must not."""

import shlex

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read

from gendesign.errors import UserError
from gendesign.run.settings import resolve
from gendesign.view.scene import EMPTY, new_structure
from gendesign.view.settings import form, page_words
from gendesign.view.structures import Store, to_json
from gendesign.view.words import Inputs, as_command, generate_words, structure_words

CURVE = {"type": "curve", "closed": False, "points": [[0, 0, 0], [6.4, 0, 0], [12.8, 0, 0]]}


@pytest.fixture
def inputs(tmp_path, monkeypatch) -> Inputs:
    monkeypatch.chdir(tmp_path)
    return Inputs(tmp_path / "scene/inputs", Store(tmp_path / "scene/structures"))


def entry(inputs, atoms, **changes):
    return {**new_structure(inputs.store.add(to_json(atoms)), "part"), **changes}


def test_what_is_drawn_becomes_a_cloud_of_its_size(inputs):
    words = generate_words({**EMPTY, "strokes": [CURVE], "prior": {"kind": "drawn"}}, ["seed=3"], inputs)
    config = resolve("generate", words[1:])
    assert config.seed == 3 and config.generator.n_heavy_atoms == "11"
    points = np.loadtxt(config.generator.prior.shape.path)
    assert not config.generator.prior.shape.path.startswith("/")  # as it is typed where the tool was started
    assert points[:, 0].max() == pytest.approx(12.8) and np.ptp(points[:, 1]) == 0
    assert generate_words({**EMPTY, "strokes": [CURVE], "prior": {"kind": "drawn"}}, [], inputs)[-2] == words[-2]


def test_fragments_are_written_in_place_and_attachments_counted_over_the_file(inputs):
    moved = {"r": [1, 0, 0, 0, 1, 0, 0, 0, 1], "t": [0, 0, 7]}
    fragments = [
        entry(inputs, molecule("CH4"), role="fragment", attachments=[1]),
        entry(inputs, molecule("CH3OH"), role="fragment", attachments=[3, 5], pose=moved),
    ]
    scene = {**EMPTY, "structures": [entry(inputs, molecule("H2O")), *fragments]}
    config = resolve("generate", generate_words(scene, [], inputs)[1:])
    assert list(config.generator.attachments) == [1, 5 + 3, 5 + 5]
    methane, methanol = read(config.generator.fragments, ":")
    assert methane.get_chemical_formula() == "CH4"
    assert np.allclose(methanol.positions, molecule("CH3OH").positions + [0, 0, 7], atol=1e-3)
    with pytest.raises(UserError, match="have no attachment"):
        generate_words({**EMPTY, "structures": [{**fragments[0], "attachments": []}]}, [], inputs)


def test_a_pocket_is_the_room_around_the_clicked_ligand(inputs):
    ring = [[7 * np.cos(a), 7 * np.sin(a), 0] for a in np.linspace(0, 6.28, 12, endpoint=False)]
    both = Atoms("C12", ring) + molecule("C6H6")
    host = entry(inputs, both)
    scene = {**EMPTY, "structures": [host], "prior": {"kind": "pocket", "file": host["file"], "atom": 14}}
    config = resolve("generate", generate_words(scene, [], inputs)[1:])
    assert read(config.generator.prior.shape.ligand).get_chemical_formula() == "C6H6"
    assert len(read(config.generator.prior.shape.path)) == 24
    with pytest.raises(UserError, match="no longer in the scene"):
        generate_words({**scene, "structures": []}, [], inputs)


def test_relaxing_some_atoms_holds_the_others(inputs):
    words = structure_words("relax", EMPTY, [(molecule("CH3OH"), [0, 1])], ["potential=organic", "n=3"], inputs)
    assert words[0] == "relax" and "n=3" not in words and "potential=organic" in words
    (constraint,) = read(words[1]).constraints
    assert constraint.index.tolist() == [0, 1]
    with pytest.raises(UserError, match="nothing is chosen"):
        structure_words("relax", EMPTY, [], [], inputs)


def test_a_search_takes_nothing_of_the_drawing(inputs):
    scene = {
        **EMPTY,
        "strokes": [CURVE],
        "prior": {"kind": "drawn"},
        "settings": {"generate": {"generator": "perovskite"}},
    }
    assert generate_words(scene, [], inputs) == ["generate", "generator=perovskite"]
    by_experiment = {**scene, "settings": {}}
    assert generate_words(by_experiment, ["experiment=perovskite"], inputs) == ["generate", "experiment=perovskite"]
    crystal = structure_words("relax", EMPTY, [(bulk("Si"), [])], [], inputs)
    assert crystal[2:] == ["relaxation=crystals"]


def test_the_command_survives_the_shell():
    words = ["generate", "generator.forbidden=[[#7]-[#7],C1CC1]", "output=my results"]
    assert shlex.split(as_command(words))[1:] == words


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("output", "/tmp/elsewhere"),
        ("trust_pickle", "true"),
        ("generator.trajectory", "/tmp/elsewhere"),
        ("generator.objective.components", "[score.py:polar_share rising 0 1]"),
        ("generator.objective.components", "[os.path:join rising 0 1]"),
        ("generator.guidance.function", "os:remove"),
        ("generator.guidance.function", "/tmp/score.py:f"),
        ("potential", "module:function"),
        ("potential", "../model.pt"),
        ("potential", "/etc/passwd"),
        ("generator.reference", "[/etc/passwd]"),
        ("screening.shape_target", "/etc/passwd"),
        ("generator.composition.cation", "/etc/passwd"),
        ("generator/prior", "mesh"),
        ("experiment", "pocket"),
        ("--sweep", "1"),
        ("n 5 output", "1"),
    ],
)
def test_a_page_cannot_run_code_or_name_files(key, text):
    with pytest.raises(UserError):
        page_words("generate", {key: text})
    assert form("generate", [], {key: text})["error"]


def test_chemistry_with_slashes_and_colons_is_no_file():
    settings = {
        "generator.composition.cation": "C/C=C/C[NH3+]",
        "generator.forbidden": "[[#7:1]-[#7:2],C/C=C,c:n:c]",
        "potential": "hoip",
    }
    assert page_words("generate", settings) == [f"{key}={text}" for key, text in settings.items()]


def test_the_form_is_made_from_the_settings():
    rows = {row["key"]: row for row in form("generate", ["n=7"], {"generator.n_heavy_atoms": "5"})["rows"]}
    assert rows["n"]["value"] == "7" and rows["n"]["least"] == 1 and rows["n"]["kind"] == "number"
    assert rows["generator.n_heavy_atoms"]["value"] == "5"
    assert "output" not in rows and "generator.fragments" not in rows
    for verb in ("relax", "screen"):
        assert not form(verb, [], {})["error"]
    crystals = form("generate", [], {"generator": "perovskite"})
    assert {"generator.composition.cation"} <= {row["key"] for row in crystals["rows"]} and not crystals["error"]
    wrong = form("generate", [], {"n": "0"})
    assert wrong["error"].startswith("n=0: give a whole number of 1 or more") and wrong["rows"]
