"""A score of one's own: any function of the structure, or of its molecule too, that returns a number."""

from rdkit.Chem import Descriptors


def polar_share(atoms, mol):
    """Topological polar surface divided by the molecular weight."""
    return Descriptors.TPSA(mol) / Descriptors.MolWt(mol)
