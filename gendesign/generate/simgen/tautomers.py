"""Tautomers of a finished molecule: the same heavy atoms, hydrogens and double bonds elsewhere."""

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from rdkit import Chem, rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize

from gendesign.generate.simgen.placement import place_at
from gendesign.generate.simgen.skeleton import kind
from gendesign.structure.bonds import perceive
from gendesign.structure.contacts import Host

MOST_TRANSFORMS = 200  # RDKit stops there; molecules with more are left with the tautomers found so far


def tautomers(atoms: Atoms, count: int, host: Host | None = None) -> list[Atoms]:
    """At most `count` other tautomers of a molecule, by RDKit's rules, the best by its score first.

    The heavy atoms stay where they are and come first; hydrogens whose number changes at an atom are placed again, off
    `host`. Nothing for a molecule whose bonds cannot be perceived. Rules: Sitzmann et al., J. Comput. Aided Mol. Des.
    24, 521 (2010).
    """
    mol = perceive(Atoms(atoms.numbers, atoms.positions)).mol
    if mol is None or not count:
        return []
    heavy = [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() > 1]
    hydrogens = [
        atoms.positions[[n.GetIdx() for n in mol.GetAtomWithIdx(k).GetNeighbors() if n.GetAtomicNum() == 1]]
        for k in heavy
    ]
    order = {k: place for place, k in enumerate(heavy)}
    bare = Chem.RenumberAtoms(mol, [*heavy, *(a.GetIdx() for a in mol.GetAtoms() if a.GetIdx() not in order)])
    bare = Chem.RemoveHs(bare)
    if bare.GetNumAtoms() != len(heavy):
        return []
    enumerator = rdMolStandardize.TautomerEnumerator()
    enumerator.SetMaxTransforms(MOST_TRANSFORMS)
    with rdBase.BlockLogs():
        found = list(enumerator.Enumerate(bare))
    own = Chem.MolToSmiles(bare, isomericSmiles=False)
    others = [t for t in found if Chem.MolToSmiles(t, isomericSmiles=False) != own]
    others.sort(key=lambda t: -rdMolStandardize.TautomerEnumerator.ScoreTautomer(t))
    return [_moved(t, atoms.numbers[heavy], atoms.positions[heavy], hydrogens, host) for t in others[:count]]


def _moved(mol: Chem.Mol, numbers: np.ndarray, positions: np.ndarray, hydrogens, host: Host | None) -> Atoms:
    """The structure of the tautomer `mol`, whose atoms are the heavy ones in order."""
    mol = Chem.Mol(mol)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    symbols = [chemical_symbols[z] for z in numbers]
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondTypeAsDouble())) for b in mol.GetBonds()]
    orders: list[list[int]] = [[] for _ in symbols]
    for i, j, order in bonds:
        orders[i].append(order)
        orders[j].append(order)
    kinds = [
        "N+5" if a.GetSymbol() == "N" and a.GetFormalCharge() == 1 else kind(s, o)
        for a, s, o in zip(mol.GetAtoms(), symbols, orders, strict=True)
    ]
    placed = dict(enumerate(hydrogens))
    counts = [a.GetTotalNumHs() for a in mol.GetAtoms()]
    for k, n in enumerate(counts):
        if n != len(placed[k]):
            placed[k] = place_at(symbols, positions, bonds, kinds, placed, k, n, host)
    added = [placed[k] for k in range(len(symbols))]
    return Atoms([*symbols, *["H"] * sum(map(len, added))], np.concatenate([positions, *added]))
