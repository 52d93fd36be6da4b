"""The settings that classes declare, read from their fields and annotations; imports all of these classes.

Used to make schema.json and to test it, never while the command line answers.
"""

import dataclasses
import inspect
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object

from gendesign.fields import KEY, SECTION, Section, Setting
from gendesign.run.conf import conf_folder, load, starts
from gendesign.run.schema import PATH, REQUIRED, TARGET, Field, to_json
from gendesign.run.verbs import VERB_SETTINGS

PLAIN = {bool: "bool", int: "int", float: "float", str: "text", Path: "text", types.NoneType: "null"}
UNIONS, LISTS = (Union, types.UnionType), (list, tuple, Sequence)


def write_schema() -> None:
    """Write schema.json anew."""
    PATH.write_text(to_json(declared()))


def declared() -> dict[str, dict[str, Field]]:
    """The fields of every class and function that conf/ names by `_target_`, of the verbs, and of their sections."""
    used = used_in_conf()
    waiting = [*VERB_SETTINGS.values(), *used]
    fields_by_class: dict[str, dict[str, Field]] = {}
    while waiting:
        target = waiting.pop()
        if target not in fields_by_class:
            fields_by_class[target] = fields_declared_by(target, used.get(target, set()))
            waiting += [field.section for field in fields_by_class[target].values() if field.section]
    return fields_by_class


def used_in_conf() -> dict[str, set[str]]:
    """The keys, and the groups within, that files of conf/ give to every `_target_`."""
    used: dict[str, set[str]] = {}
    for path in sorted(conf_folder().rglob("*.yaml")):
        content = load(path)
        if TARGET in content:
            used.setdefault(content[TARGET], set()).update(starts(path))
        for section in _sections(content):
            if TARGET in section:
                used.setdefault(section[TARGET], set()).update(section.keys() - {TARGET, "defaults"})
    return used


def _sections(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, dict):
        yield content
        for value in content.values():
            yield from _sections(value)


def fields_declared_by(target: str, used: Collection[str] = ()) -> dict[str, Field]:
    """The fields of a dataclass, or the parameters of a function, that are settings, in their order.

    These are fields made by `setting` and `section`, parameters annotated with a Setting, objects that sections of
    their own describe, and those that conf/ uses.
    """
    out: dict[str, Field] = {}
    for name, hint, default, metadata in _members(get_object(target)):
        about = metadata.get(KEY)
        section: Section | None = metadata.get(SECTION)
        if section is not None:
            out[name] = Field(Setting(""), section=section.target, optional=section.optional)
            continue
        takes = tuple(dict.fromkeys(_takes(hint)))
        takes = takes if set(takes) - {"null"} else ()
        if about is not None or name in used or (not takes and default is not MISSING):
            out[name] = Field(about or Setting(""), takes, _plain(default) if takes else REQUIRED)
    return out


def _members(declaring: Any) -> Iterator[tuple[str, Any, Any, Mapping[str, Any]]]:
    """(name, annotation, default, metadata) of what a dataclass or a function takes."""
    hints = get_type_hints(declaring, include_extras=True)
    if is_dataclass(declaring):
        for field in dataclasses.fields(declaring):
            if field.init:
                made = field.default if field.default_factory is MISSING else field.default_factory()
                yield field.name, hints[field.name], made, field.metadata
        return
    function: Callable[..., Any] = declaring
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints.get(name, Any)
        extras = hint.__metadata__ if get_origin(hint) is Annotated else ()
        about = next((extra for extra in extras if isinstance(extra, Setting)), None)
        default = MISSING if parameter.default is inspect.Parameter.empty else parameter.default
        yield name, hint, default, {KEY: about}


def _takes(hint: Any) -> list[str]:
    """What values an annotation allows that can be typed; nothing for objects."""
    if hint in PLAIN:
        return [PLAIN[hint]]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _takes(inner[0])
    if origin is Literal:
        return [PLAIN[type(value)] for value in inner]
    if origin in UNIONS:
        return [kind for part in inner for kind in _takes(part)]
    if origin in LISTS:
        parts = [part for part in inner if part is not Ellipsis]
        return [f"list[{kind}]" for part in parts for kind in (["text"] if part is Any else _takes(part))]
    return []


def _plain(default: Any) -> Any:
    """A default as settings hold it, REQUIRED for none and for an object."""
    if default is None or isinstance(default, bool | int | float | str):
        return default
    if isinstance(default, list | tuple):
        items = [_plain(item) for item in default]
        return REQUIRED if any(item is REQUIRED for item in items) else items
    return str(default) if isinstance(default, Path) else REQUIRED
