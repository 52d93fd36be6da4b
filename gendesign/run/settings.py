"""Settings of a verb: the conf/ tree composed by Hydra, then key=value arguments checked and taken literally.

Nothing heavy is imported here, so that a mistyped argument is answered at once.
"""

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict

ALLOWED = {"device": ("auto", "cpu", "cuda", "cuda:N"), "dtype": ("float32", "float64"),
           "outside_domain": ("refuse", "warn", "ignore")}  # fmt: skip
LEAST = {"n": 1, "shard_size": 1, "seed": 0}
NUMBERS = {int: "a whole number", float: "a number"}


class SettingsError(ValueError):
    """An argument the user can mend; one line, found before anything heavy is imported."""


def conf_folder() -> Path:
    """The conf/ tree: inside an installed package, else beside the package in the repository."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "generate.yaml").is_file():
            return folder
    raise SettingsError(f"the settings tree conf/ is missing beside {package}: install gendesign again")


def resolve(verb: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The settings of `verb` after `key=value` overrides; raises SettingsError with one line."""
    pairs = [_split(verb, override) for override in overrides]
    config = _compose(verb, [(key, value) for key, value in pairs if _is_group(key)])
    with open_dict(config):
        config.pop("sweep", None)
    for key, text in pairs:
        if not _is_group(key):
            value = _value(key, text, _default(verb, config, key))
            _check(key, text, value)
            OmegaConf.update(config, key, value)
    return config


def swept(verb: str, overrides: Sequence[str] = ()) -> dict[str, list[str]]:
    """The values that an experiment's section `sweep` has for its keys; none without such a section."""
    groups = [pair for pair in (_split(verb, override) for override in overrides) if _is_group(pair[0])]
    section = _compose(verb, groups).get("sweep") if "experiment" in dict(groups) else None
    return {key: [str(value) for value in values] for key, values in (section or {}).items()}


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """Every combination of comma lists in `key=a,b` overrides; commas inside brackets do not split."""
    choices = []
    for override in overrides:
        key, _, text = override.partition("=")
        choices.append([f"{key}={part}" for part in split_outside(text)])
    return [list(combination) for combination in itertools.product(*choices)]


def split_outside(text: str) -> list[str]:
    """Parts of a text between the commas that stand in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _unwrapped(text: str) -> str:
    """Without the brackets around the whole of it: [a,b] is a,b, but [#7]-[#7] stays."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if depth == 0:
            return text[1:-1] if letter == "]" and place == len(text) - 1 and text[0] == "[" else text
    return text


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
    groups = [f"  {group:<{width}} : {', '.join(_options(group))}" for group in _groups(verb, choices)]
    heading = "groups (group=name chooses a file of conf/, group=null leaves the step out):"
    return "\n".join([*lines, "", heading, *groups])


def _split(verb: str, override: str) -> tuple[str, str]:
    key, equals, value = override.partition("=")
    if not equals:
        raise SettingsError(f"'{override}' is not key=value; see gendesign {verb} --help")
    if key.startswith(("+", "~")):
        raise SettingsError(f"'{override}': keys cannot be added or removed; see gendesign {verb} --help")
    return key, value


def _check(key: str, text: str, value: Any) -> None:
    if key == "potential" and not Path(text).expanduser().exists() and re.search(r"[/\\]|\.(model|pt|pth)$", text):
        raise SettingsError(f"potential={text}: no such file or folder; give a path, or a name such as organic")
    if key in ALLOWED and re.sub(r"^cuda:\d+$", "cuda", str(value)) not in ALLOWED[key]:
        raise SettingsError(f"{key}={text}: allowed are {', '.join(ALLOWED[key])}")
    if key in LEAST and (value is None or value < LEAST[key]):
        raise SettingsError(f"{key}={text}: a whole number of {LEAST[key]} or more is needed")


def _is_group(key: str) -> bool:
    return (conf_folder() / key).is_dir() and bool(key)


def _options(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def _groups(verb: str, choices: Mapping[str, str]) -> dict[str, str]:
    """The groups of a verb and of the options chosen in them, and the option each starts with."""
    own = _defaults(conf_folder() / f"{verb}.yaml")
    if "generator" in own:  # a generator may bring the relaxation and the screening of its kind of structures
        own |= _brought(conf_folder() / "generator" / f"{choices.get('generator', own['generator'])}.yaml", own)
    chosen = {group: choices.get(group, start) for group, start in own.items() if group != "experiment"}
    files = {group: conf_folder() / group / f"{option}.yaml" for group, option in chosen.items()}
    within = {f"{group}/{sub}": start for group, path in files.items() for sub, start in _defaults(path).items()}
    return own | within


def _defaults(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^  - (\w+): (\w+)", path.read_text(), re.MULTILINE)) if path.is_file() else {}


def _brought(path: Path, groups: Mapping[str, str]) -> dict[str, str]:
    listed = OmegaConf.load(path).get("defaults", []) if path.is_file() else []
    entries = [pair for entry in listed if isinstance(entry, DictConfig) for pair in entry.items()]
    found = {key.removeprefix("override /").split("@")[0]: option for key, option in entries}
    return {group: option for group, option in found.items() if group in groups}


def _compose(verb: str, choices: list[tuple[str, str]]) -> DictConfig:
    used = _groups(verb, dict(choices))
    for group, name in choices:
        if group not in used:
            allowed = ", ".join(used) or "none"
            raise SettingsError(f"{group}={name}: {verb} has no group '{group}'; its groups are {allowed}")
        if name == "null" and group == "generator":
            raise SettingsError(f"generator=null: {verb} needs a generator; allowed: {', '.join(_options(group))}")
        if name != "null" and name not in _options(group):
            raise SettingsError(f"{group}={name} is unknown; allowed: {', '.join(_options(group))} or null")
    with initialize_config_dir(str(conf_folder()), version_base="1.3", job_name="gendesign"):
        # an experiment may have chosen otherwise, so that with one even the usual choice is said
        said = [(group, name) for group, name in choices if name != used[group] or "experiment" in dict(choices)]
        nothing = [group for group, name in said if name == "null" and "/" in group]
        words = [f"{group}={name}" if name != "null" else f"~{group}" for group, name in said if group not in nothing]
        config = compose(verb, overrides=words)
    for group in nothing:
        OmegaConf.update(config, group.replace("/", "."), None, force_add=True)
    return config


def _default(verb: str, config: DictConfig, key: str) -> Any:
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


def _value(key: str, text: str, default: Any) -> Any:
    """`text` as the type of `default`; text stays literal, so that C#N and CCCC[NH3+] need no second quoting.

    Quotes around all of it, which Hydra's own grammar asks for, make no difference to texts; quoted numbers are texts
    where both are allowed.
    """
    if text == "null":
        return None
    if (quoted := re.fullmatch(r"(['\"])(.*)\1", text)) and not isinstance(default, list):
        text, default = quoted[2], "" if default is None else default
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise SettingsError(f"{key}={text}: allowed are true and false")
        return text.lower() == "true"
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            raise SettingsError(f"{key}={text}: {NUMBERS[type(default)]} is needed, such as {default}") from None
    if isinstance(default, list):
        items = [item.strip().strip("'\"") for item in split_outside(_unwrapped(text.strip()))]
        return [_value(key, item, default[0] if default else "") for item in items if item]
    if default is None:
        return _number_or_text(text)
    return text.replace("${", "\\${")


def _number_or_text(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _ordered(keys: Iterable[str]) -> list[str]:
    """The run's own keys first, then the groups'."""
    return sorted(keys, key=lambda key: ("." in key, key != "n"))


def _show(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(map(str, value)) + "]"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return str(value)


def _meanings(verb: str, choices: dict[str, str]) -> dict[str, str]:
    """Comments of the YAML files that were composed; a verb's own file speaks last."""
    folder = conf_folder()
    files = [("", folder / "common.yaml"), ("", folder / f"{verb}.yaml")]
    for group, start in _groups(verb, choices).items():
        chosen = choices.get(group, start)
        if chosen != "null" and group != "experiment":
            files.append((f"{group.replace('/', '.')}.", folder / group / f"{chosen}.yaml"))
    meanings: dict[str, str] = {}
    for prefix, path in files:
        section = ""
        for line in path.read_text().splitlines():
            if found := re.match(r"(\w+):$", line):
                section = f"{found[1]}."
            elif found := re.match(r"( *)(\w+):[^#]*#\s*(.+)$", line):
                meanings[prefix + (section if found[1] else "") + found[2]] = found[3]
    return meanings
