"""Episodes as plain state, and one placement in each of several, all their energies asked in one call."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from gendesign.errors import UserError
from gendesign.generate.rl.reward import FLOOR, FULL, IMPOSSIBLE, OUTSIDE, Reward
from gendesign.generate.rl.tasks import Bag, Task


@dataclass(frozen=True)
class Episode:
    """One environment between two placements.

    The first `settled` atoms are paid for, and `energy` (Hartree) is theirs, None as long as nobody asked; `placed`
    counts placements and `completed` emptied bags; `gained` is the sum of the rewards so far.
    """

    atoms: Atoms
    bag: Bag
    settled: int = 0
    energy: float | None = None
    placed: int = 0
    completed: int = 0
    gained: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Plain values, from which `from_state` makes the same episode."""
        plain = {key: value for key, value in vars(self).items() if key not in ("atoms", "bag")}
        places = {"numbers": self.atoms.numbers.tolist(), "positions": self.atoms.positions.tolist()}
        return {**plain, **places, "bag": [[z, count] for z, count in self.bag.items()]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Episode":
        rest = {key: value for key, value in state.items() if key not in ("numbers", "positions", "bag")}
        positions = np.array(state["positions"], dtype=float).reshape(-1, 3)
        return cls(Atoms(state["numbers"], positions), {int(z): count for z, count in state["bag"]}, **rest)


@dataclass(frozen=True)
class Outcome:
    """What a placement led to: the episode after it, its reward in Hartree, how and why it ended, scores at the end."""

    episode: Episode
    reward: float
    terminated: bool = False
    truncated: bool = False
    reason: str = ""
    scores: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.terminated or self.truncated

    @property
    def info(self) -> dict[str, Any]:
        """What environments tell: at the end the molecule, the return (Hartree) and the number of placements."""
        if not self.done:
            return {}
        ended = {"atoms": self.episode.atoms, "return": self.episode.gained, "length": self.episode.placed}
        return {**ended, "truncated": self.truncated, "reason": self.reason, **self.scores}


@dataclass(frozen=True)
class Placement:
    """An atom and where it goes, in Angstrom; `number` 0 and NaN for what the canvas or the bag does not have."""

    number: int
    position: np.ndarray


def begin(task: Task, rng: np.random.Generator, episode: int = 0) -> Episode:
    """The start of an episode; no energy is asked yet."""
    bag, atoms = task.start(rng, episode)
    return Episode(atoms, bag, len(atoms), None if len(atoms) else 0.0)


def check(task: Task, reward: Reward, slots: int | None, elements: Sequence[int] | None) -> tuple[int, tuple[int, ...]]:
    """Slots and elements of an environment; raises UserError where task, energies and canvas do not go together."""
    least, all_refills = task.sizes
    slots = all_refills if slots is None else slots
    if slots < least:
        raise UserError(
            f"a canvas of {slots} atoms is too small for this task, whose bag fills {least}; give slots={least} or more"
        )
    elements = task.elements if elements is None else tuple(sorted(int(z) for z in elements))
    if missing := sorted(set(task.elements) - set(elements)):
        known, lacking = ([chemical_symbols[z] for z in group] for group in (elements, missing))
        raise UserError(
            f"the task needs {', '.join(lacking)}, but the actions know {' '.join(known)}; "
            "give these elements too, or none for the task's own"
        )
    reward.require_elements([chemical_symbols[z] for z in task.elements])
    return slots, elements


def advance(
    episodes: Sequence[Episode], placements: Sequence[Placement], task: Task, reward: Reward, slots: int
) -> list[Outcome]:
    """One placement in each episode.

    An empty bag that is not refilled and the floor terminate an episode, a canvas full before that truncates it. Of one
    that ends for a fault of geometry, `atoms` lack the atom at fault.
    """
    faults = [_fault(e, p, task, reward) for e, p in zip(episodes, placements, strict=True)]
    after = [
        replace(e, placed=e.placed + 1) if fault else _place(e, p, task)
        for e, p, fault in zip(episodes, placements, faults, strict=True)
    ]
    ends = [not e.bag or len(e.atoms) >= slots for e in after]
    due = [i for i, end in enumerate(ends) if not faults[i] and (end or not reward.at_end)]
    gains = [0.0] * len(after)
    for i, gain, energy in zip(due, *_gains([after[i] for i in due], reward), strict=True):
        size = len(after[i].atoms)
        gains[i], faults[i] = gain, reward.doubt(gain, size - after[i].settled)
        after[i] = replace(after[i], energy=energy, settled=size)
    outcomes = []
    for new, placement, fault, end, gain in zip(after, placements, faults, ends, gains, strict=True):
        paid = reward.floor if fault else gain - task.penalty(placement.position)
        if paid < reward.floor:
            paid, fault = reward.floor, FLOOR
        full = end and not fault and bool(new.bag)
        new = replace(new, gained=new.gained + paid)
        outcomes.append(Outcome(new, paid, bool(fault) or (end and not full), full, fault or (FULL if full else "")))
    return _scored(outcomes, reward)


def _fault(episode: Episode, placement: Placement, task: Task, reward: Reward) -> str:
    if not episode.bag.get(placement.number) or not np.isfinite(placement.position).all():
        return IMPOSSIBLE
    if not task.allows(placement.position):
        return OUTSIDE
    return reward.fault(episode.atoms, placement.number, placement.position, episode.bag)


def _place(episode: Episode, placement: Placement, task: Task) -> Episode:
    """The episode with the atom on the canvas and out of the bag, which is refilled when empty."""
    bag = {z: count - (z == placement.number) for z, count in episode.bag.items()}
    bag = {z: count for z, count in bag.items() if count}
    completed = episode.completed + (not bag)
    atoms = Atoms(
        [*episode.atoms.numbers, placement.number], np.concatenate([episode.atoms.positions, placement.position[None]])
    )
    bag = bag or task.refill(completed)
    return replace(episode, atoms=atoms, bag=bag, completed=completed, placed=episode.placed + 1)


def _gains(episodes: Sequence[Episode], reward: Reward) -> tuple[list[float], list[float]]:
    """Gains E(settled) + sum E(new atoms) - E(all), and E(all), in Hartree, of each episode; one call of the energies.

    A canvas whose energy is not known yet, the start of an episode on given atoms, is asked along with the rest.
    """
    new = [episode.atoms.numbers[episode.settled :] for episode in episodes]
    kinds = sorted({int(z) for numbers in new for z in numbers})
    unknown = [i for i, episode in enumerate(episodes) if episode.energy is None]
    before = [episodes[i].atoms[: episodes[i].settled] for i in unknown]
    found = reward.ask([*(e.atoms for e in episodes), *before, *(Atoms([z]) for z in kinds)])
    n = len(episodes)
    settled = np.array([math.nan if e.energy is None else e.energy for e in episodes])
    settled[unknown] = found[n : n + len(unknown)]
    free = dict(zip(kinds, found[n + len(unknown) :], strict=True))
    lone = np.array([sum(free[int(z)] for z in numbers) for numbers in new])
    return (settled + lone - found[:n]).tolist(), found[:n].tolist()


def _scored(outcomes: list[Outcome], reward: Reward) -> list[Outcome]:
    """Outcomes with the scores of the molecules that were finished, which raise reward and return."""
    finished = [i for i, outcome in enumerate(outcomes) if outcome.terminated and not outcome.reason]
    for i, scores in zip(finished, reward.scores([outcomes[i].episode.atoms for i in finished]), strict=True):
        if scores:
            bonus, old = reward.weight * scores["score"], outcomes[i]
            episode = replace(old.episode, gained=old.episode.gained + bonus)
            outcomes[i] = replace(old, episode=episode, reward=old.reward + bonus, scores=scores)
    return outcomes
