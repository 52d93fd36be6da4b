"""Lists of isomers against published counts, an enumeration of another kind, and random draws."""

import random
from itertools import combinations, permutations, product

import pytest
from rdkit import Chem

from gendesign.errors import UserError
from gendesign.structure.formula import hill_formula, parse_formula
from gendesign.structure.identity import canonical_smiles
from gendesign.structure.isomers import VALENCES, isomers, mutated, sample_isomers, unsaturation

# Alkanes, alcohols, ethers and the C4 to C6 hydrocarbons are textbook numbers; those with more elements are what
# MOLGEN and MAYGEN agree on (Yirik, Sorokina, Steinbeck, J. Cheminform. 13, 48, 2021, and its tests).
PUBLISHED = {
    "CH4": 1, "CH4O": 1, "C2H6O": 2, "C3H8O": 3, "C4H10O": 7, "C4H10": 2, "C5H12": 3, "C6H14": 5, "C3H6O": 9, "C4H8": 5,
    "C4H6": 9, "C5H8": 26, "C6H10": 77, "C6H6": 217, "C3H4Cl2": 7, "C2H5NO2": 84, "C3H4O3": 152, "C5H4Cl2": 217,
    "C5H9ClO": 334, "N2": 1, "Cl2": 1, "C2": 0, "CH2ClF": 1,
}  # fmt: skip


def formula_of(text: str) -> str:
    return hill_formula(atom.GetSymbol() for atom in Chem.AddHs(Chem.MolFromSmiles(text)).GetAtoms())


@pytest.mark.parametrize("formula", PUBLISHED)
def test_lists_have_the_published_length(formula):
    assert len(isomers(formula)) == PUBLISHED[formula]


def connected(orders: dict[tuple[int, int], int], n: int) -> bool:
    reached, new = {0}, {0}
    while new:
        new = {b for pair, order in orders.items() if order for a, b in (pair, pair[::-1]) if a in new} - reached
        reached |= new
    return len(reached) == n


def matrices(formula: str) -> int:
    """Number of isomers by trying every matrix of bond orders, equal under permutations of equal atoms."""
    bag = parse_formula(formula)
    atoms = [symbol for symbol, count in bag.items() if symbol != "H" for _ in range(count)]
    pairs = list(combinations(range(len(atoms)), 2))
    bonds = (sum(VALENCES[s] for s in atoms) - bag.get("H", 0)) // 2
    same = [p for p in permutations(range(len(atoms))) if [atoms[i] for i in p] == atoms]
    found = set()
    for values in product(range(4), repeat=len(pairs)):
        if sum(values) != bonds:
            continue
        orders = dict(zip(pairs, values, strict=True))
        sums = [sum(order for pair, order in orders.items() if i in pair) for i in range(len(atoms))]
        if all(sums[i] <= VALENCES[s] for i, s in enumerate(atoms)) and connected(orders, len(atoms)):
            found.add(min(tuple(orders[tuple(sorted((p[i], p[j])))] for i, j in pairs) for p in same))
    return len(found)


@pytest.mark.parametrize("formula", ["C2H5NO", "C3H6O", "C4H6", "C2H2S2"])
def test_lists_are_as_long_as_all_matrices_of_bond_orders(formula):
    assert len(isomers(formula)) == matrices(formula)


def test_isomers_are_named_as_elsewhere_and_of_the_formula():
    found = isomers("C4H4O")
    assert found == sorted(set(found))
    assert canonical_smiles("C1=COC=C1") in found  # furan, by its aromatic name
    assert all(formula_of(text) == "C4H4O" and canonical_smiles(text) == text for text in found)


def test_drawings_of_one_aromatic_molecule_are_one_isomer():
    """1,2-difluorobenzene has two Kekule drawings and must be listed once."""
    benzene = Chem.MolFromSmarts("c1ccccc1")
    aromatic = [text for text in isomers("C6H4F2") if Chem.MolFromSmiles(text).HasSubstructMatch(benzene)]
    assert sorted(aromatic) == sorted(map(canonical_smiles, ("Fc1ccccc1F", "Fc1cccc(F)c1", "Fc1ccc(F)cc1")))


@pytest.mark.parametrize("formula", ["C3H5NO", "C2H4OS", "C3H5ClO"])
def test_draws_and_mutants_lie_in_the_complete_list(formula):
    every, rng = set(isomers(formula)), random.Random(1)
    drawn = sample_isomers(formula, 12, seed=3)
    assert len(set(drawn)) == 12 and set(drawn) <= every
    reached, steps = {drawn[0]}, 0
    while len(reached) < len(every) and steps < 20000:  # mutation alone comes everywhere
        new = mutated(rng.choice(sorted(reached)), rng)
        reached |= {new} - {None}
        steps += 1
    assert reached == every


def test_draws_repeat_with_their_seed_only():
    first = sample_isomers("C7H8N2O2", 20, seed=5)
    assert first == sample_isomers("C7H8N2O2", 20, seed=5)
    assert first != sample_isomers("C7H8N2O2", 20, seed=6)
    assert {formula_of(text) for text in first} == {"C7H8N2O2"}


def test_mutants_of_aromatic_molecules_can_move_hydrogens_of_nitrogen():
    rng = random.Random(2)
    mutants = {mutated("c1cc[nH]c1", rng) for _ in range(300)} - {None}
    assert {formula_of(text) for text in mutants} == {"C4H5N"}
    assert len(mutants) > 20


def test_unsaturation_counts_rings_and_multiple_bonds():
    assert [unsaturation(parse_formula(f)) for f in ("C6H6", "CH4", "C2H5NO", "C2Cl4", "SF6")] == [4, 0, 1, 1, -2]


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("C2H5", "odd number of electrons"),
        ("SF6", "more hydrogens or halogens"),
        ("H2", "no heavy atom"),
        ("SiH4", "isomers of Si"),
        ("", "not a chemical formula"),
    ],
)
def test_formulas_without_such_isomers_are_refused_in_one_line(formula, words):
    for call in (lambda: isomers(formula), lambda: sample_isomers(formula, 1, 0)):
        with pytest.raises(UserError, match=words) as refusal:
            call()
        assert "\n" not in str(refusal.value)


def test_too_large_lists_are_refused():
    with pytest.raises(UserError, match=r"C7H8N2O2.* are more than 200;"):
        isomers("C7H8N2O2", most=200)
    assert len(isomers("C4H10", most=2)) == 2
    with pytest.raises(UserError, match="only 3 isomers of C3H8O were found, not 4"):
        sample_isomers("C3H8O", 4, seed=0)
