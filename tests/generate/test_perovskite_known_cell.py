"""Starts in a measured cell and space group: their symmetry by spglib, their lattice, and what cannot be."""

import numpy as np
import pytest
import spglib
from ionic import Ionic

from gendesign.errors import UserError
from gendesign.generate.perovskite.compound import compose
from gendesign.generate.perovskite.generator import Perovskite
from gendesign.generate.perovskite.known_cell import KnownCell, build_in_cell
from gendesign.generate.perovskite.settings import Composition, Halving, RandomStarts
from gendesign.structure.perovskite import layer_spacing, metals_of

MADE = compose(Composition("CCC[NH3+]", conformers=2))


def built(parameters, group, index=0, compound=MADE):
    start = build_in_cell(compound, KnownCell(parameters, group), RandomStarts(), 0, index)
    assert start.failure is None
    return start.atoms


def test_a_cell_without_symmetry_has_room_for_cations_drawn_one_by_one():
    made = compose(Composition("CCCC[NH3+]", conformers=2))
    cell = KnownCell((8.7, 8.9, 13.8), "P1")
    starts = [build_in_cell(made, cell, RandomStarts(), 0, index) for index in range(6)]
    placed = [start.atoms for start in starts if start.failure is None]
    assert len(placed) >= 3 and all(len(atoms) == 78 for atoms in placed)  # 13 of 16 find room


@pytest.mark.parametrize(
    ("parameters", "group", "layers", "along"),
    [
        ((8.4, 9.0, 26.2), "Pbca", 2, "c"),
        ((26.2, 8.4, 9.0), "Pbca", 2, "a"),
        ((14.0, 8.6, 8.9, 90, 105, 90), "P2_1/c", 1, "a"),
        ((8.7, 8.7, 25.0), "C2/c", 2, "c"),
        ((8.4, 9.0, 26.2), "P2_12_12_1", 2, "c"),
        ((8.7, 8.8, 14.0, 80, 85, 90), "P-1", 1, "c"),
        ((8.7, 8.8, 28.0, 80, 85, 91), "P-1", 2, "c"),  # layers related by the inversion
        ((8.4, 9.0, 26.2), "Pca2_1", 2, "c"),  # no metal at the origin of the group
        ((26.2, 8.4, 9.0), "Pca2_1", 2, "a"),
        ((13.0, 8.6, 8.8), "P2_1", 1, "a"),
        ((8.6, 8.8, 26.0, 90, 95, 90), "P12_1/n1", 2, "c"),
    ],
)
def test_starts_have_the_group_and_the_cell(parameters, group, layers, along):
    for index in range(3):
        atoms = built(parameters, group, index)
        found = spglib.get_spacegroup((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), 1e-3)
        assert found.split()[0] == {"P12_1/n1": "P2_1/c"}.get(group, group)
        assert atoms.info["layers"] == layers and len(atoms) == 33 * 2 * layers
        order = {"c": [0, 1, 2], "a": [1, 2, 0]}[along]
        given = np.reshape([*parameters, 90, 90, 90][:6], (2, 3))[:, order]
        assert np.allclose(atoms.cell.cellpar(), given.ravel())
        assert layer_spacing(atoms, layers) == pytest.approx(atoms.cell.array[2, 2] / layers)
        assert len(metals_of(atoms)) == 2 * layers and np.allclose(atoms.positions[0], 0, atol=0.3)


def test_symbols_have_other_spellings():
    for symbol, same in (("P2_1/n", "P12_1/n1"), ("P21/c", "P2_1/c"), ("P212121", "P2_12_12_1"), ("Cmca", "Cmce")):
        first, second = (KnownCell((8.6, 8.8, 26.0), name).operations for name in (symbol, same))
        assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])


def test_cations_stay_whole_and_are_all_alike():
    atoms = built((8.4, 9.0, 26.2), "Pbca", 1)
    shapes = [np.linalg.norm(c[:, None] - c[None], axis=-1) for c in MADE.cation.conformers]
    assert set(atoms.arrays["molecule"].tolist()) == {-1, *range(8)}
    for name in range(8):
        own = atoms.positions[atoms.arrays["molecule"] == name]
        apart = np.linalg.norm(own[:, None] - own[None], axis=-1)
        assert min(np.abs(apart - shape).max() for shape in shapes) < 1e-6
    # In general positions: the asymmetric unit is one cation, half a metal and two halides.
    data = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), 1e-3)
    assert len(set(data.equivalent_atoms.tolist())) == len(MADE.cation.numbers) + 1 + 2


def test_octahedra_are_tilted_and_starts_differ():
    atoms = [built((8.4, 9.0, 26.2), "Pbca", index) for index in range(6)]
    bent = []
    for one in atoms:
        axial = one.positions[(one.numbers == 53) & (np.abs(one.positions[:, 2] - 3.2) < 0.6)]
        bent.append(np.linalg.norm(axial[:, :2] - [0, 0], axis=1).min())
    assert np.ptp(bent) > 0.1 and len({round(b, 6) for b in bent}) == 6
    assert np.array_equal(built((8.4, 9.0, 26.2), "Pbca", 3).positions, atoms[3].positions)


def test_of_a_triclinic_cell_the_spacing_is_enough():
    atoms = [built((8.7, 8.7, 12.5), "P-1", index) for index in range(3)]
    assert all(layer_spacing(one, 1) == pytest.approx(12.5) for one in atoms)
    assert all(np.allclose(one.cell.array[:2], np.diag([8.7, 8.7, 0])[:2]) for one in atoms)
    leaning = [one.cell.array[2, :2] for one in atoms]
    assert np.ptp(leaning, axis=0).max() > 0.1
    assert not KnownCell((8.7, 8.7, 12.5, 90, 90, 90), "P-1").leans and not KnownCell((8.4, 9.0, 26.2), "Pbca").leans


def test_the_search_holds_the_cell():
    search = Perovskite(
        Ionic(),
        Composition("C[NH3+]"),
        RandomStarts(known_cell=(8.6, 8.8, 22.0), space_group="Pbca"),
        Halving(steps=4, pressure=5.0),
    )
    found = list(search.generate(range(6), seed=2))
    left = [candidate for candidate in found if candidate.failure is None]
    assert sorted(candidate.index for candidate in found) == list(range(6)) and 1 <= len(left) < 6
    for candidate in left:
        assert np.allclose(candidate.atoms.cell.cellpar(), [8.6, 8.8, 22.0, 90, 90, 90])
        assert candidate.info["orientations"] == "Pbca" and candidate.info["formula_units"] == 4
        assert candidate.info["pressure"] == 0.0  # none on a held cell


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"space_group": None}, "give both or neither"),
        ({"known_cell": None}, "give both or neither"),
        ({"space_group": "Pxyz"}, "not a Hermann-Mauguin symbol that pymatgen knows; write such as"),
        ({"space_group": 61}, "space_group=61: not a Hermann-Mauguin symbol"),
        ({"space_group": "Cmce"}, "leads cations onto themselves in this cell"),
        ({"known_cell": [8.4, 9.0, 26.2, 90, 90, 97]}, "does not have the lengths and angles that .*=Pbca demands"),
        ({"known_cell": [8.4, 9.0]}, "known_cell=\\[8.4,9\\]: give a, b, c"),
        ({"known_cell": 8.4}, "known_cell=\\[8.4\\]: give a, b, c"),
        ({"known_cell": [8.4, "x", 26.2]}, "known_cell=\\[8.4,x,26.2\\]: give a, b, c"),
        ({"known_cell": [8.4, 9.0, float("nan")]}, "known_cell=\\[8.4,9.0,nan\\]: give a finite number"),
        ({"known_cell": [8.4, 9.0, 26.2, 10, 10, 170]}, "angles in degrees that close a cell"),
        ({"known_cell": [8.4, 9.0, 26.2, 90, 90, 180]}, "angles in degrees that close a cell"),
        ({"known_cell": [12.0, 12.0, 26.0]}, "of 144.0, 312.0, 312.0 Angstrom\\^2, is that of two octahedra, about 82"),
        ({"known_cell": [8.4, 9.0, 15.0]}, "finds no room in it"),
        ({"known_cell": [8.4, 9.0, 40.0]}, "40.0 Angstrom for 2 layers, as many as .*=Pbca makes of one"),
        ({"known_cell": [8.4, 9.0, 19.0], "space_group": "P-1"}, "three numbers are enough .* and this has 2"),
        ({"thickness": "3d"}, "is for layers one octahedron thick"),
        ({"cation": "[NH3+]CC[NH3+]"}, "of one halide with cations of charge \\+1; leave"),
        ({"cation": "C[C@H]([NH3+])c1ccccc1"}, "has reflections or an inversion, and .* is chiral"),
        ({"halide": "I3Br"}, "leave generator.start.known_cell and space_group out"),
    ],
)
def test_what_cannot_be_is_said(keys, said):
    composition = {"cation": "C[NH3+]"} | {key: keys[key] for key in keys if key in ("cation", "halide", "thickness")}
    start = {"known_cell": [8.4, 9.0, 20.0], "space_group": "Pbca", "redraws": 20}
    start |= {key: keys[key] for key in keys if key not in composition}
    with pytest.raises(UserError, match=said):
        Perovskite(Ionic(), Composition(**composition), RandomStarts(**start))
