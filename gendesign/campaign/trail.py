"""How far the candidates of a shard have come, read from the folders alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gendesign.campaign.filters import refusal
from gendesign.campaign.layout import CANDIDATES, DESCRIPTORS, VERDICTS, generated, staged
from gendesign.campaign.plan import Plan
from gendesign.errors import UserError
from gendesign.run.records import FINISHED, read_candidates, read_verdicts
from gendesign.structure.types import Candidate, Verdict

GENERATION = -1  # in place of a stage's number
NOT_SELECTED = "not selected"
Selection = Mapping[int, frozenset[int]]  # candidates of one shard that enter a stage, by the stage's number


class DamagedShardError(UserError):
    """A shard whose files cannot be read."""


@dataclass
class Trail:
    """The candidates of shard `number` of `run`.

    next: the stage to be made (GENERATION first); len(plan.steps) at the end. alive: candidates that enter it.
    folders, entered, kept: of the generation and of every stage made, the candidates that it was made of, and how many
    of them go on.
    values: verdicts by candidate and check; ended: (stage, reason) of those that left. structures: the folder with the
    present structures. waits: stopped before a stage that selects, as long as nobody has said whom.
    """

    run: str
    number: int
    next: int = GENERATION
    alive: tuple[int, ...] = ()
    folders: list[Path] = field(default_factory=list)
    entered: list[tuple[int, ...]] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    values: dict[int, dict[str, Verdict]] = field(default_factory=dict)
    ended: dict[int, tuple[int, str]] = field(default_factory=dict)
    structures: Path | None = None
    waits: bool = False

    def candidates(self, indices: Sequence[int]) -> list[Candidate]:
        """The present structures of these candidates, in their order."""
        if self.structures is None or not indices:
            return []
        path = self.structures / CANDIDATES
        try:
            rows = read_candidates(path, _verdicts(self.structures))
            by_index = {candidate.index: candidate for candidate in rows}
            return [by_index[index] for index in indices]
        except DamagedShardError:
            raise
        except Exception as error:  # ASE raises many kinds for a damaged file
            raise _damaged(path, error) from error

    def descriptors(self) -> dict[int, np.ndarray]:
        """The last descriptors by candidate; empty where no stage made any."""
        for folder, entered in zip(reversed(self.folders), reversed(self.entered), strict=True):
            if (folder / DESCRIPTORS).is_file():
                rows = np.load(folder / DESCRIPTORS, allow_pickle=False)
                return dict(zip(entered, rows, strict=True))
        return {}


def follow(plan: Plan, run: str, number: int, selection: Selection | None = None) -> Trail:
    """The trail of a shard as far as it goes: to what must be made next, to a selection, or to the end."""
    return extended(plan, Trail(run, number), selection or {})


def extended(plan: Plan, trail: Trail, selection: Selection) -> Trail:
    """The same trail after reading what has been made since. Raises DamagedShardError."""
    trail.waits = False
    while trail.next < len(plan.steps):
        folder = next_folder(plan, trail, selection)
        if folder is None or not folder.is_dir():
            break
        if trail.next >= 0 and not trail.alive:
            trail.next = len(plan.steps)
            break
        _read(plan, trail, folder)
    return trail


def next_folder(plan: Plan, trail: Trail, selection: Selection) -> Path | None:
    """Where the next stage of a trail is, or will be; None where it waits for a selection or nobody is left."""
    if trail.next == GENERATION:
        return generated(plan.folder, trail.run, trail.number)
    if trail.next >= len(plan.steps):
        return None
    step = plan.steps[trail.next]
    if trail.alive and step.gate.selects:
        if trail.next not in selection:
            trail.waits = True
            return None
        chosen = selection[trail.next]
        for index in trail.alive:
            if index not in chosen:
                trail.ended[index] = trail.next, NOT_SELECTED
        trail.alive = tuple(index for index in trail.alive if index in chosen)
    if not trail.alive:
        trail.next = len(plan.steps)
        return None
    return staged(plan.folder, step.folder, trail.run, trail.number, trail.alive)


def _read(plan: Plan, trail: Trail, folder: Path) -> None:
    """Take a made stage into the trail."""
    verdicts = _verdicts(folder)
    made = list(dict.fromkeys(verdict.candidate for verdict in verdicts))
    if trail.next >= 0 and set(made) != set(trail.alive):
        raise DamagedShardError(f"{folder}: its candidates are not those that entered; remove it and run again")
    for verdict in verdicts:
        trail.values.setdefault(verdict.candidate, {})[verdict.check] = verdict
    keep = () if trail.next == GENERATION else plan.steps[trail.next].keep
    alive = []
    for index in made:
        values = trail.values[index]
        finished = values[FINISHED]
        reason = refusal(keep, values) if finished.passed else finished.reason or "failed"
        if reason:
            trail.ended[index] = trail.next, reason
        else:
            alive.append(index)
    trail.folders.append(folder)
    trail.entered.append(tuple(made))
    trail.kept.append(len(alive))
    if trail.next == GENERATION or plan.steps[trail.next].changes:
        trail.structures = folder
    trail.alive, trail.next = tuple(alive), trail.next + 1


def _verdicts(folder: Path) -> list[Verdict]:
    try:
        return read_verdicts(folder / VERDICTS)
    except Exception as error:  # pyarrow has many kinds
        raise _damaged(folder / VERDICTS, error) from error


def _damaged(path: Path, error: Exception) -> DamagedShardError:
    reason = " ".join(str(error).split())[:100] or type(error).__name__
    advice = f"remove the folder {path.parent.name} and give the same command again"
    return DamagedShardError(f"{path} cannot be read ({reason}); {advice}")
