"""Cache of the finished steps of a shard in files, so that an interrupted shard repeats only one step."""

import io
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.jsonio import decode, encode

from gendesign.structure.files import write_atomically
from gendesign.structure.types import Candidate


@dataclass
class StepCache:
    """The finished steps of a shard, one JSON file each in `folder`; no folder means no cache.

    seconds_saved: the computing time of the steps that were read from the folder.
    """

    folder: Path | None = None
    seconds_saved: float = 0.0

    def get_or_make(self, step: str, make: Callable[[], Iterable[Candidate]]) -> list[Candidate]:
        """The candidates of `step`: read from the folder if present, otherwise made by `make` and written.

        Both paths return bitwise the same candidates. Steps may be nested.
        """
        if self.folder is None:
            return list(make())
        path = self.folder / f"{step}.json"
        if path.is_file():
            candidates, seconds = read_step(path)
            self.seconds_saved += seconds
            return candidates
        start, saved_before = time.perf_counter(), self.seconds_saved
        rows = [_row(candidate) for candidate in make()]
        seconds = time.perf_counter() - start + self.seconds_saved - saved_before
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, encode({"seconds": seconds, "candidates": rows}))
        return read_step(path)[0]  # read back, so that an uninterrupted run continues with the same numbers

    def load_arrays(self, step: str) -> dict[str, np.ndarray] | None:
        """The arrays that `save_arrays` kept last under this name, None without any."""
        path = None if self.folder is None else self.folder / f"{step}.npz"
        if path is None or not path.is_file():
            return None
        with np.load(path) as kept:
            return dict(kept)

    def save_arrays(self, step: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays of numbers or texts in place of the former ones, atomically: the state of a step in progress."""
        if self.folder is None:
            return
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]  # its keywords are the names of the arrays
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / f"{step}.npz", content.getvalue())

    def drop_arrays(self, step: str) -> None:
        """Forget the arrays of a step that is finished."""
        if self.folder is not None:
            (self.folder / f"{step}.npz").unlink(missing_ok=True)


NO_CACHE = StepCache()


def _row(candidate: Candidate) -> dict[str, Any]:
    calc = candidate.atoms.calc
    content = {field.name: getattr(candidate, field.name) for field in fields(candidate)}
    return {**content, "atoms": candidate.atoms.todict(), "results": None if calc is None else calc.results}


def _candidate(row: dict[str, Any]) -> Candidate:
    atoms, results = Atoms.fromdict(row["atoms"]), row.pop("results")
    if results is not None:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return Candidate(**{**row, "atoms": atoms, "history": tuple(row["history"])})


def read_step(path: Path) -> tuple[list[Candidate], float]:
    """The candidates in the file of a step, and the seconds that it took; raises OSError where there is none."""
    content = decode(path.read_text(), always_array=False)
    return [_candidate(row) for row in content["candidates"]], content["seconds"]
