"""Make the cases of `gendesign benchmark conditional` from molecules outside all training sets.

    python -m scripts.conditional.cases cases gendesign/benchmark/cases     # the bundled cases
    python -m scripts.conditional.cases trial FOLDER                        # other cases, for experiments
Molecules of 12 to 20 heavy atoms come from the enumeration of scripts/organic/molecules.py. The hash of their graph
excludes them from training and references. They are relaxed with GFN2-xTB.

linkers.extxyz holds pairs of structures: two fragments of one molecule in place, with saturated cut ends.
scaffolds.extxyz holds one structure per case. `attachments` are the indices of the saturating hydrogens, counted over
the pair, and `atoms` is the number of heavy atoms that were cut out. shapes.extxyz holds whole molecules of 12 to 16
heavy atoms.
"""

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from rdkit import Chem

from gendesign.structure.bonds import perceive
from gendesign.train.label import write_frames
from gendesign.train.teachers.semiempirical import FAILURES
from scripts.organic.molecules import embed, graph_key, molecule
from scripts.organic.structures import as_atoms, in_test, relaxed

PAIRS, SCAFFOLDS, SHAPES = 30, 20, 10
LEAST = 4  # heavy atoms of a fragment
LINKER = (2, 6)
GROWN = (3, 6)
BOND_TO_H = {"C": 1.09, "N": 1.01, "O": 0.96, "S": 1.34}  # Angstrom to the hydrogen that saturates a cut


def cuttable(mol) -> list[tuple[int, int]]:
    """Acyclic single bonds between neutral atoms that can be saturated by a hydrogen."""
    return [
        (b.GetBeginAtomIdx(), b.GetEndAtomIdx())
        for b in mol.GetBonds()
        if b.GetBondType() == Chem.BondType.SINGLE
        and not b.IsInRing()
        and all(a.GetSymbol() in BOND_TO_H and a.GetFormalCharge() == 0 and a.GetTotalValence() <= 4
                and not (a.GetSymbol() == "S" and a.GetTotalValence() > 2)
                for a in (b.GetBeginAtom(), b.GetEndAtom()))
    ]  # fmt: skip


def side(mol, atom: int, without: set[frozenset]) -> set[int]:
    """Atoms reachable from `atom` without the bonds `without`."""
    seen, queue = {atom}, [atom]
    while queue:
        for near in mol.GetAtomWithIdx(queue.pop()).GetNeighbors():
            k = near.GetIdx()
            if k not in seen and not any(frozenset((k, b)) in without for b in seen if mol.GetBondBetweenAtoms(k, b)):
                seen.add(k)
                queue.append(k)
    return seen


def capped(mol, piece: set[int], cuts: list[tuple[int, int]]) -> tuple[Atoms, list[int]]:
    """The piece with hydrogens at its cut bonds, and the indices of these hydrogens."""
    x = mol.GetConformer().GetPositions()
    members = sorted(piece)
    symbols, positions = [mol.GetAtomWithIdx(i).GetSymbol() for i in members], [x[i] for i in members]
    added = []
    for inner, outer in cuts:
        if inner in piece:
            axis = x[outer] - x[inner]
            added.append(len(symbols))
            symbols.append("H")
            positions.append(x[inner] + BOND_TO_H[mol.GetAtomWithIdx(inner).GetSymbol()] * axis / np.linalg.norm(axis))
    return Atoms(symbols, np.array(positions)), added


def heavy(mol, piece: set[int]) -> int:
    """Number of heavy atoms of a piece."""
    return sum(mol.GetAtomWithIdx(i).GetAtomicNum() > 1 for i in piece)


def pair_of(mol, rng) -> list[Atoms] | None:
    """Two fragments of a molecule whose linker was cut out; None if there is no such linker."""
    bonds = [(i, j) for i, j in cuttable(mol) if min(mol.GetAtomWithIdx(k).GetAtomicNum() for k in (i, j)) > 1]
    options = []
    for a, first_bond in enumerate(bonds):
        for second_bond in bonds[a + 1 :]:
            cut = {frozenset(first_bond), frozenset(second_bond)}
            for p in (first_bond, first_bond[::-1]):
                for r in (second_bond, second_bond[::-1]):
                    left, right, middle = side(mol, p[0], cut), side(mol, r[0], cut), side(mol, p[1], cut)
                    if len(left & right) or p[1] in left or r[1] not in middle or r[1] in right:
                        continue
                    n = heavy(mol, middle)
                    if LINKER[0] <= n <= LINKER[1] and min(heavy(mol, left), heavy(mol, right)) >= LEAST:
                        options.append((left, right, n, [p, r]))
    if not options:
        return None
    left, right, n, cuts = options[rng.integers(len(options))]
    first, h1 = capped(mol, left, cuts)
    second, h2 = capped(mol, right, cuts)
    return _marked([first, second], [h1[0], len(first) + h2[0]], n)


def scaffold_of(mol, rng) -> list[Atoms] | None:
    """A molecule without one of its branches; None if there is no such branch."""
    options = []
    for i, j in cuttable(mol):
        for p, q in ((i, j), (j, i)):
            kept = side(mol, p, {frozenset((i, j))})
            n = mol.GetNumHeavyAtoms() - heavy(mol, kept)
            if q not in kept and GROWN[0] <= n <= GROWN[1] and heavy(mol, kept) >= 6:
                options.append((kept, n, (p, q)))
    if not options:
        return None
    kept, n, cut = options[rng.integers(len(options))]
    piece, added = capped(mol, kept, [cut])
    return _marked([piece], added, n)


def whole(mol, rng) -> list[Atoms] | None:
    """The complete molecule, None if it has more than 16 heavy atoms."""
    numbers = [a.GetAtomicNum() for a in mol.GetAtoms()]
    return None if mol.GetNumHeavyAtoms() > 16 else [Atoms(numbers, mol.GetConformer().GetPositions())]


def _marked(pieces: list[Atoms], attachments: list[int], n: int) -> list[Atoms] | None:
    if any(perceive(Atoms(p.numbers, p.positions)).mol is None for p in pieces):
        return None
    for piece in pieces:
        piece.info = {"attachments": " ".join(map(str, attachments)), "atoms": n}
    return pieces


def main(seed: str, folder: str) -> None:
    """Write the cases of the stream `seed` to `folder`."""
    rng = np.random.default_rng(list(seed.encode()))
    wanted, k, seen = {"linkers": PAIRS, "scaffolds": SCAFFOLDS, "shapes": SHAPES}, 0, set()
    cases: dict[str, list[Atoms]] = {name: [] for name in wanted}
    makers = {"linkers": pair_of, "scaffolds": scaffold_of, "shapes": whole}
    counts = dict.fromkeys(makers, 0)
    while any(counts[name] < wanted[name] for name in makers):
        k += 1
        graph = molecule(seed, k, (12, 20), (3, 3, 3, 3, 2, 2, 2, 1, 1))
        key = graph_key(graph)
        if key in seen or not in_test(key):
            continue
        seen.add(key)
        full = embed(graph, k)
        if full is None:
            continue
        try:
            final, _ = relaxed(as_atoms(full), 0.05, 150)
        except FAILURES:
            continue
        mol = perceive(final).mol
        if mol is None or graph_key(mol) != key:
            continue
        Chem.Kekulize(mol, clearAromaticFlags=True)
        name = min(makers, key=lambda n: counts[n] / wanted[n])
        pieces = makers[name](mol, rng)
        if pieces is None:
            continue
        for piece in pieces:
            piece.info |= {"molecule": key, "case": counts[name]}
        cases[name] += pieces
        counts[name] += 1
        print(name, counts[name], key, flush=True)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, pieces in cases.items():
        write_frames(Path(folder) / f"{name}.extxyz", pieces)


if __name__ == "__main__":
    main(*sys.argv[1:])
