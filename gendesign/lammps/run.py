"""Runs of LAMMPS in a process of its own: parts that follow each other by restart files, progress, errors in one line.

A run is always made of the same parts, each a start of the program from the restart file of the part before. So an
interrupted run repeats one part at most and ends with the same bits, and no state of a thermostat is lost.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from gendesign.errors import UserError
from gendesign.lammps.deck import (
    BAR,
    COLUMNS,
    DATA,
    DONE,
    LOG,
    RESULT,
    Dynamics,
    Minimisation,
    parts,
    read_result,
    script,
    write_data,
)
from gendesign.lammps.locate import executable
from gendesign.lammps.models import Model
from gendesign.structure.files import write_atomically

PART_SECONDS = 40.0  # of CPU between two restart files, by the cost of the model
REPORTS = 50  # of a part
PR_SET_PDEATHSIG = 1  # of Linux's prctl
LONGEST = 200  # characters of an error of LAMMPS
KNOWN_ERRORS = {
    "Lost atoms": "atoms were lost: the model ran away",
    "Non-numeric": "positions or forces are no longer finite",
    "non-numeric": "positions or forces are no longer finite",
    "Out of range atoms": "atoms were lost: the model ran away",
    "Neighbor list overflow": "atoms collapsed onto each other",
}


class LammpsError(Exception):
    """LAMMPS ended with an error, told in one line."""


@dataclass(frozen=True)
class Thermo:
    """What LAMMPS reports of a run: its step, K, GPa, eV and Angstrom^3."""

    step: int
    temperature: float
    pressure: float
    energy: float
    volume: float


Report = Callable[[Thermo], None]


def run_lammps(
    atoms: Atoms, model: Model, task: Dynamics | Minimisation, folder: Path | None = None, report: Report | None = None
) -> tuple[Atoms, Thermo]:
    """`atoms` at the end of a task under `model`, with momenta and the last report.

    folder: where the files are kept; a run that was interrupted there continues. Without one they are temporary.
    Raises UserError where LAMMPS is not installed or the model lacks an element, and LammpsError for a run that failed.
    """
    if lacking := sorted(set(atoms.get_chemical_symbols()) - set(model.elements)):
        raise UserError(
            f"model={model.name} has no {', '.join(lacking)}, only {', '.join(model.elements)}; choose another model"
        )
    executable()
    with _working(folder) as place:
        if not (place / DATA).is_file():
            write_data(atoms, place / DATA, model.species(atoms))
        if isinstance(task, Minimisation):
            thermo = _part(place, script(task, atoms, model), report)
        else:
            thermo = _follow(place, atoms, model, task, report)
        return read_result(place / RESULT, atoms), thermo


def _follow(place: Path, atoms: Atoms, model: Model, task: Dynamics, report: Report | None) -> Thermo:
    length = part_length(len(atoms), model.cost)
    ranges = parts(task.steps, length)
    done = [n for n in range(len(ranges) - 1) if (place / _restart(n)).is_file()]
    begin, thermo = (done[-1] + 1 if done else 0), None
    for n in range(begin, len(ranges)):
        first, last = ranges[n]
        every = max(1, -(-length // REPORTS))
        keep = f"{_restart(n)}.new" if n + 1 < len(ranges) else ""
        before = _restart(n - 1) if n else ""
        text = script(task, atoms, model, first=first, last=last, restart=before, keep=keep, every=every)
        thermo = _part(place, text, report)
        if keep:  # whole or absent
            os.replace(place / keep, place / _restart(n))
            if n:
                (place / before).unlink(missing_ok=True)
    assert thermo is not None
    return thermo


def part_length(n_atoms: int, cost: float) -> int:
    """Steps between two restart files, at a `cost` of us per atom and step; it depends on nothing else."""
    steps = PART_SECONDS * 1e6 / (n_atoms * cost)
    return max(50, round(steps / 50) * 50)


def _restart(part: int) -> str:
    return f"part-{part:05d}.restart"


@contextmanager
def _working(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}; make room or choose another output") from error
    yield folder


def _part(place: Path, text: str, report: Report | None) -> Thermo:
    """Run one input script; raises LammpsError with what went wrong."""
    program, environment = executable()
    write_atomically(place / "in.lammps", text)
    words = [str(program), "-in", "in.lammps", "-log", LOG, "-nocite"]
    process = subprocess.Popen(
        words, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", preexec_fn=_end_with_parent,
    )  # fmt: skip
    last, done, errors = None, False, []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            done |= line.startswith(DONE)
            if "ERROR" in line:
                errors.append(" ".join(line.split()))
            elif (thermo := _thermo(line)) is not None:
                last = thermo
                if report is not None:
                    report(last)
        status = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if status or not done or last is None:
        raise LammpsError(_reason(errors, status, place))
    return last


def _thermo(line: str) -> Thermo | None:
    """The report in a line of output, None in all other lines."""
    words = line.split()
    if len(words) != len(COLUMNS.split()) or not words[0].isdigit():
        return None
    try:
        temperature, pressure, energy, volume = map(float, words[1:])
    except ValueError:
        return None
    return Thermo(int(words[0]), temperature, pressure / BAR, energy, volume)


def _reason(errors: list[str], status: int, place: Path) -> str:
    text = errors[0] if errors else f"status {status}"
    for word, meaning in KNOWN_ERRORS.items():
        if word in text:
            return f"LAMMPS: {meaning}"
    if "o space left" in text or _full(place):
        raise UserError(f"{place} cannot be written: no space left; make room and give the same command again")
    return f"LAMMPS failed: {text[:LONGEST]}"


def _full(place: Path) -> bool:
    info = os.statvfs(place)
    return info.f_bavail * info.f_frsize < 1 << 16


def _end_with_parent() -> None:
    """The kernel ends LAMMPS with this process, also when that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
