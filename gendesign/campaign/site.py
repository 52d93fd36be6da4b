"""What a worker holds: the potential, generators and opened stages, each made once; and how it makes a shard."""

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from omegaconf import DictConfig, OmegaConf

from gendesign.campaign.config import Config, RunSettings
from gendesign.campaign.layout import CANDIDATES, DESCRIPTORS, LOGS, RUNS, TIMINGS, VERDICTS, place
from gendesign.campaign.plan import Plan
from gendesign.campaign.stages import Lent, Measure, Outcome
from gendesign.campaign.trail import GENERATION, Trail, extended, follow, next_folder
from gendesign.errors import UserError
from gendesign.processes import SERIAL, Failure, Pool
from gendesign.run.folder import to_json
from gendesign.run.records import write_verdicts
from gendesign.run.settings import resolve
from gendesign.run.shard import finish_verdict, judged, make_alone
from gendesign.run.stages import Stages
from gendesign.structure.files import write_extxyz
from gendesign.structure.generator import Generator
from gendesign.structure.step_cache import NO_CACHE, StepCache
from gendesign.structure.types import Candidate, Verdict

if TYPE_CHECKING:  # torch takes seconds to import
    from gendesign.potential.protocol import PotentialLike

MOST_GENERATORS = 4  # kept by a worker; a grid has many, each with its references
SCRATCH = "scratch"
JOB = "GENDESIGN_JOB"  # in the environment of a scheduled worker: how the names of its logs begin


@dataclass(frozen=True)
class Task:
    """Take a shard through the stages up to `last`.

    selected: candidates of the shard that enter a selecting stage, by its number. alone: candidate by candidate in
    processes of their own, because the shard has killed its workers.
    """

    run: str
    number: int
    last: int
    selected: dict[int, tuple[int, ...]] = field(default_factory=dict)
    alone: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        chosen = {str(stage): list(indices) for stage, indices in self.selected.items()}
        return {"run": self.run, "number": self.number, "last": self.last, "selected": chosen, "alone": self.alone}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Task":
        """From what `to_json` made."""
        chosen = {int(stage): tuple(map(int, indices)) for stage, indices in row["selected"].items()}
        return cls(str(row["run"]), int(row["number"]), int(row["last"]), chosen, bool(row["alone"]))


class Site:
    """The workplace of one process. `potential` is loaded on first use unless it is given."""

    def __init__(self, config: Config, plan: Plan, potential: "PotentialLike | None" = None) -> None:
        self.config, self.plan, self._potential = config, plan, potential
        self.settings = dict(zip([run.name for run in plan.runs], config.runs, strict=True))
        self._generators: dict[str, Generator] = {}
        self._measures: dict[tuple[int, str], Measure] = {}

    @property
    def potential(self) -> "PotentialLike":
        """The campaign's potential."""
        if self._potential is None:
            self._potential = load_potential_of(self.config)
        return self._potential

    def generator(self, run: str) -> Generator:
        """The generator of a run; a few are kept."""
        if run not in self._generators:
            while len(self._generators) >= MOST_GENERATORS:
                self._generators.pop(next(iter(self._generators)))
            self._generators[run] = make_generator(self.settings[run], self.potential)
        return self._generators[run]

    def measure(self, stage: int, run: str) -> Measure:
        """The opened stage; those that use the generator are opened for each run, and a few are kept."""
        own = self.config.stages[stage].stage.per_run
        key = stage, run if own else ""
        if key not in self._measures:
            if own:
                others = [other for other in self._measures if other[0] == stage]
                for other in others[: max(0, len(others) - MOST_GENERATORS + 1)]:
                    del self._measures[other]
            scratch = self.plan.folder / f".{SCRATCH}" / f"{socket.gethostname()}-{os.getpid()}"
            lent = Lent(self.potential, lambda: self.generator(run), scratch, self.plan.folder / RUNS / run)
            self._measures[key] = self.config.stages[stage].stage.open(lent)
        return self._measures[key]


def load_potential_of(config: Config) -> "PotentialLike":
    """The potential that a campaign names."""
    from gendesign.run.build import load

    return load(OmegaConf.create(vars(config.settings)))


def run_config(settings: RunSettings) -> DictConfig | None:
    """The settings of `gendesign generate` of a run; None for a generator of the user's own. Raises SettingsError."""
    return None if settings.target else resolve("generate", settings.words)


def make_generator(settings: RunSettings, potential: "PotentialLike") -> Generator:
    """The generator of a run."""
    from gendesign.run.build import make

    config = run_config(settings)
    if config is not None:
        generator: Generator = make(config.generator, potential=potential)
        return generator
    return make(OmegaConf.create({"_target_": settings.target, **settings.arguments}))  # type: ignore[no-any-return]


def advance(site: Site, task: Task, leave: Callable[[], bool] = lambda: False) -> None:
    """Make the missing stages of a shard, in order, up to `task.last`; returns early where `leave()` says so."""
    selection = {stage: frozenset(indices) for stage, indices in task.selected.items()}
    trail = follow(site.plan, task.run, task.number, selection)
    while trail.next <= task.last and not trail.waits and not leave():
        folder = next_folder(site.plan, trail, selection)
        if folder is None:
            break
        with _logged(site.plan.folder, trail):
            _make(site, trail, folder, task.alone)
        extended(site.plan, trail, selection)


def _make(site: Site, trail: Trail, folder: Path, alone: bool) -> None:
    start = time.perf_counter()
    if trail.next == GENERATION:
        outcome, about = _generate(site, trail, alone)
    else:
        candidates = trail.candidates(trail.alive)
        outcome, about = _alone(site, trail, candidates) if alone else _measured(site, trail, candidates)
    seconds = {
        "generate" if trail.next == GENERATION else site.plan.steps[trail.next].name: time.perf_counter() - start
    }
    rows = about | {"candidates": len(outcome.candidates), "seconds": seconds}
    changes = trail.next == GENERATION or site.plan.steps[trail.next].changes

    def write(temporary: Path) -> None:
        if changes:
            write_extxyz(outcome.candidates, temporary / CANDIDATES)
        write_verdicts(temporary / VERDICTS, outcome.verdicts)
        if "descriptors" in outcome.arrays:
            np.save(temporary / DESCRIPTORS, outcome.arrays["descriptors"], allow_pickle=False)
        (temporary / TIMINGS).write_text(to_json(rows))

    place(folder, write)


def _generate(site: Site, trail: Trail, alone: bool) -> tuple[Outcome, dict[str, Any]]:
    from gendesign.run.conditions import with_conditions

    run = site.plan.run(trail.run)
    indices = list(run.ranges[trail.number])
    stages = with_conditions(Stages(site.generator(trail.run)))
    if alone:
        return _generate_alone(site, stages, indices, run.seed)
    cache = StepCache(site.plan.folder / RUNS / trail.run / "shards" / f".{trail.number:05d}.begun")
    candidates, verdicts, _ = judged(stages, indices, run.seed, cache, lambda message: None)
    return Outcome(candidates, verdicts), {}


def _generate_alone(site: Site, stages: Stages, indices: list[int], seed: int) -> tuple[Outcome, dict[str, Any]]:
    """Find the attempts that kill their process, then make the others as usual."""
    with Pool(1, residents={"stages": stages}) as pool:
        resident = pool.resident(stages)
        tried = pool.map([(make_alone, (resident, index, seed)) for index in indices])
        good = [index for index, answer in zip(indices, tried, strict=True) if not isinstance(answer, Failure)]
        (whole,) = pool.map([(_judged, (resident, good, seed))]) if good else ([[], []],)
    lost = {index: answer.reason for index, answer in zip(indices, tried, strict=True) if isinstance(answer, Failure)}
    if isinstance(whole, Failure):
        answers = [answer for answer in tried if not isinstance(answer, Failure)]
        whole = [[c for answer in answers for c in answer[0]], [v for answer in answers for v in answer[1]]]
    dead = [Candidate(Atoms(), i, stages.generator.name, seed, failure=reason) for i, reason in lost.items()]
    candidates = sorted([*whole[0], *dead], key=lambda candidate: candidate.index)
    verdicts = sorted([*whole[1], *map(finish_verdict, dead)], key=lambda verdict: verdict.candidate)
    return Outcome(candidates, verdicts), {"set_aside": lost}


def _judged(stages: Stages, indices: Sequence[int], seed: int) -> list[Any]:
    candidates, verdicts, _ = judged(stages, indices, seed, NO_CACHE, lambda message: None, SERIAL)
    return [candidates, verdicts]


def _measured(site: Site, trail: Trail, candidates: list[Candidate]) -> tuple[Outcome, dict[str, Any]]:
    outcome, batches = halving(site.measure(trail.next, trail.run), candidates)
    return _finished(outcome), {"batches": batches} if batches > 1 else {}


def _alone(site: Site, trail: Trail, candidates: list[Candidate]) -> tuple[Outcome, dict[str, Any]]:
    """Find the candidates that kill their process, then measure the others as usual."""
    site.potential  # noqa: B018  loaded before the processes fork
    with Pool(1, residents={"site": site}) as pool:
        resident, stage, run = pool.resident(site), trail.next, trail.run
        tried = pool.map([(_one_batch, (resident, stage, run, [candidate])) for candidate in candidates])
        good = [c for c, answer in zip(candidates, tried, strict=True) if not isinstance(answer, Failure)]
        (whole,) = pool.map([(_one_batch, (resident, stage, run, good))]) if good else (Outcome([], []),)
    if isinstance(whole, Failure):
        whole = _joined([answer for answer in tried if not isinstance(answer, Failure)])
    lost = {c.index: a.reason for c, a in zip(candidates, tried, strict=True) if isinstance(a, Failure)}
    dead = [c.after("set aside", failure=lost[c.index]) for c in candidates if c.index in lost]
    outcome = _finished(_in_order(_joined([whole, Outcome(dead, [])]), candidates))
    return outcome, {"set_aside": lost}


def _one_batch(site: Site, stage: int, run: str, candidates: list[Candidate]) -> Outcome:
    return halving(site.measure(stage, run), candidates)[0]


def halving(measure: Measure, candidates: Sequence[Candidate]) -> tuple[Outcome, int]:
    """The outcome of a batch, and the number of batches that it took.

    A batch that runs out of memory, or in which a candidate raises an error, is divided in two; a single candidate
    that still does so has failed with that reason. UserError and errors of the disk are raised.
    """
    try:
        return measure(candidates), 1
    except (UserError, OSError):
        raise
    except Exception as error:
        if len(candidates) == 1:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
            return Outcome([candidates[0].after("measured", failure=reason)], []), 1
    middle = len(candidates) // 2
    parts = [halving(measure, candidates[:middle]), halving(measure, candidates[middle:])]
    return _joined([outcome for outcome, _ in parts]), sum(count for _, count in parts)


def _joined(parts: Sequence[Outcome]) -> Outcome:
    names = {name for part in parts for name in part.arrays}
    arrays = {name: np.concatenate([part.arrays[name] for part in parts if name in part.arrays]) for name in names}
    if names and any(len(part.candidates) and not part.arrays for part in parts):
        arrays = {name: _filled(parts, name) for name in names}
    return Outcome([c for part in parts for c in part.candidates], [v for part in parts for v in part.verdicts], arrays)


def _filled(parts: Sequence[Outcome], name: str) -> np.ndarray:
    """An array with rows of NaN for candidates without one."""
    shape = next(part.arrays[name].shape[1:] for part in parts if name in part.arrays)
    rows = [part.arrays.get(name, np.full((len(part.candidates), *shape), np.nan, np.float32)) for part in parts]
    return np.concatenate(rows)


def _in_order(outcome: Outcome, candidates: Sequence[Candidate]) -> Outcome:
    """The outcome in the order of `candidates`."""
    places = {candidate.index: k for k, candidate in enumerate(outcome.candidates)}
    order = [places[candidate.index] for candidate in candidates]
    arrays = {name: rows[order] for name, rows in outcome.arrays.items()}
    return Outcome([outcome.candidates[k] for k in order], outcome.verdicts, arrays)


def _finished(outcome: Outcome) -> Outcome:
    """With a verdict on every candidate whether it is usable, and all verdicts in the order of candidates."""
    verdicts: list[Verdict] = [*(finish_verdict(candidate) for candidate in outcome.candidates), *outcome.verdicts]
    verdicts.sort(key=lambda verdict: verdict.candidate)
    return Outcome(outcome.candidates, verdicts, outcome.arrays)


@contextmanager
def _logged(folder: Path, trail: Trail) -> Any:
    """A line when a worker begins a stage of a shard, and one when it is done."""
    path = folder / LOGS / f"{os.environ.get(JOB, '')}{socket.gethostname()}-{os.getpid()}.jsonl"
    path.parent.mkdir(exist_ok=True)

    def line(event: str) -> None:
        row = {"time": round(time.time(), 3), "event": event, "run": trail.run, "number": trail.number}
        with open(path, "a") as handle:
            handle.write(json.dumps({**row, "stage": trail.next}) + "\n")

    line("begin")
    yield
    line("end")
