"""How close the molecules of a crystal come, measured without the builder's own test of contacts."""

import numpy as np
from ase import Atoms
from ase.data import vdw_radii
from ase.neighborlist import neighbor_list


def closest(atoms: Atoms) -> float:
    """Shortest distance over the van der Waals distance between different molecules or a molecule and the rest."""
    i, j, d, shift = neighbor_list("ijdS", atoms, 4.5)
    molecule = atoms.arrays["molecule"]
    apart = (molecule[i] != molecule[j]) | (np.abs(shift).sum(axis=1) > 0)
    apart &= (molecule[i] >= 0) | (molecule[j] >= 0)
    # A molecule that reaches over the cell's face is stored whole, so its own image is another molecule.
    return float((d / (vdw_radii[atoms.numbers[i]] + vdw_radii[atoms.numbers[j]]))[apart].min())
