"""Cations and compositions of hybrid perovskites: what is read, and what is refused in one line."""

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from rdkit import Chem
from rdkit.Chem import AllChem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from gendesign.errors import UserError
from gendesign.generate.perovskite.abbreviations import AMBIGUOUS, KNOWN, smiles_of
from gendesign.generate.perovskite.cation import read_cation
from gendesign.generate.perovskite.compound import compose
from gendesign.generate.perovskite.settings import Composition
from gendesign.structure.superposition import aligned_rmsd


def test_butylammonium_is_tethered_by_its_nitrogen():
    cation = read_cation("CCCC[NH3+]")
    assert cation.charge == 1 and cation.formula == "C4H12N" and not cation.chiral
    assert 2 <= len(cation.conformers) <= 9  # butylammonium bends
    for positions, ends in zip(cation.conformers, cation.ends, strict=True):
        (end,) = ends
        assert cation.numbers[end.atom] == 7
        assert (positions[cation.numbers == 6].mean(axis=0) - positions[end.atom]) @ end.axis > 0
        lengths = [np.linalg.norm(positions[i] - positions[j]) for i, j in cation.bonds]
        assert min(lengths) > 0.9 and max(lengths) < 1.6


@pytest.mark.parametrize(
    ("smiles", "ends", "charge"),
    [
        ("[NH3+]CCc1ccccc1", 1, 1),  # phenethylammonium
        ("[NH3+]CCCC[NH3+]", 2, 2),
        ("[NH3+]C[C@H]1CC[C@H](C[NH3+])CC1", 2, 2),
        ("CC([NH3+])CC", 1, 1),  # its nitrogen is at no end of the long axis
        ("C[NH3+]", 2, 1),  # nitrogen, and a carbon bonded to it
        ("[Cs+]", 0, 1),
    ],
)
def test_ends_and_charges(smiles, ends, charge):
    cation = read_cation(smiles)
    assert cation.charge == charge and all(len(found) == ends for found in cation.ends)


def test_a_cation_from_a_file_keeps_its_geometry(tmp_path):
    known = read_cation("CCCC[NH3+]")
    shuffled = np.random.default_rng(0).permutation(len(known.numbers))
    path = tmp_path / "ba.xyz"
    write(path, Atoms(known.numbers[shuffled], known.conformers[1][shuffled]))
    found = read_cation(str(path))
    assert found.smiles == known.smiles and found.charge == 1 and len(found.conformers) == 1
    lengths = [np.linalg.norm(found.conformers[0][i] - found.conformers[0][j]) for i, j in found.bonds]
    wanted = [np.linalg.norm(known.conformers[1][i] - known.conformers[1][j]) for i, j in known.bonds]
    assert sorted(lengths) == pytest.approx(sorted(wanted), abs=1e-4)


@pytest.mark.parametrize(
    "smiles",
    [
        "[NH3+]Cc1ccc(C[NH3+])cc1",  # rdkit finds charged carbons in some orders of the atoms, and nothing in others
        "[NH3+]Cc1ccc[nH+]c1",
        "[NH3+]Cc1ccc([N+](=O)[O-])cc1",
        "NC(N)=[NH2+]",
    ],
)
def test_bonds_do_not_depend_on_the_order_of_atoms(smiles, tmp_path):
    known = read_cation(smiles, 1)
    for seed in range(4):
        shuffled = np.random.default_rng(seed).permutation(len(known.numbers))
        write(tmp_path / "one.xyz", Atoms(known.numbers[shuffled], known.conformers[0][shuffled]))
        assert read_cation(str(tmp_path / "one.xyz")).smiles == known.smiles


def test_a_cation_without_a_hand_is_the_racemate():
    cation = read_cation("CC([NH3+])CC")
    mol, hands = Chem.AddHs(Chem.MolFromSmiles(cation.smiles)), set()
    for positions in cation.conformers:
        conformer = Chem.Conformer(len(positions))
        conformer.SetPositions(np.ascontiguousarray(positions))
        mol.AddConformer(conformer, assignId=True)
    for conformer in mol.GetConformers():
        Chem.AssignStereochemistryFrom3D(mol, conformer.GetId())
        hands.update(Chem.FindMolChiralCenters(mol))
    # mirror images in a crystal are made by reflections, and not by chance
    assert len(cation.conformers) > 1 and len(hands) == 1 and not cation.chiral


def test_structures_of_a_file_are_its_conformers_wherever_they_stand(tmp_path, monkeypatch):
    known = read_cation("CCCC[NH3+]")
    path = tmp_path / "ba.xyz"
    write(path, [Atoms(known.numbers, x + [5, 2, -3]) for x in known.conformers])
    monkeypatch.setenv("HOME", str(tmp_path))
    found = read_cation("~/ba.xyz")
    assert len(found.conformers) == len(known.conformers)
    for one, other in zip(found.conformers, known.conformers, strict=True):
        assert one[found.numbers > 1].mean(axis=0) == pytest.approx(0, abs=1e-9)
        assert aligned_rmsd(one[found.numbers > 1], other[known.numbers > 1]) < 1e-3
    with Chem.SDWriter(str(tmp_path / "two.sdf")) as writer:
        for smiles in ("C[NH3+]", "CC[NH3+]"):
            mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
            AllChem.EmbedMolecule(mol, randomSeed=1)
            writer.write(mol)
    with pytest.raises(UserError, match=r"several molecules, C.NH3.. and CC.NH3.."):
        read_cation(str(tmp_path / "two.sdf"))


@pytest.mark.parametrize(
    ("smiles", "chiral"),
    [
        ("C[C@H]([NH3+])c1ccccc1", True),
        ("[NH3+]C[C@@H]1CCC[C@H](C[NH3+])C1", False),  # cis: a plane runs through the ring
        ("[NH3+]C[C@@H]1CCC[C@@H](C[NH3+])C1", True),
        ("C[C@H]([NH3+])[C@@H](C)[NH3+]", False),  # meso
        ("C/C=C/C[NH3+]", False),
    ],
)
def test_chiral_cations_are_known(smiles, chiral):
    assert read_cation(smiles, 1).chiral == chiral


@pytest.mark.parametrize(
    ("smiles", "turning"),
    [
        ("CCCC[NH3+]", 2), ("C=CC[NH3+]", 1), ("C#CCC[NH3+]", 1), ("C#CC[NH3+]", 0), ("C1CC1[NH3+]", 0), ("MA", 0),
        ("[NH3+]CCc1ccccc1", 2), ("[NH3+]CCCC[NH3+]", 3), ("Cs", 0),
    ],
)  # fmt: skip
def test_bonds_that_turn(smiles, turning):
    cation = read_cation(smiles, 1)
    assert len(cation.torsions) == turning
    for first, second, moving in cation.torsions:
        assert second in moving and first not in moving
        assert {(i in moving) ^ (j in moving) for i, j in cation.bonds if {i, j} != {first, second}} <= {False}


# From the names, written down without the table of abbreviations.
FORMULAS = """Cs Cs+ MA CH6N+ FA CH5N2+ GA CH6N3+ DMA C2H8N+ EA C2H8N+ BA C4H12N+ iBA C4H12N+ HA C6H16N+ OA C8H20N+
CHA C6H14N+ PMA C7H10N+ BZA C7H10N+ PEA C8H12N+ 4F-PEA C8H11FN+ 4Cl-PEA C8H11ClN+ 4Br-PEA C8H11BrN+ PPA C9H14N+
PBA C10H16N+ MBA C8H12N+ R-MBA C8H12N+ S-MBA C8H12N+ ThMA C5H8NS+ ThEA C6H10NS+ AVA C5H12NO2+ 5-AVA C5H12NO2+
GABA C4H10NO2+ EDA C2H10N2+2 PDA C3H12N2+2 BDA C4H14N2+2 DMAPA C5H16N2+2 3AMP C6H16N2+2 4AMP C6H16N2+2 3AMPY C6H10N2+2
4AMPY C6H10N2+2 PDMA C8H14N2+2""".split()


def test_abbreviations_are_the_cations_of_their_formulas():
    formulas = dict(zip(FORMULAS[::2], FORMULAS[1::2], strict=True))
    assert formulas.keys() == KNOWN.keys() and not KNOWN.keys() & AMBIGUOUS.keys()
    for text, formula in formulas.items():
        assert CalcMolFormula(Chem.MolFromSmiles(smiles_of(text))) == formula
    for hand in "RS":
        ((_, label),) = Chem.FindMolChiralCenters(Chem.MolFromSmiles(smiles_of(f"{hand}-MBA")))
        assert label == hand
    assert read_cation("BDA", 1).smiles == read_cation("[NH3+]CCCC[NH3+]", 1).smiles


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_ambiguous_abbreviations_name_cations_that_can_be_given(text):
    with pytest.raises(UserError, match="is ambiguous") as refused:
        read_cation(text)
    assert all(f"{name} ({smiles})" in str(refused.value) for name, smiles in AMBIGUOUS[text])
    assert len({read_cation(smiles, 1).formula for _, smiles in AMBIGUOUS[text]}) == len(AMBIGUOUS[text])


def test_a_nitro_group_is_no_head():
    cation = read_cation("[NH3+]Cc1ccc([N+](=O)[O-])cc1", 1)
    ((end,),) = cation.ends
    assert sum(end.atom in bond and cation.numbers[list(bond)].min() == 1 for bond in cation.bonds) == 3


@pytest.mark.parametrize(
    ("settings", "formula"),
    [
        (dict(cation="CCCC[NH3+]"), "C8H24I4N2Pb"),
        (dict(cation="MA", thickness="3d"), "CH6I3NPb"),
        (dict(cation="CCCC[NH3+]", thickness=2), "C9H30I7N3Pb2"),
        (dict(cation="[NH3+]CCCC[NH3+]", metal="Sn", halide="Br"), "C4H14Br4N2Sn"),
        (dict(cation="CCCC[NH3+]", thickness=3, a_site="Cs", halide="Cl"), "C8H24Cl10Cs2N2Pb3"),
        (dict(cation="C[NH3+]", halide="I3Br"), "C2H12BrI3N2Pb"),
    ],
)
def test_formulas_are_balanced(settings, formula):
    assert compose(Composition(**settings)).formula() == formula


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(cation="CCCCN"), "charge 0; it must be 1 or 2"),
        (dict(cation="[O-]C(=O)C"), "charge -1"),
        (dict(cation="CCCC[NH3+"), "neither a SMILES nor a known abbreviation; write a SMILES"),
        (dict(cation="C[NH3+].[I-]"), "several molecules"),
        (dict(cation="CC=CC[NH3+]"), "isomers, such as C/C=C/C[NH3+] and C/C=C\\C[NH3+]; write one"),
        (dict(cation="C[C@H]([NH3+])C(C)O"), "isomers"),  # one hand is given, the other is not
        (dict(cation=None), "give a SMILES"),
        (dict(cation="PEAA"), "did you mean PEA (phenethylammonium)"),
        (dict(cation="pea"), "did you mean PEA (phenethylammonium)"),
        (dict(cation="PA"), "propylammonium (CCC[NH3+]) or pentylammonium (CCCCC[NH3+])"),
        (dict(cation="TEA"), "triethylammonium (CC[NH+](CC)CC) or 2-(2-thienyl)ethylammonium"),
        (dict(cation="nothing.sdf"), "no such file"),
        (dict(cation="CCCC[NH3+]", metal="Zn"), "Pb, Sn"),
        (dict(cation="CCCC[NH3+]", halide="F"), "Cl, Br, I"),
        (dict(cation="CCCC[NH3+]", thickness="thick"), "1 to 6"),
        (dict(cation="CCCC[NH3+]", thickness="3d"), "holds 4"),
        (dict(cation="[NH3+]CC[NH3+]", thickness="3d"), "+1 on A"),
        (dict(cation="CCCC[NH3+]", thickness=2, a_site="[NH3+]CC[NH3+]"), "+1 on A"),
        (dict(cation="Cs"), "no nitrogen"),
        (dict(cation="CCCC[NH3+]", conformers=0), "from 1 to 1000"),
    ],
)
def test_what_is_refused_is_said_in_one_line(settings, said):
    with pytest.raises(UserError) as caught:
        compose(Composition(**settings))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_mixture_needs_whole_numbers():
    with pytest.raises(UserError, match="divisor"):
        compose(Composition("C[NH3+]", halide="I2Br")).formula()
    assert compose(Composition("C[NH3+]", halide="I2Br")).halide_counts(3) == {"I": 8, "Br": 4}


def test_smiles_of_a_cation_reads_back_in_its_own_order():
    cation = read_cation("NC(N)=[NH2+]")
    again = Chem.AddHs(Chem.MolFromSmiles(cation.smiles))
    assert [atom.GetAtomicNum() for atom in again.GetAtoms()] == cation.numbers.tolist()
