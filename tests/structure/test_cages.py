"""Bonds of strained cages and of charged drawings, against SMILES that are known."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.optimize import LBFGS
from rdkit import Chem
from rdkit.Chem import AllChem

from gendesign.potential.reference import gfn2_calculator
from gendesign.structure.bonds import connectivity, perceive
from gendesign.structure.files import read_structures, write_sdf
from gendesign.structure.identity import canonical_smiles, smiles
from gendesign.structure.types import Candidate

TROUBLES = Path(__file__).parents[1] / "data" / "troubles"
REFERENCES = Path(__file__).parents[2] / "checkpoints" / "organic" / "reference.extxyz"
# Bridgeheads that touch, and must not be bonded.
APART = """C1C2CC1C2 CC12CC(F)(C1)C2 N#CC12CC(F)(C1)C2 OC(=O)C12CC(c3ccccc3)(C1)C2 C1C2CC1(C2)C13CC(C1)C3 FC1(F)C2CC1C2
    C1N2CC1C2 C1C2NC1C2 C1C2OC1C2 C1C2SC1C2 C1C2OC1O2 O1C2OC1O2 N1C2OC1O2 C1N2CN1C2 C1P2CP1C2 C1SC2CC1S2 C1C2SC1S2
    C=C1C2CC1C2 O=C1C2CC1C2 O=[N+]([O-])C12CC(C1)C2 C[Si]1(C)O[Si](C)(C)O1 C1[SiH]2C[SiH]1C2 C1SCS1
    C1CC2CC1C2 C1CC2CC1O2 C1C2CC1CC2 C1C2CCN1C2""".split()
# Bonds across cages and small rings that are real.
TOGETHER = """C1C2CC12 C1C2(C)CC12C C1OC2CC12 C1C23CC2C13 C123CC1(C2)C3 C123CCC1(C2)C3 C123OC1(C2)C3
    C1C[C@H]2C[C@@H]12 C1CC12CC2
    C12C3C4C1C5C2C3C45 C12C3C1C23 C12C3C4C1C2C34 C1C2C3C1C23 C1C2C3CC1C23 C1CN2CCN1CC2 C1CC2CCN1CC2
    C1C2CC3CC1CC(C2)C3 C1N2CN3CN1CN(C2)C3 C1CC2CC1C2 P12P3P1P23 P1PP1 OO FN=NF O=[N+]([O-])[N+](=O)[O-] C1CSSC1
    FS(F)(F)(F)(F)F FS(F)(F)F FP(F)(F)(F)F CS(C)(=O)=O CP(C)(C)=O CP(C)(C)=C O=P(O)(O)O CS(=O)(=N)C
    O=C=NC1=CNOC1""".split()
ZWITTERIONS = """[O-]c1c[n+](-c2ccccc2)no1 C[N+](C)(C)CC(=O)[O-] CS(C)(=O)=CC(=O)c1ccccc1 CS(C)=CC(C)=O [NH3+]CC(=O)[O-]
    C[n+]1cccc([O-])c1 [NH3+]CCS(=O)(=O)[O-] CCOP(=O)([O-])OCC[N+](C)(C)C [BH3-][NH3+] C[N+](C)(C)[CH2-]
    C[P+](C)(C)CC[O-]
    CC1(O)C2C[NH+](C1)C2C(=O)[O-]""".split()


def embedded(text: str) -> Atoms:
    """Coordinates by RDKit's distance geometry and a force field."""
    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    assert AllChem.EmbedMolecule(mol, randomSeed=7) == 0
    if AllChem.MMFFHasAllMoleculeParams(mol):
        AllChem.MMFFOptimizeMolecule(mol, maxIters=2000)
    elif AllChem.UFFHasAllMoleculeParams(mol):
        AllChem.UFFOptimizeMolecule(mol, maxIters=2000)
    return Atoms([atom.GetSymbol() for atom in mol.GetAtoms()], mol.GetConformer().GetPositions())


def pairs(mol: Chem.Mol) -> set[tuple[int, int]]:
    return {tuple(sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))) for bond in mol.GetBonds()}


@pytest.mark.parametrize("text", sorted({*APART, *TOGETHER}))
def test_cages_and_hypervalent_atoms_have_their_known_bonds(text):
    atoms = embedded(text)
    found = perceive(atoms)
    assert found.reason == ""
    assert smiles(found.mol) == canonical_smiles(text)
    assert pairs(found.mol) == connectivity(atoms)


@pytest.mark.parametrize("text", ["C1C2CC1C2", "O1C2OC1O2", "C123CC1(C2)C3", "C1N2CC1C2"])
def test_cages_at_the_minima_of_gfn2(text):
    """Bridgeheads at 1.61 (2,4,5-trioxabicyclo[1.1.1]pentane) to 1.87 Angstrom, without a bond, 1.56 with one."""
    atoms = embedded(text)
    atoms.calc = gfn2_calculator(atoms)
    assert LBFGS(atoms, logfile=None).run(fmax=0.05, steps=100)
    assert smiles(perceive(atoms).mol) == canonical_smiles(text)


def test_the_references_are_read_back():
    frames = ase.io.read(REFERENCES, index=":")
    found = [perceive(frame).mol for frame in frames]
    assert all(mol and smiles(mol) == frame.info["smiles"] for mol, frame in zip(found, frames, strict=True))


def test_one_neighbour_too_many_within_bond_length_stays_an_error():
    """Only contacts that are long for a bond may go: a fifth bond of ordinary length is no molecule."""
    neopentane = embedded("CC(C)(C)C")
    crowded = neopentane + Atoms("H2", [neopentane.positions[1] * 3 + [0, 0, 9], [0, 0, 9]])
    crowded.positions[-2:] = neopentane.positions[1] + np.array([[0.75, 0.75, 0.0], [-0.75, 0.0, 0.75]])
    assert perceive(crowded).mol is None


def test_what_has_no_lewis_structure_still_loses_contacts():
    """A hydrogen gone from bicyclopentane: the radical's bonds are those of the cage."""
    cage = embedded("C1C2CC1C2")
    whole = connectivity(cage)
    last = len(cage) - 1
    assert connectivity(cage[:last]) == {pair for pair in whole if last not in pair}


def test_connectivity_keeps_molecules_that_touch_apart_or_together_as_before():
    water = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    other = water.copy()
    other.translate((2.8, 0, 0))
    assert connectivity(water + other) == {(0, 1), (0, 2), (3, 4), (3, 5)}


@pytest.mark.parametrize("text", ZWITTERIONS)
def test_zwitterions_are_molecules_when_asked_for(text):
    atoms = embedded(text)
    strict, wide = perceive(atoms), perceive(atoms, zwitterions=True)
    assert strict.mol is None and strict.zwitterion
    assert "outside the groups that count as neutral chemistry" in strict.reason or "ylide" in strict.reason
    assert smiles(wide.mol) == canonical_smiles(text)
    assert pairs(wide.mol) == connectivity(atoms)


def test_zwitterions_leave_everything_else_as_it_is():
    for text in ("CCO", "C[N+](=O)[O-]", "CP(C)(C)=C", "C=[N+](C)[O-]"):
        assert smiles(perceive(embedded(text), zwitterions=True).mol) == canonical_smiles(text)
    methyl = embedded("C")[:4]
    assert "odd number" in perceive(methyl, zwitterions=True).reason
    assert perceive(embedded("C")[:3], zwitterions=True).mol is None  # CH2
    cut = embedded("CCC")  # a hydrogen gone from either end: a diradical, and no zwitterion has C+
    hydrogens = np.flatnonzero(cut.numbers == 1)
    del cut[[int(hydrogens[0]), int(hydrogens[-1])]]
    assert perceive(cut, zwitterions=True).mol is None


def troubles(name: str) -> list[Candidate]:
    return read_structures([TROUBLES / name])


def test_bicyclopentanes_relaxed_by_the_bundled_potential(tmp_path):
    found = troubles("bcp.sdf")
    expected = ["C1C2CC1C2", "CNC(=O)C12CC(c3ccccc3)(C1)C2", "N#CC12CC(F)(C1)C2"]
    assert [smiles(perceive(c.atoms).mol) for c in found] == [canonical_smiles(text) for text in expected]
    assert write_sdf(found, tmp_path / "out.sdf") == 3


def test_mesoions_of_the_literature(tmp_path):
    found = troubles("mesoionic.sdf")
    drawn = [smiles(perceive(c.atoms, zwitterions=True).mol) for c in found]
    known = [c.info["smi"] for c in found]
    assert [drawn[i] for i in (0, 1, 3)] == [canonical_smiles(known[i]) for i in (0, 1, 3)]
    # The triazolium's charge may be drawn at either nitrogen beside the sulfur's carbon or across: one compound.
    keys = [Chem.MolToInchiKey(Chem.MolFromSmiles(text)) for text in (drawn[2], known[2])]
    assert keys[0] == keys[1]
    assert perceive(found[1].atoms).reason.startswith("formal charges at N1(+1), O")
    assert write_sdf(found, tmp_path / "strict.sdf") == 0
    assert write_sdf(found, tmp_path / "wide.sdf", zwitterions=True) == 4
    assert [c.info["label"] for c in read_structures([tmp_path / "wide.sdf"])] == [c.info["label"] for c in found]


def test_large_and_crowded_molecules_stay_valid():
    nitramines = [perceive(c.atoms).mol for c in troubles("nitro3.sdf")]
    assert [Chem.MolToSmiles(mol).count("[N+](=O)[O-]") for mol in nitramines] == [4, 6, 4]
    (fullerene,), (peptide,) = troubles("c60.xyz"), troubles("peptide.sdf")
    mol = perceive(fullerene.atoms).mol
    assert mol.GetNumBonds() == 90 and not any(atom.GetFormalCharge() for atom in mol.GetAtoms())
    assert len(perceive(peptide.atoms).mol.GetSubstructMatches(Chem.MolFromSmarts("C(=O)[NX3;H1]"))) >= 15
