"""The panel of settings: keys of a verb as the settings themselves describe them, and what a page may not set."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from gendesign.errors import SettingsError, UserError
from gendesign.fields import shown
from gendesign.potential.bundled import bundled
from gendesign.potential.engines.registry import MODELS
from gendesign.run.conf import EXPERIMENT, about, options, verbs_of
from gendesign.run.groups import groups_of, is_group
from gendesign.run.help import meaning
from gendesign.run.schema import Field, schema
from gendesign.run.settings import field_of, keys_of, resolve

VERBS = ("generate", "relax", "screen", "validate")
# What the tool decides itself, or what would let a page run code or write elsewhere.
OWN = (
    "output", "trust_pickle", "generator.trajectory", "generator.fragments", "generator.attachments", "generator.host",
    "generator.prior.shape.path", "generator.prior.shape.ligand", "generator.reference",
)  # fmt: skip
OWN_GROUPS = ("generator/prior", EXPERIMENT)
CODE = re.compile(r"\.py\b|(^|[\[,'\"\s])[A-Za-z_][\w./-]*:[A-Za-z_]\w*")  # FILE.py:FUNCTION, module:function
SMARTS = ("generator.forbidden",)  # where c:n is an aromatic bond; nothing but RDKit reads it
KEY = re.compile(r"[A-Za-z_][\w./]*")
PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
FIRST = (  # at the top of the panel
    "n", "seed", "potential", "generator.n_heavy_atoms", "generator.formula", "generator.elements", "generator.counts",
    "generator.forbidden", "generator.likeness", "generator.steps", "generator.objective.components",
    "generator.composition.cation", "generator.composition.metal", "generator.composition.halide",
    "generator.composition.thickness", "generator.start.layers", "generator.n_atoms", "generator.protocol",
    "generator.density", "relaxation.fmax", "relaxation.max_steps", "relaxation.cell", "screening.checks",
    "screening.strain_methods",
)  # fmt: skip


def form(verb: str, given: Sequence[str], chosen: Mapping[str, str]) -> dict[str, Any]:
    """The rows of a panel: sections of keys with value, help, unit, bounds and words, and the groups to choose from.

    given: words of the command line that opened the tool; chosen: texts by key that the page has set. A key or value
    that cannot be is reported in `error`, and the rows are those without it.
    """
    error = ""
    try:
        words = [*given, *page_words(verb, chosen)]
        config = resolve(verb, words)
    except UserError as problem:
        error, words = str(problem), [*given, *(f"{k}={v}" for k, v in chosen.items() if is_group(k))]
        try:
            config = resolve(verb, words)
        except UserError:
            words = list(given)
            config = resolve(verb, words)
    choices = {key: text for key, _, text in (word.partition("=") for word in words) if is_group(key)}
    rows = [
        _row(key, value, field)
        for key, value in keys_of(config).items()
        if key not in OWN and (field := field_of(verb, config, key)) is not None and field.plain
    ]
    rows.sort(key=lambda row: FIRST.index(row["key"]) if row["key"] in FIRST else len(FIRST))
    groups = [
        {"key": group, "value": choices.get(group, start), "options": [*options(group), "null"]}
        for group, start in groups_of(verb, choices).items()
        if group not in OWN_GROUPS
    ]
    return {"verb": verb, "rows": rows, "groups": groups, "error": error}


def experiments(verb: str) -> dict[str, str]:
    """Experiments of a verb with their lines of help."""
    return {name: about(name) for name in options(EXPERIMENT) if verb in verbs_of(name)}


def _row(key: str, value: Any, field: Field) -> dict[str, Any]:
    said = field.about
    kinds = {kind.removeprefix("list[").rstrip("]") for kind in field.takes}
    return {
        "key": key,
        "value": shown(value),
        "help": meaning(said),
        "unit": said.unit,
        "least": said.least,
        "most": said.most,
        "above": said.above,
        "below": said.below,
        "allowed": list(said.allowed),
        "kind": "bool" if kinds == {"bool"} else "number" if kinds <= {"int", "float"} and not field.items else "text",
        "whole": "float" not in kinds,
        "file": said.file,
        "main": key in FIRST,
    }


def page_words(verb: str, chosen: Mapping[str, str]) -> list[str]:
    """Texts by key as words of a command; raises UserError for what a page may not set."""
    if verb not in VERBS:
        raise UserError(f"'{verb}' cannot be started here; allowed are {', '.join(VERBS)}")
    for key, text in chosen.items():
        if not KEY.fullmatch(key):
            raise SettingsError(f"'{key[:60]}' is no key of {verb}; reload the page")
        if key in OWN or key in OWN_GROUPS:
            raise SettingsError(f"{key} is decided by the drawing and by the tool itself; leave it out")
        if key not in SMARTS and CODE.search(text):
            raise SettingsError(f"{key}={text[:60]}: functions of your own are given on the command line, not here")
        if key == "potential" and (not PLAIN_NAME.fullmatch(text) or Path(text).exists()):
            raise SettingsError(f"potential={text[:60]}: choose one by name here; give a path on the command line")
        if key.rpartition(".")[2] in _file_fields() and _names_a_file(text):
            raise SettingsError(f"{key}={text[:60]}: files are dropped on the page or given on the command line")
    return [f"{key}={text}" for key, text in chosen.items()]


def known_potentials() -> list[str]:
    """Names of potentials to choose from; `gendesign install` makes those of other packages usable."""
    return [*bundled(), *MODELS]


@cache
def _file_fields() -> frozenset[str]:
    """Last words of the keys that name files."""
    return frozenset(key for rows in schema().values() for key, field in rows.items() if field.about.file)


def _names_a_file(text: str) -> bool:
    """Whether a part of a text is the path of something that is there; other texts are SMILES or words."""
    parts = [part.strip("'\" ") for part in text.strip("[] ").split(",")]
    try:
        return any(part and Path(part).expanduser().exists() for part in parts)
    except (OSError, ValueError, RuntimeError):  # a name that no file can have
        return False
