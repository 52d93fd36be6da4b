"""Episodes as plain state, and a step of several episodes whose energies are evaluated in one call."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from gendesign.errors import UserError
from gendesign.generate.rl.reward import FULL, INVALID, LOW_REWARD, OUTSIDE, Reward
from gendesign.generate.rl.tasks import Bag, Task


@dataclass(frozen=True)
class Episode:
    """The state of one environment between two placements.

    atoms on the canvas; bag: atoms to place. n_rewarded: the first atoms, which earlier rewards cover, with their
    `energy` (Hartree), None before its first evaluation. n_placed: placements. n_completed: emptied bags. total_return:
    sum of the rewards (Hartree).
    """

    atoms: Atoms
    bag: Bag
    n_rewarded: int = 0
    energy: float | None = None
    n_placed: int = 0
    n_completed: int = 0
    total_return: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Plain values, from which `from_state` makes the same episode."""
        plain = {key: value for key, value in vars(self).items() if key not in ("atoms", "bag")}
        atoms = {"numbers": self.atoms.numbers.tolist(), "positions": self.atoms.positions.tolist()}
        return {**plain, **atoms, "bag": [[z, count] for z, count in self.bag.items()]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Episode":
        """The episode of a `state_dict`."""
        plain = {key: value for key, value in state.items() if key not in ("numbers", "positions", "bag")}
        positions = np.array(state["positions"], dtype=float).reshape(-1, 3)
        return cls(Atoms(state["numbers"], positions), {int(z): count for z, count in state["bag"]}, **plain)


@dataclass(frozen=True)
class Outcome:
    """The result of a placement: the next state, its reward (Hartree), whether and why the episode ended.

    `scores` holds the scores of a finished molecule if there is an objective.
    """

    episode: Episode
    reward: float
    terminated: bool = False
    truncated: bool = False
    reason: str = ""
    scores: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the episode ended."""
        return self.terminated or self.truncated

    @property
    def info(self) -> dict[str, Any]:
        """The info of a gymnasium environment: at the end the molecule, its return (Hartree), length and scores."""
        if not self.done:
            return {}
        ended = {"atoms": self.episode.atoms, "return": self.episode.total_return, "length": self.episode.n_placed}
        return {**ended, "truncated": self.truncated, "reason": self.reason, **self.scores}


@dataclass(frozen=True)
class Placement:
    """Atomic number and position (3,) in Angstrom of a new atom; number 0 for an invalid action."""

    number: int
    position: np.ndarray


def begin(task: Task, rng: np.random.Generator, index: int = 0) -> Episode:
    """The start of the episode with this index in its environment; no energy is evaluated yet."""
    bag, atoms = task.start(rng, index)
    return Episode(atoms, bag, len(atoms), None if len(atoms) else 0.0)


def check(task: Task, reward: Reward, slots: int | None, elements: Sequence[int] | None) -> tuple[int, tuple[int, ...]]:
    """Slots and elements of an environment; raises UserError if task, energies and canvas do not fit together."""
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
            f"the task needs {', '.join(lacking)}, but the actions have {' '.join(known)} only; "
            "add these elements, or give none for those of the task"
        )
    reward.require_elements([chemical_symbols[z] for z in task.elements])
    return slots, elements


def advance(
    episodes: Sequence[Episode], placements: Sequence[Placement], task: Task, reward: Reward, slots: int
) -> list[Outcome]:
    """One placement in each episode.

    An empty bag without refill and a fault terminate an episode; a full canvas before that truncates it. After a fault
    of geometry `atoms` lack the atom at fault.
    """
    faults = [_fault(e, p, task, reward) for e, p in zip(episodes, placements, strict=True)]
    after = [
        replace(e, n_placed=e.n_placed + 1) if fault else _place(e, p, task)
        for e, p, fault in zip(episodes, placements, faults, strict=True)
    ]
    ends = [not e.bag or len(e.atoms) >= slots for e in after]
    evaluated = [i for i, end in enumerate(ends) if not faults[i] and (end or not reward.at_end)]
    gains = [0.0] * len(after)
    for i, gain, energy in zip(evaluated, *_gains([after[i] for i in evaluated], reward), strict=True):
        size = len(after[i].atoms)
        gains[i], faults[i] = gain, reward.energy_fault(gain, size - after[i].n_rewarded)
        after[i] = replace(after[i], energy=energy, n_rewarded=size)
    outcomes = []
    for episode, placement, fault, end, gain in zip(after, placements, faults, ends, gains, strict=True):
        value = reward.min_reward if fault else gain - task.penalty(placement.position)
        if value < reward.min_reward:
            value, fault = reward.min_reward, LOW_REWARD
        full = end and not fault and bool(episode.bag)
        episode = replace(episode, total_return=episode.total_return + value)
        terminated = bool(fault) or (end and not full)
        outcomes.append(Outcome(episode, value, terminated, full, fault or (FULL if full else "")))
    return _scored(outcomes, reward)


def _fault(episode: Episode, placement: Placement, task: Task, reward: Reward) -> str:
    if not episode.bag.get(placement.number) or not np.isfinite(placement.position).all():
        return INVALID
    if not task.allows(placement.position):
        return OUTSIDE
    return reward.geometry_fault(episode.atoms, placement.number, placement.position, episode.bag)


def _place(episode: Episode, placement: Placement, task: Task) -> Episode:
    """The episode after the atom moved from the bag to the canvas; an empty bag is refilled."""
    bag = {z: count - (z == placement.number) for z, count in episode.bag.items()}
    bag = {z: count for z, count in bag.items() if count}
    n_completed = episode.n_completed + (not bag)
    atoms = Atoms(
        [*episode.atoms.numbers, placement.number], np.concatenate([episode.atoms.positions, placement.position[None]])
    )
    bag = bag or task.refill(n_completed)
    return replace(episode, atoms=atoms, bag=bag, n_completed=n_completed, n_placed=episode.n_placed + 1)


def _gains(episodes: Sequence[Episode], reward: Reward) -> tuple[list[float], list[float]]:
    """Energy gains and energies (Hartree) of the canvases, from one evaluation.

    The gain is E(atoms with a reward) + sum E(new atom) - E(all). Energies of initial atoms that are not known yet are
    evaluated along with the others.
    """
    new = [episode.atoms.numbers[episode.n_rewarded :] for episode in episodes]
    elements = sorted({int(z) for numbers in new for z in numbers})
    unknown = [i for i, episode in enumerate(episodes) if episode.energy is None]
    initial = [episodes[i].atoms[: episodes[i].n_rewarded] for i in unknown]
    energies = reward.evaluate([*(e.atoms for e in episodes), *initial, *(Atoms([z]) for z in elements)])
    n = len(episodes)
    before = np.array([math.nan if e.energy is None else e.energy for e in episodes])
    before[unknown] = energies[n : n + len(unknown)]
    isolated = dict(zip(elements, energies[n + len(unknown) :], strict=True))
    new_atoms = np.array([sum(isolated[int(z)] for z in numbers) for numbers in new])
    return (before + new_atoms - energies[:n]).tolist(), energies[:n].tolist()


def _scored(outcomes: list[Outcome], reward: Reward) -> list[Outcome]:
    """Outcomes with the scores of finished molecules, which are added to their reward and return."""
    finished = [i for i, outcome in enumerate(outcomes) if outcome.terminated and not outcome.reason]
    for i, scores in zip(finished, reward.scores([outcomes[i].episode.atoms for i in finished]), strict=True):
        if scores:
            bonus, outcome = reward.objective_weight * scores["score"], outcomes[i]
            episode = replace(outcome.episode, total_return=outcome.episode.total_return + bonus)
            outcomes[i] = replace(outcome, episode=episode, reward=outcome.reward + bonus, scores=scores)
    return outcomes
