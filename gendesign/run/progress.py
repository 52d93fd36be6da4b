"""What a person sees during a run, on stderr: a live bar on a terminal, elsewhere a line per shard or per minute."""

import json
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gendesign.run.stages import GENERATE, RELAX, SCREEN

NAMES = {GENERATE: "generating", RELAX: "relaxing", SCREEN: "screening"}
MOST_SILENT = 60.0  # seconds without a line where there is no terminal
PROGRESS_FILE = "GENDESIGN_PROGRESS"  # of the environment: a file to which every change is appended as a line of JSON


class Bar:
    """A progress bar over `n` candidates times the stages of the run, with an estimate of the remaining time.

    It implements `Progress` (run/stages.py). The name of the phase, where one is reported, takes the place of the
    stage's: "1 of 4 shards, halving (34 of 100)". Use it as a context; no process may be forked inside.
    """

    def __init__(self, n: int, shard_size: int, stages: Sequence[str], most_silent: float = MOST_SILENT):
        self.console = Console(stderr=True)
        self.n, self.shard_size, self.stages, self.most_silent = n, shard_size, list(stages), most_silent
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=False),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("starting", total=n * len(self.stages))
        self.started = self.last_line = time.monotonic()
        self.finished, self.total = 0, 0  # shards
        self.finished_before: int | None = None  # shards that an earlier run has made, once they are known
        self.completed_before = 0.0
        self.stage_name, self.phase_text = self.stages[0], ""
        self._file = os.environ.get(PROGRESS_FILE)
        self._ended = threading.Event()
        self._minutes = threading.Thread(target=self._say_each_minute, daemon=True)

    def __enter__(self) -> "Bar":
        self.bar.start()
        if not self.console.is_terminal:
            self._minutes.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self.bar.stop()

    def stage(self, name: str, done: int) -> None:
        """So many more candidates are done with a stage."""
        if name != self.stage_name:
            self.stage_name, self.phase_text = name, ""
        self._update(advance=done)

    def phase(self, name: str, done: int = 0, total: int = 0) -> None:
        """The part of the work in progress, until another stage or shard begins; an empty name ends it."""
        self.phase_text = f"{name} ({done} of {total})" if total else name
        self._update()

    def shard(self, finished: int, total: int) -> None:
        """So many shards of all are finished."""
        self.finished, self.total, self.phase_text = finished, total, ""
        if self.finished_before is None:
            self.finished_before = finished
            if finished:
                self._say(f"{finished} of {total} shards are already there")
        elif not self.console.is_terminal:
            spent = time.monotonic() - self.started
            left = spent / (finished - self.finished_before) * (total - finished)
            self._say(f"shard {finished} of {total} after {spent:.0f} s, {left:.0f} s left")
        if self.finished_before == finished:  # from now on each candidate is counted when a stage is done with it
            self.completed_before = min(self.n, finished * self.shard_size) * len(self.stages)
            self._update(completed=self.completed_before)
        else:
            self._update()

    def _update(self, *, advance: float | None = None, completed: float | None = None) -> None:
        self.bar.update(self.task, description=self.description, advance=advance, completed=completed)
        if self._file:
            task = self.bar.tasks[0]
            line = {"text": self.description, "done": task.completed, "total": task.total or 0}
            with suppress(OSError), open(self._file, "a") as file:  # a full disk is not said by the bar
                file.write(json.dumps(line) + "\n")

    @property
    def description(self) -> str:
        """What the run is doing."""
        if self.phase_text or self.finished < self.total or not self.total:
            return f"{self.finished} of {self.total} shards, {self.phase_text or NAMES[self.stage_name]}"
        return "writing the results"

    def _say(self, line: str) -> None:
        self.last_line = time.monotonic()
        self.console.print(line, highlight=False, soft_wrap=True)

    def _say_each_minute(self) -> None:
        """Where there is no terminal: a line whenever there was none for a minute."""
        while not self._ended.wait(max(0.01, self.last_line + self.most_silent - time.monotonic())):
            if time.monotonic() >= self.last_line + self.most_silent:
                task = self.bar.tasks[0]
                spent = time.monotonic() - self.started
                completed, total = task.completed - self.completed_before, (task.total or 0) - task.completed
                left = f", about {spent / completed * total:.0f} s left" if completed > 0 else ""
                self._say(f"{self.description}: {task.percentage:.0f} % after {spent:.0f} s{left}")
