"""Building blocks of molecules: ring systems and rigid groups, cut from molecules together with their geometry.

Between the blocks of a molecule are single atoms. Every bond that is cut, and every hydrogen, is a place where a block
may be joined: `open`. BRICS (Degen et al., ChemMedChem 3, 1503, 2008) cuts molecules similarly, at bonds that synthesis
can make.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from rdkit import Chem

from gendesign.generate.simgen.skeleton import VALENCE
from gendesign.structure.bonds import perceive

# Groups outside rings whose atoms stay together: conjugated or cumulated bonds, and carbons that carry fluorine only.
GROUPS = tuple(
    Chem.MolFromSmarts(pattern)
    for pattern in (
        "[CX3;!R](=[O,S])[NX3,OX2;!R]",
        "[SX4;!R](=O)(=O)[NX3;!R]",
        "[SX4](=O)=O",
        "[SX3]=O",
        "[CX4](F)(F)F",
        "[CX4;H1](F)F",
        "[N+](=O)[O-]",
    )
)
# Heteroatoms that a tetrahedral carbon is joined to. With two it is an acetal, an aminal or their like, which acids
# split; those that references have are blocks.
GEMINAL = 1
BLOCK_KINDS, KINDS = 100, 300
MAX_PLACES = 9


@dataclass(frozen=True)
class Block:
    """A rigid part of a molecule: numbers (atoms,), positions (atoms, 3) about their mean, open places (atoms,), formal
    charges (atoms,), and bonds as (atom, atom, order), Kekule's. cut (atoms,): how many of the open places were bonds.
    hetero (atoms,): how many heteroatoms an atom may be joined to. kinds (atoms,): see `kind_of`.

    `ring`: whether it holds a ring system. `name`: its SMILES, without what it is bonded to.
    """

    numbers: np.ndarray
    positions: np.ndarray
    open: np.ndarray
    cut: np.ndarray
    hetero: np.ndarray
    kinds: np.ndarray
    charges: np.ndarray
    bonds: tuple[tuple[int, int, int], ...]
    ring: bool
    name: str

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class Parts:
    """A molecule in parts: its blocks, and the atomic numbers of the single atoms between them.

    bonds: kinds of the two atoms of every bond between parts.
    """

    blocks: tuple[Block, ...]
    singles: tuple[int, ...]
    bonds: tuple[tuple[int, int], ...]
    unsaturation: float

    def __len__(self) -> int:
        return sum(map(len, self.blocks)) + len(self.singles)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Atomic numbers of all heavy atoms."""
        return (*(int(z) for block in self.blocks for z in block.numbers), *self.singles)


def parts_of(atoms: Atoms) -> Parts | None:
    """The parts of a molecule with its hydrogens; None where its bonds cannot be perceived."""
    mol = perceive(Atoms(atoms.numbers, atoms.positions)).mol
    if mol is None:
        return None
    heavy = [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() > 1]
    owner = _owners(mol, heavy)
    groups = [[a for a in heavy if owner[a] == root] for root in dict.fromkeys(owner[a] for a in heavy)]
    kekule = Chem.Mol(mol)
    Chem.Kekulize(kekule, clearAromaticFlags=True)
    blocks = tuple(_block(mol, kekule, atoms.positions, group) for group in groups if len(group) > 1)
    singles = tuple(int(mol.GetAtomWithIdx(group[0]).GetAtomicNum()) for group in groups if len(group) == 1)
    rings_and_pi = 1 + sum(VALENCE.get(chemical_symbols[z], 1) - 2 for z in atoms.numbers) / 2
    cut = [b for b in mol.GetBonds() if owner.get(b.GetBeginAtomIdx(), -1) != owner.get(b.GetEndAtomIdx(), -1)]
    rigid = {a for group in groups if len(group) > 1 for a in group}
    ends = [
        (b.GetBeginAtom(), b.GetEndAtom())
        for b in cut
        if 1 not in (b.GetBeginAtom().GetAtomicNum(), b.GetEndAtom().GetAtomicNum())
    ]
    kinds = tuple((kind_of(i, i.GetIdx() in rigid), kind_of(j, j.GetIdx() in rigid)) for i, j in ends)
    return Parts(blocks, singles, kinds, rings_and_pi)


def _owners(mol: Chem.Mol, heavy: Sequence[int]) -> dict[int, int]:
    """For every heavy atom the first atom of its part."""
    owner = {a: a for a in heavy}

    def join(some: Sequence[int]) -> None:
        roots = {owner[a] for a in some}
        for a, root in owner.items():
            if root in roots:
                owner[a] = min(roots)

    for ring in mol.GetRingInfo().AtomRings():
        join(ring)
    for bond in mol.GetBonds():
        if bond.GetBondTypeAsDouble() > 1:
            join([bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()])
    for pattern in GROUPS:
        for match in mol.GetSubstructMatches(pattern):
            join(match)
    return owner


def _block(mol: Chem.Mol, kekule: Chem.Mol, positions: np.ndarray, group: Sequence[int]) -> Block:
    inside = set(group)
    places, cut, hetero = [], [], []
    for a in group:
        near = mol.GetAtomWithIdx(a).GetNeighbors()
        outside = [n for n in near if n.GetIdx() not in inside]
        places.append(len(outside))  # hydrogens and cut bonds
        cut.append(sum(n.GetAtomicNum() > 1 for n in outside))
        held = sum(n.GetIdx() in inside and n.GetAtomicNum() != 6 for n in near)
        hetero.append(max(0, GEMINAL - held) if _is_tetrahedral(mol.GetAtomWithIdx(a)) else MAX_PLACES)
    x = positions[list(group)]
    numbers = np.array([mol.GetAtomWithIdx(a).GetAtomicNum() for a in group])
    ring = any(mol.GetAtomWithIdx(a).IsInRing() for a in group)
    kinds = np.array([kind_of(mol.GetAtomWithIdx(a), True) for a in group])
    charges = np.array([mol.GetAtomWithIdx(a).GetFormalCharge() for a in group])
    place_of = {a: k for k, a in enumerate(group)}
    pairs = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondTypeAsDouble())) for b in kekule.GetBonds()]
    bonds = tuple((place_of[i], place_of[j], order) for i, j, order in pairs if i in place_of and j in place_of)
    return Block(
        numbers,
        x - x.mean(0),
        np.array(places),
        np.array(cut),
        np.array(hetero),
        kinds,
        charges,
        bonds,
        ring,
        _name(mol, group),
    )


def kind_of(atom: Chem.Atom, rigid: bool) -> int:
    """A number for the kind of an atom, below KINDS: the atomic number of a single atom; of an atom in a block its
    element and whether it is aromatic, has other multiple bonds, or single bonds only."""
    if not rigid:
        return int(atom.GetAtomicNum())
    multiple = any(bond.GetBondTypeAsDouble() > 1 for bond in atom.GetBonds())
    return BLOCK_KINDS + 3 * int(atom.GetAtomicNum()) + (2 if atom.GetIsAromatic() else int(multiple))


def _is_tetrahedral(atom: Chem.Atom) -> bool:
    return atom.GetAtomicNum() == 6 and atom.GetTotalDegree() == 4


def _name(mol: Chem.Mol, group: Sequence[int]) -> str:
    """SMILES of the block without its surroundings."""
    return Chem.MolFragmentToSmiles(mol, list(group), isomericSmiles=False)
