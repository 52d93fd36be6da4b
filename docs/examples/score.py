"""A user-defined score: any function of the structure, and optionally of its molecule, that returns a number."""

from rdkit.Chem import Descriptors


def polar_share(atoms, mol):
    """Topological polar surface divided by the molecular weight."""
    return Descriptors.TPSA(mol) / Descriptors.MolWt(mol)
