"""What a run is made of; the pipeline knows generators, relaxation and screening only through these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gendesign.structure.types import Candidate, Generator, Verdict

Row = dict[str, Any]  # name, value, unit, n


class Progress(Protocol):
    """Told of every candidate that finished a stage, and of every shard."""

    def stage(self, name: str, done: int) -> None: ...

    def shard(self, finished: int, total: int) -> None: ...


@dataclass(frozen=True)
class Stages:
    """What is done to every candidate: a generator and callables, each None where the verb leaves it out.

    `relax` keeps order and number and calls back with (finished, total); `screen` judges candidates for themselves, a
    few at a time; `screen_set` judges all of them together, given the verdicts so far; `summarise(verdicts, n)` makes
    the rows of the table; `files` makes further files at the top, texts by name; `remarks` makes lines for the terminal
    below the table; `about` goes into summary.json; `close` ends processes that the screening has started.
    """

    generator: Generator
    relax: Callable[[Sequence[Candidate], Callable[[int, int], None]], list[Candidate]] | None = None
    screen: Callable[[Sequence[Candidate]], list[Verdict]] | None = None
    screen_set: Callable[[Sequence[Candidate], Sequence[Verdict]], list[Verdict]] | None = None
    summarise: Callable[[Sequence[Verdict], int], list[Row]] | None = None
    files: Callable[[Sequence[Candidate], Sequence[Verdict]], dict[str, str]] | None = None
    remarks: Callable[[Sequence[Candidate], Sequence[Verdict]], list[str]] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    close: Callable[[], None] | None = None

    @property
    def names(self) -> list[str]:
        used = {"generate": True, "relax": self.relax is not None, "screen": self.screen is not None}
        return [name for name, present in used.items() if present]
