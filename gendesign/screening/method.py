"""What a run needs of a screening: settings that open a session, and the session that judges and reports."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gendesign.processes import SERIAL, Spread
from gendesign.structure.files import write_atomically
from gendesign.structure.generator import Generator, PhaseReport, no_report
from gendesign.structure.types import Candidate, TableRow, Verdict

if TYPE_CHECKING:  # torch takes seconds to import
    from gendesign.potential.protocol import PotentialLike

COMPUTED_ONCE = ".compared.json"  # in a results folder: numbers of ScreeningContext.once


@dataclass(frozen=True)
class ScreeningContext:
    """What a run lends a screening: who makes the candidates, the potential, the results folder, and the workers.

    spread: does independent parts of the work; shared with the rest of the run.
    """

    generator: Generator
    potential: PotentialLike
    folder: Path
    spread: Spread = SERIAL

    def once(self, key: str, compute: Callable[[], float | None]) -> float | None:
        """`compute()`, which takes minutes, once a run: the number is kept in the results folder under `key`."""
        path = self.folder / COMPUTED_ONCE
        known = json.loads(path.read_text()) if path.is_file() else {}
        if key not in known:
            known[key] = compute()
            write_atomically(path, json.dumps(known, indent=2, ensure_ascii=False) + "\n")
        number: float | None = known[key]
        return number


class ScreeningSession(ABC):
    """The screening of one run. Workers inherit it before any candidate is made."""

    @abstractmethod
    def screen_each(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """Verdicts that need one candidate only, of a few candidates; never an exception for a bad one."""

    def screen_set(
        self, candidates: Sequence[Candidate], verdicts: Sequence[Verdict], phase: PhaseReport = no_report
    ) -> list[Verdict]:
        """Further verdicts on all candidates together, from the `verdicts` so far; `phase` names what takes long."""
        return []

    @abstractmethod
    def summarise(self, verdicts: Sequence[Verdict], n: int) -> list[TableRow]:
        """Rows of the run's table from the verdicts on `n` attempts."""

    @property
    def headlines(self) -> Sequence[str]:
        """Names of the few rows that the terminal shows, in any order; empty: the first ones."""
        return ()

    def files(self, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> dict[str, str]:
        """Further files at the top of the results folder: texts by name."""
        return {}

    def close(self) -> None:  # noqa: B027  most sessions start no processes
        """Stop the processes that the session has started."""


class ScreeningMethod(Protocol):
    """Settings of a screening, the `_target_` of a file in conf/screening: a dataclass that opens sessions."""

    @property
    def needs_potential(self) -> bool:
        """Whether a check evaluates the potential, which must then know the elements of every candidate."""

    def open(self, context: ScreeningContext) -> ScreeningSession:
        """The session of one run."""
