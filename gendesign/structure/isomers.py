"""Constitutional isomers of a formula: all of them for small formulas, a random sample for large ones.

The isomers are neutral, closed-shell, connected molecules in which every atom has its usual valence (`VALENCES`) and no
formal charge. Stereoisomers count once. Nitro groups, N-oxides, isocyanides, azides, diazo compounds and sulfur of
valence 4 or 6 are therefore missing, although `bonds.perceive` accepts them. `identity.canonical_smiles` identifies the
molecules, so that the Kekule structures of one aromatic molecule are one isomer.
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

    Every connected graph of heavy atoms has a spanning tree. All trees are grown atom by atom; then every ring closure
    and every increase of a bond order is added at every possible place. Duplicates are removed at each level by the
    SMILES of the Kekule structure. The Kekule structures of one aromatic molecule have different descendants, and are
    therefore merged only at the end. The list is empty if no molecule exists (C2).

    most: largest number of Kekule structures at one level, so that a large formula is rejected early. Raises UserError
    if a level exceeds it, and for a formula without a molecule of usual valences.
    """
    bag = _bag(formula)
    core, caps = _split(bag)
    level = {_drawing(mol): mol for mol in map(_atom, sorted(set(core or caps)))}
    for atoms in range(2, len(core) + 1):
        grown = (
            new
            for mol in level.values()
            for symbol in sorted(_remaining_elements(core, mol))
            for new in _sprouts(mol, symbol)
        )
        level = _distinct(grown, most, f"{formula}: trees of {atoms} heavy atoms")
    for symbol in (
        caps if core else caps[1:]
    ):  # monovalent atoms are leaves; adding them last keeps earlier levels small
        level = _distinct((new for mol in level.values() for new in _sprouts(mol, symbol)), most, f"{formula}: trees")
    for extra in range(1, unsaturation(bag) + 1):
        grown = (new for mol in level.values() for new in _closures(mol))
        level = _distinct(grown, most, f"{formula}: drawings with {extra} rings or multiple bonds")
    return sorted({canonical_smiles(drawing) for drawing in level})


def sample_isomers(formula: str, n: int, seed: int) -> list[str]:
    """`n` distinct isomers of `formula` as canonical SMILES in the order of sampling; reproducible for a `seed`.

    Atoms are added in random order, halogens last. Each binds to an atom drawn with a probability proportional to its
    free valence. Every ring or multiple bond is then added to a uniformly drawn pair of atoms with free valences. The
    sample is not uniform over isomers: branched isomers and those with small rings can be built in more ways and are
    more frequent, and stable isomers are rare.

    Raises UserError for a formula that `isomers` rejects and if fewer than `n` isomers are found.
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
    """A random mutation of an isomer with the same formula, as canonical SMILES; None for a failed attempt.

    Either one bond moves, or two atoms of different elements are exchanged. Moving a bond that connects two parts binds
    them elsewhere; moving another one opens a ring or lowers an order and closes a ring or raises an order elsewhere.
    Raises UserError if RDKit cannot read the SMILES `text`.
    """
    mol = Chem.RWMol(Chem.MolFromSmiles(canonical_smiles(text)))
    Chem.Kekulize(mol, clearAromaticFlags=True)
    for atom in mol.GetAtoms():  # [nH] fixes its hydrogens, which must be free to move
        atom.SetNumExplicitHs(0)
        atom.SetNoImplicit(False)
    new = _swapped(mol, rng) if rng.random() < 0.25 else _moved(mol, rng)
    return None if new is None else canonical_smiles(_drawing(new))


def unsaturation(counts: dict[str, int]) -> int:
    """Degree of unsaturation (rings plus multiple bonds) of a neutral closed-shell molecule with these counts.

    It is negative if there are too many hydrogens. Raises UserError for elements without an entry in VALENCES and for
    an odd number of electrons.
    """
    unknown = sorted(set(counts) - set(VALENCES))
    if unknown:
        raise UserError(f"isomers of {', '.join(unknown)} cannot be listed; use {', '.join(VALENCES)} only")
    total = sum(VALENCES[symbol] * count for symbol, count in counts.items())
    if total % 2:
        raise UserError(f"{hill_formula(counts)} has an odd number of electrons; add or take one hydrogen")
    return total // 2 - sum(counts.values()) + 1


def _bag(formula: str) -> dict[str, int]:
    """Counts of the elements of a formula. Raises UserError for a formula that has no isomers."""
    bag = parse_formula(formula)
    if unsaturation(bag) < 0:
        raise UserError(f"{formula} has more hydrogens or halogens than the usual valences hold; take some away")
    if set(bag) == {"H"}:
        raise UserError(f"{formula} has no heavy atom; add one, for example CH4")
    return bag


def _split(bag: dict[str, int]) -> tuple[list[str], list[str]]:
    """Symbols of the heavy atoms of higher valence, and of the monovalent ones."""
    heavy = [symbol for symbol, count in bag.items() if symbol != "H" for _ in range(count)]
    return [s for s in heavy if VALENCES[s] > 1], [s for s in heavy if VALENCES[s] == 1]


def _remaining_elements(core: list[str], mol: Chem.Mol) -> set[str]:
    """Elements of the atoms of `core` that are not yet in `mol`."""
    used = [atom.GetSymbol() for atom in mol.GetAtoms()]
    return {symbol for symbol in core if core.count(symbol) > used.count(symbol)}


def _distinct(mols: Iterable[Chem.RWMol], most: int | None, what: str) -> dict[str, Chem.RWMol]:
    """Molecules by the SMILES of their Kekule structure. Raises UserError if there are more than `most`."""
    out: dict[str, Chem.RWMol] = {}
    for mol in mols:
        out.setdefault(_drawing(mol), mol)
        if most is not None and len(out) > most:
            raise UserError(f"{what} are more than {most}; raise the limit or draw a sample")
    return out


def _drawing(mol: Chem.Mol) -> str:
    """Canonical SMILES of one Kekule structure: aromaticity is not perceived."""
    return Chem.MolToSmiles(mol)


def _atom(symbol: str) -> Chem.RWMol:
    mol = Chem.RWMol()
    mol.AddAtom(Chem.Atom(symbol))
    mol.UpdatePropertyCache()
    return mol


def _free(mol: Chem.Mol) -> list[int]:
    """Indices of the atoms with at least one hydrogen."""
    return [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetTotalNumHs()]


def _sprouts(mol: Chem.RWMol, symbol: str) -> Iterator[Chem.RWMol]:
    """`mol` with one more atom, for each possible place."""
    return (_sprouted(mol, i, symbol) for i in _free(mol))


def _sprouted(mol: Chem.RWMol, i: int, symbol: str) -> Chem.RWMol:
    new = Chem.RWMol(mol)
    new.AddBond(i, new.AddAtom(Chem.Atom(symbol)), Chem.BondType.SINGLE)
    new.UpdatePropertyCache()
    return new


def _pairs(mol: Chem.RWMol) -> list[tuple[int, int]]:
    """Pairs of atoms between which a ring can close or a bond order can increase."""
    free = _free(mol)
    pairs = [(i, j) for k, i in enumerate(free) for j in free[k + 1 :]]
    return [
        pair for pair in pairs if (bond := mol.GetBondBetweenAtoms(*pair)) is None or bond.GetBondType() != ORDERS[2]
    ]


def _closures(mol: Chem.RWMol) -> Iterator[Chem.RWMol]:
    """`mol` with one more ring or a higher bond order, for each possible place."""
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
    """A random molecule of these atoms; None if no free valence remains before it is complete."""
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
    """`mol` with two atoms of different elements exchanged, None if no exchange fits the valences."""
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
