"""The choice among the proposals of one molecule.

Energies of different compositions compare as E - sum mu. The potential knows hydrogenated structures, so it chooses
among these and not while the swarm still moves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from gendesign.generate.simgen.finish import Finish
from gendesign.generate.simgen.fragments import displacement
from gendesign.generate.simgen.proposals import Proposal
from gendesign.generate.simgen.requirements import NO_RULES, Requirements
from gendesign.generate.simgen.skeleton import VALENCE

SHIFT_COST = 3.0  # eV per Angstrom that the heavy atoms of fragments have moved


@dataclass(frozen=True)
class Goal:
    """What a molecule should be like: heavy atoms of each allowed element (elements,), and rings plus pi bonds.

    With `exact` the composition is required, with `hydrogens` their number too.
    """

    composition: np.ndarray
    unsaturation: float
    exact: bool = False
    hydrogens: int | None = None

    def missed_by(self, numbers: np.ndarray, elements: Sequence[int]) -> bool:
        """Whether a finished molecule of atomic `numbers` (atoms,) has another composition than required."""
        wrong_hydrogens = self.hydrogens is not None and int((numbers == 1).sum()) != self.hydrogens
        return wrong_hydrogens or (self.exact and mismatch(numbers, self.composition, elements) > 0)


def mismatch(numbers: np.ndarray, wanted: np.ndarray, elements: Sequence[int]) -> float:
    """Heavy atoms to exchange before the composition of `numbers` (atoms,) is the wanted one (elements,)."""
    return float(np.abs((numbers[:, None] == np.asarray(elements)[None]).sum(0) - wanted).sum() / 2)


def unsaturation(numbers: np.ndarray) -> float:
    """Rings plus pi bonds of a neutral molecule with atomic `numbers` (atoms,), by its formula."""
    return 1 + sum(VALENCE.get(chemical_symbols[z], 1) - 2 for z in numbers) / 2


def choose(
    group: Sequence[Proposal],
    goal: Goal,
    elements: Sequence[int],
    settings: Finish,
    u: float,
    requirements: Requirements = NO_RULES,
    reward: Callable[[Sequence[Atoms]], np.ndarray] | None = None,
) -> Proposal:
    """One proposal, drawn by exp(-cost / temperature) with the uniform number `u`.

    The cost (eV) is E - sum mu, plus what `settings` charge for the distance from the `goal`, plus SHIFT_COST for moved
    fragments and the energy of the host (its wall, less its hydrogen bonds where they count), less the `reward`. Only
    the proposals that break the fewest requirements take part: valid ones before others, then those that do not overlap
    the host, break no rule, have the required composition, close their ring and lost no atom. `elements`: atomic
    numbers of the goal's composition.
    """
    rank = [
        (
            p.smiles is None,
            p.overlaps,
            bool(p.broken),
            goal.missed_by(p.atoms.numbers, elements),
            p.lacks_ring,
            p.dropped,
        )
        for p in group
    ]
    best = [p for p, r in zip(group, rank, strict=True) if r == min(rank)]
    cost = np.array(
        [
            p.formation
            + p.pressed
            + settings.off_shape * (1 - p.shape)
            + settings.off_composition * mismatch(p.atoms.numbers, goal.composition, elements)
            + (settings.off_stability or 0.0) * p.unstable
            + settings.off_unsaturation * abs(unsaturation(p.atoms.numbers) - goal.unsaturation)
            for p in best
        ]
    )
    if requirements.fixed is not None:
        cost += SHIFT_COST * np.array([displacement(p.atoms, requirements.fixed) for p in best])
    if reward is not None:
        cost -= reward([p.atoms for p in best])
    weights = np.exp(-(cost - cost.min()) / settings.temperature)
    return best[min(int(np.searchsorted(np.cumsum(weights) / weights.sum(), u)), len(best) - 1)]
