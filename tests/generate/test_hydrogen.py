"""Hydrogens come back: known molecules relaxed by GFN2-xTB, stripped to their skeletons and saturated again."""

import functools

import numpy as np
import pytest
from ase import Atoms
from ase.optimize import LBFGS
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds, rdDistGeom

from gendesign.generate.simgen.hydrogen import clashes, components, saturate, unsaturable
from gendesign.train.teachers.semiempirical import gfn2

KNOWN = {
    "ethanol": "CCO", "benzene": "c1ccccc1", "pyridine": "c1ccncc1", "acetone": "CC(C)=O", "acetic acid": "CC(=O)O",
    "acetamide": "CC(N)=O", "aniline": "Nc1ccccc1", "furan": "c1ccoc1", "pyrrole": "c1cc[nH]c1",
    "imidazole": "c1c[nH]cn1", "glycine": "NCC(=O)O", "acrylonitrile": "C=CC#N", "propyne": "C#CC",
    "butadiene": "C=CC=C", "cyclopropane": "C1CC1", "morpholine": "C1COCCN1", "toluene": "Cc1ccccc1",
    "phenol": "Oc1ccccc1", "urea": "NC(N)=O", "methyl formate": "COC=O", "nitromethane": "C[N+](=O)[O-]",
    "dimethyl sulfoxide": "CS(C)=O", "dimethyl sulfone": "CS(C)(=O)=O", "thiophene": "c1ccsc1",
    "chlorobenzene": "Clc1ccccc1", "fluoroacetone": "CC(=O)CF", "indole": "c1ccc2[nH]ccc2c1",
    "caffeine": "Cn1c(=O)c2c(ncn2C)n(C)c1=O", "aspirin": "CC(=O)Oc1ccccc1C(=O)O", "adenine": "Nc1ncnc2[nH]cnc12",
    "alanine": "CC(N)C(=O)O", "isobutane": "CC(C)C", "ketene": "C=C=O", "allene": "C=C=C", "dimethyl ether": "COC",
    "formaldoxime": "C=NO", "methylhydrazine": "CNN", "methyl azide": "CN=[N+]=[N-]", "norbornane": "C1CC2CCC1C2",
    "methyl isocyanide": "[C-]#[N+]C", "acetylacetylene": "C#CC(C)=O", "sulfur hexafluoride": "FS(F)(F)(F)(F)F",
}  # fmt: skip


def bare(smiles: str) -> str:
    return Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)


@functools.cache
def relaxed(smiles: str) -> Atoms:
    """A conformer after a few steps of GFN2-xTB, heavy atoms first."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    settings = rdDistGeom.ETKDGv3()
    settings.randomSeed = 3
    assert rdDistGeom.EmbedMolecule(mol, settings) == 0
    atoms = Atoms([a.GetSymbol() for a in mol.GetAtoms()], mol.GetConformer().GetPositions(), calculator=gfn2())
    LBFGS(atoms, logfile=None, maxstep=0.15).run(fmax=0.1, steps=12)
    return Atoms(atoms.numbers, atoms.positions)


def skeleton(smiles: str) -> tuple[np.ndarray, np.ndarray]:
    atoms = relaxed(smiles)
    heavy = atoms.numbers > 1
    return atoms.numbers[heavy], atoms.positions[heavy]


def perceived(atoms: Atoms) -> str:
    """SMILES that RDKit reads from all coordinates alone."""
    rows = [f"{s} {x:.6f} {y:.6f} {z:.6f}" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)]
    mol = Chem.MolFromXYZBlock("\n".join([str(len(atoms)), "", *rows]))
    rdDetermineBonds.DetermineBonds(mol, charge=0, maxIterations=1000)
    return Chem.MolToSmiles(Chem.RemoveAllHs(mol), isomericSmiles=False)


@pytest.mark.parametrize("smiles", KNOWN.values(), ids=KNOWN.keys())
def test_known_molecule_comes_back(smiles):
    best = saturate(*skeleton(smiles))[0]
    assert bare(best.smiles) == bare(smiles)
    assert sorted(best.atoms.numbers) == sorted(relaxed(smiles).numbers)
    parents = [i for i, j, _ in best.bonds if best.atoms.numbers[j] == 1]
    assert clashes(best.atoms, parents) == 0


@pytest.mark.parametrize("name", ["ethanol", "aspirin", "alanine", "norbornane", "indole", "allene", "morpholine"])
def test_placed_hydrogens_are_read_back_and_cost_little(name):
    reference = relaxed(KNOWN[name])
    placed = saturate(*skeleton(KNOWN[name]))[0].atoms
    assert perceived(placed) == bare(KNOWN[name])
    energies = []
    for atoms in (reference, placed):
        work = atoms.copy()
        work.calc = gfn2()
        energies.append(work.get_potential_energy())
    assert energies[1] - energies[0] < 0.45  # eV above hydrogens that the teacher itself relaxed


@pytest.mark.parametrize("name", ["benzene", "caffeine", "acetamide", "morpholine"])
def test_a_noisy_skeleton_still_becomes_a_molecule(name):
    numbers, positions = skeleton(KNOWN[name])
    for seed in range(5):
        noisy = positions + np.random.default_rng(seed).normal(0, 0.06, positions.shape)
        found = saturate(numbers, noisy)
        assert found and found[0].score >= found[-1].score
        assert len({s.smiles for s in found}) == len(found)
        assert bare(KNOWN[name]) in {bare(s.smiles) for s in found}


def test_a_skeleton_of_random_elements_becomes_a_closed_shell_molecule():
    numbers, positions = skeleton(KNOWN["caffeine"])
    for seed in range(10):
        rng = np.random.default_rng(seed)
        swapped = np.where(rng.random(len(numbers)) < 0.3, rng.choice([6, 7, 8], len(numbers)), numbers)
        pieces = components(swapped, positions)
        found = saturate(swapped[pieces[0]], positions[pieces[0]])
        assert found
        for one in found:
            assert one.atoms.numbers.sum() % 2 == 0
            assert sum(a.GetNumRadicalElectrons() for a in Chem.MolFromSmiles(one.smiles).GetAtoms()) == 0


def test_the_same_result_twice_and_after_rotation():
    numbers, positions = skeleton(KNOWN["adenine"])
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    first, again, turned = (saturate(numbers, x) for x in (positions, positions, positions @ turn.T + 3.0))
    assert [s.smiles for s in first] == [s.smiles for s in again] == [s.smiles for s in turned]
    assert np.array_equal(first[0].atoms.positions, again[0].atoms.positions)
    assert np.allclose([s.score for s in first], [s.score for s in turned])


def test_bonds_name_every_atom_and_respect_valence():
    best = saturate(*skeleton(KNOWN["acetic acid"]))[0]
    valence = np.zeros(len(best.atoms), int)
    for i, j, order in best.bonds:
        valence[[i, j]] += order
    expected = {1: 1, 6: 4, 8: 2}
    assert valence.tolist() == [expected[z] for z in best.atoms.numbers]


def test_lone_atoms_become_hydrides():
    for number, smiles in ((6, "C"), (7, "N"), (8, "O")):
        assert saturate(np.array([number]), np.zeros((1, 3)))[0].smiles == smiles


def test_pieces_and_impossible_skeletons_are_named():
    numbers, positions = np.array([6, 6, 8]), np.array([[0, 0, 0], [1.5, 0, 0], [9.0, 0, 0]])
    assert [piece.tolist() for piece in components(numbers, positions)] == [[0, 1], [2]]
    assert saturate(numbers, positions) == []
    assert unsaturable(numbers, positions) == "2 fragments"
    assert unsaturable(np.array([34]), np.zeros((1, 3))) == "no valence known for Se"
    assert unsaturable(np.array([6, 6]), np.zeros((2, 3))) == "two heavy atoms 0.00 Angstrom apart"
    assert saturate(np.array([6, 6]), np.array([[0, 0, 0], [np.nan, 0, 0]])) == []


def test_two_cations_that_would_share_one_anion_are_no_molecule():
    """C-N-N-C, nearly straight, invites the nonsense C=N#N=C, whose two nitrogens ask for the same end."""
    bend = np.radians(5)
    positions = np.array([[-1.28 * np.cos(bend), 1.28 * np.sin(bend), 0], [0, 0, 0], [1.1, 0, 0]])
    positions = np.vstack([positions, [1.1 + 1.28 * np.cos(bend), 1.28 * np.sin(bend), 0]])
    for option in saturate(np.array([6, 7, 7, 6]), positions):
        assert "[N+]#[N+]" not in option.smiles
