"""Rings and crystallinity of crystals and of networks with defects, against matscipy and known numbers."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from matscipy.rings import ring_statistics as matscipy_rings

from gendesign.analysis import compiled
from gendesign.analysis.energetics import quartz
from gendesign.analysis.neighbours import bonds
from gendesign.analysis.network import bridging_element, network
from gendesign.analysis.order import steinhardt
from gendesign.analysis.rings import ring_statistics
from gendesign.analysis.templates import CUBIC, HEXAGONAL, OTHER, identify_diamond
from gendesign.errors import UserError

SILICA = {("Si", "O"): 2.0}


def rings_of(atoms, cutoffs, longest, bridge=None):
    return ring_statistics(network(atoms, bonds(atoms, cutoffs), bridge, longest), longest, longest)


def hexagonal_diamond() -> Atoms:
    places = [(1 / 3, 2 / 3, 0), (2 / 3, 1 / 3, 0.5), (1 / 3, 2 / 3, 0.375), (2 / 3, 1 / 3, 0.875)]
    return Atoms("Si4", scaled_positions=places, cell=[3.84, 3.84, 6.27, 90, 90, 120], pbc=True)


def test_diamond_has_twelve_rings_of_six_at_each_atom():
    rings = rings_of(bulk("Si", cubic=True).repeat(2), {("Si", "Si"): 2.6}, 7)
    assert rings.king.round(9).tolist() == [0, 0, 0, 0, 0, 0, 2, 0]  # twelve at an atom, each shared by six atoms
    assert rings.primitive == pytest.approx(rings.king)
    assert rings.corners[6] == 1 and rings.longest == 7 and rings.shares()[6] == 1


def test_cristobalite_has_the_rings_of_diamond():
    places = [(0.3003, 0.3003, 0), (0.2392, 0.1044, 0.1787)]
    atoms = crystal(["Si", "O"], places, spacegroup=92, cellpar=[4.9717, 4.9717, 6.9223, 90, 90, 90])
    rings = rings_of(atoms.repeat((2, 2, 1)), SILICA, 7, "O")
    assert rings.king[6] == pytest.approx(2) == rings.primitive[6] and rings.king.sum() == pytest.approx(2)


def test_quartz_has_rings_of_six_and_eight():
    rings = rings_of(quartz().repeat((2, 2, 2)), SILICA, 8, "O")
    assert rings.primitive[6] == pytest.approx(1) and rings.primitive[8] == pytest.approx(5)
    assert rings.corners[6] == pytest.approx(2 / 3) and rings.corners[8] == pytest.approx(1 / 3)


def test_primitive_rings_of_a_faulty_network_agree_with_matscipy():
    atoms = bulk("Si", cubic=True).repeat(2)
    del atoms[[3, 17, 40, 41]]
    atoms.rattle(0.2, seed=3)
    large = atoms.repeat(2)  # matscipy needs a cell that no ring crosses
    expected = matscipy_rings(large, 2.7, 9) / len(large)
    found = rings_of(atoms, {("Si", "Si"): 2.7}, 8).primitive
    assert found == pytest.approx(np.pad(expected, (0, 9))[:9], abs=1e-12)
    assert found.sum() > 0.5 and np.count_nonzero(found) > 1


def test_a_model_and_its_repetition_have_the_same_rings():
    atoms = bulk("Si", cubic=True).repeat(2)
    del atoms[[5, 30]]
    cutoffs = {("Si", "Si"): 2.6}
    one, other = rings_of(atoms, cutoffs, 8), rings_of(atoms.repeat((2, 1, 1)), cutoffs, 8)
    assert one.king == pytest.approx(other.king) and one.primitive == pytest.approx(other.primitive)
    assert one.corners == pytest.approx(other.corners)


def test_a_ring_that_is_king_at_some_corners_counts_once():
    # a square with a triangle on one side; the ring around both is shortest at the two corners that they share
    turn = np.radians([45, 135, 225, 315])
    square = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1) * 2.3 / np.sqrt(2)
    atoms = Atoms("Si5", positions=np.concatenate([square, [[1.15 + 2.0, 0, 0]]]) + 20, cell=[40] * 3, pbc=True)
    rings = rings_of(atoms, {("Si", "Si"): 2.6}, 6)
    assert (rings.king * 5).round(9).tolist() == [0, 0, 0, 1, 1, 1, 0]
    assert (rings.primitive * 5).round(9).tolist() == [0, 0, 0, 1, 1, 0, 0]


def test_an_edge_sharing_pair_is_one_edge():
    places = [[5, 5, 5], [7.5, 5, 5], [6.25, 6.1, 5], [6.25, 3.9, 5]]
    atoms = Atoms("Si2O2", positions=places, cell=[12] * 3, pbc=True)
    assert bridging_element(atoms) == "O"
    graph = network(atoms, bonds(atoms, SILICA), "O")
    assert graph.neighbours.tolist() == [1, 0] and graph.degree.tolist() == [1, 1]


def test_large_networks_without_numba_are_one_line(monkeypatch):
    monkeypatch.setattr(compiled, "HAS_NUMBA", False)
    with pytest.raises(UserError, match=r"gendesign\[amorphous\]"):
        compiled.check_compiled(10**6, "rings")


def test_order_of_fcc():
    atoms = bulk("Cu", cubic=True).repeat(3)
    table = bonds(atoms, {("Cu", "Cu"): 3.1})
    assert np.allclose(steinhardt(table, 6), 0.57452, atol=1e-5)  # Steinhardt et al. 1983
    assert np.allclose(steinhardt(table, 4), 0.19094, atol=1e-5)
    assert np.allclose(steinhardt(table, 6, average=True), 0.57452, atol=1e-5)


def test_averaging_lowers_the_order_of_a_liquid():
    atoms = bulk("Cu", cubic=True).repeat(4)
    atoms.rattle(0.5, seed=1)
    table = bonds(atoms, {("Cu", "Cu"): 3.1})
    assert steinhardt(table, 6, average=True).mean() < 0.7 * steinhardt(table, 6).mean()


@pytest.mark.parametrize(("atoms", "kind"), [(bulk("Si", cubic=True).repeat(3), CUBIC),
                                             (hexagonal_diamond().repeat((4, 4, 3)), HEXAGONAL)])  # fmt: skip
def test_diamonds_are_identified(atoms, kind):
    atoms.rattle(0.05, seed=2)
    found = identify_diamond(atoms, network(atoms, bonds(atoms, {("Si", "Si"): 2.8})))
    assert (found.classes == kind).all() and found.diamond == 1 and found.near == 0
    assert found.kind == "polycrystalline or crystalline"


def test_a_vacancy_spoils_its_second_neighbours():
    atoms = bulk("Si", cubic=True).repeat(3)
    del atoms[0]
    found = identify_diamond(atoms, network(atoms, bonds(atoms, {("Si", "Si"): 2.6})))
    assert (found.classes == OTHER).sum() + (found.classes > HEXAGONAL).sum() == 4 + 12


def test_quartz_is_no_diamond():
    atoms = quartz().repeat(3)
    found = identify_diamond(atoms, network(atoms, bonds(atoms, SILICA), "O"))
    assert found.diamond == 0 and found.kind.startswith("continuous random network")


def test_no_kind_is_said_of_small_cells_and_of_networks_that_are_not_fourfold():
    small, copper = bulk("Si", cubic=True), bulk("Cu", cubic=True).repeat(3)
    found = identify_diamond(small, network(small, bonds(small, {("Si", "Si"): 2.6})))
    assert not found.fits and "narrower" in found.kind
    found = identify_diamond(copper, network(copper, bonds(copper, {("Cu", "Cu"): 3.0})))
    assert found.fits and "few nodes have four" in found.kind
