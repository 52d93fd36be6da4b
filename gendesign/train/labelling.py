"""From structure files to labels: what `gendesign label` does."""

import csv
import os
from collections.abc import Sequence
from functools import partial
from io import StringIO
from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gendesign.structure.files import read_structures, write_atomically, write_extxyz
from gendesign.structure.formula import hill_formula
from gendesign.structure.types import Candidate, UserError
from gendesign.train.label import make_shards, read_frames
from gendesign.train.teacher import label_all


def label_files(
    files: Sequence[str | Path],
    output: Path,
    *,
    workers: int | None = None,
    shard_size: int = 20,
    open_shell: bool = False,
    max_force: float = 60.0,
) -> dict[str, int]:
    """Label every molecule of `files` by GFN2-xTB into output/labels.extxyz; what has no label is in failures.csv.

    Finished shards in output/shards are kept and not made again. `workers` None means one per core. With `open_shell`
    the lower of two multiplicities counts. Returns the counts. Raises UserError for files it cannot use.
    """
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise UserError(f"workers={workers}: give a whole number of 1 or more, or null for one per core")
    candidates = read_structures(files)
    for candidate in candidates:
        if candidate.atoms.pbc.any():
            raise UserError(f"{place(candidate)} is periodic, and GFN2-xTB labels molecules here; give molecules")
    usable = [Atoms(c.atoms.numbers, c.atoms.positions, info={"index": c.index}) for c in candidates if not c.failure]
    parts = [usable[start : start + shard_size] for start in range(0, len(usable), shard_size)]
    jobs = {
        output / "shards" / f"{k:05d}.extxyz": partial(label_all, part, open_shell, max_force)
        for k, part in enumerate(parts)
    }
    make_shards(jobs, min(workers or len(os.sched_getaffinity(0)), max(1, len(jobs))), "label")
    answers = {int(frame.info["index"]): frame for frame in read_frames(list(jobs))}
    done = [_labelled(candidate, answers.get(candidate.index)) for candidate in candidates]
    failed = [candidate for candidate in done if candidate.failure]
    write_extxyz([candidate for candidate in done if not candidate.failure], output / "labels.extxyz")
    table = StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["index", "source", "formula", "reason"])
    rows.writerows([c.index, c.history[0], hill_formula(c.atoms.get_chemical_symbols()), c.failure] for c in failed)
    write_atomically(output / "failures.csv", table.getvalue())
    return {"structures": len(done), "labelled": len(done) - len(failed), "failed": len(failed)}


def _labelled(candidate: Candidate, answer: Atoms | None) -> Candidate:
    if answer is None or "failure" in answer.info:
        return candidate.after("labelled", failure="unreadable" if answer is None else str(answer.info["failure"]))
    atoms = Atoms(candidate.atoms.numbers, candidate.atoms.positions)
    atoms.calc = SinglePointCalculator(atoms, energy=answer.get_potential_energy(), forces=answer.get_forces())
    return candidate.after("labelled by GFN2-xTB", atoms, multiplicity=int(answer.info["multiplicity"]))


def place(candidate: Candidate) -> str:
    """Which structure of the user's files this is, in words."""
    return f"structure {candidate.index + 1} ({candidate.history[-1]})"
