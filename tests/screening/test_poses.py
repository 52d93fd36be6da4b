"""Columns of candidates beside a host: contacts, clashes, hydrogen bonds, PoseBusters' dock."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from rdkit import Chem
from scipy.spatial import cKDTree

from gendesign.campaign.pockets import copy_pockets
from gendesign.errors import UserError
from gendesign.screening.plausibility import failed_checks, read_host
from gendesign.screening.poses import PoseCheck
from gendesign.screening.screen import Screening, screen
from gendesign.screening.summary import summarise
from gendesign.structure.contacts import Host
from gendesign.structure.types import Candidate, Verdict


@pytest.fixture(scope="module")
def pockets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pockets")
    copy_pockets(folder)
    return folder


def ligand_of(path) -> Atoms:
    mol = Chem.AddHs(Chem.MolFromMolFile(str(path)), addCoords=True)
    return Atoms([atom.GetSymbol() for atom in mol.GetAtoms()], mol.GetConformer().GetPositions())


def test_a_ligand_lies_well_in_its_pocket_and_clashes_elsewhere(pockets):
    ligand = ligand_of(pockets / "1ia1.sdf")
    moved = ligand.copy()
    moved.positions += [3.0, 0.0, 0.0]
    check = PoseCheck(str(pockets / "1ia1.pdb"))
    found = {(v.candidate, v.check): v for v in check([Candidate(ligand, 0), Candidate(moved, 1)])}
    assert found[0, "clashes"].passed and found[0, "clashes"].value == 0
    assert not found[1, "clashes"].passed and "overlaps the host" in found[1, "clashes"].reason
    # the two amino groups of such inhibitors bind the acid of the active site and carbonyl groups of the chain
    assert found[0, "hydrogen_bonds"].value >= 3
    host, heavy = check.host, ligand[ligand.numbers > 1].positions
    own = host.positions[host.numbers > 1]
    pairs = (np.linalg.norm(heavy[:, None] - own[None], axis=-1) <= 4.0).sum()
    assert found[0, "contacts"].value == pairs > 30


def test_columns_and_rows_of_a_screening(pockets):
    ligand = ligand_of(pockets / "1ia1.sdf")
    settings = Screening(
        checks=("validity", "posebusters"), posebusters="mol_fast", host=str(pockets / "1ia1.pdb"),
        shape_target=str(pockets / "1ia1.sdf"), workers=0,
    )  # fmt: skip
    found = screen([Candidate(ligand, 0), Candidate(Atoms(), 1, failure="no molecule")], settings=settings)
    columns = {(v.candidate, v.check): v for v in found}
    assert columns[0, "dock"].passed is True and columns[1, "dock"].passed is False
    assert columns[0, "shape_tanimoto"].value == pytest.approx(1.0) and columns[1, "clashes"].passed is False
    rows = {row.name: row for row in summarise(found, 2)}
    assert rows["PoseBusters beside the host"].value == 0.5
    assert rows["median contacts with the host"].value == columns[0, "contacts"].value
    assert rows["without clashes with the host among valid"].value == 1


def test_posebusters_judges_the_protein_as_it_reads_it_itself(pockets):
    own = read_host(str(pockets / "1ia1.pdb"))
    theirs = Chem.MolFromPDBFile(str(pockets / "1ia1.pdb"), sanitize=False, removeHs=False, proximityBonding=False)
    assert [a.GetAtomicNum() for a in own.GetAtoms()] == [a.GetAtomicNum() for a in theirs.GetAtoms()]
    assert np.array_equal(own.GetConformer().GetPositions(), theirs.GetConformer().GetPositions())
    for mine, other in zip(own.GetAtoms(), theirs.GetAtoms(), strict=True):
        a, b = mine.GetPDBResidueInfo(), other.GetPDBResidueInfo()
        assert (a.GetResidueName(), a.GetIsHeteroAtom()) == (b.GetResidueName().strip(), b.GetIsHeteroAtom())


def test_a_residue_is_taken_out(pockets):
    """The second copy of the ligand, TQ3, is in the file; where it was, the molecule passes only without it."""
    mol = next(iter(Chem.SDMolSupplier(str(pockets / "1ia1.sdf"))))
    path = str(pockets / "1ia1.pdb")
    whole, part = PoseCheck(path).host, PoseCheck(path, "TQ3").host
    assert len(whole) - len(part) == mol.GetNumHeavyAtoms()
    at = Atoms("C", part.positions[:1] * 0)
    at.positions[0] = whole.positions[cKDTree(part.positions).query(whole.positions)[0] > 0.1][0]
    assert whole.overlaps(at) == 1 and part.overlaps(at) == 0


def test_refusals(tmp_path):
    with pytest.raises(UserError, match="host_residue=LIG has no file"):
        Screening(checks=(), host_residue="LIG")
    with pytest.raises(UserError, match="does not exist"):
        Screening(checks=(), host=str(tmp_path / "missing.pdb"))
    molecule("CH4").write(tmp_path / "host.xyz")
    assert not Screening(checks=("posebusters",), host=str(tmp_path / "host.xyz")).docks
    with pytest.raises(UserError, match="no PDB or mmCIF file"):
        failed_checks(molecule("C6H6"), "dock", host=str(tmp_path / "host.xyz"))


def test_a_candidate_without_atoms_has_no_numbers(tmp_path):
    molecule("CH4").write(tmp_path / "host.xyz")
    found = PoseCheck(str(tmp_path / "host.xyz"))([Candidate(Atoms(), 3, failure="exploded")])
    assert found == [
        Verdict(3, "contacts", None, reason="exploded"),
        Verdict(3, "clashes", False, reason="exploded"),
        Verdict(3, "hydrogen_bonds", None, reason="exploded"),
    ]
    assert Host.of(molecule("CH4")).contacts(Atoms("H")) == 0
