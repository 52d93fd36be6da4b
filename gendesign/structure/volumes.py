"""Overlap of the volumes of two sets of atoms at fixed positions, without alignment."""

import numpy as np
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import rdShapeHelpers
from rdkit.Geometry import Point3D

from gendesign.structure.clouds import thinned

APART = 1.2  # Angstrom, least distance between the carbons that represent a cloud: that of bonded atoms
REACH = 4.0  # Angstrom, larger than the radius of any atom on RDKit's grid


def filled(points: np.ndarray) -> Atoms:
    """Carbon atoms that represent the volume of `points` (points, 3) in Angstrom."""
    points = thinned(points, APART)
    return Atoms("C" * len(points), points)


def tanimoto(first: Atoms, second: Atoms) -> float:
    """Volume of the intersection of two sets of atoms divided by that of their union, in [0, 1], on RDKit's grid."""
    if np.linalg.norm(first.positions.mean(0) - second.positions.mean(0)) > np.sum(
        [np.ptp(a.positions, axis=0).max() + 2 * REACH for a in (first, second)]
    ):
        return 0.0  # RDKit's grid spans both sets, and would be large for distant ones
    return 1.0 - rdShapeHelpers.ShapeTanimotoDist(_mol(first), _mol(second))


def _mol(atoms: Atoms) -> Chem.Mol:
    """A molecule without bonds, which suffices for volumes."""
    mol, conformer = Chem.RWMol(), Chem.Conformer(len(atoms))
    for k, (number, position) in enumerate(zip(atoms.numbers, atoms.positions, strict=True)):
        mol.AddAtom(Chem.Atom(int(number)))
        conformer.SetAtomPosition(k, Point3D(*map(float, position)))
    mol.AddConformer(conformer)
    return mol.GetMol()
