"""The tree conf/ as files: where it is, its groups and their options, what a file brings along, experiments."""

import itertools
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from gendesign.errors import SettingsError

EXPERIMENT, VERBS = "experiment", "verbs"
NONE = "null"  # in place of an option: the group is left out


def conf_folder() -> Path:
    """The conf/ tree: inside an installed package, else beside the package in the repository."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "generate.yaml").is_file():
            return folder
    raise SettingsError(f"the settings tree conf/ is missing beside {package}: install gendesign again")


@cache
def all_groups() -> frozenset[str]:
    """The groups, as generator and generator/prior."""
    folder = conf_folder()
    return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_dir())


@cache
def options(group: str) -> list[str]:
    """The options of a group."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


@cache
def load(path: Path) -> dict[str, Any]:
    """The content of a file; nothing where there is none."""
    if not path.is_file():
        return {}
    content: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[assignment]
    return content


def starts(path: Path) -> dict[str, str]:
    """The groups within a file, or of a verb, and the option each starts with."""
    return {group: str(option or NONE) for group, option in _entries(path) if group.isidentifier()}


def brought(path: Path) -> dict[str, str]:
    """The options that a file chooses of groups that are not its own."""
    mark = "override /"
    return {key.removeprefix(mark).split("@")[0]: option for key, option in _entries(path) if key.startswith(mark)}


def _entries(path: Path) -> list[tuple[str, str]]:
    """The defaults list of a file without `_self_` and names of files."""
    listed = load(path).get("defaults", [])
    return [pair for entry in listed if isinstance(entry, dict) for pair in entry.items()]


def verbs_of(experiment: str) -> tuple[str, ...]:
    """The verbs that an experiment's file says it is for; generate where it does not say."""
    return tuple(load(conf_folder() / EXPERIMENT / f"{experiment}.yaml").get(VERBS, ["generate"]))


def about(experiment: str) -> str:
    """The comment at the top of an experiment's file, in one line."""
    return about_file(conf_folder() / EXPERIMENT / f"{experiment}.yaml")


def about_file(path: Path) -> str:
    """The comment at the top of a file, in one line."""
    lines = path.read_text().splitlines()
    comments = itertools.takewhile(lambda line: line.startswith("#"), (x for x in lines if not x.startswith("# @")))
    return " ".join(line.lstrip("# ") for line in comments)
