"""Starts with the symmetry of a layer group: spglib finds what was drawn, and every start is as others are."""

import numpy as np
import pytest
import spglib

from gendesign.generate.perovskite import bridges, symmetry
from gendesign.generate.perovskite.build import build_start, check_recipe
from gendesign.generate.perovskite.compound import compose
from gendesign.generate.perovskite.layer import Tilt, build_framework, draw_tilt
from gendesign.generate.perovskite.settings import Composition, RandomStarts
from gendesign.structure.perovskite import cation_fault, network_fault

ALL = dict(symmetry=1.0, densest_of=1)
# Orders of the layer groups met below, and the space groups they are where layers are far apart (Kopsky and Litvin).
KNOWN = {
    "p-1 (2)": (2, 2), "p112 (3)": (2, 3), "p11m (4)": (2, 6), "p211 (8)": (2, 3), "p2111 (9)": (2, 4),
    "pb11 (12)": (2, 7), "p21/b11 (17)": (4, 14), "p2122 (20)": (4, 17), "p-4 (50)": (4, 81), "p4/m (51)": (8, 83),
}  # fmt: skip

# Determinant, trace and effect on the normal of their operations but the identity.
TURNS = {
    "p-1 (2)": {(-1, -3, -1)}, "p112 (3)": {(1, -1, 1)}, "p11m (4)": {(-1, 1, -1)}, "p211 (8)": {(1, -1, -1)},
    "p2111 (9)": {(1, -1, -1)}, "pb11 (12)": {(-1, 1, 1)}, "p21/b11 (17)": {(-1, -3, -1), (1, -1, -1), (-1, 1, 1)},
    "p2/b11 (16)": {(-1, -3, -1), (1, -1, -1), (-1, 1, 1)}, "p2122 (20)": {(1, -1, 1), (1, -1, -1)},
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "cells"),
    [
        (dict(cation="CCCC[NH3+]"), ("sqrt2",)),
        (dict(cation="C[NH3+]", halide="Br"), ("1", "2x2")),
        (dict(cation="C[C@H]([NH3+])c1ccccc1"), ("sqrt2",)),
    ],
)
def test_spglib_finds_the_group_that_was_drawn(settings, cells):
    compound, met = compose(Composition(**settings)), set()
    for index in range(6):
        atoms = build_start(compound, RandomStarts(cells=cells, **ALL), 1, index).atoms
        assert atoms.get_chemical_formula("hill") == compound.formula(atoms.info["formula_units"])
        assert network_fault(atoms, 1) == "" and cation_fault(atoms, atoms.info["cations"]) == ""
        met.add(atoms.info["orientations"])
        slab = np.vstack([atoms.cell[:2], [0, 0, 80]])
        found = spglib.get_symmetry_dataset((slab, np.linalg.solve(slab.T, atoms.positions.T).T, atoms.numbers), 1e-3)
        turns = found.rotations
        assert len(turns) > 1
        if atoms.info["orientations"] in KNOWN:
            assert (len(turns), found.number) == KNOWN[atoms.info["orientations"]]
        if compound.cation.chiral:
            assert (np.linalg.det(turns) > 0).all()
    assert len(met) > 1 and met & KNOWN.keys()


@pytest.mark.parametrize(("cation", "cells"), [
    ("[NH3+]CCCC[NH3+]", ("1", "sqrt2")), ("[NH3+]CCC[NH3+]", ("sqrt2",)), ("C[C@H]([NH3+])CC[NH3+]", ("sqrt2",)),
])  # fmt: skip
def test_bridged_crystals_have_the_group_that_was_drawn(cation, cells):
    """Bridged layers are no slabs: the whole crystal has the operations. A cation on one is its image but roughly."""
    compound, met = compose(Composition(cation, halide="Br")), set()
    for index in range(8):
        atoms = build_start(compound, RandomStarts(cells=cells, **ALL), 1, index).atoms
        assert atoms.get_chemical_formula("hill") == compound.formula(atoms.info["formula_units"])
        assert network_fault(atoms, 1) == "" and cation_fault(atoms, atoms.info["cations"]) == ""
        heavy = atoms[atoms.numbers > 1]
        found = spglib.get_symmetry_dataset((heavy.cell.array, heavy.get_scaled_positions(), heavy.numbers), 0.3)
        group = atoms.info["orientations"]
        turns = {(round(np.linalg.det(turn)), np.trace(turn), turn[2, 2]) for turn in found.rotations}
        assert turns > TURNS[group]
        met.add(group)
        if compound.cation.chiral:
            assert (np.linalg.det(found.rotations) > 0).all()
    assert len(met) > 1


@pytest.mark.parametrize("seed", range(4))
def test_the_next_layer_follows_as_the_group_demands(seed):
    """Operations of a group turn the vector to it into itself, or back, but for whole lattice vectors."""
    rng = np.random.default_rng(seed)
    for cell in ("1", "sqrt2", "2x2"):
        framework = build_framework(cell, 1, 3.0, Tilt())
        group, aim = symmetry.draw_group(rng, framework, False), rng.uniform(-6, 6, 3)
        step = bridges._obeying(aim, group, framework.lattice)
        plane = framework.lattice[:, :2]

        def obeys(place: np.ndarray, group=group, plane=plane) -> bool:
            off = [(turn[:2, :2] @ place * turn[2, 2] - place) @ np.linalg.inv(plane) for turn in group.rotations]
            return np.allclose(off, np.round(off), atol=1e-6)

        assert step[2] == aim[2] and obeys(step[:2])
        fine = np.stack(np.meshgrid(*[np.arange(-16, 17) / 8] * 2), -1).reshape(-1, 2)  # lattice vectors
        near = [place for place in fine @ plane if obeys(place)]
        assert near and np.linalg.norm((step - aim)[:2]) < min(np.linalg.norm(place - aim[:2]) for place in near) + 1e-6


@pytest.mark.parametrize("cells", [("1",), ("2x2",)])
def test_where_no_group_suits_the_cation_starts_are_drawn_without(cells):
    """In a cell of one metal every operation turns the layer over and leads the one cation onto itself."""
    compound = compose(Composition("C[C@H]([NH3+])CC[NH3+]", halide="Br"))
    check_recipe(compound, RandomStarts(cells=cells, **ALL), seed=0)
    for index in range(2):
        atoms = build_start(compound, RandomStarts(cells=cells, **ALL), 1, index).atoms
        assert cation_fault(atoms, atoms.info["cations"]) == ""
        assert ("(" in atoms.info["orientations"]) == (cells != ("1",))


def test_the_square_net_has_the_groups_it_must_have():
    flat, chiral = (
        {symmetry.draw_group(np.random.default_rng(i), build_framework("sqrt2", 1, 3.2, Tilt()), flag).symbol
         for i in range(60)}
        for flag in (False, True)
    )  # fmt: skip
    # The layers of (butylammonium)2PbI4 and of (phenethylammonium)2PbI4 are p21/b11 and p-1.
    assert {"p-1 (2)", "p21/b11 (17)"} <= flat
    assert chiral and not chiral & {"p-1 (2)", "p21/b11 (17)", "p11m (4)"}
    group = symmetry.draw_group(np.random.default_rng(0), build_framework("2x2", 1, 3.2, Tilt((8, -5, 9))), False)
    for turn in group.rotations:
        assert np.allclose(turn @ turn.T, np.eye(3))
    assert (np.sort(group.pockets, axis=1) == np.arange(8)).all() and (group.pockets[1:] != np.arange(8)).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_tilts_about_either_diagonal_leave_the_same_groups(sign):
    """The two are one layer seen from two sides, in which a group's axes change places."""
    framework = build_framework("sqrt2", 1, 3.2, Tilt((6, 6 * sign, 9)))
    drawn = [symmetry.draw_group(np.random.default_rng(i), framework, False) for i in range(60)]
    assert {group.symbol for group in drawn} == {"p-1 (2)", "p2111 (9)", "pb11 (12)", "p21/b11 (17)"}
    slab = np.vstack([framework.lattice, [0, 0, 80]])
    positions = np.vstack([framework.metals, framework.halides]) @ np.linalg.inv(slab)
    found = spglib.get_symmetry_dataset((slab, positions, [0] * 2 + [1] * 8), 1e-3)
    assert found.number == 14 and len(found.rotations) == max(len(group.rotations) for group in drawn)


def test_half_of_the_tilts_are_about_a_diagonal():
    tilts = np.array([draw_tilt(np.random.default_rng(i), "sqrt2", 15.0).angles for i in range(400)])
    tilted = np.abs(tilts[:, :2]).max(axis=1) > 0
    alike = np.isclose(*np.abs(tilts[tilted, :2]).T)
    assert 0.35 < alike.mean() < 0.6 and 0.3 < (tilts[tilted][alike, :2].prod(axis=1) > 0).mean() < 0.7


def test_symmetric_starts_are_a_share_and_leave_the_others_alone():
    compound = compose(Composition("C[NH3+]"))
    plain, some = (
        RandomStarts(cells=("1",), densest_of=1, symmetry=0),
        RandomStarts(cells=("1",), densest_of=1, symmetry=0.5),
    )
    starts = [build_start(compound, some, 3, index).atoms for index in range(12)]
    others = [build_start(compound, plain, 3, index).atoms for index in range(12)]
    symmetric = ["(" in atoms.info["orientations"] for atoms in starts]
    assert 2 <= sum(symmetric) <= 10
    for is_symmetric, atoms, other in zip(symmetric, starts, others, strict=True):
        assert atoms.info.keys() == other.info.keys() and set(atoms.arrays) == set(other.arrays)
        assert is_symmetric or np.array_equal(atoms.positions, other.positions)
    index = symmetric.index(True)
    again = build_start(compound, some, 3, index).atoms
    assert np.array_equal(again.positions, starts[index].positions) and again.info == starts[index].info


def test_layers_with_cages_and_several_layers():
    compound = compose(Composition("CCCC[NH3+]", thickness=2))
    atoms = build_start(compound, RandomStarts(layers=2, **ALL), 1, 0).atoms
    assert atoms.info["orientations"].count("(") == 2 and network_fault(atoms, 2) == ""
    assert atoms.get_chemical_formula("hill") == compound.formula(4)
    bridged = compose(Composition("[NH3+]CCCC[NH3+]", thickness=2))
    atoms = build_start(bridged, RandomStarts(layers=2, **ALL), 1, 0).atoms
    assert atoms.info["orientations"].count("(") == 2 and network_fault(atoms, 2) == ""
    assert cation_fault(atoms, atoms.info["cations"]) == ""
    assert atoms.get_chemical_formula("hill") == bridged.formula(4)
