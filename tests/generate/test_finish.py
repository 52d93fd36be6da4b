"""The choice among hydrogenated particles: what it weighs, and that it keeps to its odds."""

import numpy as np
import pytest
from ase.build import molecule
from rdkit import Chem

from gendesign.generate.simgen.choice import Goal, choose, unsaturation
from gendesign.generate.simgen.finish import Finish
from gendesign.generate.simgen.proposals import Proposal, hydrogenated

CNO = [6, 7, 8]


@pytest.mark.parametrize("smiles", ["CC", "c1ccccc1", "C#N", "OC=O", "CN1CC1C#C", "FC(F)F", "CSC=O", "N#CC1=CC1Cl"])
def test_unsaturation_is_rings_plus_pi_bonds(smiles):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    Chem.Kekulize(mol, clearAromaticFlags=True)
    pi = sum(bond.GetBondTypeAsDouble() - 1 for bond in mol.GetBonds())
    rings = mol.GetNumBonds() - mol.GetNumAtoms() + 1
    assert unsaturation(np.array([a.GetAtomicNum() for a in mol.GetAtoms()])) == pi + rings


def proposal(name: str, formation: float, smiles: str | None = "x", dropped: int = 0) -> Proposal:
    return Proposal(molecule(name), 2, dropped, formation, smiles)


def test_valid_and_complete_proposals_come_first():
    settings, goal = Finish(), Goal(np.array([2, 0, 0]), 0.0)
    worst = proposal("C2H6", 9.0)
    group = [proposal("C2H6", 0.0, smiles=None), proposal("C2H6", 0.0, dropped=1), worst]
    assert choose(group, goal, CNO, settings, 0.5) is worst


def test_energy_composition_and_unsaturation_trade_against_each_other():
    settings = Finish(off_composition=1.0, off_unsaturation=0.5, temperature=1e-3)
    ethane, ethene, methanol = proposal("C2H6", 0.0), proposal("C2H4", 0.3), proposal("CH3OH", -0.8)
    group = [ethane, ethene, methanol]
    assert choose(group, Goal(np.array([2, 0, 0]), 0.0), CNO, settings, 0.5) is ethane
    assert choose(group, Goal(np.array([2, 0, 0]), 1.0), CNO, settings, 0.5) is ethene  # 0.3 < 0.5 and < 0.7
    assert choose(group, Goal(np.array([1, 0, 1]), 0.0), CNO, settings, 0.5) is methanol


def test_odds_follow_boltzmann():
    settings, goal = Finish(temperature=0.1), Goal(np.array([2, 0, 0]), 0.0)
    group = [proposal("C2H6", 0.0), proposal("C2H6", 0.1 * np.log(3))]  # three to one
    drawn = [choose(group, goal, CNO, settings, u) is group[0] for u in np.linspace(0.005, 0.995, 100)]
    assert sum(drawn) == 75


def test_distinct_molecules_likeliest_first_and_lost_atoms_counted():
    ethanol = molecule("CH3CH2OH")
    heavy = ethanol[[i for i, z in enumerate(ethanol.numbers) if z > 1]]
    apart = heavy.positions.copy()
    apart[list(heavy.symbols).index("O")] += 20.0
    found, reason = hydrogenated(np.stack([heavy.numbers] * 3), np.stack([heavy.positions, heavy.positions, apart]), 99)
    assert reason == "no particle"
    assert found[0].atoms.get_chemical_formula() == "C2H6O" and found[0].dropped == 0
    assert [p.dropped for p in found] == sorted(p.dropped for p in found) and found[-1].dropped == 1
    formulas = [p.atoms.get_chemical_formula() for p in found]
    assert formulas.count("C2H6O") == 1
