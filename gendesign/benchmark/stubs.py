"""Parts of a campaign that cost nothing, so that the remaining cost is that of the campaign itself."""

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from ase import Atoms

from gendesign.campaign.engines.base import End, ShardEngine
from gendesign.campaign.ledger import Row
from gendesign.campaign.stages import CampaignStage, Outcome
from gendesign.potential import PotentialBase
from gendesign.structure.generator import Generator
from gendesign.structure.types import Candidate, Prediction, Verdict

DEATHS = 1e-3  # of workers, for each shard


class Free(PotentialBase):
    """A potential without energy."""

    name, elements, cutoff, device, dtype = "free", ("C",), 3.0, torch.device("cpu"), torch.float64

    def evaluate(self, structures: Any, *, stress: bool = False) -> Prediction:
        """Zeros."""
        batch = self.batch(structures)
        return Prediction(torch.zeros(batch.n_systems).double(), torch.zeros_like(batch.positions))


def potential() -> Free:
    """The potential that settings name."""
    return Free()


@dataclass(frozen=True)
class Lines(Generator):
    """Twenty atoms in a line."""

    name: str = "lines"

    def generate(self, indices: Sequence[int], *, seed: int) -> Iterator[Candidate]:
        """See Generator."""
        for index in indices:
            yield Candidate(Atoms("C20", positions=[[1.4 * k, 0, 0] for k in range(20)]), index, self.name, seed)


@dataclass(frozen=True)
class Stub(CampaignStage):
    """Ten verdicts on every candidate."""

    columns: ClassVar[frozenset[str]] = frozenset(  # type: ignore[assignment]
        ["candidate_number", *(f"number_{k}" for k in range(9))]
    )

    def open(self, lent: Any) -> Any:
        """See CampaignStage."""

        def measure(candidates: Sequence[Candidate]) -> Outcome:
            verdicts = [
                Verdict(c.index, name, None, float(c.index if name == "candidate_number" else c.index % (k + 2)))
                for c in candidates
                for k, name in enumerate(sorted(self.columns))
            ]
            return Outcome(list(candidates), verdicts)

        return measure


class Simulated(ShardEngine):
    """Workers of which each makes one shard after the other; the time of a shard is exponential with mean 1.

    A worker dies with probability DEATHS before its shard is made. runs: how often each shard was begun. made: those
    that are. clock: simulated time.
    """

    def __init__(self, workers: int, seed: int) -> None:
        self.workers, self.stream = workers, random.Random(seed)
        self.runs: dict[int, int] = {}
        self.made: set[int] = set()
        self.clock, self.killed = 0.0, 0

    def start(self, site: Any, allow: Sequence[str]) -> None:
        """Nothing to prepare."""

    def run(self, tasks: Sequence[Any]) -> Iterator[End]:
        """The ends of the tasks in the order of simulated time."""
        busy: list[tuple[float, int]] = []
        waiting = iter(range(len(tasks)))
        for task in waiting:
            heapq.heappush(busy, (self.clock + self.stream.expovariate(1.0), task))
            if len(busy) == self.workers:
                break
        while busy:
            self.clock, task = heapq.heappop(busy)
            number = tasks[task].number
            self.runs[number] = self.runs.get(number, 0) + 1
            died = self.stream.random() < DEATHS
            self.killed += died
            if not died:
                self.made.add(number)
            yield End(task, int(died), "simulated" if died else "")
            if (following := next(waiting, None)) is not None:
                heapq.heappush(busy, (self.clock + self.stream.expovariate(1.0), following))


@dataclass
class SimulatedTrail:
    """How far a simulated shard is."""

    next: int
    waits: bool = False


class SimulatedSurvey:
    """The survey of simulated shards, which lie in no folder."""

    def __init__(self, engine: Simulated) -> None:
        self.engine = engine

    def read(self, item: tuple[str, int]) -> SimulatedTrail:
        """See Survey."""
        return SimulatedTrail(int(item[1] in self.engine.made))

    def rows(self, item: tuple[str, int]) -> list[Row]:
        """See Survey."""
        return [("generate", *item, 5, 5, 1.0)] if item[1] in self.engine.made else []
