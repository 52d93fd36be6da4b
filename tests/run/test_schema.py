"""The shipped schema agrees with the classes, and conf/ repeats none of their defaults."""

import inspect
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from gendesign.errors import SettingsError
from gendesign.fields import Setting
from gendesign.run.conf import EXPERIMENT, conf_folder, options
from gendesign.run.groups import groups_of
from gendesign.run.renamed import RENAMED
from gendesign.run.schema import PATH, REQUIRED, TARGET, Fields, fields_of, schema, to_json
from gendesign.run.settings import keys_of, resolve
from gendesign.run.verbs import VERB_SETTINGS


def test_the_shipped_schema_is_that_of_the_classes():
    from gendesign.run.declared import declared

    assert PATH.read_text() == to_json(declared()), "run python -m gendesign.run.schema"


def test_the_schema_survives_its_file():
    assert to_json(schema()) == PATH.read_text()
    assert json.loads(PATH.read_text()).keys() == schema().keys()


def sections(content: dict[str, Any], fields: Fields, path: str = "") -> Iterator[tuple[str, dict[str, Any], Fields]]:
    """(place, section, fields of its class) of a file's content and of all sections within."""
    fields = fields_of(content[TARGET]) if TARGET in content else fields
    yield path, content, fields
    for key, value in content.items():
        if isinstance(value, dict):
            inner = fields_of(fields[key].section) if key in fields else {}
            yield from sections(value, inner, f"{path}{key}.")


def fields_at(path: Path) -> Fields:
    """The fields of a file of conf/ that names no class: a verb's, or those of the section that the group is."""
    if path.stem in VERB_SETTINGS and path.parent == conf_folder():
        return fields_of(VERB_SETTINGS[path.stem])
    verbs = [fields_of(target) for target in VERB_SETTINGS.values()]
    return next((fields_of(fields[path.parent.name].section) for fields in verbs if path.parent.name in fields), {})


FILES = [path for path in sorted(conf_folder().rglob("*.yaml")) if path.parent.name != EXPERIMENT]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(conf_folder()).as_posix())
def test_no_file_repeats_a_default(path):
    content = OmegaConf.to_container(OmegaConf.load(path))
    for place, section, fields in sections(content, fields_at(path)):
        repeated = [key for key, value in section.items() if key in fields and fields[key].default == value]
        assert not repeated, f"{path.name} repeats the default of {place}{repeated[0]}"


def test_every_value_of_a_file_is_of_its_declared_type():
    kinds = {"bool": bool, "int": int, "float": (int, float), "text": str, "null": type(None)}
    for path in FILES:
        content = OmegaConf.to_container(OmegaConf.load(path))
        for _, section, fields in sections(content, fields_at(path)):
            for key, value in section.items():
                if key in fields and fields[key].plain and not isinstance(value, dict | list):
                    assert any(isinstance(value, kinds[kind]) for kind in fields[key].scalars if kind in kinds) or (
                        value is None and fields[key].nullable
                    ), f"{path.name}: {key}={value!r} is none of {fields[key].takes}"


def test_defaults_are_within_their_own_bounds():
    for target, fields in schema().items():
        for key, field in fields.items():
            values = field.default if isinstance(field.default, list) else [field.default]
            for value in values:
                if isinstance(value, int | float) and not isinstance(value, bool):
                    assert field.about.holds(value), f"{target}.{key}={value}"
                elif isinstance(value, str):
                    assert field.about.fits(value), f"{target}.{key}={value}"


def test_a_key_belongs_to_the_identity_in_all_verbs_or_in_none():
    meant: dict[str, tuple[bool, bool]] = {}
    for target in VERB_SETTINGS.values():
        for key, field in fields_of(target).items():
            flags = (field.about.file, field.about.identity)
            assert meant.setdefault(key, flags) == flags, f"{key} of {target}"


@pytest.mark.parametrize(("verb", "function"), [("train", "train_files"), ("label", "label_files")])
def test_functions_have_the_defaults_of_their_verb(verb, function):
    import gendesign

    parameters = inspect.signature(getattr(gendesign, function)).parameters
    for key, field in fields_of(VERB_SETTINGS[verb]).items():
        default = parameters[key].default if key in parameters else inspect.Parameter.empty
        if default is not inspect.Parameter.empty and field.default is not REQUIRED:
            assert (list(default) if isinstance(default, tuple) else default) == field.default, key


def test_validation_names_its_tests_once():
    from gendesign.validation import settings, suite

    assert tuple(suite.TESTS) == settings.TESTS


def test_settings_in_words():
    about = asdict(Setting("help", unit="eV", above=0))
    assert about["above"] == 0 and about["identity"] and not about["file"]


@cache
def all_keys() -> set[str]:
    """The keys of all verbs with every option of their groups."""
    known: set[str] = set()
    for verb in VERB_SETTINGS:
        for generator in options("generator") if verb == "generate" else [""]:
            chosen = [f"generator={generator}"] if generator else []
            choices = dict(word.split("=") for word in chosen)
            own = [[], *([f"{group}={option}"] for group in groups_of(verb, choices) for option in options(group))]
            for words in own:
                with suppress(SettingsError):  # options that do not go together
                    known.update(keys_of(resolve(verb, [*chosen, *words])))
    return known


@pytest.mark.parametrize("old", RENAMED)
def test_renamed_keys_have_names_that_exist(old):
    new = RENAMED[old]
    for name in (new,) if isinstance(new, str) else new:
        assert any(key == name or key.startswith(f"{name}.") for key in all_keys()), name
