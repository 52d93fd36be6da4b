"""What an engine is: it takes tasks and says when each has ended. Whether a shard was made, its folder says."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gendesign.errors import SettingsError, UserError

if TYPE_CHECKING:  # sites import torch
    from gendesign.campaign.site import Site, Task


@dataclass(frozen=True)
class End:
    """The end of a task. died: how often its worker died; reason: why it did not finish, empty where unknown."""

    task: int
    died: int = 0
    reason: str = ""


class ShardEngine(ABC):
    """Subclasses are the `_target_`s of conf/engine: frozen or plain dataclasses of settings."""

    def check(self) -> None:  # noqa: B027  the machine at hand needs nothing
        """Raise UserError unless the engine can start here."""

    @abstractmethod
    def start(self, site: "Site", allow: Sequence[str]) -> None:
        """Prepare for the campaign of `site`; workers that import modules of the user's own are told `allow`."""

    @abstractmethod
    def run(self, tasks: Sequence["Task"]) -> Iterator[End]:
        """Do the tasks; yields the end of each, in any order."""

    def adopt(self) -> list[dict[str, Any]]:
        """Tasks of an earlier coordinator that still run (as `Task.to_json`)."""
        return []

    def close(self, *, cancel: bool) -> None:  # noqa: B027
        """Release everything; `cancel` ends what still runs elsewhere."""


def make_engine(settings: Mapping[str, Any]) -> ShardEngine:
    """The engine of `{"name": ..., "_target_": ..., ...}`. Raises SettingsError."""
    from omegaconf import OmegaConf

    from gendesign.run.build import make
    from gendesign.run.schema import TARGET, schema

    values = dict(settings)
    name = values.pop("name", "local")
    target = values.get(TARGET, "")
    if target not in schema() or ".campaign.engines." not in target:
        raise SettingsError(f"engine={name}: {target} is no engine of gendesign; choose a file of conf/engine")
    if unknown := [key for key in values if key != TARGET and key not in schema()[target]]:
        raise SettingsError(f"engine.{unknown[0]} is unknown; engine={name} has {', '.join(schema()[target])}")
    try:
        engine = make(OmegaConf.create(values))
    except UserError as error:
        raise SettingsError(f"engine={name}: {error}") from None
    if not isinstance(engine, ShardEngine):
        raise SettingsError(f"engine={name}: {target} is no engine")
    return engine
