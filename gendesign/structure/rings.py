"""The largest ring of a molecule, compared with the ring that follows a closed shape."""

import math

from rdkit import Chem

CLOSED = 2 / 3  # least fraction of the atoms of a ring along the shape; bonds across the shape give smaller rings


def largest_ring(mol: Chem.Mol) -> int:
    """Size of the largest ring of the symmetrised smallest set of smallest rings, 0 without rings."""
    return max((len(ring) for ring in Chem.GetSymmSSSR(mol)), default=0)


def is_closed(mol: Chem.Mol, atoms: float) -> bool:
    """Whether the largest ring has at least the fraction CLOSED of the `atoms` of a ring along the shape."""
    return largest_ring(mol) >= math.ceil(CLOSED * atoms)
