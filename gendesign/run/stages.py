"""What a run is made of; the pipeline knows generators, relaxation and screening only through these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from gendesign.structure.generator import Generator, PhaseReport
from gendesign.structure.types import Candidate, TableRow, Verdict

GENERATE, RELAX, SCREEN = "generate", "relax", "screen"


class Advance(NamedTuple):
    """So many more candidates are done with a stage."""

    stage: str
    candidates: int


class Phase(NamedTuple):
    """What a stage is working on; with total 0 it has no count."""

    name: str
    done: int = 0
    total: int = 0


Tell = Callable[[Advance | Phase], None]


class Progress(Protocol):
    """Receives the progress of a run."""

    def stage(self, name: str, done: int) -> None:
        """So many more candidates are done with a stage; fewer than 0 where a shard begins anew."""

    def shard(self, finished: int, total: int) -> None:
        """So many shards of all are finished."""

    def phase(self, name: str, done: int = 0, total: int = 0) -> None:
        """A part of the work begins or advances; with total 0 it has no count, and an empty name ends it."""


@dataclass(frozen=True)
class Stages:
    """What is done to every candidate: a generator and callables, each None where the verb leaves it out.

    relax: keeps order and number and calls back with (finished, total).
    screen: verdicts that need one candidate only, of a few candidates at a time.
    screen_set: further verdicts on all candidates together, given the verdicts so far; names its phases.
    summarise: rows of the table from (verdicts, number of attempts).
    files: further files at the top of the results folder, texts by name.
    remarks: lines for the terminal below the table.
    about: goes into summary.json.
    headlines: names of the rows that a short table shows.
    close: ends processes that the screening has started.
    """

    generator: Generator
    relax: Callable[[Sequence[Candidate], Callable[[int, int], None]], list[Candidate]] | None = None
    screen: Callable[[Sequence[Candidate]], list[Verdict]] | None = None
    screen_set: Callable[[Sequence[Candidate], Sequence[Verdict], PhaseReport], list[Verdict]] | None = None
    summarise: Callable[[Sequence[Verdict], int], list[TableRow]] | None = None
    files: Callable[[Sequence[Candidate], Sequence[Verdict]], dict[str, str]] | None = None
    remarks: Callable[[Sequence[Candidate], Sequence[Verdict]], list[str]] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    headlines: Sequence[str] = ()
    close: Callable[[], None] | None = None

    @property
    def names(self) -> list[str]:
        """The stages that every candidate goes through."""
        return [GENERATE, *([RELAX] if self.relax else []), *([SCREEN] if self.screen else [])]
