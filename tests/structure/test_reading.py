"""What users' files hold: repaired and said, or failed with a reason that names the record."""

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixCartesian, FixScaled
from ase.io import write
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import AllChem

from gendesign.errors import UserError
from gendesign.structure.files import read_structures, write_extxyz
from gendesign.structure.reading_notes import reading_notes, refuse_unusable
from gendesign.structure.types import Candidate

TROUBLES = Path(__file__).resolve().parents[1] / "data" / "troubles"
WATER = "3\n\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"


def read(*names, **keys) -> list[Candidate]:
    return read_structures([Path(name) if Path(name).is_absolute() else TROUBLES / name for name in names], **keys)


def only(name, **keys) -> Candidate:
    (candidate,) = read(name, **keys)
    return candidate


@pytest.mark.parametrize(("name", "merged"), [("graphite_2.cif", 4), ("graphite_3.cif", 2), ("graphite_4.cif", 0)])
def test_rounded_special_positions_are_one_site(name, merged):
    graphite = only(name)
    assert str(graphite.atoms.symbols) == "C4"
    sites = [(0, 0, 0.25), (0, 0, 0.75), (1 / 3, 2 / 3, 0.25), (2 / 3, 1 / 3, 0.75)]
    both = Atoms("C4", cell=graphite.atoms.cell, pbc=True, scaled_positions=sites) + graphite.atoms
    assert both.get_all_distances(mic=True)[:4, 4:].min(axis=1).max() < 5e-3  # two digits are good to 0.012 Angstrom
    assert graphite.history[1:] == ((f"merged {merged} coincident sites",) if merged else ())


def test_a_site_twice_across_the_cell_and_in_a_molecule(tmp_path):
    write(tmp_path / "a.extxyz", Atoms("Ar2", [[0.01, 0, 0], [4.99, 0, 0]], cell=[5, 5, 5], pbc=True))
    argon = only(tmp_path / "a.extxyz")
    assert len(argon.atoms) == 1 and abs(np.sin(np.pi * argon.atoms.positions[0, 0] / 5)) < 1e-6
    (tmp_path / "w.xyz").write_text(WATER.replace("3\n", "4\n", 1) + "H 0 -0.763 -0.470\n")
    water = only(tmp_path / "w.xyz")
    assert str(water.atoms.symbols) == "OH2" and water.atoms.positions[2, 2] == pytest.approx(-0.4735)
    assert water.history == ("read from w.xyz", "merged 1 coincident site")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (Atoms("CO", [[0, 0, 0], [0, 0, 0.02]]), "overlapping atoms: C1 and O2 are 0.02 Angstrom apart"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.2]]), "overlapping atoms: H1 and H2 are 0.20 Angstrom apart"),
        (Atoms("Ar", cell=[0.1, 5, 5], pbc=True), "cell: thinner than 0.3 Angstrom"),
        (Atoms("Ar", pbc=True), "periodic without a cell"),
        (Atoms("Ar", [[np.nan, 0, 0]]), "unreadable: its coordinates are not finite"),
        (Atoms("XAr", [[0, 0, 0], [0, 0, 3.0]]), "atoms without an element: 1 of them"),
    ],
)
def test_what_cannot_be_a_structure(tmp_path, frame, said):
    write(tmp_path / "bad.extxyz", [molecule("H2O"), frame])
    good, bad = read(tmp_path / "bad.extxyz", strict=False)
    assert good.failure is None and bad.failure.startswith(said)
    with pytest.raises(UserError, match="structure 2 cannot be used"):
        read(tmp_path / "bad.extxyz")


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma)])
def test_compressed_files_hold_all_records(tmp_path, suffix, compress):
    names = [str(c.atoms.symbols) for c in read("lib.sdf")]
    assert len(names) == 5 and names == [str(c.atoms.symbols) for c in read("lib.sdf.gz")]
    for inner, content in {"a.sdf": (TROUBLES / "lib.sdf").read_bytes(), "a.xyz": 3 * WATER.encode()}.items():
        (tmp_path / f"{inner}{suffix}").write_bytes(compress.compress(content))
        assert len(read(tmp_path / f"{inner}{suffix}")) == {"a.sdf": 5, "a.xyz": 3}[inner]
    (tmp_path / f"cut.sdf{suffix}").write_bytes(compress.compress(b"some text " * 99)[:-12])
    with pytest.raises(UserError, match="cannot be decompressed"):
        read(tmp_path / f"cut.sdf{suffix}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("polarH.sdf", "missing hydrogens: it implies 7 hydrogens without coordinates (at C1, C6, C7, C10, C11)"),
        ("noH.xyz", "missing hydrogens: at C1, C2, C3, C5, C6 bonds leave valences open"),
        ("noH.pdb", "missing hydrogens: at C1, C2, C3, C5, C6 bonds leave valences open"),
        ("mapi_noH.cif", "missing hydrogens: at C5 bonds leave valences open"),
    ],
)
def test_missing_hydrogens(name, said):
    (candidate,) = read(name, strict=False)
    assert candidate.failure.startswith(said) and "hydrogens=ignore" in candidate.failure
    assert only(name, hydrogens="ignore").failure is None
    with pytest.raises(UserError, match="hydrogens=maybe: allowed are required and ignore"):
        read(name, hydrogens="maybe")


@pytest.mark.parametrize(
    ("name", "heavy"), [("methanol_d.xyz", [5]), ("mapi_D.cif", range(6, 12)), ("v3000_d.sdf", [0, 2, 3, 7, 8, 9])]
)
def test_deuterium_is_hydrogen_of_its_mass(tmp_path, name, heavy):
    candidate = only(name)
    masses = candidate.atoms.get_masses()
    assert candidate.atoms.numbers[heavy].tolist() == [1] * len(heavy)
    assert np.flatnonzero((candidate.atoms.numbers == 1) & (masses > 2)).tolist() == list(heavy)
    assert masses[heavy] == pytest.approx(2.0141, abs=1e-3)
    assert candidate.history[-1].startswith(f"read {len(heavy)} ")
    write_extxyz([candidate], tmp_path / "out.extxyz")
    np.testing.assert_allclose(only(tmp_path / "out.extxyz").atoms.get_masses(), masses, atol=1e-6)


PDB = """\
ATOM      1    C MOL     1      -0.371  -0.002   0.009  1.00  0.00           C
ATOM      2    O MOL     1       0.913  -0.439  -0.396  1.00  0.00           O
ATOM      3    H MOL     1      -0.468  -0.108   1.093  1.00  0.00           H
ATOM      4   DD MOL     1      -1.128  -0.617  -0.483  1.00  0.00           D
ATOM      5   H2 MOL     1      -0.509   1.043  -0.279  1.00  0.00           H
ATOM      6    D MOL     1       1.563   0.124   0.057  1.00  0.00           D
"""


def test_deuterium_in_pdb_and_poscar(tmp_path):
    (tmp_path / "d.pdb").write_text(f"MODEL 1\n{PDB}ENDMDL\nMODEL 2\n{PDB}ENDMDL\nEND\n")
    for candidate in read(tmp_path / "d.pdb"):
        assert str(candidate.atoms.symbols) == "COH4"
        assert np.flatnonzero(candidate.atoms.get_masses() == 2.01410178).tolist() == [3, 5]
    text = (TROUBLES / "CONTCAR").read_text()
    (tmp_path / "POSCAR").write_text(text.replace(" C   H   O", " C   D   O"))
    heavy = only(tmp_path / "POSCAR")
    assert str(heavy.atoms.symbols) == "C2H6O" and (heavy.atoms.get_masses()[2:8] == 2.01410178).all()
    assert heavy.history[1] == "read 6 D or T as H with their masses"


def test_tritium_in_a_column_that_is_not_the_first(tmp_path):
    text = '2\nProperties=pos:R:3:species:S:1 pbc="F F F"\n0 0 0 T\n0 0 0.74 d\n'
    (tmp_path / "t.xyz").write_text(text)
    assert only(tmp_path / "t.xyz").atoms.get_masses() == pytest.approx([3.016, 2.014], abs=1e-3)


def test_a_lattice_without_pbc_and_a_molecule_in_a_box_are_said():
    boxed = "a molecule in a periodic box, treated as periodic; periodic=false treats it as a molecule"
    assumed = only("box_nopbc.xyz")
    assert assumed.history[1:] == ("Lattice without pbc, taken as periodic in all directions", boxed)
    assert assumed.atoms.pbc.all() and only("CONTCAR").history[1:] == (boxed,)
    assert reading_notes([assumed])[1] == f"structure 1: {boxed}"
    for name in ("box_nopbc.xyz", "CONTCAR"):
        free = only(name, periodic="false")
        assert not free.atoms.pbc.any() and not free.atoms.cell.any() and "CCO" in smiles(free.atoms)
    (graphite,) = read("graphite_4.cif", strict=False, periodic="false")
    assert graphite.failure.startswith("periodic: it is no molecule alone in a box")


def smiles(atoms: Atoms) -> str:
    from gendesign.structure.bonds import perceive

    return Chem.MolToSmiles(Chem.RemoveHs(perceive(atoms).mol))


@pytest.mark.parametrize("shift", [(0, 0, 0), (0.5, 0.5, 0.5), (0.55, 0.45, 0.5)])
def test_a_molecule_across_the_boundary_is_made_whole(tmp_path, shift):
    atoms = molecule("CH3CH2OH")
    distances = atoms.get_all_distances()
    atoms.set_cell([16.0, 17.0, 18.0])
    atoms.pbc = True
    atoms.positions += np.array(shift) * [16, 17, 18]
    atoms.wrap()
    write(tmp_path / "POSCAR", atoms, format="vasp")
    whole = only(tmp_path / "POSCAR", periodic="false").atoms
    assert sorted(whole.get_all_distances().ravel()) == pytest.approx(sorted(distances.ravel()), abs=1e-5)


@pytest.mark.parametrize("name", ["slab", "two", "dense"])
def test_what_is_no_molecule_alone_is_said_nothing_of(tmp_path, name):
    atoms = {"slab": bulk("Ar", cubic=True), "two": molecule("H2O"), "dense": molecule("CH3OH")}[name]
    if name != "slab":
        atoms.set_cell([9, 9, 9] if name == "dense" else [20, 20, 20])
        atoms.pbc = True
    if name == "two":
        second = atoms.copy()
        second.positions += 6
        atoms += second
    write(tmp_path / "a.extxyz", atoms)
    assert only(tmp_path / "a.extxyz").history == ("read from a.extxyz",)


def test_planar_molecules_and_drawings(tmp_path):
    assert str(only("planar.sdf").atoms.symbols) == "C6H6"
    for text in ("c1ccccc1", "CCCO", "CCO", "C=C"):
        for explicit in (False, True):
            mol = Chem.MolFromSmiles(text)
            mol = Chem.AddHs(mol) if explicit else mol
            AllChem.Compute2DCoords(mol)
            block = Chem.MolToMolBlock(mol)
            for length in (1.0, 0.55):  # of 1.5 Angstrom, RDKit's; other programs draw shorter
                path = tmp_path / "d.sdf"
                with Chem.SDWriter(str(path)) as writer:
                    scaled = Chem.MolFromMolBlock(block, removeHs=False, sanitize=False)
                    positions = scaled.GetConformer().GetPositions() * length
                    scaled.GetConformer().SetPositions(positions)
                    scaled.GetConformer().Set3D(True)  # the tag is not to be trusted
                    writer.write(scaled)
                (drawn,) = read(path, strict=False)
                assert drawn.failure.startswith(("flat drawing", "missing hydrogens")), (text, explicit, length)


def test_broken_frames_cost_no_other():
    *good, cut = read("trunc.xyz", strict=False)
    assert [str(c.atoms.symbols) for c in good] == ["C2OH6"] * 2 and not any(c.failure for c in good)
    assert cut.failure == "unreadable: frame 3 of trunc.xyz: it is cut off after 6 of 9 atoms"
    with pytest.raises(UserError, match=r"frame 3 of trunc\.xyz: it is cut off after 6 of 9 atoms"):
        read("trunc.xyz")


def test_reading_goes_on_after_a_broken_frame(tmp_path):
    cut, wrong, word = WATER[: WATER.rindex("H")], WATER.replace("O 0", "Oo 0"), WATER.replace("0.763", "0.7x3")
    (tmp_path / "m.xyz").write_text(WATER + cut + WATER + wrong + word + "\n\n" + WATER + "left over\n")
    found = read(tmp_path / "m.xyz", strict=False)
    assert [c.failure is None for c in found] == [True, False, True, False, False, True, False]
    assert "frame 2 of m.xyz: it is cut off after 2 of 3 atoms" in found[1].failure
    assert "frame 4 of m.xyz: 'Oo' of atom 1 is no element" in found[3].failure
    assert "frame 5 of m.xyz" in found[4].failure and "frame 7 of m.xyz: a number of atoms" in found[6].failure


def test_qm9_records(tmp_path):
    text = (TROUBLES / "gdb.xyz").read_text()
    (tmp_path / "two.xyz").write_text(text + text.replace("gdb 14", "gdb 15"))
    first, second = read(tmp_path / "two.xyz")
    assert str(first.atoms.symbols) == "C2OH6" and first.failure is None
    assert first.atoms.positions[2].tolist() == pytest.approx([1.53158049, 0.38430807, -6.6437e-6], abs=1e-12)
    assert first.atoms.arrays["mulliken_charges"][0] == -0.10 and not first.atoms.get_initial_charges().any()
    assert (first.info["qm9_id"], second.info["qm9_id"]) == (14, 15)
    assert first.info["qm9_smiles"] == "CCO" and first.info["qm9_alpha_bohr3"] == 31.3


@pytest.mark.parametrize("name", ["empty.xyz", "empty.sdf", "empty.cif", "POSCAR", "empty.xyz.gz"])
def test_empty_files_are_empty(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(b"\n") if name.endswith("gz") else b"")
    with pytest.raises(UserError, match="is empty"):
        read(tmp_path / name)


def test_partial_occupancy_and_lost_blocks_of_a_cif(tmp_path):
    write(tmp_path / "a.cif", [bulk("Cu"), bulk("Ag")])
    text = (tmp_path / "a.cif").read_text()
    assert len(read(tmp_path / "a.cif")) == 2
    (tmp_path / "a.cif").write_text(text.replace("1.0000\n", "0.5000\n", 1))
    first, second = read(tmp_path / "a.cif", strict=False)
    assert first.failure.startswith("partial occupancy") and second.failure is None


def test_names_with_signs(tmp_path):
    for name in ("T=300K.xyz", "a@2.xyz", "a#b.xyz", "a[1].xyz", "a b.xyz", "Öl-ß.xyz", "50%.xyz"):
        (tmp_path / name).write_text(WATER)
        assert str(only(tmp_path / name).atoms.symbols) == "OH2"


def test_the_terminal_says_how_many_and_why():
    found = read("vendor.sdf", strict=False)
    assert [c.index for c in found if c.failure] == [4]
    assert found[4].failure == ("charged: it has charge -1, but the potential has no charges; give neutral structures")
    assert read("vendor.sdf", strict=False, chargeless=None)[4].failure is None
    mixed = read("polarH.sdf", "vendor.sdf", "noH.xyz", "graphite_3.cif", strict=False)
    assert reading_notes(mixed) == [
        "3 of 13 structures cannot be used: 2 missing hydrogens (structures 1 of polarH.sdf, 1 of noH.xyz), "
        "1 charged (structure 5 of vendor.sdf)",
        "structure 1 of graphite_3.cif: merged 2 coincident sites",
    ]
    with pytest.raises(UserError, match="3 of 13 structures cannot be used: 2 missing hydrogens"):
        refuse_unusable(mixed, strict=True)
    refuse_unusable(mixed, strict=False)
    with pytest.raises(UserError, match=r"structure 1 \(read from noH.xyz\) cannot be used: missing hydrogens"):
        refuse_unusable(read("noH.xyz", strict=False), strict=False)


def test_failures_of_an_earlier_run_are_no_reason_to_refuse(tmp_path):
    failed = Candidate(molecule("H2O"), 0, "simgen", failure="exploded in relaxation")
    write_extxyz([Candidate(molecule("CH4"), 1), failed], tmp_path / "c.extxyz")
    assert [c.failure for c in read(tmp_path / "c.extxyz")] == [None, "exploded in relaxation"]


@pytest.mark.parametrize("name", ["POSCAR_sd", "POSCAR_sd_z"])
def test_selective_dynamics_are_written_and_read_again(tmp_path, name):
    candidate = only(name)
    write_extxyz([candidate], tmp_path / "c.extxyz")
    assert f"move_mask:L:{1 if name == 'POSCAR_sd' else 3}" in (tmp_path / "c.extxyz").read_text()
    again = only(tmp_path / "c.extxyz")
    (constraint,) = again.atoms.constraints
    assert constraint.get_indices().tolist() == [0, 1]
    assert isinstance(constraint, FixAtoms) if name == "POSCAR_sd" else constraint.mask.tolist() == [False, False, True]


COLUMN = st.sampled_from(["tags", "weights", "spins", "site", "initial_magmoms", "vectors"])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    names=st.lists(COLUMN, unique=True),
    fixed=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=3, max_size=3),
    heavy=st.lists(st.booleans(), min_size=2, max_size=2),
    info=st.dictionaries(st.from_regex(r"[a-z]{2,8}", fullmatch=True), st.one_of(
        st.integers(-10**9, 10**9), st.booleans(), st.text(alphabet="abT F1.=\"'[]{}\\é", max_size=12),
        st.floats(allow_nan=False, allow_infinity=False, width=64)), max_size=4),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_what_came_in_goes_out_and_comes_in_again(tmp_path_factory, names, fixed, heavy, info, seed):
    path, rng = tmp_path_factory.mktemp("trip") / "c.extxyz", np.random.default_rng(seed)
    atoms = molecule("H2O")
    columns = {"tags": rng.integers(0, 9, 3), "weights": rng.normal(size=3).round(6), "spins": rng.random(3) > 0.5,
               "site": np.array(["Oa", "Hb", "Hc"]), "initial_magmoms": rng.normal(size=3).round(6),
               "vectors": rng.normal(size=(3, 3)).round(6)}  # fmt: skip
    for name in names:
        atoms.set_array(name, columns[name])
    masses = atoms.get_masses()
    masses[1:][np.array(heavy)] = 2.01410178
    if any(heavy):
        atoms.set_masses(masses)
    atoms.set_constraint([FixCartesian([i], mask=mask) for i, mask in enumerate(fixed) if any(mask)])
    reserved = {"charge", "index", "seed", "parent", "failure", "history", "pbc", "energy", "forces", "stress"}
    info = {key: value for key, value in info.items() if key not in reserved | set(names)}
    write_extxyz([Candidate(atoms, 0, info=info)], path)
    first = path.read_bytes()
    back = only(path)
    assert back.info == info
    np.testing.assert_allclose(back.atoms.get_masses(), masses, atol=1e-6)
    for name in names:
        np.testing.assert_array_equal(back.atoms.arrays[name], columns[name])
    from gendesign.structure.constraints import fixed_components

    assert fixed_components(back.atoms).tolist() == [list(row) for row in fixed]
    write_extxyz([Candidate(back.atoms, 0, info=back.info)], path)
    assert path.read_bytes() == first


def test_a_constraint_that_cannot_be_kept_is_said(tmp_path):
    slanted = bulk("Ar")
    slanted.set_constraint(FixScaled([0], (True, False, False)))
    write(tmp_path / "POSCAR", slanted, format="vasp")
    found = only(tmp_path / "POSCAR")
    assert found.history[-1] == "files do not keep FixScaled along directions that are no Cartesian axes"
    write_extxyz([found], tmp_path / "c.extxyz")
    assert not only(tmp_path / "c.extxyz").atoms.constraints


PIECES = [b"nan", b"1e400", b"\n", b"X ", b"-1", b"D", b'"', b"$$$$\n", b"9\n", b'Lattice="1 0 0 0 1 0 0 0 1"', b"\xff"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(path.name for path in TROUBLES.iterdir() if path.stat().st_size)),
    changes=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 200), st.sampled_from([b"", *PIECES])), min_size=1, max_size=5
    ),
    strict=st.booleans(),
    periodic=st.sampled_from(["auto", "false"]),
)
def test_damaged_files_end_in_one_line_at_worst(tmp_path_factory, name, changes, strict, periodic):
    content = (TROUBLES / name).read_bytes()
    for place, length, piece in changes:
        at = int(place * len(content))
        content = content[:at] + piece + content[at + length :]
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(content)
    try:
        found = read(path, strict=strict, periodic=periodic)
    except UserError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    else:
        assert found and all(np.isfinite(c.atoms.positions).all() for c in found if not c.failure)
        assert "\n" not in "".join(reading_notes(found))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["T=300K.xyz", "planar.sdf", "graphite_4.cif", "CONTCAR"])
def test_byte_order_marks_and_windows_line_ends(tmp_path, name, encoding):
    text = (TROUBLES / name).read_text().replace("\n", "\r\n")
    (tmp_path / name).write_bytes(text.encode(encoding))
    (same,), (whole,) = read(tmp_path / name), read(name)
    assert same.atoms.numbers.tolist() == whole.atoms.numbers.tolist()
    assert np.allclose(same.atoms.positions, whole.atoms.positions)


def test_atomic_numbers_in_xyz(tmp_path):
    (tmp_path / "w.xyz").write_text(WATER.replace("O ", "8 ").replace("H ", "1 "))
    (water,) = read(tmp_path / "w.xyz")
    assert water.atoms.get_chemical_formula() == "H2O" and not water.failure


@pytest.mark.parametrize(("element", "said"), [("Fe", "Fe shares its site"), ("Mg", "")])
def test_a_site_of_two_elements_is_refused(tmp_path, element, said):
    # ASE keeps the first element of a site without occupancies, which would lose the other one in silence
    head = "data_x\n" + "".join(f"_cell_length_{k} 4.2\n" for k in "abc")
    head += "".join(f"_cell_angle_{k} 90\n" for k in ("alpha", "beta", "gamma"))
    head += "_symmetry_space_group_name_H-M 'F m -3 m'\nloop_\n_atom_site_type_symbol\n"
    head += "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nMg 0 0 0\nO 0.5 0.5 0.5\n"
    (tmp_path / "m.cif").write_text(head + f"{element} 0 0 0\n")
    (candidate,) = read(tmp_path / "m.cif", strict=False)
    assert candidate.atoms.get_chemical_formula() == "Mg4O4"
    assert said in (candidate.failure or "") and bool(candidate.failure) == bool(said)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("POSCAR", "mine\n3.6\n1 0 0\n0 1 0\n0 0 1\n1\nDirect\n0 0 0\n", "names no elements"),
        ("a.mol2", "@<TRIPOS>MOLECULE\n", "mol2 file, which is not read; convert it to SDF"),
        ("a.smi", "CCO\n", "SMILES, which have no coordinates"),
        ("a.xyz", "1\nProperties=species:S:1:pos:R:99999999999\nO 0 0 0\n", "states 100000000000 columns"),
        ("b.xyz", "9" * 5000 + "\n\nO 0 0 0\n", "a number of atoms is expected"),
        ("c.cif", "no CIF at all\n", "cannot be read as cif; check"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        read(tmp_path / name)


def test_no_coordinates_of_a_training_set_are_not_finite(tmp_path):
    (tmp_path / "n.xyz").write_text(WATER.replace("0.763", "nan"))
    (candidate,) = read(tmp_path / "n.xyz", strict=False, repair=False)
    assert "not finite" in candidate.failure


def test_odd_electrons_are_said(tmp_path):
    hydronium = "4\n{}\nO 0 0 0.1\nH 0.94 0 -0.2\nH -0.47 0.81 -0.2\nH -0.47 -0.81 -0.2\n"
    for name, comment, said in (("a", "1 1", True), ("b", "charge=1", False)):
        (tmp_path / f"{name}.xyz").write_text(hydronium.format(comment))
        (found,) = read(tmp_path / f"{name}.xyz", chargeless=None)
        assert not found.failure and ("odd number of electrons" in " ".join(found.history)) == said
