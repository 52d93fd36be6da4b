"""Saturate hydrogen-free skeletons: bond orders by likelihood (skeleton.py), hydrogens by geometry (placement.py)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from rdkit import Chem, RDLogger
from scipy.spatial.distance import pdist

from gendesign.generate.simgen.bond_orders import assign
from gendesign.generate.simgen.placement import place
from gendesign.generate.simgen.skeleton import (
    ANIONS,
    VALENCE,
    Assignment,
    Bond,
    FixedAtoms,
    Geometry,
    bonds_of_skeleton,
    components,
    perceive,
    pieces,
)
from gendesign.structure.contacts import Host

__all__ = ["Saturated", "Unplaced", "bonds_of_skeleton", "components", "likely", "saturate", "unsaturable"]

RDLogger.DisableLog("rdApp.*")

# Log-likelihood beyond geometry: motifs that relaxation would not keep, or that are hardly ever made.
ODD_MOTIFS = tuple(
    (Chem.MolFromSmarts(pattern), weight)
    for pattern, weight in (
        ("[r3,r4,r5,r6,r7]#[r3,r4,r5,r6,r7]", -8.0),
        ("[r3,r4,r5,r6,r7;R]=[r3,r4,r5,r6,r7;R]=[r3,r4,r5,r6,r7;R]", -8.0),
        ("*=[CX2]=[CX2]=*", -3.0),
        ("[R3]=[R]", -3.0),
        ("C1=CC=C1", -4.0),
        ("[r3]=[r3;!#6]", -4.0),
        ("[#8,#7;!R]=[#8,#7;!R]", -0.5),
        ("[OX2H]C=C", -1.5),
        ("[OX2H,SX2H]C=N", -2.0),
        ("[OX2H]c[nX2]", -1.0),
        ("[NX3;H2,H1]C=C", -0.5),
        ("[OX2H][CX4][OX2H,NX3]", -0.5),
        ("[N+]", -1.0),
        ("[N+]([O-])=[C,N]", -1.5),
        ("a1aaaaa1", 1.5),
        ("a1aaaa1", 1.0),
    )
)
CLASH = (1.30, 1.50)  # Angstrom: H...H and H...heavy distances below which an assignment is doubtful
CLASH_PENALTY = -4.0
WIDER = 12  # times as many assignments are compared where the number of hydrogens is prescribed
OVERLAP = 0.6  # Angstrom: nearer heavy atoms are not a skeleton


@dataclass(frozen=True)
class Saturated:
    """A skeleton with its hydrogens appended; bonds of all atoms (nitro, azide: as charge-separated); no stereo."""

    atoms: Atoms
    bonds: tuple[Bond, ...]
    score: float
    smiles: str


@dataclass(frozen=True)
class Unplaced:
    """A skeleton with bond orders and numbers of hydrogens, which `placed` gives positions: the costly part.

    `score` is the log-likelihood of the bond orders, `smiles` has no stereo.
    """

    numbers: np.ndarray
    positions: np.ndarray
    score: float
    assignment: Assignment
    mol: Chem.Mol
    smiles: str
    fixed: FixedAtoms | None = None

    def placed(self, host: Host | None = None) -> Saturated:
        """With hydrogens, which keep off `host`; hydrogens that clash and atoms that overlap it cost likelihood."""
        symbols = [a.GetSymbol() for a in self.mol.GetAtoms()]
        counts, known = self.assignment.hydrogens, {}
        if self.fixed is not None:  # their known hydrogens count: valences alone do not tell S(H) of a sulfone
            known = dict(enumerate(self.fixed.hydrogen_positions))
            counts = (*map(len, self.fixed.hydrogen_positions), *counts[len(self.fixed) :])
        hydrogens = place(symbols, self.positions, self.assignment.bonds, self.assignment.kinds, counts, known, host)
        parents = [a for a, count in enumerate(counts) for _ in range(count)]
        atoms = Atoms(self.numbers, self.positions) + Atoms(f"H{len(parents)}" if parents else "", hydrogens)
        kekule = Chem.Mol(self.mol)
        Chem.Kekulize(kekule, clearAromaticFlags=True)
        bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondTypeAsDouble())) for b in kekule.GetBonds()]
        bonds += [(a, len(self.numbers) + k, 1) for k, a in enumerate(parents)]
        overlaps = 0 if host is None else host.overlaps(atoms)
        score = self.score + CLASH_PENALTY * (clashes(atoms, parents) + overlaps)
        return Saturated(atoms, tuple(bonds), float(score), self.smiles)


def likely(
    numbers: np.ndarray,
    positions: np.ndarray,
    count: int,
    fixed: FixedAtoms | None = None,
    hydrogens: int | None = None,
) -> list[Unplaced]:
    """The `count` most likely neutral closed-shell molecules on a skeleton, best first; no two with one SMILES.

    numbers [atoms], positions [atoms, 3] in Angstrom, one connected piece without hydrogens, whose first atoms may be
    those of `fixed` fragments. Molecules with the wanted number of `hydrogens`, where there is one, come before all
    others. An empty list when there is no such molecule: `unsaturable` says why.
    """
    numbers, positions = np.asarray(numbers), np.asarray(positions, float)
    if _obstacle(numbers, positions, fixed):
        return []
    wider = 3 * count if hydrogens is None else WIDER * count
    candidates = _candidates(perceive(numbers, positions, fixed=fixed), wider)
    if not candidates:  # every likely assignment breaks a bond that holds the piece together
        candidates = _candidates(perceive(numbers, positions, firm=True, fixed=fixed), wider)

    def rank(row: tuple[float, Assignment, Chem.Mol]) -> tuple[bool, float]:
        return hydrogens is not None and sum(row[1].hydrogens) != hydrogens, -row[0]

    ranked = sorted(candidates.items(), key=lambda item: rank(item[1]))[:count]
    return [Unplaced(numbers, positions, *row, smiles, fixed) for smiles, row in ranked]


def saturate(numbers: np.ndarray, positions: np.ndarray, *, alternatives: int = 3) -> list[Saturated]:
    """The most likely molecules on a skeleton with their hydrogens, as `likely` takes and ranks them."""
    placed = [option.placed() for option in likely(numbers, positions, alternatives + 2)]
    return sorted(placed, key=lambda s: -s.score)[:alternatives]


def unsaturable(numbers: np.ndarray, positions: np.ndarray, fixed: FixedAtoms | None = None) -> str:
    """Why `saturate` returned nothing for this skeleton, in one line."""
    return _obstacle(np.asarray(numbers), np.asarray(positions, float), fixed) or "no bond orders satisfy every valence"


def _obstacle(numbers: np.ndarray, positions: np.ndarray, fixed: FixedAtoms | None) -> str:
    if len(numbers) == 0:
        return "no atoms"
    if not np.isfinite(positions).all():
        return "positions are not finite"
    if names := sorted(set(Atoms(numbers).symbols) - set(VALENCE)):
        return f"no valence known for {', '.join(names)}"
    if len(numbers) > 1 and (nearest := float(pdist(positions).min())) < OVERLAP:
        return f"two heavy atoms {nearest:.2f} Angstrom apart"
    if (fragments := len(components(numbers, positions, fixed))) > 1:
        return f"{fragments} fragments"
    return ""


def _candidates(geometry: Geometry, count: int) -> dict[str, tuple[float, Assignment, Chem.Mol]]:
    """Sane molecules among the `count` likeliest assignments by SMILES, scored with their odd motifs."""
    best: dict[str, tuple[float, Assignment, Chem.Mol]] = {}
    for assignment in assign(geometry, count):
        mol = _molecule(geometry.symbols, assignment)
        if mol is None:
            continue
        score, smiles = assignment.score + oddness(mol), Chem.MolToSmiles(mol, isomericSmiles=False)
        if smiles not in best or best[smiles][0] < score:
            best[smiles] = (score, assignment, mol)
    return best


def _molecule(symbols: Sequence[str], assignment: Assignment) -> Chem.Mol | None:
    """The heavy-atom RDKit molecule of an assignment; None when it is not one sane neutral piece."""
    if len(pieces(len(symbols), [(i, j) for i, j, _ in assignment.bonds])) > 1:
        return None
    mol = Chem.RWMol()
    for symbol, count in zip(symbols, assignment.hydrogens, strict=True):
        atom = Chem.Atom(symbol)
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(count)
        mol.AddAtom(atom)
    orders = _charge_separated(mol, symbols, assignment)
    if orders is None:
        return None
    for i, j, order in orders:
        mol.AddBond(i, j, (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)[order - 1])
    try:
        Chem.SanitizeMol(mol)
    except (Chem.AtomValenceException, Chem.KekulizeException, Chem.AtomKekulizeException):
        return None
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        return None
    return mol.GetMol()


def _charge_separated(mol: Chem.RWMol, symbols: Sequence[str], assignment: Assignment) -> list[Bond] | None:
    """Orders with every pentavalent nitrogen written as N+ and its terminal O, N or C as the anion.

    None when two of them would need the same anion.
    """
    orders = {(i, j): order for i, j, order in assignment.bonds}
    for atom, kind in enumerate(assignment.kinds):
        if kind != "N+5":
            continue
        near = [(symbols[j if i == atom else i], o, (i, j)) for (i, j), o in orders.items() if atom in (i, j)]
        ends = [(o, ij) for s, o, ij in near if (o, s) in ANIONS]
        if not ends:
            return None
        order, edge = max(ends)
        orders[edge] = order - 1
        mol.GetAtomWithIdx(atom).SetFormalCharge(1)
        mol.GetAtomWithIdx(edge[0] if edge[1] == atom else edge[1]).SetFormalCharge(-1)
    return [(i, j, order) for (i, j), order in orders.items()]


def oddness(mol: Chem.Mol) -> float:
    """Log-likelihood of the odd and the favoured motifs of a molecule."""
    return sum(weight * len(mol.GetSubstructMatches(pattern)) for pattern, weight in ODD_MOTIFS)


def clashes(atoms: Atoms, parents: Sequence[int]) -> int:
    """Hydrogens nearer than `CLASH` to another hydrogen or to a heavy atom other than their parent."""
    n = len(atoms) - len(parents)
    if not parents:
        return 0
    x, h = atoms.positions[:n], atoms.positions[n:]
    to_heavy = np.linalg.norm(h[:, None] - x[None], axis=-1)
    to_heavy[np.arange(len(h)), parents] = np.inf
    to_hydrogen = np.linalg.norm(h[:, None] - h[None], axis=-1) + 9.0 * np.eye(len(h))
    return int(((to_heavy.min(1) < CLASH[1]) | (to_hydrogen.min(1) < CLASH[0])).sum())
