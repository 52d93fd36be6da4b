"""The state of a whole campaign, read from its folders: every shard's trail and who was selected at each stage."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ase import Atoms

from gendesign.campaign.filters import Objective
from gendesign.campaign.layout import TIMINGS
from gendesign.campaign.ledger import Row
from gendesign.campaign.plan import Plan
from gendesign.campaign.select import Entry, Id, chosen, copies_of, ranked
from gendesign.campaign.site import Task
from gendesign.campaign.trail import GENERATION, DamagedShardError, Trail, extended, follow

GENERATE = "generate"  # the name of the first stage
Item = tuple[str, int]


class Survey:
    """Trails by shard. Selections follow from what the shards hold, so that every reader makes the same ones."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.trails = {item: follow(plan, *item) for item in plan.items}
        self.selected: dict[Item, dict[int, frozenset[int]]] = {item: {} for item in plan.items}
        self.made: set[int] = set()  # selecting stages for which the selection is made
        self.progress()

    def progress(self) -> None:
        """Select wherever every candidate has arrived, and follow the trails on."""
        for stage in self.plan.barriers:
            if stage in self.made:
                continue
            if any(trail.next < stage or (trail.next == stage and not trail.waits) for trail in self.trails.values()):
                return
            self._select(stage)

    def read(self, item: Item) -> Trail:
        """The trail of a shard after reading what was made since."""
        return extended(self.plan, self.trails[item], self.selected[item])

    def missing(self) -> list[Task]:
        """What can be made now: every shard up to the next stage that selects."""
        waiting = [stage for stage in self.plan.barriers if stage not in self.made]
        last = (waiting[0] if waiting else len(self.plan.steps)) - 1
        tasks = []
        for (run, number), trail in self.trails.items():
            if trail.next <= last and not trail.waits:
                chosen_here = {s: tuple(sorted(ids)) for s, ids in self.selected[run, number].items()}
                tasks.append(Task(run, number, last, chosen_here))
        return tasks

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be made."""
        return not self.missing()

    def rows(self, item: Item) -> Iterator[Row]:
        """The ledger's rows of a shard."""
        trail = self.trails[item]
        for k, folder in enumerate(trail.folders):
            name = GENERATE if k == 0 else self.plan.steps[k - 1].name
            seconds = round(_seconds(folder), 3)
            yield name, trail.run, trail.number, len(trail.entered[k]), trail.kept[k], seconds

    def all_rows(self) -> Iterator[Row]:
        """The ledger's rows of all shards."""
        for item in self.trails:
            yield from self.rows(item)

    def entries(self, keep: Callable[[Trail], tuple[int, ...]]) -> list[Entry]:
        """Candidates of every trail as entries of a selection."""
        out = []
        for trail in self.trails.values():
            indices = keep(trail)
            if not indices:
                continue
            descriptors, atoms = trail.descriptors(), _Structures(trail)
            for index in indices:
                about = trail.values[index], partial(atoms.of, index), descriptors.get(index)
                out.append(Entry((trail.run, index), *about))
        return out

    def finalists(self) -> list[tuple[Entry, int]]:
        """The candidates that passed every stage, best first, with their Pareto front; copies are left out."""
        passed = self.entries(lambda trail: trail.alive if trail.next == len(self.plan.steps) else ())
        ranking = self.plan.ranking
        order = ranked(passed, tuple(Objective.parse(text) for text in ranking.by))
        if ranking.unique is None:
            return order
        copies = copies_of([entry for entry, _ in order], ranking.unique, ranking.distance)
        for entry, _ in order:
            if entry.id in copies:
                self._leave(entry.id, len(self.plan.steps), _copy(copies[entry.id]))
        return [(entry, front) for entry, front in order if entry.id not in copies]

    def _select(self, stage: int) -> None:
        step = self.plan.steps[stage]
        arrived = self.entries(lambda trail: trail.alive if trail.waits and trail.next == stage else ())
        gate = step.gate
        how = dict(by=step.by, budget=gate.budget, acquisition=gate.acquisition)
        winners = {entry.id for entry in chosen(arrived, unique=gate.unique, distance=gate.distance, **how)}
        for item, trail in self.trails.items():
            run = item[0]
            if trail.waits and trail.next == stage:
                self.selected[item][stage] = frozenset(i for i in trail.alive if (run, i) in winners)
        self.made.add(stage)
        for item in self.trails:
            self.read(item)

    def _leave(self, candidate: Id, stage: int, reason: str) -> None:
        for item, trail in self.trails.items():
            if item[0] == candidate[0] and candidate[1] in trail.alive:
                trail.ended[candidate[1]] = stage, reason


class _Structures:
    """The structures of a trail, read when first asked for."""

    def __init__(self, trail: Trail) -> None:
        self.trail = trail
        self.by_index: dict[int, Atoms] = {}

    def of(self, index: int) -> Atoms:
        if not self.by_index:
            self.by_index = {c.index: c.atoms for c in self.trail.candidates(self.trail.alive)}
        return self.by_index[index]


def _seconds(folder: Path) -> float:
    """The seconds that a stage of a shard took."""
    try:
        return float(sum(json.loads((folder / TIMINGS).read_text())["seconds"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DamagedShardError(f"{folder / TIMINGS} cannot be read; remove the folder {folder.name} and give the same "
                                "command again") from None  # fmt: skip


def _copy(original: Id) -> str:
    return f"copy of candidate {original[1]} of {original[0]}"


__all__ = ["GENERATE", "GENERATION", "Item", "Survey"]
