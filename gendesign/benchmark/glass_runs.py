"""The runs behind `gendesign benchmark amorphous`: commands in processes of their own, which are resumed.

Every run is a results folder of `gendesign generate` or `gendesign relax`. It survives the death of the benchmark, and
one that is finished is read.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ase import Atoms
from omegaconf import DictConfig

from gendesign.errors import UserError
from gendesign.potential.protocol import PotentialLike
from gendesign.run.merge import CANDIDATES, VERDICTS
from gendesign.run.records import read_candidates, read_verdicts
from gendesign.screening import network
from gendesign.screening.method import ScreeningContext
from gendesign.structure.files import write_atomically
from gendesign.structure.types import Candidate

PROGRAM = "import sys; sys.argv[0] = 'gendesign'; from gendesign.cli import entry; sys.exit(entry())"
PR_SET_PDEATHSIG = 1  # of Linux's prctl
TIMINGS = "timings.json"


@dataclass(frozen=True)
class Made:
    """A finished run. models: those that ended well; failed: the others. seconds: of one core, all stages together."""

    folder: Path
    models: tuple[Candidate, ...]
    failed: int
    seconds: float

    @property
    def atoms(self) -> list[Atoms]:
        """The models without results."""
        return [Atoms(c.atoms.numbers, c.atoms.positions, cell=c.atoms.cell, pbc=c.atoms.pbc) for c in self.models]

    @property
    def file(self) -> Path:
        """All candidates."""
        return self.folder / CANDIDATES

    @property
    def seconds_each(self) -> float:
        """Seconds of one core for a model."""
        return self.seconds / max(1, len(self.models) + self.failed)


@dataclass(frozen=True)
class Bench:
    """What the parts share. folder: of all runs with one potential."""

    config: DictConfig
    folder: Path
    potential: PotentialLike

    @cached_property
    def common(self) -> list[str]:
        """Keys that every run has."""
        keys = ("potential", "device", "dtype", "seed", "workers")
        return [f"{key}={self.config[key]}" for key in keys if self.config.get(key) is not None]

    def generate(self, name: str, formula: str, n_atoms: int, n: int, *words: str) -> Made:
        """`n` models of a formula in the folder `name`."""
        chosen = [f"generator.formula={formula}", f"generator.n_atoms={n_atoms}", f"n={n}", *words]
        return self.run(name, "generate", "generator=amorphous", *chosen)

    def run(self, name: str, *words: str) -> Made:
        """Complete a command in the folder `name` below `folder`; raises UserError if it ends with an error."""
        folder = self.folder / name
        arguments = [*words, *self.common, f"output={folder}"]
        print(f"gendesign {' '.join(arguments)}", file=sys.stderr, flush=True)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], env=environment, preexec_fn=_die_with_parent,
                              stdout=subprocess.DEVNULL)  # fmt: skip
        if done.returncode:
            raise UserError(
                f"the run {folder} ended with status {done.returncode}, said above; the parts before it are kept"
            )
        return read(folder)

    def above(self, models: Sequence[Candidate]) -> list[float]:
        """Energies above diamond and quartz, eV/atom; none where the potential knows no crystals."""
        return list(network.energies_above(models, ScreeningContext(None, self.potential, self.folder)).values())  # type: ignore[arg-type]

    def protocol(self, name: str, stages: Sequence[str], about: str) -> Path:
        """A file of stages in `folder`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.yaml"
        write_atomically(path, "\n".join([f"about: {about}", "stages:", *(f"  - {{{stage}}}" for stage in stages), ""]))
        return path


def read(folder: Path) -> Made:
    """A finished results folder."""
    candidates = read_candidates(folder / CANDIDATES, read_verdicts(folder / VERDICTS))
    models = tuple(c for c in candidates if c.failure is None)
    seconds = json.loads((folder / TIMINGS).read_text())["seconds"]
    return Made(folder, models, len(candidates) - len(models), float(sum(seconds.values())))


def _die_with_parent() -> None:
    """In the child: no run outlives the benchmark."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
