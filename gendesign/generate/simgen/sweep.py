"""Every single exchange of an element at a heavy atom of a finished molecule, hydrogens and all."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from rdkit import Chem

from gendesign.generate.simgen.placement import place_at
from gendesign.generate.simgen.skeleton import VALENCE, kind
from gendesign.structure.bonds import perceive


def substitutions(atoms: Atoms, elements: Sequence[int]) -> list[Atoms]:
    """The structure of every allowed exchange at a neutral heavy atom whose new valence carries its bonds.

    Heavy atoms come first in each structure, hydrogens are placed anew where their number changes and kept elsewhere.
    Nothing for a molecule whose bonds cannot be perceived.
    """
    mol = perceive(atoms).mol
    if mol is None:
        return []
    mol = Chem.Mol(mol)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    heavy = [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() > 1]
    place_of = {index: k for k, index in enumerate(heavy)}
    bonds = [
        (place_of[b.GetBeginAtomIdx()], place_of[b.GetEndAtomIdx()], int(b.GetBondTypeAsDouble()))
        for b in mol.GetBonds()
        if b.GetBeginAtomIdx() in place_of and b.GetEndAtomIdx() in place_of
    ]
    orders: list[list[int]] = [[] for _ in heavy]
    for i, j, order in bonds:
        orders[i].append(order)
        orders[j].append(order)
    hydrogens = [[n.GetIdx() for n in mol.GetAtomWithIdx(i).GetNeighbors() if n.GetAtomicNum() == 1] for i in heavy]
    symbols = [chemical_symbols[atoms.numbers[i]] for i in heavy]
    kinds = [_kind(mol.GetAtomWithIdx(i), s, o) for i, s, o in zip(heavy, symbols, orders, strict=False)]
    placed = {k: atoms.positions[h] for k, h in enumerate(hydrogens)}
    out = []
    for site, index in enumerate(heavy):
        if mol.GetAtomWithIdx(index).GetFormalCharge() or "+" in kinds[site]:
            continue
        for new in elements:
            symbol = chemical_symbols[new]
            free = VALENCE[symbol] - sum(orders[site])
            if symbol == symbols[site] or free < 0 or _odd(symbol, [symbols[j] for j in _near(bonds, site)]):
                continue
            exchanged = [*symbols[:site], symbol, *symbols[site + 1 :]]
            new_kinds = [*kinds[:site], kind(symbol, orders[site]), *kinds[site + 1 :]]
            fresh = place_at(exchanged, atoms.positions[heavy], bonds, new_kinds, placed, site, free)
            kept = [i for k, h in enumerate(hydrogens) if k != site for i in h]
            positions = np.concatenate([atoms.positions[heavy], atoms.positions[kept], fresh])
            out.append(Atoms([*exchanged, *["H"] * (len(kept) + free)], positions))
    return out


def _kind(atom: Chem.Atom, symbol: str, orders: Sequence[int]) -> str:
    return "N+5" if symbol == "N" and atom.GetFormalCharge() == 1 else kind(symbol, orders)


def _near(bonds, site: int) -> list[int]:
    return [j if i == site else i for i, j, _ in bonds if site in (i, j)]


def _odd(symbol: str, near: Sequence[str]) -> bool:
    """A heteroatom between two heteroatoms: chains that energy alone would not stop and no reference holds."""
    return symbol != "C" and sum(s != "C" for s in near) > 1
