"""Formulas and limits: what is refused, what is drawn, and what exchanges of elements leave alone."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from gendesign.errors import UserError
from gendesign.generate.simgen.composition import elements_of, limits_of, unsaturation_of, weights_of
from gendesign.generate.simgen.elements import ElementSwaps, shuffled_elements
from gendesign.generate.simgen.state import new_swarm
from gendesign.generate.simgen.sweep import permutations, substitutions
from gendesign.structure.bonds import perceive
from gendesign.structure.counter_random import keys

CNO = ["C", "N", "O"]


@pytest.mark.parametrize(
    ("formula", "counts", "said"),
    [
        ("C7H9N2O2", None, "no neutral closed-shell molecule"),
        ("C2H8", None, "too many hydrogens; these heavy atoms bear 6 at most"),
        ("H2", None, "no heavy atom"),
        ("C2H6Se", None, "no molecules of Se"),
        ("water", None, "not a chemical formula"),
        (None, "S0-2", "S is not among"),
        (None, "N3-1", "write numbers or ranges"),
        (None, "two N", "write numbers or ranges"),
    ],
)
def test_what_no_molecule_has_is_refused(formula, counts, said):
    with pytest.raises(UserError, match=said):
        limits_of(formula, counts, CNO)


def test_hypervalent_sulfur_may_carry_more():
    limits = limits_of("SF6", None, elements_of("SF6"))
    assert limits.low.tolist() == limits.high.tolist() == [6, 1] and limits.hydrogens == 0


@pytest.mark.parametrize("smiles", ["CC", "c1ccccc1O", "C#N", "OC=O", "CN1CC1C#C", "C[N+](=O)[O-]"])
def test_unsaturation_of_a_formula_is_that_of_the_molecule(smiles):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    symbols = [a.GetSymbol() for a in mol.GetAtoms()]
    Chem.Kekulize(mol, clearAromaticFlags=True)
    pi = sum(int(bond.GetBondTypeAsDouble()) - 1 for bond in mol.GetBonds())
    rings = mol.GetNumBonds() - mol.GetNumAtoms() + 1
    assert unsaturation_of({e: symbols.count(e) for e in set(symbols)}) == pi + rings


def test_numbers_are_drawn_within_limits_and_add_up():
    limits = limits_of(None, "N1-2 O0", CNO)
    rng = np.random.default_rng(0)
    for n in (3, 8, 15):
        for _ in range(50):
            counts = limits.drawn(rng.dirichlet([4, 1, 1]), n, rng.random())
            assert counts.sum() == n and 1 <= counts[1] <= 2 and counts[2] == 0
    exact = limits_of("C7H8N2O2", None, elements_of("C7H8N2O2"))
    assert exact.drawn(np.array([0.1, 0.1, 0.8]), 11, 0.3).tolist() == [7, 2, 2] and exact.hydrogens == 8


def test_systematic_sampling_keeps_the_share():
    limits = limits_of(None, "N0-9", CNO)
    share, rng = np.array([0.62, 0.25, 0.13]), np.random.default_rng(1)
    mean = np.mean([limits.drawn(share, 9, rng.random()) for _ in range(4000)], 0)
    np.testing.assert_allclose(mean, 9 * share, atol=0.05)


def test_weights_by_element():
    assert weights_of("N2 O0.5", CNO) == {7: 2.0, 8: 0.5} and weights_of(None, CNO) == {}
    with pytest.raises(UserError, match="write weights by element"):
        weights_of("S2", CNO)


def test_exchanges_keep_the_composition_and_the_first_particle():
    torch.manual_seed(0)
    swarm = new_swarm(torch.tensor([6, 9]), keys(1, torch.arange(2)), 5, (torch.tensor([17]), torch.zeros(1, 3)))
    table = shuffled_elements(keys(1, torch.arange(2)), [[6, 6, 7, 8, 6], [6] * 6 + [8, 8]])
    assert sorted(table[0].tolist()) == [0, 0, 0, 6, 6, 6, 7, 8] and not table[0, 5:].any()
    new = table[swarm.molecule, (swarm.slot - 1).clamp_min(0)]
    numbers = torch.where(swarm.free, new, swarm.numbers)
    swarm = swarm.__class__(**{**swarm.__dict__, "numbers": numbers})
    elements = torch.tensor([6, 7, 8, 17])
    before = swarm.composition(elements)
    assert before[0].tolist() == [[3, 1, 1, 1]] * 5 and before[1].tolist() == [[6, 0, 2, 1]] * 5
    swaps = ElementSwaps(None, [6, 7, 8], 10, before[:, 0], exact=True)
    after = swaps.exchange(swarm, torch.zeros(len(numbers), dtype=torch.float64), 50)
    assert torch.equal(after.composition(elements), before)
    assert torch.equal(after.numbers[swarm.particle == 0], numbers[swarm.particle == 0])
    assert (after.numbers[~swarm.free] == 17).all()
    changed = (after.numbers != numbers).view(-1)
    assert changed[swarm.particle > 0].any()


def test_sweeps_change_one_element_or_exchange_two():
    mol = Chem.AddHs(Chem.MolFromSmiles("CCOC"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    ether = Atoms([a.GetSymbol() for a in mol.GetAtoms()], mol.GetConformer().GetPositions())
    smiles = {Chem.MolToSmiles(Chem.RemoveHs(perceive(a).mol)) for a in permutations(ether)}
    assert smiles == {Chem.CanonSmiles(s) for s in ("CCCO", "CCOC")}
    formulas = {a.get_chemical_formula() for a in permutations(ether)}
    assert formulas == {ether.get_chemical_formula()}
    assert permutations(molecule("C2H6")) == []
    single = substitutions(ether, [6, 7, 8], fixed=3)
    assert {a.get_chemical_symbols()[:3] == ["C", "C", "O"] for a in single} == {True}
    for atoms in substitutions(ether, [6, 7, 8]):
        assert sum(x != y for x, y in zip(atoms.numbers[:4], ether.numbers[:4], strict=True)) == 1
