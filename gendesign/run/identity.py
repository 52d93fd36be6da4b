"""What makes two runs the same: the settings that shape results, and the content of the files that are read."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gendesign.errors import SettingsError
from gendesign.run.settings import flatten

# Settings that name a file whose content makes a run another one.
FILE_KEYS = (
    "generator.fragments", "generator.host", "generator.cation", "generator.a_site", "shape.path", "shape.ligand",
    "shape_target",
)  # fmt: skip
OWN_CODE = re.compile(r"([^'\"\[,]+\.py):[A-Za-z_]")  # path/to/file.py:function, wherever it is given


def identify(files: Sequence[str], config: DictConfig) -> dict[str, Any]:
    """What makes two runs the same: the resolved settings but for the folder's name, and the content of the files."""
    settings = OmegaConf.to_container(config, resolve=True)
    for means in ("output", "workers", "threads"):  # which change no structure
        settings.pop(means, None)
    (settings.get("screening") or {}).pop("workers", None)
    (settings.get("generator") or {}).pop("trajectory", None)  # a folder of its own, which changes no molecule
    for means in ("command", "cores", "device"):
        (settings.get("teacher") or {}).pop(means, None)
    also = [value for key, value in flatten(settings).items() if key.endswith(FILE_KEYS) and isinstance(value, str)]
    also += [*settings.get("test", ()), *settings.get("replay", ())]
    also += (settings.get("generator") or {}).get("reference") or []
    also += [file for value in flatten(settings).values() for file in OWN_CODE.findall(str(value))]
    also = [Path(os.path.expanduser(str(file))) for file in also if file]
    read = [*files, *(file for file in also if _is_file(file))]  # who reads them names missing ones
    return {"settings": settings, "files": {str(file): _digest(Path(file)) for file in read}}


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}; give a file that you may read") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # SMILES where a file may stand can be longer than any name
        return False
