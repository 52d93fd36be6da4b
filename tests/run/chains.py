"""A run small enough to be killed and repeated: carbon chains, a relaxation that nudges, a check that counts.

As a program, `python chains.py FOLDER [SECONDS]` runs it, sleeping SECONDS in every candidate.
"""

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gendesign.run.folder import open_folder
from gendesign.run.pipeline import run
from gendesign.run.stages import Stages
from gendesign.structure.generator import Generator, PhaseReport, no_report
from gendesign.structure.types import Candidate, Verdict

N, SHARD_SIZE, SEED = 10, 3, 5
IDENTITY = {"verb": "generate", "settings": {"n": N, "seed": SEED, "generator": {"kind": "chain"}}, "weights": "0"}


@dataclass(frozen=True)
class Chains(Generator):
    """Chains of random length; every fifth attempt fails, half of those without any atom."""

    pause: float = 0.0
    name: str = "chains"

    def generate(self, indices: Sequence[int], *, seed: int) -> Iterator[Candidate]:
        for index in indices:
            time.sleep(self.pause)
            stream = random.Random(f"{seed} {index}")
            size = stream.randint(2, 7)
            atoms = Atoms(f"C{size}", positions=[[1.4 * i, stream.random(), 0] for i in range(size)])
            failure = 'no room for "hydrogen", given up' if index % 5 == 4 else None
            if failure and index % 2:
                atoms = Atoms()
            yield Candidate(atoms, index, self.name, seed, history=("grown", "closed"), failure=failure)


def relax(candidates: Sequence[Candidate], report: Callable[[int, int], None]) -> list[Candidate]:
    relaxed = []
    for candidate in candidates:
        atoms = candidate.atoms.copy()
        atoms.positions *= 1.01
        atoms.calc = SinglePointCalculator(atoms, energy=-len(atoms) / 3, forces=atoms.positions / 7)
        relaxed.append(candidate.after("relaxed", atoms, energy=-len(atoms) / 3, converged=True, steps=3, fmax=1 / 3))
        report(len(relaxed), len(candidates))
    return relaxed


def screen(candidates: Sequence[Candidate]) -> list[Verdict]:
    rows = []
    for candidate in (candidate for candidate in candidates if candidate.failure is None):
        even = len(candidate.atoms) % 2 == 0
        rows.append(Verdict(candidate.index, "valid", even, reason="" if even else "an odd chain"))
        rows.append(Verdict(candidate.index, "smiles", None, "C" * len(candidate.atoms)))
        rows.append(Verdict(candidate.index, "strain_toy", None, len(candidate.atoms) / 3, "kcal/mol"))
    return rows


def screen_set(
    candidates: Sequence[Candidate], verdicts: Sequence[Verdict], phase: PhaseReport = no_report
) -> list[Verdict]:
    seen: set[str] = set()
    rows = []
    for verdict in verdicts:
        if verdict.check == "smiles":
            rows.append(Verdict(verdict.candidate, "unique", verdict.value not in seen))
            seen.add(str(verdict.value))
    return rows


def stages(pause: float = 0.0) -> Stages:
    return Stages(Chains(pause), relax, screen, screen_set, about={"model": {"name": "toy", "licence": "none"}})


class Silent:
    def stage(self, name: str, done: int) -> None:
        """Nothing to show."""

    def shard(self, finished: int, total: int) -> None:
        """Nothing to show."""

    def phase(self, name: str, done: int = 0, total: int = 0) -> None:
        """Nothing to show."""


def run_toy(path: Path, pause: float = 0.0, identity: dict = IDENTITY, made: Stages | None = None) -> dict:
    with open_folder(path, identity) as folder:
        return run(made or stages(pause), folder, n=N, seed=SEED, shard_size=SHARD_SIZE, progress=Silent())


if __name__ == "__main__":
    run_toy(Path(sys.argv[1]), float(sys.argv[2]))
