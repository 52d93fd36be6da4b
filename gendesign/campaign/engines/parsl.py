"""Parsl (parsl-project.org) as engine, for PBS, LSF, Kubernetes and clouds; its settings are those that proved to
survive killed workers and managers. Tasks return nothing: the shard folders say what was made."""

import importlib.util
import logging
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gendesign.campaign.engines.base import End, ShardEngine
from gendesign.errors import SettingsError, UserError
from gendesign.fields import check_bounds, setting

if TYPE_CHECKING:
    from gendesign.campaign.site import Site, Task

EXTRA = "pip install 'gendesign[campaign]'"
FOLDER, OWNER, INTERCHANGE = ".parsl", "owner", "interchange.pid"
PERIOD = 2  # seconds between two looks of Parsl at its blocks
RETRIES = 2
LOOK = 5.0  # seconds between two looks at the clock


@dataclass
class Parsl(ShardEngine):
    """engine=parsl"""

    workers: int = setting(2, "workers of a node", least=1)
    provider: str = setting("LocalProvider", "class of parsl.providers, such as PBSProProvider, LSFProvider")
    provider_settings: Mapping[str, Any] = field(default_factory=dict)
    time_limit: float = setting(
        3600.0,
        "time of one shard; later it is asked for again, because a lost task is never reported",
        unit="s",
        above=0,
    )
    address: str | None = setting(None, "address at which workers reach the coordinator; null: 127.0.0.1")

    def __post_init__(self) -> None:
        check_bounds(self, "engine")
        self._site: Site | None = None
        self._allow: Sequence[str] = ()
        self._kernel: Any = None
        self._token = ""

    def check(self) -> None:
        if importlib.util.find_spec("parsl") is None:
            raise SettingsError(f"engine=parsl: Parsl is not installed; install it by {EXTRA}, or choose engine=local")
        import parsl.providers

        if self.provider not in parsl.providers.__all__:
            raise SettingsError(
                f"engine.provider={self.provider} is unknown; allowed: {', '.join(sorted(parsl.providers.__all__))}"
            )

    def start(self, site: "Site", allow: Sequence[str]) -> None:
        self._site, self._allow = site, allow
        self._begin()

    def run(self, tasks: Sequence["Task"]) -> Iterator[End]:
        from parsl import python_app

        from gendesign.campaign.worker import do

        if self._site is None:
            raise TypeError("the engine was not started")
        folder = str(self._site.plan.folder.absolute())
        app = python_app(do)
        futures: dict[Future[Any], int] = {
            app(folder, task.to_json(), tuple(self._allow), self._token): k for k, task in enumerate(tasks)
        }
        heard = time.monotonic()
        while futures:
            done, _ = wait(futures, timeout=LOOK, return_when=FIRST_COMPLETED)
            if done:
                heard = time.monotonic()
            for future in done:
                yield self._end(futures.pop(future), future)
            if futures and time.monotonic() - heard > self.time_limit:
                # a task that changed hands while its worker was killed is lost, and nobody says so
                for k in futures.values():
                    yield End(k, 0, "no answer within the time limit")
                self._finish()
                self._begin()
                return

    def _end(self, task: int, future: "Future[Any]") -> End:
        error = future.exception()
        if error is None:
            return End(task)
        name = type(error).__name__
        if name in ("WorkerLost", "ManagerLost"):
            return End(task, 1, "its worker died")
        if isinstance(error, UserError):
            raise error
        if name in ("BadStateException", "ExecutorError"):
            self._finish()
            self._begin()
            return End(task, 0, str(error)[:160])
        raise UserError(f"a worker ended: {' '.join(str(error).split())[:200] or name}")

    def _begin(self) -> None:
        import parsl.providers
        from parsl.config import Config
        from parsl.executors import HighThroughputExecutor
        from parsl.jobs.error_handlers import noop_error_handler

        if self._site is None:
            raise TypeError("the engine was not started")
        logging.getLogger("parsl").setLevel(logging.CRITICAL)
        bin_folder = str(Path(sys.executable).parent)
        scripts = _scripts()
        os.environ["PATH"] = os.pathsep.join([*scripts, bin_folder, os.environ.get("PATH", "")])
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path if path and os.path.isdir(path))
        os.environ["PYTHONPATH"] = paths  # of the interchange and of local workers
        given = dict(self.provider_settings)
        init = given.pop("worker_init", "")
        exports = f"export PATH={os.pathsep.join([*scripts, bin_folder])}:$PATH PYTHONPATH={paths} OMP_NUM_THREADS=1"
        provider = getattr(parsl.providers, self.provider)(
            **{"init_blocks": 1, "min_blocks": 1, "max_blocks": 1, **given, "worker_init": f"{exports}\n{init}"}
        )
        executor = HighThroughputExecutor(
            label="campaign",
            address=self.address or "127.0.0.1",
            max_workers_per_node=self.workers,
            provider=provider,
            block_error_handler=noop_error_handler,  # else every queued task fails when a manager is killed
            heartbeat_period=5,
            heartbeat_threshold=30,
            encrypted=False,
        )
        home = self._site.plan.folder / FOLDER
        home.mkdir(exist_ok=True)
        _reap(home / INTERCHANGE)
        self._token = uuid.uuid4().hex
        (home / OWNER).write_text(self._token)
        how = dict(strategy="simple", strategy_period=PERIOD, retries=RETRIES, usage_tracking=0)
        self._kernel = parsl.load(
            Config(executors=[executor], run_dir=str(home / "runs"), initialize_logging=False, **how)
        )
        (home / INTERCHANGE).write_text(str(executor.interchange_proc.pid))

    def _finish(self) -> None:
        import parsl

        if self._kernel is not None and self._site is not None:
            with suppress(Exception):  # of blocks that are gone already
                self._kernel.cleanup()
            parsl.clear()
            self._kernel = None
            shutil.rmtree(self._site.plan.folder / FOLDER, ignore_errors=True)

    def close(self, *, cancel: bool) -> None:
        self._finish()


def _scripts() -> list[str]:
    """Folders with interchange.py and process_worker_pool.py, which Parsl looks up on PATH."""
    found = shutil.which("process_worker_pool.py")
    beside = Path(importlib.util.find_spec("parsl").origin).parents[1] / "bin"  # type: ignore[union-attr,arg-type]
    return [str(Path(found).parent)] if found else [str(beside)] if beside.is_dir() else []


def _reap(path: Path) -> None:
    """End the interchange of a coordinator that was killed; its managers then leave by themselves."""
    with suppress(OSError, ValueError):
        pid = int(path.read_text())
        line = Path(f"/proc/{pid}/cmdline").read_bytes()  # it may name itself by setproctitle
        if b"interchange.py" in line or b"parsl: HTEX interchange" in line:
            os.kill(pid, signal.SIGKILL)
