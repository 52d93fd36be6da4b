"""What a placement is paid: energy in Hartree, a floor for what chemistry forbids, and the score of the finished one.

Simm et al., ICLR 2021 (arXiv 2011.12747), section 3 and appendix: r = E(canvas) + E(atom) - E(canvas + atom).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from gendesign.errors import UserError
from gendesign.generate.rl.energies import Energies
from gendesign.objective import Objective

CONTACT = 0.7  # of the covalent radii: closer, a potential may take a collision for a bond
SINGLE_BONDED = (1, 9, 17, 35)  # H, F, Cl, Br: alone they would only find each other
CLOSE, STRAY, OUTSIDE, IMPOSSIBLE = "too close", "stray", "outside", "impossible"
NO_ENERGY, UNLIKELY, FLOOR, FULL = "no energy", "unlikely energy", "floor", "canvas full"


@dataclass(frozen=True, eq=False)
class Reward:
    """Rewards in Hartree, from `energies` of all structures of a step in one call.

    By default every placement is paid; with `at_end` the sum comes with the last one. `floor` is the lowest reward, and
    ends the episode: for atoms nearer than `nearest` to another, for H, F, Cl, Br farther than `farthest` from every
    atom that is none of these (Angstrom), and for energies that rise by more. A finished molecule is paid its
    `objective`, 0..1, times `weight` Hartree as well; its components carry their own weights.

    Two rules are not the paper's, and keep an agent from the holes of a learned potential: gains above `ceiling`
    Hartree for each new atom are not believed (None: all are), and atoms nearer than `contact` times the sum of the
    covalent radii are too close. In 530 random fragments the bundled potential lay up to 4.3 Hartree below its teacher
    where atoms were nearer than 0.6 such sums, up to 0.5 at 0.6 to 0.7, at most 0.13 beyond: 0.7 suits it.
    """

    energies: Energies
    at_end: bool = False
    floor: float = -0.6
    nearest: float = 0.6
    farthest: float = 2.0
    contact: float = 0.0
    ceiling: float | None = 1.0
    objective: Objective | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.floor < 0:
            raise UserError(f"reward.floor={self.floor}: give a number below 0, in Hartree, such as -0.6")
        for key in ("nearest", "farthest"):
            if not getattr(self, key) > 0:
                raise UserError(f"reward.{key}={getattr(self, key)}: give a distance above 0 Angstrom")
        if not 0 <= self.contact < 1:
            raise UserError(f"reward.contact={self.contact}: give a share of covalent distances from 0 to below 1")
        if self.ceiling is not None and not self.ceiling > 0:
            raise UserError(f"reward.ceiling={self.ceiling}: give a number above 0, in Hartree, or None")
        if not callable(self.energies):
            raise UserError(
                f"reward.energies={self.energies!r} cannot be called; give potential_energies(potential), "
                "teacher_energies('gfn2'), or a function from structures to Hartree"
            )

    def require_elements(self, symbols: Sequence[str]) -> None:
        """Raise UserError for elements that the energies say they do not know."""
        if hasattr(self.energies, "require_elements"):
            self.energies.require_elements(symbols)

    def fault(self, atoms: Atoms, number: int, position: np.ndarray, bag: Collection[int] = (6,)) -> str:
        """Why element `number` must not go to `position` (3,) beside `atoms`, or nothing; `bag` holds what is left.

        Where neither canvas nor bag has an element that bears others, as in HF, halogens and hydrogens bear each other;
        H2 and F2 fail all the same.
        """
        if not len(atoms):
            return ""
        apart = np.linalg.norm(atoms.positions - position, axis=1)
        least = np.maximum(self.nearest, self.contact * (covalent_radii[atoms.numbers] + covalent_radii[number]))
        if (apart < least).any():
            return CLOSE
        if number in SINGLE_BONDED:
            holds = np.array([z not in SINGLE_BONDED for z in atoms.numbers.tolist()])
            if not holds.any() and set(bag) <= set(SINGLE_BONDED):
                holds = (atoms.numbers == 1) != (number == 1)
            return "" if (apart[holds] <= self.farthest).any() else STRAY
        return ""

    def doubt(self, gain: float, atoms: int) -> str:
        """Why the energy gained (Hartree) with so many new atoms cannot be, or nothing."""
        if not np.isfinite(gain):
            return NO_ENERGY
        return UNLIKELY if self.ceiling is not None and gain > self.ceiling * atoms else ""

    def ask(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Energies (n,) in Hartree, asked in one call, or in none for no structures; NaN where there is none."""
        if not structures:
            return np.zeros(0)
        found = np.asarray(self.energies(structures), dtype=float)
        if found.shape != (len(structures),):
            raise UserError(
                f"the energies of {len(structures)} structures came in the shape {found.shape}; "
                "a function of energies gives one number of Hartree for each structure"
            )
        return np.where(np.isfinite(found), found, np.nan)

    def scores(self, structures: Sequence[Atoms]) -> list[dict]:
        """For each finished molecule `score`, 0..1, and `scores` by component; empty without an objective."""
        if self.objective is None or not structures:
            return [{} for _ in structures]
        scored = self.objective(structures)
        return [
            {
                "score": float(scored.total[i]),
                "scores": {name: float(share[i]) for name, share in scored.by_component.items()},
            }
            for i in range(len(structures))
        ]
