"""export: a potential for another program."""

from collections.abc import Sequence

from omegaconf import DictConfig

from gendesign.errors import SettingsError
from gendesign.run.commands.runner import FolderCommand

PROGRAMS = ("lammps",)


def run_export(verb: str, names: Sequence[str], config: DictConfig) -> None:
    """Write the deck of the program in `names`; raises SettingsError unless it is exactly one known program."""
    if len(names) != 1 or names[0] not in PROGRAMS:
        raise SettingsError(f"export {' '.join(names)}: give one of {', '.join(PROGRAMS)}")
    FolderCommand("gendesign.run.commands.lammps:run_export_lammps", kept="in.*")(verb, [], config)
