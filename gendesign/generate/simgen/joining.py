"""The molecular graph of an assembled skeleton: bonds of the blocks, single bonds between parts, hydrogens elsewhere.

All multiple bonds are within blocks, so that nothing has to be guessed from bond lengths, as in hydrogen.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from rdkit import Chem
from scipy.spatial.distance import cdist

from gendesign.generate.simgen.blocks import GEMINAL, Block
from gendesign.generate.simgen.hydrogen import Unplaced, oddness
from gendesign.generate.simgen.skeleton import VALENCE, Assignment, kind, pieces

REACH = 1.30  # of the sum of covalent radii: farther pairs of parts are not bonded
WIDTH = 0.1  # Angstrom by which a bond between parts is usually off its ideal length, for the score
UNFILLED = 1.0  # cost of a hydrogen where a block had a bond
STRETCHED = 9.0  # most that one such bond costs in the score


@dataclass(frozen=True)
class Plan:
    """The parts of one molecule: the number of its part for every atom (atoms,), and its blocks with the first atom of
    each. joins (kinds, kinds): which kinds of atoms may be bonded between parts."""

    part: np.ndarray
    blocks: Sequence[tuple[int, Block]]
    joins: np.ndarray

    def joined(self, numbers: np.ndarray, positions: np.ndarray) -> tuple[list[tuple[int, int]], float]:
        """Bonds between parts, the shortest first while both atoms have a place left, one for every pair of parts; and
        their log-likelihood."""
        places, hetero = self._places(numbers), self._hetero(numbers)
        radii = covalent_radii[numbers]
        ideal = radii[:, None] + radii[None]
        distance = cdist(positions, positions)
        near = np.triu((self.part[:, None] != self.part[None]) & (distance < REACH * ideal), 1)
        kinds = numbers.copy()
        for start, block in self.blocks:
            kinds[start : start + len(block)] = block.kinds
        near &= self.joins[kinds[:, None], kinds[None]]
        first, second = np.nonzero(near)
        order = np.argsort((distance / ideal)[first, second], kind="stable")
        bonds: list[tuple[int, int]] = []
        taken: set[tuple[int, int]] = set()
        score = 0.0
        for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True):
            pair = (min(self.part[i], self.part[j]), max(self.part[i], self.part[j]))
            geminal = [a for a, b in ((i, j), (j, i)) if numbers[a] == 6 and numbers[b] != 6]
            if pair in taken or not places[i] or not places[j] or any(not hetero[a] for a in geminal):
                continue
            hetero[geminal] -= 1
            taken.add(pair)
            places[i] -= 1
            places[j] -= 1
            bonds.append((i, j))
            score -= min(STRETCHED, ((distance[i, j] - ideal[i, j]) / WIDTH) ** 2 / 2)
        return bonds, score

    def _places(self, numbers: np.ndarray) -> np.ndarray:
        places = np.array([VALENCE.get(chemical_symbols[z], 0) for z in numbers])
        for start, block in self.blocks:
            places[start : start + len(block)] = block.open
        return places

    def _hetero(self, numbers: np.ndarray) -> np.ndarray:
        hetero = np.full(len(numbers), GEMINAL)
        for start, block in self.blocks:
            hetero[start : start + len(block)] = block.hetero
        return hetero

    def option(self, numbers: np.ndarray, positions: np.ndarray) -> tuple[Unplaced | None, np.ndarray]:
        """The molecule on a skeleton, None where it is not sane; and the atoms of its largest piece, which are kept."""
        bonds, score = self.joined(numbers, positions)
        inner = [(start + i, start + j, order) for start, block in self.blocks for i, j, order in block.bonds]
        everything = [*inner, *((i, j, 1) for i, j in bonds)]
        piece = np.array(sorted(max(pieces(len(numbers), [(i, j) for i, j, _ in everything]), key=len)))
        kept = {int(a): k for k, a in enumerate(piece)}
        edges = tuple((kept[i], kept[j], order) for i, j, order in everything if i in kept and j in kept)
        charges = np.zeros(len(numbers), dtype=int)
        for start, block in self.blocks:
            charges[start : start + len(block)] = block.charges
        places = self._places(numbers)
        wanted = np.zeros(len(numbers), dtype=int)
        for start, block in self.blocks:
            wanted[start : start + len(block)] = block.cut
        for i, j in bonds:
            places[[i, j]] -= 1
            wanted[[i, j]] -= 1
        score -= UNFILLED * wanted[piece].clip(0).sum()
        mol = _molecule(numbers[piece], edges, places[piece], charges[piece])
        if mol is None:
            return None, piece
        symbols = [chemical_symbols[z] for z in numbers[piece]]
        orders: list[list[int]] = [[] for _ in symbols]
        for i, j, order in edges:
            orders[i].append(order)
            orders[j].append(order)
        kinds = tuple(
            "N+5" if symbol == "N" and charge == 1 else kind(symbol, of)
            for symbol, charge, of in zip(symbols, charges[piece], orders, strict=True)
        )
        score += oddness(mol)
        assignment = Assignment(edges, tuple(places[piece].tolist()), kinds, score)
        smiles = Chem.MolToSmiles(mol, isomericSmiles=False)
        return Unplaced(numbers[piece], positions[piece], score, assignment, mol, smiles), piece


def _molecule(
    numbers: np.ndarray, edges: Sequence[tuple[int, int, int]], hydrogens: np.ndarray, charges: np.ndarray
) -> Chem.Mol | None:
    mol = Chem.RWMol()
    for number, count, charge in zip(numbers.tolist(), hydrogens.tolist(), charges.tolist(), strict=True):
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(count)
        atom.SetFormalCharge(charge)
        mol.AddAtom(atom)
    for i, j, order in edges:
        mol.AddBond(i, j, (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)[order - 1])
    try:
        Chem.SanitizeMol(mol)
    except (Chem.AtomValenceException, Chem.KekulizeException, Chem.AtomKekulizeException):
        return None
    return None if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()) else mol.GetMol()
