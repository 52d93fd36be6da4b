"""Structures for the page: bonds, images across faces, polyhedra, connected molecules."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from gendesign.errors import UserError
from gendesign.view.structures import Store, component, to_atoms, to_json, without_water


def test_a_molecule_has_its_bond_orders():
    content = to_json(molecule("C2H4"), "ethene")
    assert sorted(order for _, _, order in content["bonds"]) == [1, 1, 1, 1, 2]
    assert {order for *_, order in to_json(molecule("C6H6"))["bonds"]} == {1.5, 1}
    back = to_atoms(content)
    assert np.allclose(back.positions, molecule("C2H4").positions, atol=1e-4)


def test_a_pose_turns_and_moves():
    content = to_json(Atoms("CO", [[0, 0, 0], [1.1, 0, 0]]))
    quarter = {"r": [0, -1, 0, 1, 0, 0, 0, 0, 1], "t": [0, 0, 5]}
    assert np.allclose(to_atoms(content, quarter).positions, [[0, 0, 5], [0, 1.1, 5]])


def test_bonds_across_faces_lead_to_images_and_octahedra_are_whole():
    perovskite = Atoms("CsPbI3", [[3, 3, 3], [0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3]], cell=[6, 6, 6], pbc=True)
    content = to_json(perovskite)
    lead = 1
    inside = [bond for bond in content["bonds"] if lead in bond[:2]]
    outside = [ghost for ghost in content["ghosts"] if ghost["to"] == lead]
    assert len(inside) == 3 and len(outside) == 3
    assert {tuple(ghost["position"]) for ghost in outside} == {(-3, 0, 0), (0, -3, 0), (0, 0, -3)}
    (octahedron,) = content["polyhedra"]
    assert octahedron["atom"] == lead and len(octahedron["corners"]) == 6 and len(octahedron["triangles"]) == 8
    diamond = to_json(bulk("C", "diamond", a=3.57))  # atoms of one element: drawn from both sides
    assert len(diamond["bonds"]) == 1 and len(diamond["ghosts"]) == 6


def test_one_click_finds_a_whole_molecule():
    pair = molecule("C6H6") + Atoms(molecule("H2O").numbers, molecule("H2O").positions + [8, 0, 0])
    content = to_json(pair)
    assert component(content, 0) == list(range(12))
    assert component(content, 13) == [12, 13, 14]


def test_water_is_left_out_of_hosts():
    atoms = Atoms("COHH", [[0, 0, 0], [5, 0, 0], [5.6, 0.7, 0], [5.6, -0.7, 0]])
    atoms.set_array("residuenames", np.array(["ALA ", "HOH ", "HOH ", "HOH "]))
    assert without_water(to_json(atoms)).get_chemical_formula() == "C"


def test_the_store_names_structures_by_content_and_refuses_paths(tmp_path):
    store = Store(tmp_path)
    name = store.add(to_json(molecule("H2O")))
    assert store.add(to_json(molecule("H2O"))) == name and len(list(tmp_path.iterdir())) == 1
    assert store.get(name)["numbers"] == [8, 1, 1]
    for wrong in ("../scene", "", "f" * 24):
        with pytest.raises(UserError, match="no structure"):
            store.get(wrong)
