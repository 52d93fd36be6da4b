"""Shapes: rings closed along them, overlap with them, rooms of pockets."""

from functools import partial

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from gendesign.generate.simgen.problem import Problem
from gendesign.generate.simgen.requested.findings import heavy, met_unless
from gendesign.generate.simgen.shape import RingShape, Shape
from gendesign.generate.simgen.shape_files import LIKE, MoleculeShape, Pocket
from gendesign.structure.clouds import heavy_atoms
from gendesign.structure.conditions import Condition, Finding, Subject
from gendesign.structure.rings import is_closed, largest_ring
from gendesign.structure.volumes import filled, tanimoto

LEEWAY = 1.0  # Angstrom from the room of a pocket: atoms in hydrogen bonds come that much nearer to the host


def conditions(problem: Problem) -> list[Condition]:
    """The checks of the prior's shape."""
    shape = problem.shape
    if shape is None:
        return []
    checks = []
    if isinstance(shape, RingShape):
        closed = partial(_closed, shape)
        checks.append(Condition("ring_closed", "ring closed along the shape", closed, needs_molecule=True))
        title = "median size of the largest ring"
        checks.append(Condition("ring_size", title, _largest, "atoms", False, needs_molecule=True))
    if isinstance(shape, Pocket):
        title = f"all heavy atoms within {LEEWAY:g} Angstrom of the pocket's room"
        checks.append(Condition("in_pocket", title, partial(_inside, shape), "Angstrom"))
        ligand = shape.ligand_atoms
        if ligand is not None and problem.sizes[0] >= LIKE * len(ligand):
            of_ligand = partial(_overlap_with, ligand)
            checks.append(Condition("shape", "median shape Tanimoto with the ligand", of_ligand, "", False))
        return checks
    low, high = (n + problem.n_fixed for n in problem.sizes)
    return [*checks, Condition("shape", "median shape Tanimoto", partial(_overlap, shape, low, high), "", False)]


def _closed(shape: RingShape, subject: Subject) -> Finding:
    """Value: the size of the largest ring."""
    size, along = largest_ring(subject.mol), shape.ring(subject.mol.GetNumHeavyAtoms())
    wrong = f"the largest ring has {size} atoms, one along the shape about {along:.0f}"
    return met_unless("" if is_closed(subject.mol, along) else wrong, float(size))


def _largest(subject: Subject) -> Finding:
    return Finding(None, float(largest_ring(subject.mol)))


def _overlap(shape: Shape, low: int, high: int, subject: Subject) -> Finding:
    """Value: the volume that heavy atoms and shape share, divided by the volume of their union.

    The shape is that of as many atoms as the molecule has, between `low` and `high`.
    """
    atoms = heavy(subject.atoms)
    if not len(atoms):
        return Finding(None, None, "no heavy atoms")
    n = min(max(len(atoms), low), high)
    target = heavy_atoms(shape.path) if isinstance(shape, MoleculeShape) else filled(shape.points(n))
    return _overlap_with(target, subject)


def _overlap_with(target: Atoms, subject: Subject) -> Finding:
    """Value: the volume that heavy atoms and target share, divided by the volume of their union."""
    atoms = heavy(subject.atoms)
    return Finding(None, tanimoto(atoms, target)) if len(atoms) else Finding(None, None, "no heavy atoms")


def _inside(pocket: Pocket, subject: Subject) -> Finding:
    """Value: the largest distance of a heavy atom from the room of the pocket, or from the place of the ligand."""
    x = heavy(subject.atoms).positions
    place = np.concatenate([pocket.room, pocket.points(len(x))])  # a ligand in contact reaches beyond the room
    far = float(cKDTree(place).query(x)[0].max(initial=0.0))
    return met_unless("" if far <= LEEWAY else f"a heavy atom lies {far:.2f} Angstrom outside the pocket's room", far)
