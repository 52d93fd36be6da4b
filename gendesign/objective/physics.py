"""Scores under a potential, evaluated in batches; NaN for molecules with elements that it does not know."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms, units

from gendesign.errors import UserError
from gendesign.potential.protocol import PotentialLike

STEPS = 50  # of the relaxation that measures strain: most of the energy has come down within these
MAX_ATOMS = 1500  # atoms evaluated at once
KCAL_PER_MOL = units.kcal / units.mol  # in eV


def energy(structures: Sequence[Atoms], potential: PotentialLike) -> np.ndarray:
    """E - sum mu in eV per atom (n,): comparable between compositions."""

    def values(part: list[Atoms]) -> np.ndarray:
        return potential.formation(part, potential.evaluate(part).energy.tolist()) / [len(a) for a in part]

    return _evaluated(structures, potential, values)


def strain(structures: Sequence[Atoms], potential: PotentialLike, steps: int = STEPS) -> np.ndarray:
    """Drop of the energy in a relaxation of at most `steps`, kcal/mol (n,)."""
    from gendesign.relaxation import Relaxation, relax  # torch-sim takes seconds to import

    def values(part: list[Atoms]) -> np.ndarray:
        start = np.array(potential.evaluate(part).energy.tolist())
        ends = relax(part, potential, Relaxation(max_steps=steps))
        end = np.array([np.nan if c.failure is not None else c.info["energy"] for c in ends])
        return (start - end) / KCAL_PER_MOL

    return _evaluated(structures, potential, values)


class Uncertainty:
    """Standard deviation of the energy in eV per atom (n,), from the rigidity stored with the potential."""

    def __init__(self) -> None:
        self.potential = self.rigidity = None

    def __call__(self, structures: Sequence[Atoms], potential: PotentialLike) -> np.ndarray:
        """Standard deviations (n,) of the energies of n structures, in eV per atom."""
        if self.rigidity is None or self.potential is not potential:
            self.potential, self.rigidity = potential, _rigidity(potential)
        return _evaluated(structures, potential, self._values)

    def _values(self, part: list[Atoms]) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.rigidity.deviations(part)[0].cpu().numpy() / [len(a) for a in part]


def _rigidity(potential: PotentialLike) -> Any:
    from gendesign.potential.uncertainty import stored_rigidity

    rigidity = stored_rigidity(potential)
    if rigidity is None:
        raise UserError(
            f"score 'uncertainty': potential {potential.name} has no stored uncertainty; leave the score out, or use "
            "a potential that has one, such as organic"
        )
    return rigidity


def _evaluated(
    structures: Sequence[Atoms], potential: PotentialLike, values: Callable[[list[Atoms]], np.ndarray]
) -> np.ndarray:
    """`values` (n,) of molecules whose elements the potential knows, at most MAX_ATOMS at once; NaN for others."""
    from gendesign.potential.batching import in_batches

    out = np.full(len(structures), np.nan)
    covered = [i for i, atoms in enumerate(structures) if set(atoms.symbols) <= set(potential.elements)]
    bare = [Atoms(structures[i].numbers, structures[i].positions) for i in covered]
    parts = [np.asarray(values(list(part)), dtype=float) for part in in_batches(bare, MAX_ATOMS)]
    out[covered] = np.concatenate(parts) if parts else []
    return out
