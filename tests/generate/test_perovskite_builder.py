"""The random builder: stoichiometry, network, distances, tilts, and a stream for every start."""

import numpy as np
import pytest
from ase import Atoms
from spacing import closest

from gendesign.errors import UserError
from gendesign.generate.perovskite.build import build_start, check_recipe
from gendesign.generate.perovskite.cation import read_cation
from gendesign.generate.perovskite.compound import compose
from gendesign.generate.perovskite.contacts import clash, contact_height
from gendesign.generate.perovskite.layer import Framework, Tilt, build_framework
from gendesign.generate.perovskite.placement import draw_orientation
from gendesign.generate.perovskite.settings import Composition, RandomStarts
from gendesign.structure.perovskite import cation_fault, hydrogen_bonds, network_fault, octahedra

CASES = {
    "butylammonium lead iodide": (dict(cation="CCCC[NH3+]"), RandomStarts()),
    "phenethylammonium lead iodide": (dict(cation="[NH3+]CCc1ccccc1"), RandomStarts(layers=2)),
    "methylammonium lead iodide": (dict(cation="MA", thickness="3d"), RandomStarts(cells=("1", "sqrt2"))),
    "thickness 2": (dict(cation="CCCC[NH3+]", thickness=2), RandomStarts()),
    "Dion-Jacobson": (dict(cation="[NH3+]CCCC[NH3+]", metal="Sn", halide="Br"), RandomStarts(layers=3)),
    "mixture with tin": (dict(cation="CCCC[NH3+]", metal="Sn", halide="IBr"), RandomStarts(cells=("2x2",))),
    "caesium in cages": (dict(cation="[NH3+]CCCC[NH3+]", thickness=2, a_site="Cs"), RandomStarts()),
    "halogens in the cation": (dict(cation="ClCC[NH3+]", halide="Br"), RandomStarts()),
    "chiral": (dict(cation="C[C@H]([NH3+])c1ccccc1"), RandomStarts(orientations="each")),
}


@pytest.mark.parametrize("case", CASES)
def test_starts_are_what_was_asked_for(case):
    settings, options = CASES[case]
    compound = compose(Composition(**settings))
    for index in range(3):
        start = build_start(compound, options, seed=1, index=index)
        assert start.failure is None
        atoms, info = start.atoms, start.atoms.info
        assert atoms.pbc.all() and atoms.get_chemical_formula("hill") == compound.formula(info["formula_units"])
        assert network_fault(atoms, compound.thickness) == ""
        assert cation_fault(atoms, info["cations"]) == ""
        assert closest(atoms) >= options.contact - 0.01
        molecule = atoms.arrays["molecule"]
        inorganic = compound.metals + compound.sites
        assert (molecule[: inorganic * info["formula_units"]] == -1).all()
        assert (np.diff(molecule[inorganic * info["formula_units"] :]) >= 0).all()


def test_a_start_depends_on_seed_and_index_alone():
    compound, options = compose(Composition("CCCC[NH3+]")), RandomStarts(cells=("1", "sqrt2"))
    batch = [build_start(compound, options, 3, index).atoms for index in range(4)]
    alone = build_start(compound, options, 3, 2).atoms
    assert np.array_equal(alone.positions, batch[2].positions) and np.array_equal(alone.cell, batch[2].cell)
    assert alone.info == batch[2].info
    other = build_start(compound, options, 4, 2).atoms
    assert len(other) != len(alone) or not np.allclose(other.positions, alone.positions)


def inorganic(frame: Framework, metal: str, halide: str, cell: np.ndarray) -> Atoms:
    symbols = [metal] * len(frame.metals) + [halide] * len(frame.halides)
    return Atoms(symbols, np.vstack([frame.metals, frame.halides]), cell=cell, pbc=True)


@pytest.mark.parametrize("angles", [(0, 0, 12.0), (9.0, 0, 0), (0, 0, 0)])
def test_tilt_measured_is_tilt_built(angles):
    frame = build_framework("sqrt2", 1, 3.2, Tilt(angles))
    cell = np.vstack([frame.lattice, [0, 0, 20]])
    atoms = Atoms(
        f"Pb{len(frame.metals)}I{len(frame.halides)}", np.vstack([frame.metals, frame.halides]), cell=cell, pbc=True
    )
    assert network_fault(atoms, 1) == ""
    shape = octahedra(atoms)
    # Corners along the axis of rotation stay straight, the others bend by twice the angle.
    share = 1.0 if angles[2] else 0.5
    assert shape.tilt == pytest.approx(max(angles) * share, abs=1e-6)
    assert shape.lengths == pytest.approx(0, abs=1e-12) and shape.angles == pytest.approx(0, abs=1e-9)
    assert np.linalg.norm(frame.lattice[0]) <= 3.2 * 2 * np.sqrt(2) + 1e-9


@pytest.mark.parametrize("cell", ["sqrt2", "2x2"])
@pytest.mark.parametrize("depth", [1, 3, None])
def test_any_alternating_tilt_leaves_octahedra_regular(cell, depth):
    frame = build_framework(cell, depth, 3.0, Tilt((7.0, -5.0, 10.0)))
    cell = frame.lattice if depth is None else np.vstack([frame.lattice, [0, 0, 40]])
    atoms = Atoms(
        f"Sn{len(frame.metals)}Br{len(frame.halides)}", np.vstack([frame.metals, frame.halides]), cell=cell, pbc=True
    )
    shape = octahedra(atoms)
    assert network_fault(atoms, depth) == "" and shape.lengths < 1e-12 and shape.angles < 1e-9


def test_layers_come_down_until_they_touch():
    lattice = np.array([[5.0, 0, 0], [0, 5.0, 0]])
    lower, upper = np.array([[0.0, 0, 1.0]]), np.array([[1.0, 0, -2.0]])
    one = np.array([1.0])
    assert contact_height(lower, one, upper, one, lattice) == pytest.approx(3 + np.sqrt(3))
    assert contact_height(lower, one, upper + [4.0, 5.0, 0], one, lattice) == pytest.approx(5.0)  # an image above
    assert contact_height(lower, one, upper + [1.5, 2.5, 0], one, lattice) == -np.inf  # they pass each other


def test_contacts_are_found_across_images():
    lattice, size = np.array([[6.0, 0, 0], [0, 6.0, 0]]), np.array([1.0])
    here, there = np.array([[0.5, 0, 0]]), np.array([[5.0, 0, 0]])
    assert clash(here, size, there, size, lattice)
    assert not clash(here, size, there - [2, 0, 0], size, lattice)
    long = np.array([[0.0, 0, 0], [4.5, 0, 0]])  # its own image is 1.5 away from its end
    assert clash(long, np.ones(2), np.array([[3.0, 3.0, 0]]), 0 * size, lattice)


def test_broken_networks_and_cations_are_recognised():
    atoms = build_start(compose(Composition("CCCC[NH3+]")), RandomStarts(), 0, 0).atoms
    halide, hydrogen = 2, len(atoms) - 1
    moved = atoms.copy()
    moved.positions[halide] += [0, 0, 3.0]
    assert "halide" in network_fault(moved, 1) or "metals" in network_fault(moved, 1)
    assert "free corners" in network_fault(atoms, 2)
    moved = atoms.copy()
    nitrogen = np.flatnonzero(atoms.numbers == 7)[-1]
    moved.set_distance(nitrogen, hydrogen, 2.5, fix=0, mic=True)
    assert "broken" in cation_fault(moved, atoms.info["cations"])
    moved = atoms.copy()
    halide = moved.positions[halide]
    moved.positions[-17:] += halide + [0, 0, 1.6] - moved.positions[hydrogen]
    assert "close as a bond" in cation_fault(moved, atoms.info["cations"])


def test_layer_groups_play_no_part_in_three_dimensions():
    start = build_start(compose(Composition("MA", thickness="3d")), RandomStarts(cells=("sqrt2",), symmetry=1.0), 0, 0)
    assert not start.failure and start.atoms.info["orientations"] in ("each", "shared")


def test_halogens_of_molecules_bind_no_hydrogens():
    ammonia = [[0, 0, 0], [0, 0, 1.01], [0.95, 0, -0.33], [-0.5, 0.85, -0.33]]
    methyl = [[0, 0, 5.1], [1.0, 0, 5.5], [-0.5, 0.9, 5.5], [-0.5, -0.9, 5.5]]
    for acceptor, count in ((methyl, 0), ([], 1)):
        symbols = "NH3Cl" + ("CH3" if acceptor else "")
        atoms = Atoms(symbols, [*ammonia, [0, 0, 3.3], *acceptor], cell=[12] * 3, pbc=True)
        assert hydrogen_bonds(atoms) == count


def test_a_proton_between_two_molecules_belongs_to_both():
    first, second = [[0, 0, 0], [0, 0, 0.97], [0, 0.94, -0.24]], [[0, 0, 2.72], [0, 0.94, 2.96], [0, -0.94, 2.96]]
    water = Atoms("OH2OH2", first + second)
    assert cation_fault(water, "2 O") == ""  # 1.75 Angstrom from the next: a hydrogen bond
    water.positions[1, 2], water.positions[3:, 2] = 1.17, water.positions[3:, 2] - 0.36
    assert "close as a bond" in cation_fault(water, "2 O")


def test_edge_sharing_octahedra_are_no_layer():
    a, h = 4.56, 1.8  # one layer of PbI2
    cell = [[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, 15]]
    atoms = Atoms(
        "PbI2", scaled_positions=[[0, 0, 0], [1 / 3, 2 / 3, h / 15], [2 / 3, 1 / 3, -h / 15]], cell=cell, pbc=True
    )
    assert network_fault(atoms, 1) != ""


@pytest.mark.parametrize(("smiles", "share"), [("CCCC[NH3+]", 1 / 2), ("[NH3+]CCCC[NH3+]", 1 / np.sqrt(2))])
def test_bridging_cations_mostly_take_low_conformers(smiles, share):
    """Which half of the conformers, in the order of their energies, is drawn: either alike, or the lower one mostly."""
    cation, rng = read_cation(smiles), np.random.default_rng(0)
    drawn = [draw_orientation(rng, cation, 45.0).conformer for _ in range(1000)]
    assert set(drawn) == set(range(len(cation.conformers)))
    assert np.mean(np.array(drawn) < len(cation.conformers) / 2) == pytest.approx(share, abs=0.06)


def test_recipes_without_room_are_refused():
    with pytest.raises(UserError, match="fits no pocket"):
        bulky = compose(Composition("[NH3+]C(c1ccccc1)(c1ccccc1)c1ccccc1", conformers=1))
        check_recipe(bulky, RandomStarts(contact=1.0, redraws=2, cells=("1",), cation_angle=0), seed=0, tries=1)
    with pytest.raises(UserError, match="3D"):
        check_recipe(compose(Composition("MA", thickness="3d")), RandomStarts(layers=2), seed=0)


@pytest.mark.parametrize("wrong", [{"cells": ("3x3",)}, {"layers": 0}, {"contact": 2}, {"orientations": "some"}])
def test_wrong_draws_are_refused(wrong):
    with pytest.raises(UserError) as caught:
        RandomStarts(**wrong)
    assert "\n" not in str(caught.value)
