"""A campaign that takes seconds: carbon chains, a stage that measures them, one that nudges them, one that kills.

Every call of a stage is a line of calls.txt in the folder that TOY_CALLS names.
"""

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from ase import Atoms

from gendesign.campaign.stages import CampaignStage, Outcome
from gendesign.potential import PotentialBase
from gendesign.structure.generator import Generator
from gendesign.structure.types import Candidate, Prediction, Verdict


class Free(PotentialBase):
    """A potential that costs nothing."""

    name, elements, cutoff, device, dtype = "free", ("H", "C", "O"), 3.0, torch.device("cpu"), torch.float64

    def evaluate(self, structures, *, stress=False):
        batch = self.batch(structures)
        return Prediction(torch.zeros(batch.n_systems).double(), torch.zeros_like(batch.positions))


def potential() -> Free:
    return Free()


def rest() -> None:
    """Make a candidate last as long as TOY_PAUSE says."""
    time.sleep(float(os.environ.get("TOY_PAUSE", "0")))


def called(name: str, candidates) -> None:
    """Write down who was computed."""
    if folder := os.environ.get("TOY_CALLS"):
        with open(Path(folder) / "calls.txt", "a") as handle:
            handle.write(f"{name} {','.join(str(c.index) for c in candidates)}\n")


@dataclass(frozen=True)
class Chains(Generator):
    """Chains of random length; every tenth attempt fails; `deadly` attempts kill the process."""

    deadly: tuple[int, ...] = ()
    name: str = "chains"

    def generate(self, indices, *, seed):
        called("generate", [Candidate(Atoms(), i) for i in indices])
        for index in indices:
            rest()
            if index in self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            stream = random.Random(f"{seed} {index}")
            size = stream.randint(2, 7)
            atoms = Atoms(f"C{size}", positions=[[1.4 * i, stream.random(), 0] for i in range(size)])
            failure = "no room" if index % 10 == 9 else None
            yield Candidate(Atoms() if failure else atoms, index, self.name, seed, failure=failure)


@dataclass(frozen=True)
class Size(CampaignStage):
    """Number of atoms, and a second number that pulls the other way."""

    version: int = 0
    deadly: int = 0  # chains of so many atoms kill the process
    memory: int = 0  # more atoms in one batch are too many, 0: any number fits

    @property
    def columns(self):
        return frozenset({"size", "skew", "even"})

    def open(self, lent):
        def measure(candidates):
            called("size", candidates)
            if self.memory and sum(len(c.atoms) for c in candidates) > self.memory:
                raise torch.OutOfMemoryError("toy: out of memory")
            verdicts = []
            for c in candidates:
                rest()
                if len(c.atoms) == self.deadly:
                    os.kill(os.getpid(), signal.SIGKILL)
                skew = float(c.atoms.positions[:, 1].sum()) - len(c.atoms)
                verdicts += [
                    Verdict(c.index, "size", None, float(len(c.atoms))),
                    Verdict(c.index, "skew", None, skew, "Angstrom"),
                    Verdict(c.index, "even", len(c.atoms) % 2 == 0, reason="" if len(c.atoms) % 2 == 0 else "odd"),
                    Verdict(c.index, "smiles", None, "C" * len(c.atoms)),
                ]
            return Outcome(list(candidates), verdicts)

        return measure


@dataclass(frozen=True)
class Nudge(CampaignStage):
    """Structures that change."""

    changes: ClassVar[bool] = True
    factor: float = 1.01

    @property
    def columns(self):
        return frozenset({"length"})

    def open(self, lent):
        def measure(candidates):
            called("nudge", candidates)
            out = []
            for c in candidates:
                rest()
                atoms = c.atoms.copy()
                atoms.positions *= self.factor
                out.append(c.after("nudged", atoms))
            verdicts = [Verdict(c.index, "length", None, float(c.atoms.positions[-1, 0]), "Angstrom") for c in out]
            return Outcome(out, verdicts)

        return measure


def content(output, *, n=40, seeds=(0, 1), deadly=(), shard_size=5, **stages) -> dict:
    """The settings of such a campaign; `stages` are changes by stage and key."""
    steps = {
        "size": {"_target_": "toys.Size", "keep": ["even"]},
        "nudge": {"_target_": "toys.Nudge", "budget": 20, "by": ["min size", "max skew"]},
        "again": {"_target_": "toys.Size", "version": 2},
    }
    for name, change in stages.items():
        steps[name] = steps.get(name, {}) | change
    return {
        "output": str(output),
        "potential": "toys:potential",
        "shard_size": shard_size,
        "generators": {
            "toy": {
                "_target_": "toys.Chains",
                "n": n,
                "arguments": {"deadly": list(deadly)},
                "grid": {"seed": list(seeds)},
            }
        },
        "stages": steps,
        "rank": {"by": ["min size", "max skew"], "top": 5},
    }
