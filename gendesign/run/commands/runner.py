"""The one way in which a verb runs into a results folder: checks, imports, the potential, the lock, the action."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from gendesign.run.folder import Folder, check_folder, open_folder
from gendesign.run.identity import identify
from gendesign.run.values import literal

if TYPE_CHECKING:  # the command line starts without torch
    from gendesign.potential.protocol import PotentialLike


@dataclass(frozen=True)
class Job:
    """What an action is given: settings, files, the opened folder, and the potential where the verb needs one."""

    config: DictConfig
    files: list[str]
    folder: Folder
    potential: "PotentialLike | None" = None

    @property
    def loaded_potential(self) -> "PotentialLike":
        """The potential, of a verb that loads one."""
        if self.potential is None:
            raise TypeError("this verb loads no potential")
        return self.potential


@dataclass(frozen=True)
class FolderCommand:
    """A verb that writes a results folder.

    action: "module:function", called with a Job; returns the lines for the terminal. Its module is imported after the
        arguments and the folder were checked, and may import what takes seconds.
    kept: a glob of what must be in the folder for an error to leave it behind.
    loads: the action needs the potential of the settings.
    optional: only where the settings name one.
    named: the first word after the verb names the potential.
    """

    action: str
    kept: str = "shards/[0-9]*"
    loads: bool = False
    named: bool = False
    optional: bool = False

    def __call__(self, verb: str, words: Sequence[str], config: DictConfig) -> None:
        """Run the verb and print what its action returns; raises UserError."""
        output, files = Path(config.output), list(words)
        identity: dict[str, Any] = {"verb": verb}
        if self.named:
            identity["potential"] = files.pop(0)
        identity |= identify(files, config)
        loads = self.loads and not (self.optional and config.potential is None)
        if loads:
            identity["weights"] = None  # not known before it is loaded
        check_folder(output, identity)
        act = imported(self.action)
        potential = None
        if loads:
            potential = _loaded(config, identity.get("potential"))
            identity["weights"] = potential.weights_hash
            check_folder(output, identity)
        with open_folder(output, identity, self.kept) as folder:
            lines = act(Job(config, files, folder, potential))
        print("\n".join(lines))


def imported(name: str) -> Callable[..., Any]:
    """The function that "module:function" names."""
    module, _, function = name.partition(":")
    action: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return action


def _loaded(config: DictConfig, name: str | None) -> "PotentialLike":
    """The potential of the settings, or the one called `name`."""
    from gendesign.run.build import load  # torch takes seconds to import

    if name is not None:
        config = config.copy()
        OmegaConf.set_struct(config, False)
        config.potential = literal(name)
    return load(config)
