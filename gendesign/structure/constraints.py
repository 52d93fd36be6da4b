"""Fixed atoms and fixed Cartesian components from any ASE constraint that is equivalent to them."""

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian, FixedLine, FixedPlane, FixScaled

from gendesign.errors import UserError

ALLOWED = "fixed atoms and fixed Cartesian components can be kept: remove it"
ALIGNED = 1e-6


def fixed_components(atoms: Atoms) -> np.ndarray:
    """Mask (atoms, 3) of bool of the fixed Cartesian components.

    Raises UserError for a constraint that does not fix a set of Cartesian components.
    """
    fixed = np.zeros((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            fixed[constraint.get_indices()] = True
        elif isinstance(constraint, FixCartesian):
            fixed[constraint.get_indices()] |= np.asarray(constraint.mask, dtype=bool)
        elif isinstance(constraint, FixScaled):
            mask = np.asarray(constraint.mask, dtype=bool)
            fixed[constraint.get_indices()] |= _outside(atoms.cell.array[~mask], "FixScaled")
        elif isinstance(constraint, FixedPlane):
            normal = np.asarray(constraint.dir, dtype=float)
            free = np.linalg.svd(normal[None])[2][1:]
            fixed[constraint.get_indices()] |= _outside(free, "FixedPlane")
        elif isinstance(constraint, FixedLine):
            fixed[constraint.get_indices()] |= _outside(np.asarray(constraint.dir, dtype=float)[None], "FixedLine")
        else:
            raise UserError(f"{type(constraint).__name__}; only {ALLOWED}")
    return fixed


def _outside(free: np.ndarray, name: str) -> np.ndarray:
    """Fixed Cartesian components (3,) of bool of an atom that may move along the vectors `free` (k, 3)."""
    projector = np.linalg.pinv(free) @ free if len(free) else np.zeros((3, 3))
    if np.abs(projector - np.diag(np.diag(projector))).max() > ALIGNED:
        raise UserError(f"{name} along directions that are no Cartesian axes; only {ALLOWED}")
    return np.diag(projector) < 0.5


def set_fixed(atoms: Atoms, fixed: np.ndarray) -> None:
    """Fix components (atoms, 3) of bool: by FixAtoms if every atom is fixed or free, else by FixCartesian."""
    whole, some = fixed.all(axis=1), fixed.any(axis=1)
    if (whole == some).all():
        atoms.set_constraint(FixAtoms(indices=np.flatnonzero(whole)) if whole.any() else None)
        return
    masks = {tuple(row) for row in fixed[some].tolist()}
    atoms.set_constraint(
        [FixCartesian(np.flatnonzero((fixed == mask).all(axis=1)), mask=mask) for mask in sorted(masks)]
    )
