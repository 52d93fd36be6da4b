"""What was reached within a shard: kept step by step, so that an interruption costs a step and not the shard."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.jsonio import decode, encode

from gendesign.processes import SERIAL, Spread
from gendesign.structure.files import write_atomically
from gendesign.structure.types import Candidate


@dataclass
class Memory:
    """A folder of steps; without one nothing is kept. recalled: seconds that the steps found there once took; spread:
    who does independent parts of a step."""

    folder: Path | None = None
    recalled: float = 0.0
    spread: Spread = SERIAL

    def once(self, step: str, make: Callable[[], Iterable[Candidate]]) -> list[Candidate]:
        """What `make` gives, or gave before an interruption, to the last bit. Steps may contain others."""
        if self.folder is None:
            return list(make())
        path = self.folder / f"{step}.json"
        if path.is_file():
            found, seconds = _read(path)
            self.recalled += seconds
            return found
        began, before = time.perf_counter(), self.recalled
        rows = [_row(candidate) for candidate in make()]
        seconds = time.perf_counter() - began + self.recalled - before
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, encode({"seconds": seconds, "candidates": rows}))
        return _read(path)[0]  # so that what goes on is the same with and without an interruption


FORGETFUL = Memory()


def remembers(generator: object) -> bool:
    """Whether `generate` of this generator takes a memory: those whose candidates of one call depend on each other, and
    take long."""
    return getattr(generator, "remembers", False)


def _row(candidate: Candidate) -> dict[str, Any]:
    calc = candidate.atoms.calc
    content = {field.name: getattr(candidate, field.name) for field in fields(candidate)}
    return {**content, "atoms": candidate.atoms.todict(), "results": None if calc is None else calc.results}


def _candidate(row: dict[str, Any]) -> Candidate:
    atoms, results = Atoms.fromdict(row["atoms"]), row.pop("results")
    if results is not None:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return Candidate(**{**row, "atoms": atoms, "history": tuple(row["history"])})


def _read(path: Path) -> tuple[list[Candidate], float]:
    content = decode(path.read_text(), always_array=False)
    return [_candidate(row) for row in content["candidates"]], content["seconds"]
