"""Constitutional isomers of a formula: all of them for small ones, a random sample for large ones.

Covered are neutral, closed-shell, connected molecules in which every atom has its usual valence (`VALENCES`) and no
formal charge; stereoisomers count once. So nitro groups, N-oxides, isocyanides, azides, diazo compounds and sulfur of
valence 4 or 6 are missing, although `bonds.perceive` knows them. Molecules are named as everywhere else, by
`identity.canonical_smiles`; the Kekule drawings of one aromatic molecule are therefore one isomer.
"""

import random
from collections.abc import Iterable, Iterator

from rdkit import Chem

from gendesign.errors import UserError
from gendesign.structure.formula import hill_formula, parse_formula
from gendesign.structure.identity import canonical_smiles

VALENCES = {"H": 1, "C": 4, "N": 3, "O": 2, "S": 2, "F": 1, "Cl": 1, "Br": 1}
ORDERS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)
PATIENCE = 2000  # draws without a new isomer after which a formula counts as exhausted


def isomers(formula: str, most: int | None = None) -> list[str]:
    """Canonical SMILES of every constitutional isomer of `formula`, sorted; exact and complete.

    Every connected graph of heavy atoms has a spanning tree, every tree a leaf: so all trees grow atom by atom, and
    each bond beyond them, a ring closed or an order raised, is then put in at every place. Duplicates go at each level
    by the SMILES of the drawing as it stands: one aromatic molecule's drawings have different descendants, and merge
    at the end only. The list is empty if no molecule exists (C2).

    Raises UserError for a formula that admits none of the molecules described above and, with `most`, as soon as
    one level holds more than `most` drawings, so that a large formula is refused early.
    """
    bag = _bag(formula)
    core, caps = _split(bag)
    level = {_drawing(mol): mol for mol in map(_atom, sorted(set(core or caps)))}
    for atoms in range(2, len(core) + 1):
        grown = (new for mol in level.values() for symbol in sorted(_left(core, mol)) for new in _sprouts(mol, symbol))
        level = _distinct(grown, most, f"{formula}: trees of {atoms} heavy atoms")
    for symbol in caps if core else caps[1:]:  # always leaves, hence last, which keeps the levels before small
        level = _distinct((new for mol in level.values() for new in _sprouts(mol, symbol)), most, f"{formula}: trees")
    for extra in range(1, unsaturation(bag) + 1):
        grown = (new for mol in level.values() for new in _closures(mol))
        level = _distinct(grown, most, f"{formula}: drawings with {extra} rings or multiple bonds")
    return sorted({canonical_smiles(drawing) for drawing in level})


def sample_isomers(formula: str, n: int, seed: int) -> list[str]:
    """`n` distinct isomers of `formula`, canonical SMILES in the order drawn; the same for the same `seed`.

    Atoms come in random order, halogens last; each binds to an atom drawn in proportion to its free valence. Then every
    ring or multiple bond falls on a uniformly drawn pair of atoms that can take it. That is not uniform over isomers:
    those that can be built in many ways, branched and with small rings, come more often, and stable ones are rare.

    Raises UserError for a formula that `isomers` refuses and if `n` isomers are not found.
    """
    bag, rng = _bag(formula), random.Random(f"{formula}/{seed}")
    sampled: dict[str, None] = {}
    barren = 0
    while len(sampled) < n:
        mol = _drawn(bag, rng)
        key = None if mol is None else canonical_smiles(_drawing(mol))
        barren = barren + 1 if key is None or key in sampled else 0
        if key is not None:
            sampled[key] = None
        if barren > PATIENCE:
            raise UserError(
                f"only {len(sampled)} isomers of {formula} were found, not {n}; ask for fewer or list them all"
            )
    return list(sampled)


def mutated(text: str, rng: random.Random) -> str | None:
    """A random neighbour of an isomer, given and returned as canonical SMILES; None where the attempt led nowhere.

    One bond moves (a group that it alone holds binds elsewhere; else a ring opens or an order falls, and another
    ring closes or order rises), or two atoms of different elements change places. The formula stays.
    Raises UserError when RDKit cannot read the SMILES.
    """
    mol = Chem.RWMol(Chem.MolFromSmiles(canonical_smiles(text)))
    Chem.Kekulize(mol, clearAromaticFlags=True)
    for atom in mol.GetAtoms():  # [nH] fixes its hydrogens, which must be free to move
        atom.SetNumExplicitHs(0)
        atom.SetNoImplicit(False)
    new = _swapped(mol, rng) if rng.random() < 0.25 else _moved(mol, rng)
    return None if new is None else canonical_smiles(_drawing(new))


def unsaturation(counts: dict[str, int]) -> int:
    """Rings and multiple bonds of a neutral closed-shell molecule of these elements; negative if too many hydrogens.

    Raises UserError for elements without a usual valence here and for an odd number of valences.
    """
    unknown = sorted(set(counts) - set(VALENCES))
    if unknown:
        raise UserError(f"isomers of {', '.join(unknown)} cannot be listed; use {', '.join(VALENCES)} only")
    total = sum(VALENCES[symbol] * count for symbol, count in counts.items())
    if total % 2:
        raise UserError(f"{hill_formula(counts)} has an odd number of electrons; add or take one hydrogen")
    return total // 2 - sum(counts.values()) + 1


def _bag(formula: str) -> dict[str, int]:
    """Counts of a formula that can have isomers; raises UserError where it cannot."""
    bag = parse_formula(formula)
    if unsaturation(bag) < 0:
        raise UserError(f"{formula} has more hydrogens or halogens than the usual valences hold; take some away")
    if set(bag) == {"H"}:
        raise UserError(f"{formula} has no heavy atom; add one, for example CH4")
    return bag


def _split(bag: dict[str, int]) -> tuple[list[str], list[str]]:
    """Heavy atoms that can hold others, and the monovalent ones."""
    heavy = [symbol for symbol, count in bag.items() if symbol != "H" for _ in range(count)]
    return [s for s in heavy if VALENCES[s] > 1], [s for s in heavy if VALENCES[s] == 1]


def _left(core: list[str], mol: Chem.Mol) -> set[str]:
    """Elements of which `core` still has atoms when those of `mol` are taken."""
    used = [atom.GetSymbol() for atom in mol.GetAtoms()]
    return {symbol for symbol in core if core.count(symbol) > used.count(symbol)}


def _distinct(mols: Iterable[Chem.RWMol], most: int | None, what: str) -> dict[str, Chem.RWMol]:
    """Molecules by their drawing; raises UserError once they are more than `most`."""
    out: dict[str, Chem.RWMol] = {}
    for mol in mols:
        out.setdefault(_drawing(mol), mol)
        if most is not None and len(out) > most:
            raise UserError(f"{what} are more than {most}; raise the limit or draw a sample")
    return out


def _drawing(mol: Chem.Mol) -> str:
    """Canonical SMILES of bonds as they stand: no aromaticity, hence one text per Kekule drawing."""
    return Chem.MolToSmiles(mol)


def _atom(symbol: str) -> Chem.RWMol:
    mol = Chem.RWMol()
    mol.AddAtom(Chem.Atom(symbol))
    mol.UpdatePropertyCache()
    return mol


def _free(mol: Chem.Mol) -> list[int]:
    """Atoms with a hydrogen to give."""
    return [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetTotalNumHs()]


def _sprouts(mol: Chem.RWMol, symbol: str) -> Iterator[Chem.RWMol]:
    """`mol` with one more atom, at each place."""
    return (_sprouted(mol, i, symbol) for i in _free(mol))


def _sprouted(mol: Chem.RWMol, i: int, symbol: str) -> Chem.RWMol:
    new = Chem.RWMol(mol)
    new.AddBond(i, new.AddAtom(Chem.Atom(symbol)), Chem.BondType.SINGLE)
    new.UpdatePropertyCache()
    return new


def _pairs(mol: Chem.RWMol) -> list[tuple[int, int]]:
    """Pairs of atoms between which a ring can close or a bond become stronger."""
    free = _free(mol)
    pairs = [(i, j) for k, i in enumerate(free) for j in free[k + 1 :]]
    return [
        pair for pair in pairs if (bond := mol.GetBondBetweenAtoms(*pair)) is None or bond.GetBondType() != ORDERS[2]
    ]


def _closures(mol: Chem.RWMol) -> Iterator[Chem.RWMol]:
    """`mol` with one more ring or a bond of higher order, at each place."""
    return (_changed(mol, pair, 1) for pair in _pairs(mol))


def _changed(mol: Chem.RWMol, pair: tuple[int, int], by: int) -> Chem.RWMol:
    """`mol` with the order of the bond between two atoms raised (1) or lowered (-1)."""
    new = Chem.RWMol(mol)
    bond = new.GetBondBetweenAtoms(*pair)
    order = by + (0 if bond is None else 1 + ORDERS.index(bond.GetBondType()))
    if bond is None:
        new.AddBond(*pair, ORDERS[0])
    elif order == 0:
        new.RemoveBond(*pair)
    else:
        bond.SetBondType(ORDERS[order - 1])
    new.UpdatePropertyCache()
    return new


def _drawn(bag: dict[str, int], rng: random.Random) -> Chem.RWMol | None:
    """A random molecule of these atoms; None where the draw reached a dead end."""
    core, caps = _split(bag)
    rng.shuffle(core)
    symbols = core + caps
    mol = _atom(symbols[0])
    for symbol in symbols[1:]:
        slots = [atom.GetIdx() for atom in mol.GetAtoms() for _ in range(atom.GetTotalNumHs())]
        if not slots:
            return None
        mol = _sprouted(mol, rng.choice(slots), symbol)
    for _ in range(unsaturation(bag)):
        pairs = _pairs(mol)
        if not pairs:
            return None
        mol = _changed(mol, rng.choice(pairs), 1)
    return mol


def _moved(mol: Chem.RWMol, rng: random.Random) -> Chem.RWMol | None:
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    if not bonds:
        return None
    old = rng.choice(bonds)
    cut = _changed(mol, old, -1)
    pieces = Chem.GetMolFrags(cut)
    pairs = [pair for pair in _pairs(cut) if set(pair) != set(old)]
    if len(pieces) > 1:
        pairs = [pair for pair in pairs if (pair[0] in pieces[0]) != (pair[1] in pieces[0])]
    return _changed(cut, rng.choice(pairs), 1) if pairs else None


def _swapped(mol: Chem.RWMol, rng: random.Random) -> Chem.RWMol | None:
    """Two atoms of different elements exchanged, if each can hold the other's bonds."""
    atoms = list(mol.GetAtoms())
    pairs = [
        (a.GetIdx(), b.GetIdx())
        for a in atoms
        for b in atoms
        if a.GetSymbol() != b.GetSymbol()
        and VALENCES[b.GetSymbol()] <= VALENCES[a.GetSymbol()]
        and a.GetTotalValence() - a.GetTotalNumHs() <= VALENCES[b.GetSymbol()]
    ]
    if not pairs:
        return None
    i, j = rng.choice(pairs)
    new = Chem.RWMol(mol)
    new.GetAtomWithIdx(i).SetAtomicNum(atoms[j].GetAtomicNum())
    new.GetAtomWithIdx(j).SetAtomicNum(atoms[i].GetAtomicNum())
    new.UpdatePropertyCache()
    return new
