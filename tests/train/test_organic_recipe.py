"""Recipe of `organic`: molecules with rare elements, subsets of labels, and the zero of another method's energies."""

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from gendesign.potential import Potential
from gendesign.structure.labels import labels_of
from gendesign.train.dataset import Dataset
from scripts.organic import labels
from scripts.organic.export import reduced
from scripts.organic.molecules import molecule
from scripts.organic.rare_elements import ELEMENTS, RARE, conjugated_molecule, rare_molecule


def labelled(symbols: str, energy: float, seed: int = 0) -> Atoms:
    atoms = Atoms(symbols)
    atoms.positions = np.random.default_rng(seed).normal(size=(len(atoms), 3)) * 2
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.full((len(atoms), 3), energy))
    atoms.info["kind"] = symbols
    return atoms


def test_rare_molecules_are_closed_shells_with_a_rare_element():
    for index in range(60):
        mol = rare_molecule("test", index)
        symbols = {atom.GetSymbol() for atom in mol.GetAtoms()}
        assert symbols & RARE and symbols <= set(ELEMENTS)
        assert not any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())


def test_conjugated_molecules_have_a_bond_to_rotate():
    made = [conjugated_molecule("test", index) for index in range(30)]
    assert sum(rdMolDescriptors.CalcNumRotatableBonds(mol) > 0 for mol in made) > 20


def test_the_streams_of_the_frozen_test_set_have_not_moved():
    smiles = [Chem.MolToSmiles(molecule("test", index, (9, 14))) for index in range(3)]
    assert smiles == ["C=CN(OC=O)C(=O)OC=O", "Cc1cccc2ncccc12", "CN1CCC1OC1CC=CO1"]


def test_a_subset_has_the_labels_of_its_structures():
    frames = [labelled("CH4", 1.0, 1), labelled("H2O", 2.0, 2), labelled("N2", 3.0, 3)]
    part = labels.subset(Dataset.from_frames(frames), np.array([2, 0, 0]))
    assert part.energy.tolist() == [3.0, 1.0, 1.0]
    assert part.kind.tolist() == ["N2", "CH4", "CH4"]
    assert part.pointer.tolist() == [0, 2, 7, 12]
    batch, _, forces = part.batch(torch.tensor([1]))
    np.testing.assert_allclose(batch.positions, frames[0].positions, rtol=1e-6)
    np.testing.assert_allclose(forces, labels_of(frames[0])[1])


def test_the_shift_between_two_methods_is_found_element_by_element():
    formulas = ("CH4", "C2H6O", "NH3", "C2H5NO2", "CO2", "HCN", "N2H4")
    shift = {1: 0.3, 6: -2.0, 7: 1.5, 8: -0.25}
    old = [labelled(f, -10.0 * k, k) for k, f in enumerate(formulas)]
    new = [labelled(f, -10.0 * k + sum(shift[z] for z in Atoms(f).numbers), k) for k, f in enumerate(formulas)]
    answer = labels._shift(Dataset.from_frames(new), Dataset.from_frames(old))
    assert answer == pytest.approx(shift, abs=1e-9)


def test_a_network_without_some_elements_predicts_the_same():
    whole = tiny.potential()
    part = Potential(reduced(whole.net, ("H", "O")), "part", "0", "MIT", "none")
    assert part.elements == ("H", "O")
    water = tiny.rattled("H2O")
    first, second = (p.evaluate([water]) for p in (whole, part))
    torch.testing.assert_close(second.energy, first.energy, rtol=0, atol=1e-3)  # weights pass through single precision
    torch.testing.assert_close(second.forces.double(), first.forces, rtol=0, atol=1e-5)


def test_rotated_bonds_count_three_times_among_the_coupled_cluster_labels():
    frames = [labelled("CH4", 1.0, 1), labelled("H2O", 2.0, 2)]
    frames[1].info["kind"] = "turned"
    data = labels.copied(Dataset.from_frames(frames), labels.CC_COPIES)
    assert data.kind.tolist() == ["CH4", "turned", "turned", "turned"]
