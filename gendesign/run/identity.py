"""What makes two runs the same: settings that matter and the content of files, both as the fields declare."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gendesign.errors import SettingsError
from gendesign.run.schema import TARGET, Field, Fields, fields_of
from gendesign.run.verbs import VERB_SETTINGS

OWN_CODE = re.compile(r"([^'\"\[,]+\.py):[A-Za-z_]")  # path/to/file.py:function, wherever it is given


def identify(files: Sequence[str], config: DictConfig) -> dict[str, Any]:
    """The settings of a run without those that change no result, and the digests of all files that it reads.

    Files are those on the command line, those that fields made with `file=True` name, and code of the user's. Raises
    SettingsError for an unreadable file; missing ones are named by those who read them.
    """
    content: Any = OmegaConf.to_container(config, resolve=True)
    fields = _keys_of_verbs()
    named = [*_named(content, fields), *(path for text in _texts(content) for path in OWN_CODE.findall(text))]
    paths = [Path(os.path.expanduser(name)) for name in named if name]
    read = [*files, *(str(path) for path in paths if _is_file(path))]
    return {"settings": _identifying(content, fields), "files": {path: _digest(Path(path)) for path in read}}


def _keys_of_verbs() -> Fields:
    """The keys of all verbs together: a key means the same in every verb that has it."""
    return {key: field for target in VERB_SETTINGS.values() for key, field in fields_of(target).items()}


def _inner(value: Mapping[str, Any], field: Field | None) -> Fields:
    return fields_of(str(value.get(TARGET) or (field.section if field else "")))


def _identifying(section: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """A section without the settings that do not belong to the identity of a run."""
    return {
        key: _identifying(value, _inner(value, fields.get(key))) if isinstance(value, dict) else value
        for key, value in section.items()
        if key not in fields or fields[key].about.identity
    }


def _named(section: Mapping[str, Any], fields: Fields) -> Iterator[str]:
    """The values of a section's fields that name files."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _named(value, _inner(value, fields.get(key)))
        elif key in fields and fields[key].about.file:
            yield from map(str, value if isinstance(value, list) else [value])


def _texts(value: Any) -> Iterator[str]:
    """All texts within some settings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}; give a file that you may read") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # SMILES where a file may stand can be longer than any name
        return False
