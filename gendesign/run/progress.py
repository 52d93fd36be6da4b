"""What a person sees while a run goes on: a live bar on a terminal, a line per shard elsewhere; on stderr."""

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

DOING = {"generate": "generating", "relax": "relaxing", "screen": "screening"}


class Bar:
    """A progress bar over n candidates times the stages of the run, with an estimate of what is left."""

    def __init__(self, n: int, shard_size: int, stages: Sequence[str]):
        self.console = Console(stderr=True)
        self.n, self.shard_size, self.stages = n, shard_size, list(stages)
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
        self.start, self.before, self.finished, self.total = time.monotonic(), None, 0, 0

    def __enter__(self) -> "Bar":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def stage(self, name: str, done: int) -> None:
        self.bar.update(self.task, advance=done, description=self._describe(name))

    def shard(self, finished: int, total: int) -> None:
        self.finished, self.total = finished, total
        if self.before is None:
            self.before = finished
            if finished:
                self.console.print(f"{finished} of {total} shards are already there", highlight=False)
        elif not self.console.is_terminal:
            spent = time.monotonic() - self.start
            left = spent / (finished - self.before) * (total - finished)
            self.console.print(f"shard {finished} of {total} after {spent:.0f} s, {left:.0f} s left", highlight=False)
        if self.before == finished:  # what was there before; from now on, candidates are counted as they are told of
            made = min(self.n, finished * self.shard_size) * len(self.stages)
            self.bar.update(self.task, completed=made, description=self._describe(self.stages[0]))

    def _describe(self, stage: str) -> str:
        if self.finished == self.total and self.total:
            return "writing the results"
        return f"{self.finished} of {self.total} shards, {DOING[stage]}"
