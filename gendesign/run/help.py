"""The answer to `gendesign VERB --help`: every key with its value, what it means, its unit and its bounds."""

from collections.abc import Sequence
from typing import Any

from gendesign.fields import Setting
from gendesign.run.conf import EXPERIMENT, about, options, verbs_of
from gendesign.run.groups import groups_of
from gendesign.run.settings import field_of, keys_of, resolve, split

WIDEST = 24  # characters of a value that the column of values makes room for
BOUNDLESS = 1e9  # bounds from here on only keep numbers within their type


def describe(verb: str, overrides: Sequence[str] = (), without: Sequence[str] = ()) -> str:
    """The resolved settings as aligned `key = value   meaning` lines, then groups and experiments.

    without: names before the dot of keys, and groups, that are left out.
    """
    config = resolve(verb, overrides)
    choices = dict(split(verb, override) for override in overrides)
    values = {key: _shown(value) for key, value in keys_of(config).items() if key.split(".")[0] not in without}
    width = max(map(len, values))
    wide = max(min(len(value), WIDEST) for value in values.values())
    lines = []
    for key, value in values.items():
        field = field_of(verb, config, key)
        lines.append(f"  {key:<{width}} = {value:<{wide}}  {meaning(field.about, value) if field else ''}".rstrip())
    groups = [group for group in groups_of(verb, choices) if group not in (EXPERIMENT, *without)]
    if groups:
        lines += ["", "groups (group=name chooses a file of conf/, group=null leaves the step out):"]
    lines += [f"  {group:<{width}} : {', '.join(options(group))}" for group in groups]
    return "\n".join([*lines, *(_experiments(verb) if EXPERIMENT in groups_of(verb, choices) else [])])


def meaning(setting: Setting, value: str = "") -> str:
    """Help with unit, bounds and allowed words, such as "largest force (eV/Angstrom, above 0)".

    Words that the help or the value shown beside it has already are not repeated.
    """
    details = [setting.unit, *_bounds(setting)]
    words = setting.allowed
    if words and not all(word in setting.help + value for word in words):
        details.append(" or ".join(filter(None, [", ".join(words[:-1]), words[-1]])))
    said = ", ".join(filter(None, details))
    return f"{setting.help} ({said})" if said else setting.help


def _bounds(setting: Setting) -> list[str]:
    if setting.least is not None and setting.most is not None and setting.most < BOUNDLESS:
        return [f"{setting.least:g} to {setting.most:g}"]
    sides = {"from": setting.least, "above": setting.above, "to": setting.most, "below": setting.below}
    return [f"{word} {bound:g}" for word, bound in sides.items() if bound is not None and bound < BOUNDLESS]


def _experiments(verb: str) -> list[str]:
    """Lines on the experiments that fit a verb."""
    fitting = {name: about(name) for name in options(EXPERIMENT) if verb in verbs_of(name)}
    if not fitting:
        return []
    width = max(map(len, fitting))
    lines = [f"  {name:<{width}}  {text}" for name, text in fitting.items()]
    return ["", "experiments (experiment=name, settings that go together):", *lines]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(map(str, value)) + "]"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return str(value)
