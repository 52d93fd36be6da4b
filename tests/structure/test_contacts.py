"""Overlap with a host against distances computed by hand, the dimers of S22 and a crystal structure of a complex."""

from pathlib import Path

import numpy as np
import posebusters
import pytest
from ase import Atoms
from ase.build import molecule
from ase.data.s22 import create_s22_system, s22
from ase.neighborlist import natural_cutoffs, neighbor_list
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from gendesign.structure.clouds import all_atoms
from gendesign.structure.contacts import Host, polar_hydrogens, refuse_overlapping
from gendesign.structure.types import Candidate

COMPLEX = Path(posebusters.__file__).parent / "datasets" / "pdb" / "1s3v"


def dimers(distance: float | None = None) -> list[tuple[Atoms, Atoms]]:
    """The pairs of S22; `distance` 0.9 presses them together (S22x5)."""
    pairs = []
    for name in s22:
        atoms = create_s22_system(name) if distance is None else create_s22_system(name, dist=distance)
        i, j = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.15))
        n, piece = connected_components(coo_matrix((np.ones(len(i)), (i, j)), (len(atoms),) * 2))
        assert n == 2
        pairs.append((atoms[piece == 0], atoms[piece == 1]))
    return pairs


def test_distances_by_hand():
    host = Host.of(Atoms("CH", [[0, 0, 0], [0, 0, 30.0]]))  # hydrogens are seen, far away
    carbon = host.contact(Atoms("C", [[0.0, 0, 2.0]]))
    # van der Waals radii 1.70 + 1.70, covalent 0.76 + 0.76; 0.75 * 3.40 = 2.55 allowed
    assert carbon.distance == pytest.approx(2.0) and carbon.of_vdw == pytest.approx(2.0 / 3.4)
    assert carbon.of_covalent == pytest.approx(2.0 / 1.52) and carbon.of_allowed == pytest.approx(2.0 / 2.55)
    assert host.overlap(Atoms("C", [[0, 0, 2.0]])) == (
        "overlaps the host: C0 is 2.00 Angstrom from its C0, at least 2.55 allowed"
    )
    assert host.overlap(Atoms("C", [[0, 0, 2.54]])) and not host.overlap(Atoms("C", [[0, 0, 2.56]]))
    hydrogen = Atoms("CH", [[0, 0, 3.5], [0, 0, 2.41]])  # 0.75 * (1.20 + 1.70) = 2.175
    assert not host.overlap(hydrogen) and host.overlap(hydrogen[[1]]) == ""
    hydrogen.positions[:, 2] -= 0.3
    assert "H1 is 2.11 Angstrom" in host.overlap(hydrogen) and host.overlaps(hydrogen) == 1
    assert host.contact(Atoms()) is None and host.overlap(Atoms()) == ""


def test_hydrogen_bonds_come_nearer_than_other_contacts():
    host = Host.of(molecule("H2O"))
    oxygen, out = host.positions[0], np.array([0.0, 0.0, 1.0])
    donor = Atoms("OH", [oxygen + 2.62 * out, oxygen + 1.66 * out])  # 0.61 of 1.20 + 1.52
    assert polar_hydrogens(donor.numbers, donor.positions).tolist() == [False, True]
    assert not host.overlap(donor)
    carbon = Atoms("CH", [oxygen + 2.75 * out, oxygen + 1.66 * out])
    assert "H1 is 1.66 Angstrom from its O0, at least 2.04 allowed" in host.overlap(carbon)
    assert host.overlap(Atoms("OH", [oxygen + 2.40 * out, oxygen + 1.44 * out]))  # below 0.55 * 2.72 = 1.50


def test_a_host_without_hydrogens_hides_some():
    carbon = np.array([[0.0, 0.0, 0.0]])
    guest = Atoms("CH", [[0, 0, 3.3], [0, 0, 2.21]])  # between 0.75 and 0.80 of 2.90
    assert Host.of(Atoms("C", carbon)).overlap(guest)
    assert not Host.of(Atoms("CH", [*carbon, [0, 0, -1.09]])).overlap(guest)
    # the case of the issue: a hydrogen on carbon at 1.63 Angstrom from a heavy atom of a protein
    for element in "CNO":
        assert Host.of(Atoms(element, carbon)).overlap(Atoms("CH", [[0, 0, 2.72], [0, 0, 1.63]]))


def test_metals_bind_what_is_near():
    zinc = Host.of(Atoms("ZnH", [[0, 0, 0], [0, 0, 30]]))
    assert not zinc.overlap(Atoms("N", [[0, 0, 2.05]]))  # as in zinc proteins; covalent radii 1.22 + 0.71
    assert zinc.overlap(Atoms("N", [[0, 0, 1.4]]))


@pytest.mark.parametrize("distance", [None, 0.9])
def test_no_dimer_of_s22_overlaps(distance):
    for first, second in dimers(distance):
        assert Host.of(first).overlap(second) == "" and Host.of(second).overlap(first) == ""


def test_no_dimer_of_s22_overlaps_when_the_host_loses_its_hydrogens():
    checked = 0
    for first, second in dimers():
        bare = first[first.numbers > 1]
        assert Host.of(bare).bare.all() and Host.of(bare).overlap(second) == ""
        checked += 1
    assert checked == 22


def test_a_ligand_in_its_crystal_does_not_overlap_its_protein():
    protein = Host.of(all_atoms(COMPLEX / "1s3v_protein_one_lig_removed.pdb"))
    ligand = all_atoms(COMPLEX / "1s3v_ligand.sdf")
    assert protein.bare.all() and len(protein) > 1400
    near = protein.near(ligand.positions, 5.0)
    assert protein.contact(ligand).distance == pytest.approx(near.contact(ligand).distance)
    assert protein.overlap(ligand) == ""
    ligand.positions += 1.5
    assert "overlaps the host" in protein.overlap(ligand)


def test_a_part_of_a_host_remembers_what_its_hydrogens_are_bound_to():
    water = molecule("H2O")
    host = Host.of(water)
    part = host.near(water.positions[[1]], 0.5)  # one hydrogen, without its oxygen
    assert len(part) == 1 and part.polar.tolist() == [True] and not part.bare.any()


def test_overlapping_candidates_fail_with_the_pair():
    host = Host.of(molecule("C6H6"))
    inside, beside = molecule("CH4"), molecule("CH4")
    beside.positions[:, 2] += 4.0
    first, second, third = refuse_overlapping(
        [Candidate(inside, 0), Candidate(beside, 1), Candidate(inside, 2, failure="exploded")], host
    )
    assert first.failure.startswith("overlaps the host: ") and second.failure is None and third.failure == "exploded"
