"""Runs that the page has started: one after the other, followed, cancelled, kept in a file of their own."""

import asyncio
import errno
import json
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gendesign.errors import UserError
from gendesign.generate.simgen.trajectory import GROWING
from gendesign.run.progress import PROGRESS_FILE
from gendesign.run.settings import resolve
from gendesign.structure.files import write_atomically
from gendesign.view.client import Running, Warm
from gendesign.view.words import as_command, as_python, shown_path

LOOK = 0.12  # seconds between two looks at what a run has written
WAITING, RUNNING, FINISHED, CANCELLED, FAILED, INTERRUPTED = (
    "waiting", "running", "finished", "cancelled", "failed", "interrupted",
)  # fmt: skip
Tell = Callable[[str, Any], None]  # the name of an event and its content


@dataclass
class Job:
    """A run: its command, where its results are, and what became of it.

    progress: text, done and total of the run's own bar. limit: seconds after which it is cancelled, 0 for none.
    """

    name: str
    words: list[str]
    state: str = WAITING
    message: str = ""
    progress: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    limit: float = 0.0

    def shown(self) -> dict[str, Any]:
        """For the page."""
        return {**asdict(self), "command": as_command(self.words), "python": as_python(self.words)}


class Jobs:
    """The runs of a folder: results in `runs`, logs in `logs`, trajectories in `trajectories`."""

    def __init__(self, folder: Path, warm: Warm, tell: Tell) -> None:
        self.folder, self.warm, self.tell = folder, warm, tell
        self.jobs: dict[str, Job] = {}
        self._running: tuple[str, Running] | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._read()

    def start(self) -> None:
        """Begin to work through the runs that wait."""
        self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop; what runs is interrupted, and can be continued."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def add(self, words: Sequence[str], limit: float = 0.0) -> Job:
        """Queue a run of these words, to which a folder for the results is added."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{1 + max((int(name[:4]) for name in self.jobs), default=0):04d}-{words[0]}"
        words = [*words, f"output={shown_path(self.results(name))}"]
        if words[0] == "generate" and "trajectory" in resolve("generate", words[1:]).generator:
            words.append(f"generator.trajectory={shown_path(self.trajectories(name))}")
        return self._queue(Job(name, words, limit=limit))

    def again(self, name: str) -> Job:
        """Continue a run that ended early; raises UserError."""
        job = self.job(name)
        if job.state in (WAITING, RUNNING):
            raise UserError(f"{name} has not ended; wait for it or cancel it")
        return self._queue(job)

    def _queue(self, job: Job) -> Job:
        job.state, job.message, job.progress = WAITING, "", {}
        self.jobs[job.name] = job
        self._changed(job)
        self._wake.set()
        return job

    def job(self, name: str) -> Job:
        """The run of this name; raises UserError."""
        if name not in self.jobs:
            raise UserError(f"there is no run '{name[:40]}'; reload the page")
        return self.jobs[name]

    def results(self, name: str) -> Path:
        """The results folder of a run."""
        return self.folder / "runs" / name

    def trajectories(self, name: str) -> Path:
        """The folder of the trajectories of a run."""
        return self.folder / "trajectories" / name

    async def cancel(self, name: str) -> None:
        """End a run, which keeps what is done; raises UserError."""
        job = self.job(name)
        if job.state == WAITING:
            job.state = CANCELLED
            self._changed(job)
        elif self._running is not None and self._running[0] == name:
            await self._running[1].end()

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            waiting = [job for job in self.jobs.values() if job.state == WAITING]
            if not waiting:
                await self._wake.wait()
                continue
            try:
                await self._run(waiting[0])
            except OSError as error:
                await self._failed(waiting[0], f"{error.filename}: {explained(error)}")
            except Exception as error:  # a mistake of the code ends one run, not the queue
                traceback.print_exc()
                await self._failed(waiting[0], f"it could not be followed ({error})")

    async def _failed(self, job: Job, reason: str) -> None:
        if self._running is not None:  # what nobody follows could not be cancelled either
            await self._running[1].end()
        job.state, job.message, self._running = FAILED, reason, None
        self._changed(job)

    async def _run(self, job: Job) -> None:
        await self.warm.ready.wait()
        if job.state != WAITING:  # cancelled meanwhile
            return
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        log, progress = logs / f"{job.name}.log", logs / f"{job.name}.progress"
        log.write_text("")
        progress.unlink(missing_ok=True)
        job.state, started = RUNNING, time.monotonic()
        self._changed(job)
        running = await self.warm.run(job.words, log, {PROGRESS_FILE: str(progress.resolve())})
        self._running = job.name, running
        seen = _Seen(self.trajectories(job.name), progress, self.results(job.name))
        while not running.ended.done():
            await asyncio.wait([running.ended], timeout=LOOK)
            job.seconds = round(time.monotonic() - started, 1)
            self._look(job, seen)
            if job.limit and job.seconds > job.limit:
                job.message = f"ended after its limit of {job.limit:g} s; what is done is kept"
                await running.end()
        self._running = None
        status = running.ended.result()
        job.state, reason = _state(status, running.cancelled, log)
        job.message = job.message or reason
        self._look(job, seen)
        self._changed(job)

    def _look(self, job: Job, seen: "_Seen") -> None:
        if frames := seen.frames():
            self.tell("frames", {"job": job.name, "frames": frames})
        if progress := seen.progress():
            job.progress = progress
            self.tell("progress", {"job": job.name, "seconds": job.seconds, **progress})
        if seen.new_results():
            self.tell("results", {"folder": job.name})

    def _changed(self, job: Job) -> None:
        self.tell("job", job.shown())
        with suppress(OSError):  # a full disk is said by the run itself
            write_atomically(self.folder / "jobs.json", json.dumps([asdict(job) for job in self.jobs.values()]))

    def _read(self) -> None:
        path = self.folder / "jobs.json"
        if not path.is_file():
            return
        try:
            rows = [Job(**row) for row in json.loads(path.read_text())]
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} cannot be read ({error}); move it away to begin a new list of runs") from None
        for job in rows:
            if job.state in (WAITING, RUNNING):
                job.state, job.message = INTERRUPTED, "the tool was stopped; what is done is kept"
            self.jobs[job.name] = job


class _Seen:
    """What a run has written, as far as it was not seen before."""

    def __init__(self, trajectories: Path, progress: Path, results: Path) -> None:
        self._trajectories, self._progress, self._shards = trajectories, progress, results / "shards"
        self._places: dict[Path, int] = {}
        self._growing: dict[Path, dict[str, Any]] = {}
        self._count = -1

    def frames(self) -> list[dict[str, Any]]:
        """The newest step of every molecule that grows, whichever worker makes it; empty where none is new."""
        paths = sorted(self._trajectories.glob(GROWING))
        new = {path: steps[-1] for path in paths if (steps := self._json_lines(path))}
        self._growing = {path: row for path, row in (self._growing | new).items() if path in paths}
        return list(self._growing.values()) if new else []

    def progress(self) -> dict[str, Any]:
        """The newest line of the run's bar."""
        rows = self._json_lines(self._progress)
        return rows[-1] if rows else {}

    def new_results(self) -> bool:
        """Whether there are more finished shards, or steps of unfinished ones, than before."""
        count = len(list(self._shards.glob("[0-9]*"))) * 1000 + len(list(self._shards.glob(".*.begun/*.json")))
        new, self._count = count != self._count and count > 0, count
        return new

    def _json_lines(self, path: Path) -> list[dict[str, Any]]:
        """`_lines` as objects, without those that a full disk has cut."""
        rows = []
        for line in self._lines(path):
            with suppress(ValueError):
                rows.append(json.loads(line))
        return rows

    def _lines(self, path: Path) -> list[str]:
        """Whole lines that were added to a file; a file that became shorter was begun anew."""
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                start = self._places.get(path, 0)
                file.seek(start if start <= size else 0)
                content = file.read()
                start = start if start <= size else 0
        except OSError:
            return []
        end = content.rfind(b"\n") + 1
        self._places[path] = start + end
        return content[:end].decode(errors="replace").splitlines()


def explained(error: OSError) -> str:
    """What the system says of a file, and what to do about it."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"{error.strerror}; {'make room for it' if full else 'restore it, or reload the page'}"


def _state(status: int, cancelled: bool, log: Path) -> tuple[str, str]:
    """The state of a run that has ended, and why it ended so."""
    if cancelled:
        return CANCELLED, "cancelled; what is done is kept"
    if status == 0:
        return FINISHED, ""
    lines = log.read_text(errors="replace").splitlines()
    said = [line for line in lines if line.startswith("gendesign: ") and not line.startswith("gendesign: warning")]
    if status < 0:
        return (
            FAILED,
            f"its process ended by {signal.Signals(-status).name}; what is done is kept; press Continue to resume",
        )
    return FAILED, said[-1].removeprefix("gendesign: ") if said else "it ended with an error; see its log"
