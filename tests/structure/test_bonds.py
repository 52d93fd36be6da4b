"""Bonds from coordinates against hand cases and against molecules that RDKit built from SMILES."""

import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from rdkit import Chem
from rdkit.Chem import AllChem

from gendesign.potential.reference import lowest_multiplicity
from gendesign.structure.bonds import connectivity, edm_stable_atoms, perceive
from gendesign.structure.identity import canonical_smiles, ring_sizes, smiles


def embedded(text: str) -> Atoms:
    """Coordinates of a molecule by RDKit's distance geometry and force field."""
    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    assert AllChem.EmbedMolecule(mol, randomSeed=7) == 0
    if AllChem.MMFFHasAllMoleculeParams(mol):
        AllChem.MMFFOptimizeMolecule(mol)
    return Atoms([atom.GetSymbol() for atom in mol.GetAtoms()], mol.GetConformer().GetPositions())


def without(atoms: Atoms, *hydrogens: int) -> Atoms:
    """Without the hydrogens numbered so among the hydrogens."""
    out = atoms.copy()
    del out[[int(np.flatnonzero(atoms.numbers == 1)[i]) for i in hydrogens]]
    return out


@pytest.mark.parametrize(
    "text",
    ["C", "CCO", "c1ccccc1O", "CC(=O)OC1CCC1", "C1CC1", "C#CC#N", "N=C=Nc1ccccc1", "CS(C)=O", "CS(C)(=O)=O", "CSCl",
     "FC(F)(F)C=O", "c1ccc2[nH]ccc2c1", "OC(=O)[C@@H](N)C", "C12C3C4C1C5C2C3C45", "C/C=C/C", "S=C=S", "O=S=O"],
)  # fmt: skip
def test_neutral_molecules_are_read_back(text):
    found = perceive(embedded(text))
    assert found.reason == ""
    assert smiles(found.mol) == canonical_smiles(text)


@pytest.mark.parametrize(
    "text",
    ["C[N+](=O)[O-]", "O=[N+]([O-])c1ccccc1", "CN=[N+]=[N-]", "C=[N+]=[N-]", "O=C(C)C=[N+]=[N-]", "C[N+]#[C-]",
     "C[N+](C)(C)[O-]", "[O-][n+]1ccccc1", "C=[N+](C)[O-]", "CC#[N+][O-]", "[C-]#[N+]CS(=O)C=N"],
)  # fmt: skip
def test_charges_are_allowed_where_they_are_chemistry(text):
    found = perceive(embedded(text))
    assert found.reason == ""
    assert smiles(found.mol) == canonical_smiles(text)


@pytest.mark.parametrize(
    "text", ["[NH3+]CC(=O)[O-]", "C[N+](C)(C)[CH2-]", "C[NH+](C)[O-]", "[C-]#[O+]", "C[S+](C)[CH2-]"]
)
def test_other_zwitterions_are_refused(text):
    assert perceive(embedded(text)).mol is None


def test_missing_hydrogens_are_found():
    assert "odd number of electrons" in perceive(without(embedded("C"), 0)).reason
    assert "odd number of electrons" in perceive(molecule("CH3")).reason
    assert perceive(without(embedded("C"), 0, 1)).mol is None  # CH2
    assert "formal charges" in perceive(without(embedded("C1CCNCC1"), 0, 8)).reason
    propane = embedded("CCC")  # a hydrogen gone from either end
    assert perceive(without(propane, 0, 6)).mol is None
    assert perceive(without(embedded("CS(C)=O"), 0, 5)).mol is None  # would be C=S(=C)=O


def test_one_fragment_only():
    water = embedded("O")
    water.translate((6, 0, 0))
    assert perceive(embedded("C") + water).reason == "2 fragments"
    assert perceive(embedded("C") + Atoms("H2", [[5, 0, 0], [5, 0, 0.74]])).reason == "2 fragments"


def test_what_is_no_molecule_gets_a_reason_and_no_exception():
    assert perceive(Atoms()).reason == "no atoms"
    assert "finite" in perceive(Atoms("H2", [[0, 0, 0], [0, 0, np.nan]])).reason
    uranyl = Atoms("UO2", [[0, 0, 0], [0, 0, 1.8], [0, 0, -1.8]])
    for atoms in (Atoms("X"), Atoms("He"), uranyl, Atoms("C5", np.zeros((5, 3)))):
        found = perceive(atoms)
        assert found.mol is None and found.reason and "\n" not in found.reason


def test_perception_takes_bounded_time():
    """Crowds, graphite and crystals cut from bulk, with hydrogens missing: where searches for bond orders explode."""
    rng = np.random.default_rng(0)
    nasty = [Atoms("C" * n, rng.normal(size=(n, 3)) * n ** (1 / 3) * 0.5) for n in (20, 60, 120)]
    polyene = without(embedded("C=CC=C" * 6), 0, 20)
    sheet = molecule("C60")
    del sheet[[0, 30]]
    start = time.perf_counter()
    for atoms in (*nasty, polyene, sheet):
        perceive(atoms)
    assert time.perf_counter() - start < 15


def test_perception_does_not_depend_on_pose_or_order():
    atoms = embedded("O=[N+]([O-])c1ccc(S(C)=O)cc1")
    turned = atoms.copy()
    turned.rotate(73, (1, 2, 3))
    turned.translate((4, -5, 6))
    shuffled = turned[np.random.default_rng(1).permutation(len(atoms))]
    assert smiles(perceive(atoms).mol, stereo=True) == smiles(perceive(shuffled).mol, stereo=True)


def test_stereo_comes_from_the_coordinates():
    atoms = embedded("C[C@H](N)O")
    mirror = Atoms(atoms.numbers, atoms.positions * [1, 1, -1])
    assert smiles(perceive(atoms).mol, stereo=True) == canonical_smiles("C[C@H](N)O", stereo=True)
    assert smiles(perceive(mirror).mol, stereo=True) == canonical_smiles("C[C@@H](N)O", stereo=True)
    assert smiles(perceive(atoms).mol) == smiles(perceive(mirror).mol) == canonical_smiles("CC(N)O")


def test_edm_table_by_hand():
    assert edm_stable_atoms(molecule("CH4")).all()
    assert edm_stable_atoms(molecule("C2H4")).all() and edm_stable_atoms(molecule("C2H2")).all()
    assert not edm_stable_atoms(molecule("CH3"))[0] and edm_stable_atoms(molecule("CH3"))[1:].all()
    # 1.43 + 0.10 Angstrom is the longest C-O bond: methanol stretched beyond it loses C and O alone.
    methanol = molecule("CH3OH")
    c, o = (int(np.flatnonzero(methanol.numbers == z)[0]) for z in (6, 8))
    hydroxyl = np.flatnonzero(methanol.get_distances(o, range(len(methanol))) < 1.1)
    methanol.set_distance(c, o, 1.52, fix=0, indices=hydroxyl)
    assert edm_stable_atoms(methanol).all()
    methanol.set_distance(c, o, 1.54, fix=0, indices=hydroxyl)
    assert set(np.flatnonzero(~edm_stable_atoms(methanol))) == {c, o}
    assert edm_stable_atoms(molecule("SH2")).all() and edm_stable_atoms(molecule("HCl")).all()
    # Sulfur of valence six, from single bonds alone; the table has no S=O.
    d = 1.56
    axes = np.vstack([np.zeros(3), d * np.eye(3), -d * np.eye(3)])
    assert edm_stable_atoms(Atoms("SF6", axes)).all()
    assert edm_stable_atoms(molecule("SO2")).tolist() == [True, False, False]
    assert edm_stable_atoms(Atoms("He")).tolist() == [False]


def test_connectivity_and_rings():
    assert connectivity(Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])) == {(0, 1), (0, 2)}
    assert ring_sizes(perceive(embedded("C1CC1C1CCC2CC2C1")).mol) == (3, 3, 6)
    assert ring_sizes(perceive(embedded("CCO")).mol) == ()


def test_lowest_multiplicity():
    assert [lowest_multiplicity(molecule(name)) for name in ("CH4", "CH3")] == [1, 2]
