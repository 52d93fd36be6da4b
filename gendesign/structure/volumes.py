"""How much of their volume two sets of atoms share, both where they are: nothing is aligned."""

import numpy as np
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import rdShapeHelpers
from rdkit.Geometry import Point3D

from gendesign.structure.clouds import thinned

APART = 1.2  # Angstrom between the carbons that stand for a cloud: bonded atoms are hardly closer
REACH = 4.0  # Angstrom, more than any atom's radius on RDKit's grid


def filled(points: np.ndarray) -> Atoms:
    """Carbons that stand for the body of `points` (points, 3)."""
    points = thinned(points, APART)
    return Atoms("C" * len(points), points)


def tanimoto(first: Atoms, second: Atoms) -> float:
    """Volume shared by two sets of atoms divided by the volume of their union, in [0, 1], on RDKit's grid."""
    if np.linalg.norm(first.positions.mean(0) - second.positions.mean(0)) > np.sum(
        [np.ptp(a.positions, axis=0).max() + 2 * REACH for a in (first, second)]
    ):
        return 0.0  # RDKit's grid spans both; candidates far away would make it large
    return 1.0 - rdShapeHelpers.ShapeTanimotoDist(_mol(first), _mol(second))


def _mol(atoms: Atoms) -> Chem.Mol:
    """Atoms without bonds, which is all that volumes need."""
    mol, conformer = Chem.RWMol(), Chem.Conformer(len(atoms))
    for k, (number, position) in enumerate(zip(atoms.numbers, atoms.positions, strict=True)):
        mol.AddAtom(Chem.Atom(int(number)))
        conformer.SetAtomPosition(k, Point3D(*map(float, position)))
    mol.AddConformer(conformer)
    return mol.GetMol()
