"""Hosts from PDB and mmCIF files: each rule of the reader on a small file, hydrogens against RDKit's, refusals."""

import gzip

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from scipy.spatial import cKDTree

from gendesign.errors import UserError
from gendesign.generate.simgen.shape_files import Pocket
from gendesign.structure.contacts import Host
from gendesign.structure.macromolecules import is_macromolecule, read_macromolecule

ALANINE = (  # name, element, position
    ("N", "N", (1.46, 0.0, 0.0)), ("CA", "C", (0.0, 0.0, 0.0)), ("C", "C", (-0.55, 1.42, 0.0)),
    ("O", "O", (0.2, 2.39, 0.0)), ("CB", "C", (-0.53, -0.77, -1.21)),
)  # fmt: skip


def line(name, symbol, x, *, residue="ALA", chain="A", number=1, record="ATOM", altloc="", occupancy=1.0, element=True):
    shown = f" {name:<3}" if len(symbol) == 1 else f"{name:<4}"
    return (
        f"{record:<6}{1:>5} {shown}{altloc:1}{residue:>3} {chain}{number:>4}    "
        f"{x[0]:8.3f}{x[1]:8.3f}{x[2]:8.3f}{occupancy:6.2f}{20:6.2f}          {symbol if element else '':>2}"
    )


def alanine(shift=0.0, **more):
    return [line(name, symbol, np.add(x, shift), **more) for name, symbol, x in ALANINE]


def write(path, *lines):
    path.write_text("\n".join([*lines, "END", ""]))
    return str(path)


def read(tmp_path, *lines, **more):
    return read_macromolecule(write(tmp_path / "host.pdb", *lines), **{"hydrogens": False, **more})


def test_water_is_left_out_and_ions_and_cofactors_are_kept(tmp_path):
    host = read(
        tmp_path,
        *alanine(),
        line("O", "O", (9, 0, 0), residue="HOH", number=2, record="HETATM"),
        line("O", "O", (9, 9, 0), residue="HOH", number=3, record="HETATM"),
        line("ZN", "Zn", (0, 0, 5), residue="ZN", number=4, record="HETATM"),
        line("C1", "C", (0, 0, 9), residue="NDP", number=5, record="HETATM"),
    )
    assert host.atoms.get_chemical_formula() == "C4NOZn"
    assert host.notes == ("2 water molecules left out", "kept beside the chain: NDP, ZN")
    near_zinc = Host.of(host.atoms).near(np.array([[0, 0, 5.0]]), 0.1)
    assert near_zinc.allowed(np.array([8]), np.array([False])) == pytest.approx(0.75 * (1.22 + 0.66))  # covalent radii


def test_one_location_counts(tmp_path):
    def side(letter, occupancy, x):
        return line("CB", "C", (x, -0.8, -1.2), altloc=letter, occupancy=occupancy)

    backbone = alanine()[:4]
    likelier = read(tmp_path, *backbone, side("A", 0.3, -0.5), side("B", 0.7, -0.6))
    assert len(likelier.atoms) == 5 and likelier.atoms.positions[4, 0] == pytest.approx(-0.6)
    assert likelier.notes == ("the likeliest location of 1 residue with alternatives",)
    equal = read(tmp_path, *backbone, side("B", 0.5, -0.6), side("A", 0.5, -0.5))
    assert equal.atoms.positions[4, 0] == pytest.approx(-0.5)
    # one location for a whole residue, though single atoms would choose otherwise
    mixed = [
        line("CB", "C", (-0.5, -0.8, -1.2), altloc="A", occupancy=0.45),
        line("CB", "C", (-0.6, -0.8, -1.2), altloc="B", occupancy=0.55),
        line("C", "C", (-0.5, 1.4, 0.0), altloc="A", occupancy=0.9),
        line("C", "C", (-0.6, 1.4, 0.0), altloc="B", occupancy=0.1),
    ]
    assert read(tmp_path, *mixed).atoms.positions[:, 0].tolist() == pytest.approx([-0.5, -0.5])


def test_the_first_model_counts(tmp_path):
    host = read(tmp_path, "MODEL        1", *alanine(), "ENDMDL", "MODEL        2", *alanine(3.0), "ENDMDL")
    assert len(host.atoms) == 5 and host.atoms.positions[1].tolist() == [0, 0, 0]
    assert host.notes == ("the first of 2 models",)


def test_a_ligand_is_taken_out(tmp_path):
    drug = [line("C1", "C", (0, 0, 6), residue="LIG", number=7, record="HETATM"),
            line("N2", "N", (1.3, 0, 6), residue="LIG", number=7, record="HETATM")]  # fmt: skip
    other = [line("C1", "C", (0, 9, 6), residue="LIG", chain="B", number=7, record="HETATM")]
    host = read(tmp_path, *alanine(), *drug, ligand="LIG")
    assert len(host.atoms) == 5 and host.ligand.get_chemical_formula() == "CN"
    assert len(read(tmp_path, *alanine(), *drug, *other, ligand="LIG:B").ligand) == 1
    with pytest.raises(UserError, match="holds 2 residues LIG; name one of them: LIG:A:7, LIG:B:7"):
        read(tmp_path, *alanine(), *drug, *other, ligand="LIG")
    with pytest.raises(UserError, match="holds no residue XYZ; it holds LIG"):
        read(tmp_path, *alanine(), *drug, ligand="XYZ")


def test_a_pocket_takes_the_place_of_a_residue(tmp_path):
    drug = [line(f"C{k}", "C", (0, 1.4 * k, 6), residue="LIG", number=7, record="HETATM") for k in range(3)]
    path = write(tmp_path / "complex.pdb", *alanine(), *drug)
    pocket = Pocket(path, residue="LIG", reach=9.0)
    assert len(pocket.ligand_atoms) == 3 and not (pocket.host.arrays["residuenames"] == "LIG").any()
    # a molecule of the ligand's size is put where it was, a smaller one in a part of the room
    far = np.linalg.norm(pocket.points(3)[:, None] - pocket.ligand_atoms.positions, axis=-1).min(1)
    assert far.max() <= 0.8 and len(pocket.room) > 8 * len(pocket.points(3)) / 4
    with pytest.raises(UserError, match="give one of them"):
        Pocket(path, residue="LIG", centre=(0, 0, 6))
    pocket_of_xyz = tmp_path / "host.xyz"
    pocket.host.copy().write(pocket_of_xyz)
    with pytest.raises(UserError, match="has no residues"):
        Pocket(str(pocket_of_xyz), residue="LIG")


MMCIF = """data_TEST
#
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.pdbx_PDB_ins_code
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.pdbx_PDB_model_num
{rows}
#
"""


def test_mmcif_is_read_as_pdb_is(tmp_path):
    rows = [f"ATOM 1 {s} {n} . ALA A 1 ? {x[0]} {x[1]} {x[2]} 1.00 1 A 1" for n, s, x in ALANINE]
    rows.append("HETATM 6 O O . HOH B . ? 9 0 0 1.00 2 A 1")
    rows.append('HETATM 7 C "C5\'" . NDP C . ? 0 0 9 1.00 3 A 1')
    rows += ["ATOM 8 C CA . ALA A 1 ? 5 5 5 1.00 1 A 2"]
    (tmp_path / "host.cif").write_text(MMCIF.format(rows="\n".join(rows)))
    (tmp_path / "host.cif.gz").write_bytes(gzip.compress((tmp_path / "host.cif").read_bytes()))
    water = line("O", "O", (9, 0, 0), residue="HOH", number=2, record="HETATM")
    cofactor = line("C5'", "C", (0, 0, 9), residue="NDP", number=3, record="HETATM")
    as_pdb = read(tmp_path, *alanine(), water, cofactor).atoms
    for name in ("host.cif", "host.cif.gz"):
        assert is_macromolecule(tmp_path / name)
        host = read_macromolecule(tmp_path / name, hydrogens=False)
        assert host.notes == ("the first of 2 models", "1 water molecule left out", "kept beside the chain: NDP")
        for key, values in as_pdb.arrays.items():
            assert host.atoms.arrays[key].tolist() == values.tolist(), key
    crystal = tmp_path / "crystal.cif"
    crystal.write_text("data_x\nloop_\n_atom_site_label\n_atom_site_fract_x\nC 0.1\n")
    assert not is_macromolecule(crystal)


def test_refusals_are_one_line(tmp_path):
    def said(call):
        with pytest.raises(UserError) as caught:
            call()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    good = alanine()
    assert "line 1 has no coordinates" in said(lambda: read(tmp_path, good[0][:30] + "   ?????" + good[0][38:]))
    unknown = line("Q1", "Qq", (0, 0, 0), record="HETATM")
    assert "has no known element ('Qq')" in said(lambda: read(tmp_path, unknown))
    assert "holds no atom" in said(lambda: read(tmp_path, "REMARK nothing"))
    only_water = line("O", "O", (0, 0, 0), residue="HOH", record="HETATM")
    assert "without water and the ligand it has no atoms" in said(lambda: read(tmp_path, only_water))
    assert "does not exist" in said(lambda: read_macromolecule(tmp_path / "missing.pdb"))
    (tmp_path / "cut.cif").write_text(MMCIF.format(rows="ATOM 1 C CA . ALA A"))
    assert "no complete loop" in said(lambda: read_macromolecule(tmp_path / "cut.cif"))


def test_elements_without_their_columns(tmp_path):
    hydrogens = [("HA", "H", (0.3, -0.6, 0.9)), ("D", "H", (1.8, 0.9, 0.0))]
    lines = alanine(element=False) + [line(*atom, element=False) for atom in hydrogens]
    lines.append(line("ZN", "Zn", (0, 0, 5), residue="ZN", record="HETATM", element=False))
    assert read(tmp_path, *lines).atoms.get_chemical_symbols() == ["N", "C", "C", "O", "C", "H", "H", "Zn"]


@pytest.mark.parametrize("sequence", ["GADEFGHK", "GLMNPQSG", "GTVWYCG"])
def test_hydrogens_are_where_a_force_field_has_them(tmp_path, sequence):
    mol = Chem.AddHs(Chem.MolFromSequence(sequence), addResidueInfo=True)
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=3, useRandomCoords=True) == 0
    rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=300)
    Chem.MolToPDBFile(Chem.RemoveHs(mol), str(tmp_path / "bare.pdb"))
    atoms = read_macromolecule(tmp_path / "bare.pdb").atoms
    positions = mol.GetConformer().GetPositions()
    hydrogens = [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() == 1]
    distance, nearest = cKDTree(positions[hydrogens]).query(atoms.positions[atoms.numbers == 1])
    assert len(set(nearest)) == len(nearest)
    parents = [mol.GetAtomWithIdx(hydrogens[k]).GetNeighbors()[0] for k in nearest]
    on_carbon = np.array([a.GetAtomicNum() == 6 for a in parents])
    assert distance[on_carbon].max() < 0.25 and np.median(distance) < 0.06
    assert distance.max() < 0.8  # the force field bends the nitrogens of an isolated peptide out of their planes
    missing = [mol.GetAtomWithIdx(hydrogens[k]).GetNeighbors()[0] for k in set(range(len(hydrogens))) - set(nearest)]
    places = {a.GetPDBResidueInfo().GetName().strip() for a in missing}
    assert places <= {"N", "OG", "OG1", "OH", "SG", "NZ", "OXT", "NE2", "OD2", "OE2"}  # N: of the first residue
    names, hidden = atoms.arrays["atomtypes"], atoms.arrays["hidden"]
    assert places <= set(names[hidden])


def test_hydrogens_of_the_file_stay_and_fill_up(tmp_path):
    full = read(tmp_path, *alanine(), hydrogens=True).atoms
    assert full.get_chemical_formula() == "C3H4NO"  # one on CA, three on CB; the nitrogen begins the chain
    given = read(tmp_path, *alanine(), line("HA", "H", (0.3, -0.6, 0.9)), hydrogens=True).atoms
    assert given.get_chemical_formula() == "C3H4NO" and [0.3, -0.6, 0.9] in given.positions.round(3).tolist()
    host = Host.of(full)
    assert host.bare.tolist() == [True, False, False, False, False] + [False] * 4
    cofactor = line("O1", "O", (0, 0, 9), residue="NDP", number=5, record="HETATM")
    assert Host.of(read(tmp_path, *alanine(), cofactor, hydrogens=True).atoms).bare[5]
