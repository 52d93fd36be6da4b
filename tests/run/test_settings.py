"""Settings text of every kind: what is typed is what a run gets, or one line says why not."""

# ruff: noqa: E501 - tables of words read better on long lines

import itertools
import math
import re
import shlex
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from gendesign import cli
from gendesign.errors import SettingsError
from gendesign.fields import Setting
from gendesign.run import conf as conf_module
from gendesign.run import groups as groups_module
from gendesign.run import settings as settings_module
from gendesign.run.conf import all_groups, conf_folder, options, verbs_of
from gendesign.run.groups import SHOWN
from gendesign.run.help import describe, meaning
from gendesign.run.schema import Field
from gendesign.run.settings import flatten, resolve
from gendesign.run.values import literal, value_of

VERBS = sorted(cli.VERBS)
WRONG = Path(__file__).parents[1] / "data" / "wrong_settings.txt"
QUICK = settings(max_examples=150, deadline=None, derandomize=True)


def outcome(verb: str, words: list[str]):
    """The settings, or the line that refuses them; any other exception fails the test."""
    try:
        return resolve(verb, words)
    except SettingsError as error:
        assert str(error).strip() and "\n" not in " ".join(str(error).split())
        return str(error)


# Text that chemistry and shells make, and text that grammars choke on.
PIECES = st.sampled_from(
    "C N [NH3+] c1ccccc1 F[C@@H](Cl)Br C#N O=C(O)C [#7]-[#7] [#6;R] / \\ ' \" [ ] ( ) { } ${ } ${n} \\${ $ ??? , : = # % ~ @ "
    "null true None nan inf .inf -1 0 007 1e99 1_000 0x10 1.50 ٣ é 你 \u00a0 \U0001f600 \t \n \x00 \ud800 ../../x ~root/x "
    "a=b _target_ !!python/object: *x &y - --help".split(" ")
)
TEXT = st.one_of(st.text(max_size=12), st.lists(PIECES, min_size=1, max_size=5).map("".join))
KEYS = st.sampled_from(
    "n seed output potential device dtype trust_pickle head shard_size outside_domain generator.n_heavy_atoms "
    "generator.elements generator.formula generator.likeness generator.forbidden generator.attachments generator.host "
    "generator.swap_share generator.integrator.s_churn generator.prior generator.guidance.function relaxation.fmax "
    "relaxation.cell screening.checks screening.workers screening.energy_deviation generator relaxation screening "
    "experiment generator/prior generator/guidance generator._target_ hydra.run.dir hydra hydra/launcher defaults "
    "experiment/x .. / generator. .n n.n".split(" ")
)


@QUICK
@given(KEYS | TEXT, TEXT)
@example("output", "a\\${n}")
@example("output", "\\\\${n}\\")
@example("head", "${n}")
@example("generator.forbidden", "[${n},C]")
@example("generator.formula", "NaN")
def test_any_key_and_any_text(key, text):
    found = outcome("generate", [f"{key}={text}"])
    if isinstance(found, str):
        return
    value = OmegaConf.select(found, key) if "/" not in key else None
    if isinstance(value, str) and key not in all_groups():
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
        assert value == (text[1:-1] if quoted else text)
    container = OmegaConf.to_container(found, resolve=True)
    assert all(math.isfinite(value) for value in flatten(container).values() if isinstance(value, float))


@QUICK
@given(st.lists(st.tuples(KEYS, TEXT), max_size=3), st.sampled_from(VERBS))
def test_any_command_line(pairs, verb):
    """Up to the verb's act: a status, never an exception."""
    acts = []
    known = cli.VERBS[verb]
    replaced = cli.Verb(known.about, lambda *given: acts.append(given))
    cli.VERBS[verb] = replaced
    try:
        words = [f"{key}={text}" for key, text in pairs]
        status = cli.main([verb, *words])
    finally:
        cli.VERBS[verb] = known
    assert (status == 0 and (len(acts) == 1 or "--help" in words)) or (status == 2 and not acts)


@QUICK
@given(st.recursive(TEXT, lambda inner: st.lists(inner, max_size=3), max_leaves=5))
def test_literal_text_survives_omegaconf(value):
    if "???" in str(value):
        return  # a missing value, which settings refuse
    config = OmegaConf.create({"key": None})
    OmegaConf.update(config, "key", literal(value))
    assert OmegaConf.to_container(config, resolve=True)["key"] == value


@pytest.mark.parametrize("line", WRONG.read_text().splitlines())
def test_wrong_settings_are_one_line_at_once(line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, verb in cli.VERBS.items():
        if name != "benchmark":  # which refuses some by itself
            monkeypatch.setitem(
                cli.VERBS, name, cli.Verb(verb.about, lambda *given: pytest.fail("it began"), verb.files)
            )
    (tmp_path / "structure.xyz").write_text("1\n\nH 0 0 0\n")
    before = time.perf_counter()
    assert cli.main(shlex.split(line)) == 2
    assert time.perf_counter() - before < 5  # nothing heavy is imported; a busy machine needs patience
    said = capsys.readouterr()
    assert said.err.startswith("gendesign: ") and said.err.count("\n") == 1 and not said.out
    assert [path.name for path in tmp_path.iterdir()] == ["structure.xyz"]


def test_there_are_enough_wrong_settings():
    assert len(set(WRONG.read_text().splitlines())) >= 200


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_with_every_option_of_every_group(verb):
    for group in sorted(all_groups()):
        for option in (*options(group), "null", "", "../x", "a/b"):
            found = outcome(verb, [f"{group}={option}"])
            if option in ("", "../x", "a/b"):
                assert isinstance(found, str), (group, option)


@pytest.mark.parametrize("verb", ["generate", "agent", "benchmark"])
def test_every_experiment_with_every_generator_and_screening(verb):
    choices = [f"{group}={option}" for group in ("generator", "screening") for option in options(group)]
    choices.append("generator/prior=circle")
    for experiment, choice in itertools.product(options("experiment"), choices):
        found = outcome(verb, [f"experiment={experiment}", choice])
        assert verb in verbs_of(experiment) or f"experiment={experiment} is for" in found


@pytest.mark.parametrize("experiment", options("experiment"))
def test_experiments_state_their_verbs_and_compose_with_them(experiment):
    assert "verbs" in OmegaConf.load(conf_folder() / "experiment" / f"{experiment}.yaml")
    for verb in VERBS:
        found = outcome(verb, [f"experiment={experiment}"])
        if verb in verbs_of(experiment):
            assert not isinstance(found, str) and "verbs" not in found
            shown = describe(verb).partition("experiments (")[2]
            assert f"\n  {experiment} " in shown and shown.partition(f"\n  {experiment} ")[2].strip()
        else:
            meant = " and ".join(f"gendesign {SHOWN.get(other, other)}" for other in verbs_of(experiment))
            assert found.startswith(f"experiment={experiment} is for {meant}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("generate experiment=builder", "experiment=builder is for gendesign train generator=agent; those for generate: "),
        ("train generator=agent experiment=perovskite", "is for gendesign generate; those for train generator=agent: builder"),
        ("benchmark molecules experiment=builder", "those for benchmark: pretraining"),
        ("benchmark molecules experiment=pretraining", "is for benchmark pretraining, not molecules"),
        ("generate experiment=pretraining", "is for gendesign benchmark"),
        ("train structure.xyz experiment=demo", "train has no experiments"),
        ("generate experiment=hart", "did you mean heart?"),
        ("generate experiment=heart generator=agent", "experiment=heart goes with generator=simgen, not agent"),
        ("generate generator=agent generator/prior=circle", "no group 'generator/prior' here"),
        ("generate screening=perovskites", "generator=simgen and screening=perovskites do not go together"),
        ("generate generator=perovskite screening=quick", "do not go together"),
        ("benchmark molecules generator=agent", "generator=agent has no generator.n_heavy_atoms"),
        ("train generator=agent task=null", "cannot do without"),
        ("generate generator.prior=circle", "write generator/prior=NAME"),
        ("generate generator=simgen generator=agent", "generator is given twice"),
        ("generate generator.likeness=nan", "a finite number is needed"),
        ("generate n=99999999999999999999", "too large"),
        ("generate output=null", "output=null: this key needs a value"),
        ("generate output=", "output=: the value is missing"),
        ("generate generator.elements=[C,N", "a bracket is not closed"),
        ("generate screening.energy_deviation=low", "give null, or a number above 0"),
    ],
)  # fmt: skip
def test_what_is_said(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "structure.xyz").write_text("1\n\nH 0 0 0\n")
    assert cli.main(words.split()) == 2
    assert said in capsys.readouterr().err


def field(takes: str, **about) -> Field:
    return Field(Setting("", **about), tuple(takes.split(" | ")))


@pytest.mark.parametrize(
    ("takes", "text", "value"),
    [
        ("text | null", "7", "7"),
        ("text | null", "1e5", "1e5"),
        ("text | null", "null", None),
        ("float | null", "0.50", 0.5),
        ("int | null", "3", 3),
        ("int | text", "5-12", "5-12"),
        ("int | text", "9", "9"),
        ("list[int]", "[1,2]", [1, 2]),
        ("list[int]", "3", [3]),
        ("text | list[text]", "a,b", ["a", "b"]),
        ("int | list[float]", "3", 3),
        ("int | list[float]", "[0,1,2]", [0.0, 1.0, 2.0]),
        ("list[list[float]] | null", "[[1,0,0],[0,2,0],[0,0,3]]", [[1, 0, 0], [0, 2, 0], [0, 0, 3]]),
        ("bool", "TRUE", True),
    ],
)
def test_values_have_the_declared_type(takes, text, value):
    assert value_of("some.key", text, field(takes)) == value
    assert type(value_of("some.key", text, field(takes))) is type(value)


@pytest.mark.parametrize("text", ["1,2", "[1,2]", "[[a]]", "[[1],nan]", "[[1,]]"])
def test_what_is_no_matrix(text):
    with pytest.raises(SettingsError):
        value_of("some.key", text, field("list[list[float]] | null"))


@pytest.mark.parametrize(
    ("takes", "about", "text", "said"),
    [
        ("int", {"least": 1}, "0", "key=0: give a whole number of 1 or more"),
        ("int", {"least": 1}, "one", "key=one: a whole number is needed, such as 4"),
        ("float", {"above": 0, "unit": "eV"}, "-1", "key=-1.0: give a number above 0, eV"),
        ("float", {"least": 0, "most": 1}, "2", "key=2.0: give a number from 0 to 1"),
        ("float", {}, "inf", "key=inf: a finite number is needed"),
        ("float | null", {"above": 0}, "0", "key=0.0: give null, or a number above 0"),
        ("int | text", {"least": 1, "allowed": ("auto",)}, "two", "key=two: give auto, or a whole number of 1 or more"),
        ("int | text", {"least": 1, "allowed": ("auto",)}, "0", "key=0: give auto, or a whole number of 1 or more"),
        ("text", {"allowed": ("cpu", "cuda:N")}, "cuda:x", "key=cuda:x: allowed are cpu, cuda:N"),
        ("list[text]", {"allowed": ("a", "b")}, "[a,c]", "key=c: allowed are a, b"),
        ("text", {}, "null", "key=null: this key needs a value"),
    ],
)
def test_bounds_and_allowed_words_are_checked_at_once(takes, about, text, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        value_of("key", text, field(takes, **about))


def test_infinite_values_where_they_are_allowed():
    assert value_of("key", "-inf", field("list[float]", infinite=True)) == [-math.inf]
    assert value_of("key", "cuda:1", field("text", allowed=("cpu", "cuda:N"))) == "cuda:1"


@pytest.mark.parametrize(
    "verb, pair, said",
    [
        ("generate", "workers=-1", "workers=-1: give auto, or a whole number of 0 or more"),
        ("generate", "workers=x", "workers=x: give auto, or a whole number of 0 or more"),
        ("relax", "workers=1.5", "workers=1.5: give auto, or a whole number of 0 or more"),
        ("train", "threads=0", "threads=0: give auto, or a whole number of 1 or more"),
        ("train", "threads=two", "threads=two: give auto, or a whole number of 1 or more"),
        ("label", "workers=0", "workers=0: give null, or a whole number of 1 or more"),
    ],
)
def test_numbers_of_workers_and_threads_are_checked_before_anything_is_loaded(verb, pair, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        resolve(verb, [pair])


def test_usual_numbers_of_workers_and_threads():
    assert resolve("generate", ["workers=auto"]).workers == "auto"
    assert resolve("screen", ["workers=0"]).workers == 0 and resolve("train", ["threads=auto"]).threads == "auto"
    assert resolve("label", ["workers=null"]).workers is None and resolve("label", ["workers=3"]).workers == 3


def test_old_keys_are_refused_with_the_new_one_named(monkeypatch):
    monkeypatch.setitem(settings_module.RENAMED, "generator.wight", ("generator.missing", "generator.likeness"))
    monkeypatch.setitem(settings_module.RENAMED, "easing", "relaxation")
    for word, new in (("generator.wight=1", "generator.likeness"), ("easing.fmax=1", "relaxation.fmax")):
        old = word.partition("=")[0]
        with pytest.raises(SettingsError, match=re.escape(f"{old} is called {new} now; give {new}=...")):
            resolve("generate", [word])


def test_old_keys_in_an_experiment_are_refused(monkeypatch, tmp_path):
    import shutil

    shutil.copytree(conf_folder(), tmp_path / "conf")
    text = "# @package _global_\n# Old.\nverbs: [generate]\ngenerator:\n  wight: 2.0\n"
    (tmp_path / "conf" / "experiment" / "old.yaml").write_text(text)
    (tmp_path / "conf" / "experiment" / "odd.yaml").write_text(text.replace("generator:\n  wight", "nn"))
    for module in (groups_module, settings_module, conf_module):
        monkeypatch.setattr(module, "conf_folder", lambda: tmp_path / "conf", raising=False)
    conf_module.options.cache_clear()
    monkeypatch.setitem(settings_module.RENAMED, "generator.wight", "generator.likeness")
    try:
        said = outcome("generate", ["experiment=old"])
        assert said == "experiment=old: generator.wight is called generator.likeness now; give generator.likeness=..."
        assert outcome("generate", ["experiment=odd"]).startswith("experiment=odd sets nn, which generate has not")
    finally:
        conf_module.options.cache_clear()


def test_help_gives_units_and_bounds():
    lines = {line.split()[0]: line for line in describe("relax").splitlines() if " = " in line}
    assert lines["relaxation.fmax"].endswith("largest force of a relaxed structure (eV/Angstrom, above 0)")
    assert lines["relaxation.optimizer"].endswith("or gradient_descent)") or "lbfgs" in lines["relaxation.optimizer"]
    assert lines["shard_size"].endswith("(from 1)") and lines["seed"].endswith("(from 0)")
    assert meaning(Setting("share", least=0, most=1)) == "share (0 to 1)"


def test_an_old_key_of_another_generator_is_named():
    with pytest.raises(
        SettingsError, match=r"called generator\.composition\.cation now, and belongs to another generator"
    ):
        resolve("generate", ["generator.cation=MA"])
