"""Bonds from coordinates: the bond-length table of EDM, and strict perception of a molecule's graph by RDKit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds
from rdkit.Geometry import Point3D

from gendesign.structure.lewis import VALENCES as VALENCES_OF
from gendesign.structure.lewis import lewis_structure

# Typical lengths (pm) of single, double and triple bonds and the margins that EDM (Hoogeboom 2022, arXiv 2203.17003)
# adds to them. Pairs that are not in the table never bond. S=O is not in it, so sulfones count as unstable.
SINGLE = {
    "H": {"H": 74, "C": 109, "N": 101, "O": 96, "F": 92, "S": 134, "Cl": 127},
    "C": {"C": 154, "N": 147, "O": 143, "F": 135, "S": 182, "Cl": 177},
    "N": {"N": 145, "O": 140, "F": 136, "S": 168, "Cl": 175},
    "O": {"O": 148, "F": 142, "S": 151, "Cl": 164},
    "F": {"F": 142, "S": 158, "Cl": 166},
    "S": {"S": 204, "Cl": 207},
    "Cl": {"Cl": 199},
}
DOUBLE = {"C": {"C": 134, "N": 129, "O": 120, "S": 160}, "N": {"N": 125, "O": 121}, "O": {"O": 121}}
TRIPLE = {"C": {"C": 120, "N": 116, "O": 113}, "N": {"N": 110}}
MARGINS = (10, 5, 3)
VALENCES = {"H": {1}, "C": {4}, "N": {3}, "O": {2}, "F": {1}, "S": {2, 4, 6}, "Cl": {1}}

# The only groups in which formal charges are accepted by default. Elsewhere in a generated molecule a zwitterion
# indicates a misplaced hydrogen. For the same reason the nitrogen of an N-oxide must not carry a hydrogen.
GROUPS = "nitro, N-oxide, isocyanide, azide, diazo"
CHARGED_GROUPS = tuple(
    Chem.MolFromSmarts(smarts)
    for smarts in (
        "[NX3+](=[OX1])[OX1-]",  # nitro
        "[#7+;!$(*~[#1])]-[OX1-]",  # N-oxide, nitrone, nitrile oxide
        "[NX2+]#[CX1-]",  # isocyanide
        "[NX2;+0]=[NX2+]=[NX1-]",  # azide
        "[CX3;+0]=[NX2+]=[NX1-]",  # diazo
    )
)
# Other drawings of these groups, and of sulfur oxides and imides, which need no charges: (pattern, new orders of bonds
# between matched atoms, changes of the charges of matched atoms).
REDRAWN = tuple(
    (Chem.MolFromSmarts(smarts), bonds, charges)
    for smarts, bonds, charges in (
        ("[#16;+1,+2]-[O-,N-]", ((0, 1, 2),), ((0, -1), (1, 1))),
        ("[#16;+1,+2]-!@[C-]", ((0, 1, 2),), ((0, -1), (1, 1))),
        ("[C-,N-]-[N+]#[NX1;+0]", ((0, 1, 2), (1, 2, 2)), ((0, 1), (2, -1))),
        ("[O-]-C=C-[N+]#[NX1;+0]", ((0, 1, 2), (1, 2, 1), (2, 3, 2), (3, 4, 2)), ((0, 1), (4, -1))),
    )
)
# Sulfur of valence four or six binds oxygen, nitrogen and halogens. A double bond to carbon indicates lost hydrogens.
YLIDE = Chem.MolFromSmarts("[#16;v4,v6]=[#6]")
ORDERS = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
# Distances relative to the sum of the covalent radii. A pair in a ring that is farther apart than LONG is a bond only
# if valences require it; LONG_ACROSS is the limit for pairs with two or more common neighbours. Single bonds of carbon
# reach 1.70 Angstrom (1.12). The bridgeheads of bicyclo[1.1.1]pentane are 1.87 Angstrom apart (1.23), those of its
# trioxa analogue 1.61 (1.06).
LONG, LONG_ACROSS = 1.10, 1.03
PHOSPHORUS = 15
LOWEST_VALENCE = np.array([min(VALENCES_OF.get(z, (0,))) for z in range(len(chemical_symbols))])
# Largest number of neighbours of a closed-shell atom, neutral or charged. Sulfur and phosphorus have no entry: Lewis
# structures decide.
MOST_NEIGHBOURS = {1: 1, 5: 4, 6: 4, 7: 4, 8: 3, 9: 1, 14: 4, 17: 1, 35: 1, 53: 1}
MAX_ITERATIONS = 1000  # of the search for bond orders; without a bound it can run for minutes


def _table(lengths: dict[str, dict[str, int]], margin: int) -> np.ndarray:
    """Longest bond (Angstrom) of each pair of atomic numbers, 0 where there is none. (119, 119)."""
    limit = np.zeros((len(chemical_symbols), len(chemical_symbols)))
    for first, row in lengths.items():
        for second, length in row.items():
            i, j = chemical_symbols.index(first), chemical_symbols.index(second)
            limit[i, j] = limit[j, i] = (length + margin) / 100
    return limit


LIMITS = [_table(lengths, margin) for lengths, margin in zip((SINGLE, DOUBLE, TRIPLE), MARGINS, strict=True)]


def edm_stable_atoms(atoms: Atoms) -> np.ndarray:
    """Whether each atom has exactly its valence by EDM's bond-length table, hydrogens explicit. (atoms,) of bool.

    Valences are H1, C4, N3, O2, F1, Cl1 and S2, S4 or S6 (EDM itself allows S4 only). Atoms of other elements are never
    stable.
    """
    distance = atoms.get_all_distances()
    np.fill_diagonal(distance, np.inf)
    pair = np.ix_(atoms.numbers, atoms.numbers)
    order = np.zeros(distance.shape, int)
    for level, limit in enumerate(LIMITS, start=1):
        order[(order == level - 1) & (distance < limit[pair])] = level
    valences = order.sum(1)
    return np.array([v in VALENCES.get(s, ()) for s, v in zip(atoms.symbols, valences, strict=True)], dtype=bool)


@dataclass(frozen=True)
class Perceived:
    """A molecule perceived from coordinates, or the reason why there is none.

    mol: the molecule with explicit hydrogens and a conformer, None if the coordinates describe no valid molecule.
    reason: why there is no molecule. zwitterion: whether the molecule has charges outside the accepted groups; only
    `perceive(..., zwitterions=True)` accepts it then.
    """

    mol: Chem.Mol | None
    reason: str = ""
    zwitterion: bool = False


def connectivity(atoms: Atoms) -> frozenset[tuple[int, int]]:
    """Pairs (i < j) of bonded atoms of any bond order, the same as those of the molecule from `perceive`."""
    with rdBase.BlockLogs():
        mol = _bonded(atoms)
    return frozenset((min(pair), max(pair)) for pair in _pairs(mol))


def perceive(atoms: Atoms, max_iterations: int = MAX_ITERATIONS, *, zwitterions: bool = False) -> Perceived:
    """Perceive the molecule from coordinates alone. It never raises for a finite molecule.

    A molecule is valid if it is one neutral fragment with explicit hydrogens and without radicals. Formal charges may
    occur only in nitro, N-oxide, isocyanide, azide and diazo groups. With `zwitterions` a neutral closed-shell molecule
    may carry charges anywhere (betaines, mesoions, ylides). `max_iterations` bounds the search for bond orders.
    """
    if len(atoms) == 0:
        return Perceived(None, "no atoms")
    if not np.isfinite(atoms.positions).all():
        return Perceived(None, "positions are not finite")
    if not atoms.numbers.all():
        return Perceived(None, "an atom without element")
    with rdBase.BlockLogs():
        bare = _bonded(atoms)
        fragments = len(Chem.GetMolFrags(bare))
        if fragments > 1:
            return Perceived(None, f"{fragments} fragments")
        if int(atoms.numbers.sum()) % 2:
            return Perceived(None, "odd number of electrons: a radical or a missing hydrogen")
        # RDKit's search stops at the first drawing that fits. It misses the neutral drawing of CS2 and of some
        # heterocycles and adds charges instead; the integer programme decides exactly whether a neutral one exists. For
        # phosphorus RDKit's first drawing is often pentavalent, such as P#P in P4.
        exact = _exact(bare, atoms) if PHOSPHORUS in atoms.numbers else None
        perceived = exact or _searched(bare, max_iterations)
        if perceived.mol is None:
            perceived = _exact(bare, atoms) or perceived
        if perceived.mol is None:
            perceived = _zwitterion(bare, atoms, zwitterions) or perceived
        return perceived


def _bonded(atoms: Atoms) -> Chem.RWMol:
    """Single bonds between atoms that are near enough, without the contacts across cages and small rings.

    Two carbons of bicyclo[1.1.1]pentane are 1.87 Angstrom apart, closer than some bonds are long. Such a pair stays
    bonded unless the best closed-shell Lewis structure removes it; in [1.1.1]propellane it never does. Without a Lewis
    structure, atoms with too many neighbours lose their longest contacts.
    """
    mol = _unbonded(atoms)
    rdDetermineBonds.DetermineConnectivity(mol)
    pairs = _pairs(mol)
    contacts = _contacts(mol, atoms, pairs)
    if not contacts.any():
        return mol
    structure = lewis_structure(atoms.numbers, atoms.positions, pairs, contacts=contacts, anywhere=True)
    orders = _uncrowded(atoms, pairs, contacts) if structure is None else structure[0]
    pruned = Chem.RWMol(mol)
    for pair, order in zip(pairs, orders, strict=True):
        if order == 0:
            pruned.RemoveBond(*pair)
    return pruned if len(Chem.GetMolFrags(pruned)) == len(Chem.GetMolFrags(mol)) else mol


def _pairs(mol: Chem.Mol) -> list[tuple[int, int]]:
    return [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]


def _relative(atoms: Atoms, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Distance of each pair over the sum of its covalent radii. (pairs,)"""
    i, j = np.array(pairs, int).reshape(-1, 2).T
    radii = covalent_radii[atoms.numbers]
    return np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1) / (radii[i] + radii[j])


def _contacts(mol: Chem.Mol, atoms: Atoms, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Pairs that may be contacts instead of bonds, (pairs,) of bool.

    Such a pair closes a ring, is long, and one of its atoms has more neighbours than its lowest valence.
    """
    relative, ends = _relative(atoms, pairs), np.array(pairs, int).reshape(-1, 2)
    crowded = np.bincount(ends.ravel(), minlength=len(atoms)) > LOWEST_VALENCE[atoms.numbers]
    contacts = (relative > LONG_ACROSS) & crowded[ends].any(1)
    if contacts.any():
        Chem.FastFindRings(mol)
    for k in np.flatnonzero(contacts):
        bond = mol.GetBondWithIdx(int(k))
        near = [{atom.GetIdx() for atom in end.GetNeighbors()} for end in (bond.GetBeginAtom(), bond.GetEndAtom())]
        contacts[k] = bond.IsInRing() and (relative[k] > LONG or len(near[0] & near[1]) > 1)
    return contacts


def _uncrowded(atoms: Atoms, pairs: Sequence[tuple[int, int]], contacts: np.ndarray) -> list[int]:
    """1 for pairs that stay bonded, 0 for the longest contacts of atoms with more than MOST_NEIGHBOURS."""
    kept = [1] * len(pairs)
    count = np.bincount(np.array(pairs, int).ravel(), minlength=len(atoms))
    most = np.array([MOST_NEIGHBOURS.get(int(z), len(atoms)) for z in atoms.numbers])
    for k in np.argsort(-_relative(atoms, pairs), kind="stable"):
        ends = list(pairs[k])
        if contacts[k] and (count > most)[ends].any():
            kept[k] = 0
            count[ends] -= 1
    return kept


def _unbonded(atoms: Atoms) -> Chem.RWMol:
    mol = Chem.RWMol()
    conformer = Chem.Conformer(len(atoms))
    for i, (number, position) in enumerate(zip(atoms.numbers, atoms.positions, strict=True)):
        atom = Chem.Atom(int(number))
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
        conformer.SetAtomPosition(i, Point3D(*map(float, position)))
    mol.AddConformer(conformer, assignId=True)
    return mol


def _searched(bare: Chem.RWMol, max_iterations: int) -> Perceived:
    """Bond orders by RDKit's search, with formal charges where valences require them."""
    mol = Chem.RWMol(bare)
    try:
        rdDetermineBonds.DetermineBondOrders(
            mol, charge=0, allowChargedFragments=True, embedChiral=False, maxIterations=max_iterations
        )
    except (ValueError, RuntimeError) as error:
        return Perceived(None, f"no bond orders fit: {_line(error)}")
    return _sanitized(mol)


def _exact(bare: Chem.RWMol, atoms: Atoms) -> Perceived | None:
    """The molecule of the best Lewis structure, None if there is no valid one."""
    mol = _lewis(bare, atoms)
    perceived = mol and _sanitized(mol)
    return perceived if perceived and perceived.mol is not None else None


def _zwitterion(bare: Chem.RWMol, atoms: Atoms, accepted: bool) -> Perceived | None:
    """The best Lewis structure with charges anywhere, or why it is not accepted; None if there is none."""
    mol = _lewis(bare, atoms, anywhere=True)
    perceived = mol and _sanitized(mol, zwitterions=True)
    if not perceived or perceived.mol is None:
        return None
    objection = "" if accepted else _stray_charges(perceived.mol)
    return Perceived(None if objection else perceived.mol, objection, zwitterion=True)


def _lewis(bare: Chem.RWMol, atoms: Atoms, anywhere: bool = False) -> Chem.RWMol | None:
    """A molecule with the orders and charges of `lewis_structure`, if there is one."""
    mol = Chem.RWMol(bare)
    structure = lewis_structure(atoms.numbers, atoms.positions, _pairs(mol), anywhere=anywhere)
    if structure is None:
        return None
    for bond, order in zip(mol.GetBonds(), structure[0], strict=True):
        bond.SetBondType(ORDERS[order])
    for atom, charge in zip(mol.GetAtoms(), structure[1], strict=True):
        atom.SetFormalCharge(charge)
    return mol


def _sanitized(mol: Chem.RWMol, zwitterions: bool = False) -> Perceived:
    """Redraw, sanitize and validate a molecule whose bond orders are set."""
    try:
        _redraw(mol)
        Chem.SanitizeMol(mol)
    except ValueError as error:
        return Perceived(None, f"no bond orders fit: {_line(error)}")
    reason = _objection(mol) or ("" if zwitterions else _stray_charges(mol))
    if reason:
        return Perceived(None, reason)
    Chem.AssignStereochemistryFrom3D(mol)
    return Perceived(mol.GetMol())


def _redraw(mol: Chem.RWMol) -> None:
    mol.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(mol)
    for pattern, bonds, charges in REDRAWN:
        while match := mol.GetSubstructMatch(pattern):
            for i, j, order in bonds:
                mol.GetBondBetweenAtoms(match[i], match[j]).SetBondType(ORDERS[order])
            for i, change in charges:
                atom = mol.GetAtomWithIdx(match[i])
                atom.SetFormalCharge(atom.GetFormalCharge() + change)
            mol.UpdatePropertyCache(strict=False)


def _objection(mol: Chem.Mol) -> str:
    """Why a sanitized molecule is invalid, "" for a valid one."""
    atoms = list(mol.GetAtoms())
    radicals = [_name(atom) for atom in atoms if atom.GetNumRadicalElectrons()]
    if radicals:
        return f"radical at {', '.join(radicals)}"
    if any(atom.GetTotalNumHs() for atom in atoms):
        return "implicit hydrogens"
    if sum(atom.GetFormalCharge() for atom in atoms):
        return "not neutral"
    return ""


def _stray_charges(mol: Chem.Mol) -> str:
    """Charges of a sanitized molecule outside the accepted groups, drawn or hidden in an ylide; "" for none."""
    atoms = list(mol.GetAtoms())
    if ylide := mol.GetSubstructMatch(YLIDE):
        sulfur, carbon = (_name(atoms[i]) for i in ylide)
        return f"{sulfur} of valence 4 or 6 doubly bonded to {carbon}: an ylide or a missing hydrogen"
    charged = {atom.GetIdx() for atom in atoms if atom.GetFormalCharge()}
    if charged:
        for group in CHARGED_GROUPS:
            charged.difference_update(*mol.GetSubstructMatches(group))
    if charged:
        names = ", ".join(_name(atoms[i]) for i in sorted(charged))
        return f"formal charges at {names}, outside the groups that count as neutral chemistry ({GROUPS})"
    return ""


def _name(atom: Chem.Atom) -> str:
    charge = atom.GetFormalCharge()
    return f"{atom.GetSymbol()}{atom.GetIdx()}" + (f"({charge:+d})" if charge else "")


def _line(error: Exception) -> str:
    """RDKit's message on one line of at most 120 characters."""
    return " ".join(str(error).split())[:120]
