"""Every single exchange of an element at a heavy atom of a finished molecule, or between two, hydrogens and all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from rdkit import Chem

from gendesign.generate.simgen.placement import place_at
from gendesign.generate.simgen.skeleton import VALENCE, kind
from gendesign.structure.bonds import perceive
from gendesign.structure.contacts import Host


@dataclass(frozen=True)
class Sites:
    """A molecule by its heavy atoms: symbols, kinds, orders of their bonds, positions, those of their hydrogens.

    `rigid` sites carry a charge, or belong to one, and keep their element.
    """

    symbols: list[str]
    kinds: list[str]
    bonds: list[tuple[int, int, int]]
    positions: np.ndarray
    hydrogens: dict[int, np.ndarray]
    rigid: list[bool]

    def orders(self, site: int) -> list[int]:
        """Orders of the bonds to other heavy atoms."""
        return [order for i, j, order in self.bonds if site in (i, j)]

    def near(self, site: int) -> list[int]:
        """Heavy neighbours."""
        return [j if i == site else i for i, j, _ in self.bonds if site in (i, j)]

    def takes(self, change: Mapping[int, str]) -> bool:
        """Whether the valences allow the change, and no heteroatom ends up between heteroatoms."""
        after = [change.get(k, s) for k, s in enumerate(self.symbols)]
        return all(
            not self.rigid[site]
            and VALENCE[new] >= sum(self.orders(site))
            # chains of heteroatoms, which energy alone would favour and no reference holds
            and (new == "C" or sum(after[k] != "C" for k in self.near(site)) < 2)
            for site, new in change.items()
        )

    def changed(self, change: Mapping[int, str], host: Host | None = None) -> Atoms:
        """The structure with other elements at some sites, whose hydrogens are placed again; heavy atoms first."""
        symbols = [change.get(k, s) for k, s in enumerate(self.symbols)]
        kinds = [kind(symbols[k], self.orders(k)) if k in change else name for k, name in enumerate(self.kinds)]
        placed = dict(self.hydrogens)
        for site in change:
            free = VALENCE[symbols[site]] - sum(self.orders(site))
            placed[site] = place_at(symbols, self.positions, self.bonds, kinds, placed, site, free, host)
        hydrogens = [placed[k] for k in range(len(symbols))]
        positions = np.concatenate([self.positions, *hydrogens])
        return Atoms([*symbols, *["H"] * sum(len(x) for x in hydrogens)], positions)


def sites_of(atoms: Atoms) -> Sites | None:
    """None for a structure whose bonds cannot be perceived."""
    mol = perceive(atoms).mol
    if mol is None:
        return None
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
    symbols = [chemical_symbols[atoms.numbers[i]] for i in heavy]
    mol_atoms = [mol.GetAtomWithIdx(i) for i in heavy]
    kinds = [
        "N+5" if s == "N" and a.GetFormalCharge() == 1 else kind(s, o)
        for a, s, o in zip(mol_atoms, symbols, orders, strict=True)
    ]
    hydrogens = {
        k: atoms.positions[[n.GetIdx() for n in a.GetNeighbors() if n.GetAtomicNum() == 1]]
        for k, a in enumerate(mol_atoms)
    }
    rigid = [bool(a.GetFormalCharge()) or "+" in name for a, name in zip(mol_atoms, kinds, strict=True)]
    return Sites(symbols, kinds, bonds, atoms.positions[heavy], hydrogens, rigid)


def substitutions(atoms: Atoms, elements: Sequence[int], fixed: int = 0, host: Host | None = None) -> list[Atoms]:
    """The structure of every allowed exchange at a heavy atom; the first `fixed` keep their elements.

    New hydrogens keep off `host`. Heavy atoms come first in each structure. Nothing for a molecule whose bonds cannot
    be perceived.
    """
    sites = sites_of(atoms)
    if sites is None:
        return []
    symbols = [chemical_symbols[z] for z in elements]
    changes = [
        {site: new} for site in range(fixed, len(sites.symbols)) for new in symbols if new != sites.symbols[site]
    ]
    return [sites.changed(change, host) for change in changes if sites.takes(change)]


def permutations(atoms: Atoms, fixed: int = 0, host: Host | None = None) -> list[Atoms]:
    """The structure of every exchange of elements between two unlike heavy atoms: the formula stays."""
    sites = sites_of(atoms)
    if sites is None:
        return []
    count = len(sites.symbols)
    changes = [
        {i: sites.symbols[j], j: sites.symbols[i]}
        for i in range(fixed, count)
        for j in range(i + 1, count)
        if sites.symbols[i] != sites.symbols[j]
    ]
    return [sites.changed(change, host) for change in changes if sites.takes(change)]
