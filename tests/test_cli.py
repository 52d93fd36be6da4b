"""The command line: literal values, settings checked by the tree in conf/, every mistake one line and status 2."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import gendesign
from gendesign import cli
from gendesign.errors import SettingsError
from gendesign.run import conf
from gendesign.run.conf import conf_folder
from gendesign.run.help import describe
from gendesign.run.settings import expand, flatten, resolve

ALL_VERBS = sorted(cli.VERBS)


def test_values_of_text_keys_are_literal():
    for word in ("CCCC[NH3+]", "C#N", "C(=O)O", "a=b,c", "5-12", "007", "results/my run", "F[C@@H](Cl)Br", "it's"):
        assert resolve("generate", [f"generator.n_heavy_atoms={word}"]).generator.n_heavy_atoms == word
    assert resolve("generate", ["output=${n}"]).output == "${n}"
    for word in ("'CCCC[NH3+]'", '"CCCC[NH3+]"', "CCCC[NH3+]"):
        assert resolve("generate", [f"generator.n_heavy_atoms={word}"]).generator.n_heavy_atoms == "CCCC[NH3+]"
    assert resolve("generate", ["n='7'", "head='5'"]).n == 7 and resolve("generate", ["head='5'"]).head == "5"


def test_values_take_the_type_of_their_default():
    config = resolve(
        "generate",
        ["n=7", "trust_pickle=True", "relaxation.fmax=1e-3", "generator.elements=[C,F]", "head=omat"],
    )
    assert (config.n, config.trust_pickle, config.relaxation.fmax, config.head) == (7, True, 1e-3, "omat")
    assert list(config.generator.elements) == ["C", "F"]
    assert list(resolve("generate", ["generator.elements=C,F"]).generator.elements) == ["C", "F"]


def test_groups_and_experiments():
    assert resolve("relax", ["relaxation=crystals", "relaxation.pressure=1.0"]).relaxation.cell is True
    assert resolve("generate", ["screening=null"]).get("screening") is None
    demo = resolve("generate", ["experiment=demo", "seed=3"])
    assert (demo.n, demo.output, demo.seed) == (20, "results/demo", 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fly"], "unknown verb 'fly'"),
        (["generat"], "did you mean generate?"),
        (["generate", "n=0"], "n=0: give a whole number of 1 or more"),
        (["generate", "n=many"], "a whole number is needed"),
        (["generate", "bogus=1"], "unknown key 'bogus'"),
        (["generate", "generator.n_atoms=9"], "it belongs to generator=amorphous"),
        (["generate", "generator.n_heavy_atom=9"], "did you mean generator.n_heavy_atoms"),
        (["generate", "generator=magic"], "generator=magic is unknown; allowed: "),
        (["generate", "generator=null"], "cannot do without"),
        (["generate", "relaxation={fmax:1}"], "relaxation={fmax:1} is unknown"),
        (["generate", "+n=3"], "cannot be added"),
        (["generate", "--fast"], "unknown option '--fast'"),
        (["generate", "file.xyz"], "reads no files"),
        (["generate", "device=tpu"], "device=tpu: allowed are"),
        (["generate", "dtype=float16"], "dtype=float16: allowed are"),
        (["generate", "trust_pickle=maybe"], "allowed are true and false"),
        (["generate", "potential=missing.model"], "no such file"),
        (["relax"], "relax needs FILE"),
        (["relax", "missing.cif"], "missing.cif does not exist"),
        (["screen", "missing.sdf"], "missing.sdf does not exist"),
        (["benchmark", "everything"], "give one of"),
    ],
)
def test_mistakes_are_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", [verb for verb in ALL_VERBS if cli.VERBS[verb].has_keys])
def test_every_key_is_explained(verb):
    lines = describe(verb).split("\n\ngroups")[0].splitlines()
    for line in lines:
        assert re.match(r"  [\w.]+ += \S+( .*\S)?  +\S", line), f"no meaning: {line}"


def test_help(capsys):
    for words in ([], ["--help"], ["generate", "--help", "n=5"], ["relax", "-h"]):
        assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^  n +=\s5 ", shown, re.MULTILINE) and "usage: gendesign relax FILE ..." in shown


def test_help_of_a_benchmark_shows_its_own_settings(capsys):
    def shown(*names):
        assert cli.main(["benchmark", *names, "--help"]) == 0
        return capsys.readouterr().out

    for name, key, foreign in (("druglike", "druglike.sizes", "building."), ("agent", "building.seeds", "amorphous.")):
        assert key in shown(name) and foreign not in shown(name) and {key, foreign} <= set(re.findall(
            rf"{re.escape(key)}|{re.escape(foreign)}", shown()))  # fmt: skip


def test_python_m_gendesign_is_the_command():
    done = subprocess.run([sys.executable, "-m", "gendesign", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, gendesign.__version__)


@pytest.mark.parametrize("path", sorted(conf_folder().rglob("*.yaml")), ids=lambda path: path.stem)
def test_settings_files_are_short_and_sound(path):
    assert len(path.read_text().splitlines()) <= 30
    OmegaConf.load(path)


def test_a_generator_may_bring_its_potential_and_shards():
    brought, chosen = (resolve("generate", ["generator=perovskite", *words]) for words in ([], ["shard_size=7"]))
    assert (brought.potential, brought.shard_size, chosen.shard_size) == ("hoip", 100, 7)
    assert resolve("generate", []).shard_size == 10


def test_every_target_takes_its_keys():
    import importlib
    import inspect

    for path in conf_folder().rglob("*.yaml"):
        section = OmegaConf.to_container(OmegaConf.load(path))
        if "_target_" in section:
            module, name = section.pop("_target_").rsplit(".", 1)
            groups = [name for entry in section.pop("defaults", []) if isinstance(entry, dict) for name in entry]
            groups = [name for name in groups if not name.startswith(("override ", "/"))]  # the run's own
            section = dict.fromkeys([key for key, value in section.items() if not isinstance(value, dict)] + groups)
            known = inspect.signature(getattr(importlib.import_module(module), name)).parameters
            assert section.keys() <= known.keys(), path


def test_sweep_splits_outside_brackets():
    assert expand(["n=1,2", "generator.elements=[C,N],[C]"]) == [
        ["n=1", "generator.elements=[C,N]"],
        ["n=1", "generator.elements=[C]"],
        ["n=2", "generator.elements=[C,N]"],
        ["n=2", "generator.elements=[C]"],
    ]


def test_missing_settings_tree(monkeypatch, tmp_path):
    monkeypatch.setattr(conf, "__file__", str(tmp_path / "gendesign" / "run" / "conf.py"))
    with pytest.raises(SettingsError, match="conf/ is missing"):
        conf_folder()


def test_flatten():
    assert flatten({"a": 1, "b": {"c": [1, 2], "d": {}}}) == {"a": 1, "b.c": [1, 2]}
    assert Path(conf_folder()).name == "conf"


def test_interruption_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(verb, files, config):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.VERBS, "generate", cli.Verb("stop", interrupted))
    assert cli.main(["generate", "output=my run"]) == 130
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.rstrip().endswith("gendesign generate 'output=my run'")


def test_a_file_without_the_right_to_read_it_is_named(tmp_path, monkeypatch, capsys):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "a.xyz").write_text("1\n\nH 0 0 0\n")
    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)  # root may read everything
    assert cli.main(["relax", str(tmp_path / "a.xyz"), f"output={tmp_path / 'out'}"]) == 2
    assert "a.xyz cannot be read: Permission denied" in capsys.readouterr().err


def test_devices_are_no_structure_files(capsys):
    assert cli.main(["relax", "/dev/null"]) == 2
    assert "/dev/null is no regular file" in capsys.readouterr().err
