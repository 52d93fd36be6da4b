"""Rewards of placements in Hartree, r = E(canvas) + E(atom) - E(canvas with atom), and the rules that end an episode.

Simm et al., ICLR 2021 (arXiv 2011.12747), section 3 and appendix; settings have the names of their code, MolGym.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.rl.energies import Energies
from gendesign.objective import Objective

MONOVALENT = (1, 9, 17, 35)  # H, F, Cl, Br: they bond to other elements, not to each other
# Reasons for which an episode ends.
TOO_CLOSE, ISOLATED, OUTSIDE, INVALID = "too close", "isolated atom", "outside the region", "invalid action"
NO_ENERGY, IMPLAUSIBLE, LOW_REWARD, FULL = "no energy", "implausible energy", "reward below minimum", "canvas full"


@dataclass(frozen=True, eq=False)
class Reward:
    """Rewards in Hartree from `energies`, which are evaluated for all structures of a step in one call.

    `min_reward` is the lowest reward. A placement with a lower one, or against a rule of geometry, gets it and ends the
    episode. The last placement of a molecule is rewarded by `objective` (0 to 1) times `objective_weight` as well.

    Two rules are not in the paper. They keep an agent out of the holes of a learned potential: `max_gain_per_atom` and
    `min_covalent_ratio`. In 530 random fragments the bundled potential lay up to 4.3 Hartree below its teacher for
    atoms nearer than 0.6 sums of covalent radii, up to 0.5 at 0.6 to 0.7, and at most 0.13 beyond, hence the default.
    """

    energies: Energies
    at_end: bool = setting(False, "true gives the whole energy as reward of the last placement")
    min_reward: float = setting(-0.6, "lowest reward; a lower one ends the episode", unit="Hartree", below=0)
    min_atomic_distance: float = setting(0.6, "a closer atom ends the episode", unit="Angstrom", above=0)
    max_solo_distance: float = setting(
        2.0, "an H, F, Cl or Br farther from all other elements ends the episode", unit="Angstrom", above=0
    )
    min_covalent_ratio: float = setting(
        0.7, "a closer pair, as a share of the sum of covalent radii, ends the episode", least=0, below=1
    )
    max_gain_per_atom: float | None = setting(
        1.0, "a larger energy gain ends the episode as implausible; null allows any", unit="Hartree", above=0
    )
    objective: Objective | None = None
    objective_weight: float = setting(1.0, "reward of a molecule whose objective is 1", unit="Hartree")

    def __post_init__(self) -> None:
        check_bounds(self, "reward")
        if not callable(self.energies):
            raise UserError(
                f"reward.energies={self.energies!r} cannot be called; give potential_energies(potential), "
                "teacher_energies('gfn2'), or a function from structures to Hartree"
            )

    def require_elements(self, symbols: Sequence[str]) -> None:
        """Raise UserError for elements that the energies do not know, if they state their elements."""
        if hasattr(self.energies, "require_elements"):
            self.energies.require_elements(symbols)

    def geometry_fault(self, atoms: Atoms, number: int, position: np.ndarray, bag: Collection[int] = (6,)) -> str:
        """Reason to end the episode if element `number` is placed at `position` (3,) beside `atoms`, else "".

        `bag` holds the atomic numbers that are not yet placed. In bags such as HF, where neither canvas nor bag has any
        other element, a halogen may bond to hydrogen; H2 and F2 cannot be built.
        """
        if not len(atoms):
            return ""
        distances = np.linalg.norm(atoms.positions - position, axis=1)
        covalent = covalent_radii[atoms.numbers] + covalent_radii[number]
        if (distances < np.maximum(self.min_atomic_distance, self.min_covalent_ratio * covalent)).any():
            return TOO_CLOSE
        if number in MONOVALENT:
            partners = np.array([z not in MONOVALENT for z in atoms.numbers.tolist()])
            if not partners.any() and set(bag) <= set(MONOVALENT):
                partners = (atoms.numbers == 1) != (number == 1)
            return "" if (distances[partners] <= self.max_solo_distance).any() else ISOLATED
        return ""

    def energy_fault(self, gain: float, n_atoms: int) -> str:
        """Reason to end the episode after the energy gain (Hartree) of `n_atoms` new atoms, else ""."""
        if not np.isfinite(gain):
            return NO_ENERGY
        too_large = self.max_gain_per_atom is not None and gain > self.max_gain_per_atom * n_atoms
        return IMPLAUSIBLE if too_large else ""

    def evaluate(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Energies (n,) in Hartree from one call, NaN for failures; no call without structures."""
        if not structures:
            return np.zeros(0)
        energies = np.asarray(self.energies(structures), dtype=float)
        if energies.shape != (len(structures),):
            raise UserError(
                f"the energies of {len(structures)} structures have the shape {energies.shape}; "
                "a function of energies gives one number of Hartree for each structure"
            )
        return np.where(np.isfinite(energies), energies, np.nan)

    def scores(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        """For each finished molecule `score` (0 to 1) and `scores` by component; empty without an objective."""
        if self.objective is None or not structures:
            return [{} for _ in structures]
        scored = self.objective(structures)
        return [
            {
                "score": float(scored.total[i]),
                "scores": {name: float(values[i]) for name, values in scored.by_component.items()},
            }
            for i in range(len(structures))
        ]
