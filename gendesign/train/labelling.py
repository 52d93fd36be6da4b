"""From structure files to labels: `gendesign label`."""

import csv
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gendesign.errors import UserError
from gendesign.processes.cores import available_cores
from gendesign.structure.files import read_structures, source_of, write_atomically, write_extxyz
from gendesign.structure.formula import hill_formula
from gendesign.structure.reading_notes import place, print_reading_notes, refuse_unusable
from gendesign.structure.types import Candidate
from gendesign.train.label import make_shards, read_frames
from gendesign.train.teacher import Teacher, bare, label_all, make_teacher


def label_files(
    files: Sequence[str | Path],
    output: Path,
    *,
    teacher: Teacher | Mapping[str, Any] | None = None,
    workers: int | None = None,
    shard_size: int = 20,
    max_force: float = 60.0,
    strict: bool = False,
    hydrogens: str = "required",
    periodic: str | bool = "auto",
    warn: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Label every structure of `files` by `teacher` into output/labels.extxyz; what has no label is in failures.csv.

    `teacher` is one of gendesign.train.teachers or its settings as in conf/teacher. Finished shards in output/shards
    are kept and not made again. `workers` None means as many as the cores allow. An unusable structure fails
    with its reason, or stops everything if `strict`; `hydrogens` and `periodic` as in `read_structures`. `warn` is
    called with a line for every kind of structure outside the domain of a machine-learned teacher. Returns the counts.
    Raises UserError for files of which nothing can be used and for a teacher whose program or parameters are missing.
    """
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise UserError(f"workers={workers}: give a whole number of 1 or more, or null for one per core")
    if not max_force > 0:
        raise UserError(f"max_force={max_force}: give a force above 0 eV/Angstrom")
    if teacher is None:
        raise UserError("teacher=null: labels need a teacher; give one, such as teacher=gfn2")
    teacher = teacher if isinstance(teacher, Teacher) else make_teacher(teacher)
    candidates = read_structures(
        files, strict=strict, hydrogens=hydrogens, periodic=periodic, chargeless=f"a label of {teacher.title}"
    )
    candidates = [_refused(candidate, teacher) for candidate in candidates]
    candidates = _without_unknown_elements(candidates, teacher)
    refuse_unusable(candidates, strict=strict)
    usable = _usable(candidates)
    print_reading_notes(candidates)
    for line in teacher.concerns(usable):
        warn(line)
    size = min(shard_size, teacher.most_per_shard or shard_size)
    parts = [usable[start : start + size] for start in range(0, len(usable), size)]
    scratch = output / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)  # of a killed run

    def job(structures: Sequence[Atoms]) -> Callable[[], Sequence[Atoms]]:
        return partial(label_all, structures, teacher, max_force, scratch)

    paths = [output / "shards" / f"{k:05d}.extxyz" for k in range(len(parts))]
    jobs = {path: job(part) for path, part in zip(paths, parts, strict=True)}
    alone = {p: [(job([atoms]), partial(_lost, atoms)) for atoms in part] for p, part in zip(paths, parts, strict=True)}
    _same_teacher(list(jobs), teacher, output)
    count = workers or teacher.workers(available_cores())
    make_shards(jobs, max(1, min(count, len(jobs))), "label", [len(part) for part in parts], alone)
    shutil.rmtree(scratch, ignore_errors=True)
    answers = {int(frame.info["index"]): frame for frame in read_frames(list(jobs))}
    done = [_labelled(candidate, answers.get(candidate.index), teacher.title) for candidate in candidates]
    failed = [candidate for candidate in done if candidate.failure]
    _report_unlabelled([after for before, after in zip(candidates, done, strict=True) if not before.failure])
    write_extxyz([candidate for candidate in done if not candidate.failure], output / "labels.extxyz")
    write_atomically(output / "failures.csv", _table(failed))
    return {"structures": len(done), "labelled": len(done) - len(failed), "failed": len(failed)}


def _lost(atoms: Atoms, reason: str) -> list[Atoms]:
    """A structure whose labelling ended its process, without a label."""
    lost = atoms.copy()
    lost.info["failure"] = reason
    return [lost]


def _refused(candidate: Candidate, teacher: Teacher) -> Candidate:
    """The candidate, with a failure if the teacher does not support it."""
    if candidate.failure:
        return candidate
    if reason := teacher.refuse(candidate.atoms):
        return replace(candidate, failure=f"not for {teacher.title}: it {reason}")
    return candidate


def _without_unknown_elements(candidates: Sequence[Candidate], teacher: Teacher) -> list[Candidate]:
    """The candidates, those failed that hold elements the teacher cannot label; UserError if it can label none."""
    symbols = {s for c in candidates if not c.failure for s in c.atoms.get_chemical_symbols()}
    try:
        teacher.check(frozenset(symbols))
        return list(candidates)
    except UserError as error:
        reasons = _reasons(symbols, teacher)
        if len(reasons) == len(symbols):  # a program is missing, or all elements are
            raise error from None
    out = []
    for candidate in candidates:
        unknown = sorted(set(candidate.atoms.get_chemical_symbols()) & set(reasons))
        failure = f"with {', '.join(unknown)}: {reasons[unknown[0]]}" if unknown and not candidate.failure else None
        out.append(replace(candidate, failure=failure) if failure else candidate)
    return out


def _reasons(symbols: Iterable[str], teacher: Teacher) -> dict[str, str]:
    """Why the teacher cannot label an element, by symbol, for those that it cannot."""
    reasons = {}
    for symbol in sorted(symbols):
        try:
            teacher.check(frozenset([symbol]))
        except UserError as error:
            reasons[symbol] = str(error)
    return reasons


def _usable(candidates: Sequence[Candidate]) -> list[Atoms]:
    """Copies of all structures without failure, for the teacher."""
    out = []
    for candidate in candidates:
        if candidate.failure:
            continue
        atoms = bare(candidate.atoms)
        atoms.info["index"] = candidate.index
        out.append(atoms)
    return out


def _same_teacher(paths: Sequence[Path], teacher: Teacher, output: Path) -> None:
    """Raise UserError if the folder holds labels of another teacher, or of another version of its weights."""
    first = next((path for path in paths if path.exists()), None)
    teachers = {frame.info.get("teacher") for frame in read_frames([first])} - {None} if first else set()
    if other := sorted(map(str, teachers - {teacher.about})):
        raise UserError(f"output={output} holds labels of {other[0]}, not of {teacher.about}; give another output")


def _labelled(candidate: Candidate, answer: Atoms | None, title: str) -> Candidate:
    if answer is None or "failure" in answer.info:
        return candidate.after("labelled", failure="unreadable" if answer is None else str(answer.info["failure"]))
    atoms = candidate.atoms.copy()
    results = {key: answer.calc.results[key] for key in ("energy", "forces", "stress") if key in answer.calc.results}
    atoms.calc = SinglePointCalculator(atoms, **results)
    notes = {key: answer.info[key] for key in ("multiplicity", "pseudopotentials", "teacher") if key in answer.info}
    return candidate.after(f"labelled by {title}", atoms, **notes)


def _report_unlabelled(candidates: Sequence[Candidate]) -> None:
    """Print to stderr how many structures have no label, and the reason of the first."""
    failed = [candidate for candidate in candidates if candidate.failure]
    if failed:
        first = f"{place(failed[0])}: {' '.join(str(failed[0].failure).split())}"
        more = f" (and {len(failed) - 1} more, in failures.csv)" if len(failed) > 1 else ""
        print(f"gendesign: {len(failed)} of {len(candidates)} structures have no label: {first}{more}", file=sys.stderr)


def _table(failed: Sequence[Candidate]) -> str:
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["index", "source", "formula", "reason"])
    rows.writerows([c.index, source_of(c), hill_formula(c.atoms.get_chemical_symbols()), c.failure] for c in failed)
    return text.getvalue()
