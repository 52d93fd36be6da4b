import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from rdkit import Chem
from rdkit.Chem import AllChem

from gendesign.errors import UserError
from gendesign.structure.files import read_structures, write_atomically, write_extxyz, write_sdf
from gendesign.structure.formula import hill_formula, parse_formula, parse_range
from gendesign.structure.types import Candidate


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=7)
    AllChem.MMFFOptimizeMolecule(mol)
    return mol


def to_atoms(mol: Chem.Mol) -> Atoms:
    return Atoms([a.GetSymbol() for a in mol.GetAtoms()], mol.GetConformer().GetPositions())


def sdf(path, *mols) -> str:
    with Chem.SDWriter(str(path)) as writer:
        for mol in mols:
            writer.write(mol)
    return path


def relaxed(smiles: str, index: int, **info) -> Candidate:
    atoms = to_atoms(embedded(smiles))
    forces = np.random.default_rng(index).normal(size=(len(atoms), 3))
    atoms.calc = SinglePointCalculator(atoms, energy=-12.5 - index, forces=forces)
    info = {"energy": -12.5 - index, "converged": True, "steps": 12, **info}
    return Candidate(atoms, index, "simgen", 7, 3, ("generated", "relaxed by lbfgs"), None, info)


@pytest.mark.parametrize(
    "name, atoms",
    [
        ("m.xyz", molecule("CH3OH")),
        ("m@2.extxyz", molecule("CH3OH")),
        ("crystal.cif", bulk("NaCl", "rocksalt", a=5.64)),
        ("POSCAR", bulk("Ar", "fcc", a=5.26, cubic=True)),
        ("a.vasp", bulk("Ar", "fcc", a=5.26, cubic=True)),
        ("m.traj", molecule("CH3OH")),
    ],
)
def test_reads_formats(tmp_path, name, atoms):
    write(tmp_path / name, atoms, format={"m@2.extxyz": "extxyz", "a.vasp": "vasp"}.get(name))
    (candidate,) = read_structures([tmp_path / name])
    assert sorted(candidate.atoms.symbols) == sorted(atoms.symbols)
    assert all(candidate.atoms.pbc == atoms.pbc)
    assert candidate.atoms.cell.volume == pytest.approx(atoms.cell.volume, rel=1e-4)
    assert candidate.history == (f"read from {name}",) and candidate.generator == "file"


def test_index_counts_over_files_and_frames(tmp_path):
    write(tmp_path / "a.xyz", [molecule("H2O"), molecule("CH4")])
    sdf(tmp_path / "b.sdf", embedded("CCO"), embedded("C"), embedded("O"))
    found = read_structures([tmp_path / "a.xyz", str(tmp_path / "b.sdf")])
    assert [c.index for c in found] == [0, 1, 2, 3, 4]
    assert [hill_formula(c.atoms.symbols) for c in found] == ["H2O", "CH4", "C2H6O", "CH4", "H2O"]


@pytest.mark.parametrize("smiles", ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "F/C=C/Cl", r"F/C=C\Cl"])
def test_stereo_survives_sdf_there_and_back(tmp_path, smiles):
    (candidate,) = read_structures([sdf(tmp_path / "in.sdf", embedded(smiles))])
    assert write_sdf([candidate], tmp_path / "out.sdf") == 1
    for removed in (True, False):
        (mol,) = Chem.SDMolSupplier(str(tmp_path / "out.sdf"), removeHs=removed)
        assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == Chem.CanonSmiles(smiles)
    assert mol.GetConformer().Is3D()


def test_sdf_holds_bonds_values_and_leaves_out_what_has_no_bonds(tmp_path):
    broken = to_atoms(embedded("CCO"))[:-1]
    candidates = [
        relaxed("CC(=O)N", 4, score=0.1),
        Candidate(broken, 5),
        relaxed("C[N+](=O)[O-]", 6),
        Candidate(Atoms(), 7, failure="no atoms left"),
    ]
    assert write_sdf(iter(candidates), tmp_path / "m.sdf") == 2
    first, second = Chem.SDMolSupplier(str(tmp_path / "m.sdf"), removeHs=False)
    assert Chem.MolToSmiles(Chem.RemoveHs(first)) == "CC(N)=O"
    assert Chem.MolToSmiles(Chem.RemoveHs(second)) == "C[N+](=O)[O-]"
    tags = first.GetPropsAsDict()
    assert tags["index"] == 4 and tags["seed"] == 7 and tags["score"] == 0.1 and tags["energy"] == -16.5
    assert tags["history"] == "generated | relaxed by lbfgs"
    np.testing.assert_allclose(first.GetConformer().GetPositions(), candidates[0].atoms.positions, atol=1e-4)


def test_extxyz_there_and_back(tmp_path):
    awkward = {
        "a": "F", "b": "007", "c": 'say "no"', "d": "1 2 3", "e": "", "f": "a=b {c} [d]", "g": "true", "h": "x\ny",
        "i": "_JSON 1", "j": "C[C@H](N)C(=O)O", "k": 0.1 + 0.2, "l": 3, "m": False, "n": "\\", "o": "\u00e9",
    }  # fmt: skip
    first = relaxed("CCO", 11, **awkward)
    failed = Candidate(molecule("H2O"), 12, "simgen", failure='no bonds, "really"')
    write_extxyz([first, failed, Candidate(Atoms(), 13, failure="nothing")], tmp_path / "c.extxyz")
    back, again = read_structures([tmp_path / "c.extxyz"])
    assert back.info == first.info
    assert {key: type(value) for key, value in back.info.items()} == {k: type(v) for k, v in first.info.items()}
    assert (back.generator, back.seed, back.parent) == ("simgen", 7, 3)
    assert back.history == ("generated", "relaxed by lbfgs", "read from c.extxyz")
    assert back.index == 0 and back.failure is None and again.failure == failed.failure
    np.testing.assert_allclose(back.atoms.positions, first.atoms.positions, atol=1e-8)
    np.testing.assert_allclose(back.atoms.get_forces(), first.atoms.get_forces(), atol=1e-8)
    assert back.atoms.get_potential_energy() == first.info["energy"]


def test_crystals_keep_cell_and_stress(tmp_path):
    atoms = bulk("Ar", "fcc", a=5.26)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((1, 3)), stress=np.arange(6.0))
    write_extxyz([Candidate(atoms, 0, info={"pressure": 1.0})], tmp_path / "x.extxyz")
    (back,) = read_structures([tmp_path / "x.extxyz"])
    assert all(back.atoms.pbc) and np.allclose(back.atoms.cell, atoms.cell)
    assert np.allclose(back.atoms.get_stress(), np.arange(6.0)) and back.info["pressure"] == 1.0
    assert write_sdf([back], tmp_path / "x.sdf") == 0


def test_writing_is_deterministic_and_leaves_no_debris(tmp_path):
    for writer in (write_extxyz, write_sdf):
        content = []
        for order in (("a", "b"), ("b", "a")):
            writer([relaxed("CCO", 1, **{key: 1.0 for key in order})], tmp_path / "out")
            content.append((tmp_path / "out").read_bytes())
        assert content[0] == content[1] and content[0]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("target", ["missing/x.xyz", "file/x.xyz"])
def test_unwritable_paths_are_refused(tmp_path, target):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_atomically(tmp_path / target, "text")


@pytest.mark.parametrize("charge_in", ["sdf", "info", "column"])
def test_charged_molecules_are_refused(tmp_path, charge_in):
    ion = molecule("CH3OH")
    path = tmp_path / "ion.extxyz"
    if charge_in == "sdf":
        path = sdf(tmp_path / "ion.sdf", embedded("CCO"), embedded("C[NH3+]"))
    elif charge_in == "info":
        ion.info["charge"] = -1
        write(path, [molecule("H2O"), ion])
    else:
        ion.set_initial_charges([0.2, 0.2, 0.2, 0.2, 0.1, 0.1])
        write(path, [molecule("H2O"), ion])
    with pytest.raises(UserError, match=r"structure 2 cannot be used: charged: it has charge [+-]1, but the potential"):
        read_structures([path])


def test_zwitterions_and_rounded_partial_charges_are_neutral(tmp_path):
    water = molecule("H2O")
    water.set_initial_charges([-0.8, 0.4, 0.39])
    write(tmp_path / "w.extxyz", water)
    sdf(tmp_path / "n.sdf", embedded("C[N+](=O)[O-]"))
    assert len(read_structures([tmp_path / "w.extxyz", tmp_path / "n.sdf"])) == 2


def test_broken_records_are_failures_and_broken_valences_are_structures(tmp_path):
    methane, ethanol = (Chem.MolToMolBlock(embedded(s)) + "$$$$\n" for s in ("C", "CCO"))
    five = Chem.RWMol(embedded("CC"))
    five.GetBondBetweenAtoms(0, 1).SetBondType(Chem.BondType.TRIPLE)
    five = Chem.MolToMolBlock(five, kekulize=False) + "$$$$\n"
    (tmp_path / "m.sdf").write_text(methane + ethanol.replace("V2000", "V9999") + five)
    found = read_structures([tmp_path / "m.sdf"], strict=False)
    assert [c.failure is None for c in found] == [True, False, True]
    assert found[1].failure == "unreadable: record 2 of m.sdf cannot be read"
    assert len(found[2].atoms) == 8


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("none.sdf", None, "does not exist"),
        ("", None, "is a folder"),
        ("empty.sdf", "", "is empty"),
        ("empty.xyz", "", "empty"),
        ("text.xyz", "not a structure\n", "cannot be read"),
        ("text.sdf", "not a structure\n", "no readable SDF record"),
        ("x.unknown", "words and words\n", "no known format"),
        ("cut.xyz", "5\n\nH 0 0 0\n", "cannot be read"),
        ("empty.cif", "", "empty"),
        ("POSCAR", "x\n1.0\n", "cannot be read"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=words) as caught:
        read_structures([tmp_path / name])
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_drawings_skeletons_and_partial_occupancy_are_refused(tmp_path):
    drawing = Chem.MolFromSmiles("CCCO")
    AllChem.Compute2DCoords(drawing)
    with pytest.raises(UserError, match="flat drawing"):
        read_structures([sdf(tmp_path / "d.sdf", drawing)])
    with pytest.raises(UserError, match="implies 8 hydrogens"):
        read_structures([sdf(tmp_path / "s.sdf", Chem.RemoveHs(embedded("CCCO")))])
    alloy = bulk("Cu", "fcc", a=3.6)
    write(tmp_path / "a.cif", alloy)
    text = (tmp_path / "a.cif").read_text().replace("  1.0000\n", "  0.5000\n")
    (tmp_path / "a.cif").write_text(text)
    with pytest.raises(UserError, match="partial occupancy: some sites are partly occupied"):
        read_structures([tmp_path / "a.cif"])


def test_formulas():
    assert parse_formula("C7H8N2O2") == {"C": 7, "H": 8, "N": 2, "O": 2}
    assert parse_formula("Ca(OH)2") == {"Ca": 1, "O": 2, "H": 2}
    assert hill_formula({"O": 2, "H": 8, "N": 2, "C": 7}) == "C7H8N2O2"
    assert hill_formula(["O", "H", "H"]) == "H2O" and hill_formula([]) == ""


@pytest.mark.parametrize("text", ["", "C7H8Xx", "7", "c6h6", "C-1", "C0", "X2", "C6H6+", "hello"])
def test_formulas_without_sense_are_refused(text):
    with pytest.raises(UserError, match="not a chemical formula"):
        parse_formula(text)


def test_ranges():
    assert parse_range("5-12") == (5, 12) and parse_range(9) == (9, 9) and parse_range(" 9 ") == (9, 9)
    for wrong in ("0", "-3", "12-5", "a", "", "5-", "5-12-13", "1.5", True, 0, None):
        with pytest.raises(UserError, match="n_heavy_atoms="):
            parse_range(wrong, "n_heavy_atoms")
