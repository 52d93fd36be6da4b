"""Settings of a verb: the conf/ tree composed by Hydra, then key=value arguments checked and taken literally.

Nothing heavy is imported here, so that a mistyped argument is answered at once.
"""

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gendesign.errors import SettingsError
from gendesign.run.values import literal, split_outside, value_of

ALLOWED = {"device": ("auto", "cpu", "cuda", "cuda:N"), "dtype": ("float32", "float64"),
           "outside_domain": ("refuse", "warn", "ignore"),
           "generator.objective.combine": ("geometric", "arithmetic")}  # fmt: skip
LEAST = {"n": 1, "shard_size": 1, "seed": 0}
LEAST_OR_AUTO = {"workers": 0, "threads": 1}
LONGEST = 255  # bytes of one name on usual file systems
EXPERIMENT, VERBS = "experiment", "verbs"
# Groups that a verb can do without, besides those that are null from the beginning.
MATCHING = ("generator", "screening")
LEFT_OUT = {
    "generate": ("relaxation", "screening"),
    "agent": ("relaxation", "screening", "expert_iteration"),
    "train": ("architecture",),
    "validate": ("teacher",),
    "label": ("teacher",),  # refused by `label_files`, in words of its own
}
SHOWN = {"agent": "train generator=agent"}


def conf_folder() -> Path:
    """The conf/ tree: inside an installed package, else beside the package in the repository."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "generate.yaml").is_file():
            return folder
    raise SettingsError(f"the settings tree conf/ is missing beside {package}: install gendesign again")


def resolve(verb: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The settings of `verb` after `key=value` overrides, the last for a key; raises SettingsError of one line."""
    pairs = [_split(verb, override) for override in overrides]
    _refuse_repeated(pairs)
    choices = {key: value for key, value in pairs if _is_group(key)}
    config = _compose(verb, choices)
    for section in ("sweep", VERBS):
        config.pop(section, None)
    _check_together(verb, config, choices)
    groups, meanings = _groups(verb, choices), _meanings(verb, choices)
    for key, text in pairs:
        if key not in choices:
            default = _default(verb, config, key, groups)
            value = value_of(key, text, default)
            _check(key, text, value)
            if key in LEAST_OR_AUTO:
                value = _count(key, text, value, default)
            if value is None and not _takes_null(config, key, meanings.get(key, "")):
                raise SettingsError(f"{key}=null: this key needs a value; give one, or leave {key} out")
            OmegaConf.update(config, key, literal(value))
    OmegaConf.set_struct(config, True)
    return config


def _refuse_repeated(pairs: Sequence[tuple[str, str]]) -> None:
    """Raise SettingsError for a group that is given two options; of keys the last value counts."""
    texts: dict[str, str] = {}
    for key, text in pairs:
        if _is_group(key) and texts.setdefault(key, text) != text:
            raise SettingsError(f"{key} is given twice, {key}={texts[key]} and {key}={text}; give it once")


def _takes_null(config: DictConfig, key: str, meaning: str) -> bool:
    """Whether a key may be null: it is so by default, its comment says so, or its class judges later (run/build.py)."""
    above = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else None
    return OmegaConf.select(config, key) is None or "null" in meaning or "_target_" in (above or {})


def swept(verb: str, overrides: Sequence[str] = ()) -> dict[str, list[str]]:
    """The values that an experiment's section `sweep` has for its keys; none without such a section."""
    groups = dict(pair for pair in (_split(verb, override) for override in overrides) if _is_group(pair[0]))
    section = _compose(verb, groups).get("sweep") if "experiment" in groups else None
    return {key: [str(value) for value in values] for key, values in (section or {}).items()}


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """Every combination of comma lists in `key=a,b` overrides; commas inside brackets do not split."""
    choices = []
    for override in overrides:
        key, _, text = override.partition("=")
        choices.append([f"{key}={part}" for part in split_outside(text)])
    return [list(combination) for combination in itertools.product(*choices)]


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as {'group.key': value}; lists are values."""
    if not isinstance(config, dict):
        return {prefix: config}
    rows: dict[str, Any] = {}
    for key, value in config.items():
        rows |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return rows


def describe(verb: str, overrides: Sequence[str] = ()) -> str:
    """The resolved settings as aligned `key = value   meaning` lines; meanings are the comments in conf/."""
    config = resolve(verb, overrides)
    choices = dict(_split(verb, override) for override in overrides)
    rows = flatten(OmegaConf.to_container(config, resolve=True))
    shown = {key: _show(rows[key]) for key in _ordered(rows) if not key.endswith("_target_")}
    meanings = _meanings(verb, choices)
    width = max(len(key) for key in shown)
    wide = max(min(len(value), 24) for value in shown.values())
    lines = [f"  {key:<{width}} = {value:<{wide}}  {meanings.get(key, '')}".rstrip() for key, value in shown.items()]
    groups = _groups(verb, choices)
    chosen = [f"  {group:<{width}} : {', '.join(_options(group))}" for group in groups if group != EXPERIMENT]
    heading = "groups (group=name chooses a file of conf/, group=null leaves the step out):"
    return "\n".join([*lines, "", heading, *chosen, *(_experiments(verb) if EXPERIMENT in groups else [])])


def _experiments(verb: str) -> list[str]:
    """Lines on the experiments that fit a verb."""
    fitting = {name: about(name) for name in _options(EXPERIMENT) if verb in verbs_of(name)}
    if not fitting:
        return []
    width = max(map(len, fitting))
    lines = [f"  {name:<{width}}  {text}" for name, text in fitting.items()]
    return ["", "experiments (experiment=name, settings that go together):", *lines]


def _split(verb: str, override: str) -> tuple[str, str]:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise SettingsError(f"'{override}' is not key=value; see gendesign {shown(verb)} --help")
    if key.startswith(("+", "~")):
        raise SettingsError(f"'{override}': keys cannot be added or removed; see gendesign {verb} --help")
    return key, value


def _check(key: str, text: str, value: Any) -> None:
    if key == "potential" and not _exists(text) and re.search(r"[/\\]|\.(model|pt|pth)$", text):
        raise SettingsError(f"potential={text}: no such file or folder; give a path, or a name such as organic")
    if key == "output" and any(len(part.encode()) > LONGEST for part in Path(text).parts):
        raise SettingsError(f"output={text[:40]}...: a name of more than {LONGEST} bytes; give a shorter one")
    if key in ALLOWED and re.sub(r"^cuda:\d+$", "cuda", str(value)) not in ALLOWED[key]:
        raise SettingsError(f"{key}={text}: allowed are {', '.join(ALLOWED[key])}")
    if key in LEAST and (value is None or value < LEAST[key]):
        raise SettingsError(f"{key}={text}: a whole number of {LEAST[key]} or more is needed")


def _count(key: str, text: str, value: Any, default: Any) -> Any:
    """A number of workers or threads; null and auto where the key's default says that they mean something."""
    word = {"None": "null", "auto": "auto"}.get(str(default))
    least = 1 if word == "null" else LEAST_OR_AUTO[key]
    if word and str(value) in (word, str(default)):
        return default
    if not str(value).isdecimal() or int(value) < least:
        raise SettingsError(f"{key}={text}: give {f'{word}, or ' if word else ''}a whole number of {least} or more")
    return int(value)


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # a name too long, a user who is not there
        return False


def shown(verb: str) -> str:
    """The verb as it is typed."""
    return SHOWN.get(verb, verb)


def verbs_of(experiment: str) -> tuple[str, ...]:
    """The verbs that an experiment's file says it is for; generate where it does not say."""
    return tuple(_load(conf_folder() / EXPERIMENT / f"{experiment}.yaml").get(VERBS, ["generate"]))


def about(experiment: str) -> str:
    """The comment at the top of an experiment's file, in one line."""
    lines = (conf_folder() / EXPERIMENT / f"{experiment}.yaml").read_text().splitlines()
    comments = itertools.takewhile(lambda line: line.startswith("#"), (x for x in lines if not x.startswith("# @")))
    return " ".join(line.lstrip("# ") for line in comments)


def _check_together(verb: str, config: DictConfig, choices: Mapping[str, str]) -> None:
    """Raise SettingsError for a section with keys that the option chosen for it lacks, and for a screening of other
    structures than the generator makes."""
    chosen = _chosen(verb, choices)
    for group, option in chosen.items():
        section = OmegaConf.select(config, group.replace("/", "."))
        if option == "null" or not isinstance(section, DictConfig):
            continue
        path = conf_folder() / group / f"{option}.yaml"
        known = _load(path).keys() | _defaults(path).keys()
        if strange := [key for key in section if key not in known]:
            _refuse_other_generator(verb, choices)
            key = f"{group.replace('/', '.')}.{strange[0]}"
            raise SettingsError(f"{group}={option} has no {key}, which {shown(verb)} sets here; choose another {group}")
    kinds = {group: ".perovskite." in str(OmegaConf.select(config, f"{group}._target_")) for group in MATCHING}
    there = [group for group in MATCHING if group in chosen and chosen[group] != "null"]
    if len(there) == len(MATCHING) and len(set(kinds.values())) > 1:
        given = " and ".join(f"{group}={chosen[group]}" for group in MATCHING)
        raise SettingsError(f"{given} do not go together: one is for crystals, one for molecules; leave screening out")


def _is_group(key: str) -> bool:
    return key in _all_groups()


@cache
def _all_groups() -> frozenset[str]:
    folder = conf_folder()
    return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_dir())


@cache
def _options(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def _groups(verb: str, choices: Mapping[str, str]) -> dict[str, str]:
    """The groups of a verb and of the options chosen in them, and the option each starts with."""
    own = dict(_defaults(conf_folder() / f"{verb}.yaml"))
    brought = _brought(conf_folder() / EXPERIMENT / f"{choices.get(EXPERIMENT)}.yaml")
    own |= {group: option for group, option in brought.items() if group in own}
    if "generator" in own:  # a generator may bring the relaxation and the screening of its kind of structures
        path = conf_folder() / "generator" / f"{choices.get('generator', own['generator'])}.yaml"
        own |= {group: option for group, option in _brought(path).items() if group in own and group not in brought}
    chosen = {group: choices.get(group, start) for group, start in own.items() if group != EXPERIMENT}
    files = {group: conf_folder() / group / f"{option}.yaml" for group, option in chosen.items()}
    within = {f"{group}/{sub}": start for group, path in files.items() for sub, start in _defaults(path).items()}
    return own | {group: brought.get(group, start) for group, start in within.items()}


def _chosen(verb: str, choices: Mapping[str, str]) -> dict[str, str]:
    """The option of every group but the experiment, as it is composed."""
    return {group: choices.get(group, start) for group, start in _groups(verb, choices).items() if group != EXPERIMENT}


@cache
def _defaults(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^  - (\w+): (\w+)", path.read_text(), re.MULTILINE)) if path.is_file() else {}


@cache
def _load(path: Path) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else {}


def _brought(path: Path) -> dict[str, str]:
    """The options of other groups that a file of conf/ overrides."""
    entries = [pair for entry in _load(path).get("defaults", []) if isinstance(entry, dict) for pair in entry.items()]
    return {key.removeprefix("override /").split("@")[0]: option for key, option in entries}


def _compose(verb: str, choices: Mapping[str, str]) -> DictConfig:
    _check_choices(verb, choices)
    return _composed(verb, tuple(choices.items())).copy()


@cache
def _composed(verb: str, pairs: tuple[tuple[str, str], ...]) -> DictConfig:
    choices = dict(pairs)
    used = _groups(verb, choices)
    # an experiment may have chosen otherwise, so that with one even the usual choice is said
    said = {group: name for group, name in choices.items() if name != used[group] or EXPERIMENT in choices}
    nothing = [group for group, name in said.items() if name == "null" and "/" in group]
    words = [f"{group}={name}" if name != "null" else f"~{group}" for group, name in said.items()
             if group not in nothing]  # fmt: skip
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3", job_name="gendesign"):
            config = compose(verb, overrides=words)
    except (HydraException, OmegaConfBaseException) as error:
        _refuse_other_generator(verb, choices)
        given = " ".join(f"{group}={name}" for group, name in choices.items())
        reason = str(error).strip().splitlines()[0]
        raise SettingsError(f"{given}: these do not go together in {shown(verb)} ({reason}); leave one out") from None
    OmegaConf.set_struct(config, False)
    for group in nothing:
        OmegaConf.update(config, group.replace("/", "."), None, force_add=True)
    return config


def _refuse_other_generator(verb: str, choices: Mapping[str, str]) -> None:
    """Raise SettingsError where an experiment is given with another generator than its own."""
    own = _groups(verb, {EXPERIMENT: choices.get(EXPERIMENT, "null")}).get("generator")
    if choices.get(EXPERIMENT, "null") != "null" and choices.get("generator", own) != own:
        given = choices["generator"]
        raise SettingsError(f"experiment={choices[EXPERIMENT]} goes with generator={own}, not {given}; leave one out")


def _check_choices(verb: str, choices: Mapping[str, str]) -> None:
    """Raise SettingsError for groups that the verb has not, options that the group has not, and misfits."""
    if (name := choices.get(EXPERIMENT, "null")) != "null":
        if name not in _options(EXPERIMENT):
            near = difflib.get_close_matches(name, _options(EXPERIMENT), n=1)
            fits = ", ".join(option for option in _options(EXPERIMENT) if verb in verbs_of(option)) or "none"
            hint = f"did you mean {near[0]}? " if near else ""
            raise SettingsError(f"experiment={name} is unknown; {hint}those for {shown(verb)}: {fits}")
        if verb not in verbs_of(name):
            meant = " and ".join(f"gendesign {shown(other)}" for other in verbs_of(name))
            fits = ", ".join(option for option in _options(EXPERIMENT) if verb in verbs_of(option))
            other = f"those for {shown(verb)}: {fits}" if fits else f"{shown(verb)} has no experiments; leave it out"
            raise SettingsError(f"experiment={name} is for {meant}; {other}")
    if "generator" in _brought(conf_folder() / EXPERIMENT / f"{choices.get(EXPERIMENT)}.yaml"):
        _refuse_other_generator(verb, choices)
    used = _groups(verb, choices)
    usual = used | _groups(verb, {group: name for group, name in choices.items() if group != EXPERIMENT})
    for group, name in choices.items():
        if group not in used:
            allowed = ", ".join(used) or "none"
            raise SettingsError(f"{group}={name}: {shown(verb)} has no group '{group}' here; its groups are {allowed}")
        if name == "null" and not _may_be_left_out(verb, group, usual[group]):
            listed = ", ".join(_options(group))
            raise SettingsError(f"{group}=null: {shown(verb)} cannot do without; allowed: {listed}")
        if name != "null" and name not in _options(group):
            null = " or null" if _may_be_left_out(verb, group, usual[group]) else ""
            raise SettingsError(f"{group}={name} is unknown; allowed: {', '.join(_options(group))}{null}")


def _may_be_left_out(verb: str, group: str, start: str) -> bool:
    return start == "null" or group == EXPERIMENT or group in LEFT_OUT.get(verb, ())


def _default(verb: str, config: DictConfig, key: str, groups: Iterable[str]) -> Any:
    if (group := key.replace(".", "/")) != key and group in groups:
        raise SettingsError(f"'{key}' is a group: write {group}=NAME: one of {', '.join(_options(group))}")
    known = flatten(OmegaConf.to_container(config, resolve=True))
    if key in known and not key.endswith("_target_"):
        return known[key]
    names = [name for name in known if not name.endswith("_target_")]
    if any(name.startswith(f"{key}.") for name in names):
        example = next(name for name in names if name.startswith(f"{key}."))
        raise SettingsError(f"'{key}' is a section: set its keys, such as {example}")
    near = difflib.get_close_matches(key, names, n=2, cutoff=0.6)
    short = dict.fromkeys(re.sub(r"\..*", ".*", name) for name in _ordered(names))
    hint = f"did you mean {' or '.join(near)}?" if near else f"allowed: {', '.join(short)};"
    raise SettingsError(f"unknown key '{key}': {hint} see gendesign {verb} --help")


def _ordered(keys: Iterable[str]) -> list[str]:
    """The run's own keys first, then the groups'."""
    return sorted(keys, key=lambda key: ("." in key, key != "n"))


def _show(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(map(str, value)) + "]"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return str(value)


@cache
def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _meanings(verb: str, choices: dict[str, str]) -> dict[str, str]:
    """Comments of the YAML files that were composed; a verb's own file speaks last."""
    folder = conf_folder()
    files = [("", folder / "common.yaml"), ("", folder / f"{verb}.yaml")]
    for group, start in _groups(verb, choices).items():
        chosen = choices.get(group, start)
        if chosen != "null" and group != EXPERIMENT:
            files.append((f"{group.replace('/', '.')}.", folder / group / f"{chosen}.yaml"))
    meanings: dict[str, str] = {}
    for prefix, path in files:
        section = ""
        for line in _lines(path):
            if found := re.match(r"(\w+):$", line):
                section = f"{found[1]}."
            elif found := re.match(r"( *)(\w+):[^#]*#\s*(.+)$", line):
                meanings[prefix + (section if found[1] else "") + found[2]] = found[3]
    return meanings
