"""Settings of a verb: conf/ composed, completed by the defaults of classes, then `key=value` checked and set.

Nothing heavy is imported here, so that a mistyped argument is answered at once.
"""

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from gendesign.errors import SettingsError
from gendesign.run.conf import EXPERIMENT, conf_folder, load, options
from gendesign.run.groups import (
    check_together,
    chosen_options,
    composed,
    groups_of,
    is_group,
    refuse_other_generator,
    shown,
)
from gendesign.run.renamed import RENAMED
from gendesign.run.schema import REQUIRED, TARGET, Field, Fields, fields_of
from gendesign.run.values import literal, split_outside, value_of
from gendesign.run.verbs import VERB_SETTINGS

SWEEP = "sweep"
SHORT = {"protocol": "generator.protocol"}  # folders of conf/ that are no groups: a generator reads its files by name
LONGEST = 255  # bytes of one name on usual file systems
CHECKPOINTS = (".model", ".pt", ".pth")


class UnknownKeyError(Exception):
    """A key that the class of its section lacks."""


def resolve(verb: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The settings of `verb` after `key=value` overrides, the last for a key; raises SettingsError of one line."""
    pairs = [split(verb, override) for override in overrides]
    _refuse_repeated(pairs)
    choices = {key: value for key, value in pairs if is_group(key)}
    files = composed(verb, choices)
    files.pop(SWEEP, None)
    check_together(verb, files, choices)
    config = _completed(verb, files, choices)
    for key, text in pairs:
        if key not in choices:
            field = _field(verb, config, key, choices)
            value = value_of(key, text, field)
            _check_path(key, text)
            OmegaConf.update(config, key, literal(value), merge=False)
    OmegaConf.set_struct(config, True)
    return config


def field_of(verb: str, config: Mapping[str, Any] | DictConfig, key: str) -> Field | None:
    """The field behind a key of a verb's settings, None for an unknown key."""
    *above, last = key.split(".")
    fields, section = fields_of(VERB_SETTINGS[verb]), cast(Any, config)
    for name in above:
        section = section.get(name) if isinstance(section, Mapping | DictConfig) else None
        if not isinstance(section, Mapping | DictConfig):
            return None
        fields = _fields(section, fields.get(name))
    return fields.get(last)


def swept(verb: str, overrides: Sequence[str] = ()) -> dict[str, list[str]]:
    """The values that an experiment's section `sweep` has for its keys; none without such a section."""
    choices = dict(pair for pair in (split(verb, override) for override in overrides) if is_group(pair[0]))
    section = composed(verb, choices).get(SWEEP) if EXPERIMENT in choices else None
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


def keys_of(config: DictConfig) -> dict[str, Any]:
    """The keys of resolved settings with their values, those of the run first."""
    rows = flatten(OmegaConf.to_container(config, resolve=True))
    ordered = sorted(rows, key=lambda key: ("." in key, key != "n"))
    return {key: rows[key] for key in ordered if not key.endswith(TARGET)}


def split(verb: str, override: str) -> tuple[str, str]:
    """Key and text of `key=value`; raises SettingsError for anything else."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise SettingsError(f"'{override}' is not key=value; see gendesign {shown(verb)} --help")
    if key.startswith(("+", "~")):
        raise SettingsError(f"'{override}': keys cannot be added or removed; see gendesign {verb} --help")
    return SHORT.get(key, key), value


def _refuse_repeated(pairs: Sequence[tuple[str, str]]) -> None:
    """Raise SettingsError for a group that is given two options; of keys the last value counts."""
    texts: dict[str, str] = {}
    for key, text in pairs:
        if is_group(key) and texts.setdefault(key, text) != text:
            raise SettingsError(f"{key} is given twice, {key}={texts[key]} and {key}={text}; give it once")


def _completed(verb: str, files: DictConfig, choices: Mapping[str, str]) -> DictConfig:
    """What conf/ says of a verb, and the defaults of all fields that it does not name."""
    absent = frozenset(group for group, option in chosen_options(verb, choices).items() if option == "null")
    content: Any = OmegaConf.to_container(files)
    try:
        config = OmegaConf.create(_complete(content, fields_of(VERB_SETTINGS[verb]), "", absent))
    except UnknownKeyError as error:
        raise _strange(verb, choices, str(error)) from None
    return config


def _complete(section: Mapping[str, Any], fields: Fields, path: str, absent: frozenset[str]) -> dict[str, Any]:
    """A section with the defaults of its class, in their order; raises UnknownKeyError."""
    whole: dict[str, Any] = {TARGET: section[TARGET]} if TARGET in section else {}
    for name in dict.fromkeys([*fields, *(key for key in section if key != TARGET)]):
        field, key = fields.get(name), f"{path}{name}"
        value = section.get(name)
        wanted = field is not None and field.section and not field.optional and key not in absent
        if isinstance(value, dict) or (wanted and value is None):
            inner = value or {}
            known = _fields(inner, field)
            if field is None and not is_group(key.replace(".", "/")):
                raise UnknownKeyError(key)
            whole[name] = _complete(inner, known, f"{key}.", absent)
        elif name in section:
            if field is None and not is_group(key.replace(".", "/")):
                raise UnknownKeyError(key)
            whole[name] = value
        elif field is not None and field.default is not REQUIRED:
            whole[name] = list(field.default) if isinstance(field.default, list) else field.default
    return whole


def _fields(section: Mapping[str, Any] | DictConfig, field: Field | None) -> Fields:
    """The fields of a section: those of its `_target_`, else of the class that its own field names."""
    return fields_of(section.get(TARGET) or (field.section if field else ""))


def _strange(verb: str, choices: Mapping[str, str], key: str) -> SettingsError:
    """What to say of a key in conf/ that its class lacks."""
    if new := next(_new_names(key), ""):
        origin = f"experiment={choices[EXPERIMENT]}: " if EXPERIMENT in choices else ""
        return SettingsError(f"{origin}{key} is called {new} now; give {new}=...")
    chosen = chosen_options(verb, choices)
    group = key.rpartition(".")[0].replace(".", "/")
    if group in chosen:
        refuse_other_generator(verb, choices)
        option = f"{group}={chosen[group]}"
        return SettingsError(f"{option} has no {key}, which {shown(verb)} sets here; choose another {group}")
    source = f"experiment={choices[EXPERIMENT]}" if EXPERIMENT in choices else f"conf/{verb}.yaml"
    return SettingsError(f"{source} sets {key}, which {shown(verb)} has not; leave it out there")


def _field(verb: str, config: DictConfig, key: str, choices: Mapping[str, str]) -> Field:
    """The field behind a key that is there; raises SettingsError that says what is meant for any other."""
    if (group := key.replace(".", "/")) != key and group in groups_of(verb, choices):
        raise SettingsError(f"'{key}' is a group: write {group}=NAME: one of {', '.join(options(group))}")
    known = keys_of(config)
    field = field_of(verb, config, key) if key in known else None
    if field is not None and field.plain:
        return field
    names = list(known)
    if within := [name for name in names if name.startswith(f"{key}.")]:
        raise SettingsError(f"'{key}' is a section: set its keys, such as {within[0]}")
    if new := next((new for new in _new_names(key) if _exists_as(new, names)), ""):
        raise SettingsError(f"{key} is called {new} now; give {new}=...")
    near = difflib.get_close_matches(key, names, n=2, cutoff=0.6)
    short = dict.fromkeys(f"{name.partition('.')[0]}.*" if "." in name else name for name in names)
    hint = f"did you mean {' or '.join(near)}?" if near else f"allowed: {', '.join(short)};"
    if new := next(_new_names(key), ""):
        hint = f"it is called {new} now, and belongs to another {key.partition('.')[0]};"
    elif others := _owners(verb, choices, key):
        hint = f"it belongs to {' and '.join(others)};"
    raise SettingsError(f"unknown key '{key}': {hint} see gendesign {verb} --help")


def _owners(verb: str, choices: Mapping[str, str], key: str) -> list[str]:
    """The options of the key's group that have it, as they are chosen: generator=amorphous."""
    section, _, name = key.rpartition(".")
    group = section.replace(".", "/")
    if group not in groups_of(verb, choices):
        return []
    targets = {option: load(conf_folder() / group / f"{option}.yaml").get(TARGET, "") for option in options(group)}
    return [f"{group}={option}" for option, target in targets.items() if name in fields_of(target)]


def _new_names(key: str) -> Iterator[str]:
    """The present names of a key that was renamed, itself or with a section around it; none for others."""
    parts = key.split(".")
    for end in range(len(parts), 0, -1):
        new = RENAMED.get(".".join(parts[:end]), ())
        for name in (new,) if isinstance(new, str) else new:
            yield ".".join([name, *parts[end:]])


def _exists_as(new: str, names: Iterable[str]) -> bool:
    return is_group(new) or any(name == new or name.startswith(f"{new}.") for name in names)


def _check_path(key: str, text: str) -> None:
    """Raise SettingsError for an impossible path."""
    looks = "/" in text or "\\" in text or text.endswith(CHECKPOINTS)
    if key == "potential" and looks and not _exists(text):
        raise SettingsError(f"potential={text}: no such file or folder; give a path, or a name such as organic")
    if key == "output" and any(len(part.encode()) > LONGEST for part in Path(text).parts):
        raise SettingsError(f"output={text[:40]}...: a name of more than {LONGEST} bytes; give a shorter one")


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # a name too long, a user who is not there
        return False
