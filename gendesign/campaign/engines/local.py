"""Worker processes on this machine, forked from the coordinator, whose model they share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gendesign.campaign.engines.base import End, ShardEngine
from gendesign.fields import check_bounds, setting

if TYPE_CHECKING:
    from gendesign.campaign.site import Site, Task
    from gendesign.processes import Pool


@dataclass
class Local(ShardEngine):
    """engine=local"""

    workers: Any = setting("auto", "worker processes; auto: one per available core; 0: this process")

    def __post_init__(self) -> None:
        check_bounds(self, "engine")
        self._pool: Pool | None = None
        self._site: Site | None = None

    def check(self) -> None:
        from gendesign.run.workers import count_of

        count_of(self.workers)

    def start(self, site: "Site", allow: Sequence[str]) -> None:
        from gendesign.processes import Pool
        from gendesign.run.workers import count_of

        on_gpu = site.potential.device.type != "cpu"  # one process keeps a GPU
        self._site = site
        self._pool = Pool(0 if on_gpu else count_of(self.workers), residents={"site": site}).start()

    def run(self, tasks: Sequence["Task"]) -> Iterator[End]:
        from gendesign.campaign.site import advance
        from gendesign.processes import Failure

        if self._pool is None:
            raise TypeError("the engine was not started")
        resident = self._pool.resident(self._site)
        for number, answer in self._pool.unordered([(advance, (resident, task)) for task in tasks]):
            if isinstance(answer, Failure):
                yield End(number, self._pool.attempts, answer.reason)
            else:
                yield End(number)

    def close(self, *, cancel: bool) -> None:
        if self._pool is not None:
            self._pool.close()
