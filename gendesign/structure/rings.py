"""Whether a molecule's ring runs all along a closed shape."""

import math

from rdkit import Chem

CLOSED = 2 / 3  # of the atoms that a ring along the shape has; shortcuts across it leave less


def largest_ring(mol: Chem.Mol) -> int:
    """Atoms of the largest among the smallest rings of a molecule, 0 without rings."""
    return max((len(ring) for ring in Chem.GetSymmSSSR(mol)), default=0)


def is_closed(mol: Chem.Mol, atoms: float) -> bool:
    """Whether the largest ring has at least CLOSED of the `atoms` that a ring along the shape has."""
    return largest_ring(mol) >= math.ceil(CLOSED * atoms)
