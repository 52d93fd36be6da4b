"""Ideal environments, defect classes, clusters against random placement, voids and surfaces."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation

from gendesign.analysis.coordination import coordination, defect_mask
from gendesign.analysis.defects import classify, clustering
from gendesign.analysis.environments import Descriptor, ideal_environments, similarities
from gendesign.analysis.neighbours import bonds
from gendesign.analysis.voids import radii_of, surface_area, voids

CUTOFF = {("Si", "Si"): 2.85}


def star(name: str, length: float = 2.37) -> Atoms:
    """An atom with the neighbours of an ideal environment, turned at random, in a large cell."""
    turn = Rotation.random(random_state=4).as_matrix()
    places = np.concatenate([[[0, 0, 0]], ideal_environments()[name] * length]) @ turn.T
    return Atoms(["Si"] * len(places), positions=places + 10, cell=[20] * 3, pbc=True)


@pytest.mark.parametrize("name", ideal_environments())
def test_an_ideal_environment_is_most_similar_to_itself(name):
    atoms = star(name)
    table = bonds(atoms, CUTOFF)
    found = similarities(table, [0], 2.37)
    assert found[name][0] == pytest.approx(1, abs=1e-6)
    assert all(value[0] < 0.95 for other, value in found.items() if other != name)


def test_the_spectrum_is_smooth():
    descriptor = Descriptor()
    base = ideal_environments()["tetrahedron"]
    spectra = [descriptor.spectra(base * scale, np.zeros(4, dtype=int), 1)[0] for scale in (1.0, 1.0001)]
    assert np.linalg.norm(spectra[0] - spectra[1]) < 1e-3


@pytest.mark.parametrize("name", ["floating bond", "trigonal bipyramid", "dangling bond"])
def test_defects_get_the_class_of_their_environment(name):
    atoms = star(name)
    atoms.positions[1:] += np.random.default_rng(1).normal(scale=0.05, size=(len(atoms) - 1, 3))
    table = bonds(atoms, CUTOFF)
    of = np.arange(len(atoms)) == 0
    excess = np.where(of, len(atoms) - 5, 0)
    classes, labels = classify(table, of, excess, 2.37, energies=np.where(of, 1.0, 0.0))
    assert labels[0] == name and classes[0].n == 1 and classes[0].share == 1


def test_local_energies_are_measured_from_atoms_without_defect():
    atoms = bulk("Si", cubic=True).repeat(2)
    del atoms[0]
    table = bonds(atoms, {("Si", "Si"): 2.6})
    excess = defect_mask(atoms, table, coordination(atoms, table))
    energies = np.where(excess < 0, -3.0, -4.0)
    classes, _ = classify(table, np.ones(63, dtype=bool), excess, 2.35, energies)
    by_name = {one.name: one for one in classes}
    assert by_name["dangling bond"].n == 4 and by_name["dangling bond"].energy == pytest.approx(1)
    assert by_name["no defect"].similarity["tetrahedron"] == pytest.approx(1, abs=1e-3)


def test_clusters_are_told_from_random_placement():
    atoms = bulk("Si", cubic=True).repeat(4)
    table = bonds(atoms, {("Si", "Si"): 2.6})
    every = np.ones(len(atoms), dtype=bool)
    pairs = np.zeros(len(atoms), dtype=bool)
    for atom in (0, 100, 200, 300):  # four bonded pairs
        pairs[[atom, table.j[table.starts[atom]]]] = True
    found = clustering((table.i, table.j), every, pairs, "pairs")
    assert found.neighbour == 1 and found.z > 5 and found.p < 0.01 and found.largest == 2 and found.sizes[2] == 4
    rng = np.random.default_rng(3)
    scattered = []
    for seed in range(20):
        mask = np.zeros(len(atoms), dtype=bool)
        mask[rng.choice(len(atoms), 40, replace=False)] = True
        scattered.append(clustering((table.i, table.j), every, mask, "random", seed=seed).z)
    assert abs(np.mean(scattered)) < 0.8 and max(map(abs, scattered)) < 4


def test_voids_and_surface_of_a_sphere():
    atoms = Atoms("Si", positions=[(1, 1, 1)], cell=[10] * 3, pbc=True)
    result = voids(atoms, 0.0, 0.25, {"Si": 2.0})
    assert result.fraction == pytest.approx(1 - 4 / 3 * np.pi * 8 / 1000, abs=2e-3)
    assert result.largest == pytest.approx(2 * (np.sqrt(75) - 2), abs=0.5)
    grams = 28.085 / 6.02214076e23
    assert surface_area(atoms, 1.0, {"Si": 2.0}) == pytest.approx(4 * np.pi * 9e-20 / grams, rel=1e-3)


def test_overlapping_spheres_hide_their_caps():
    atoms = Atoms("SiO", positions=[(0.5, 5, 5), (19.0, 5, 5)], cell=[20, 20, 20], pbc=True)  # 1.5 apart, by an image
    big, small, apart = 3.0, 2.5, 1.5
    near = (apart**2 + big**2 - small**2) / (2 * apart)
    area = 2 * np.pi * big * (big + near) + 2 * np.pi * small * (small + apart - near)
    grams = atoms.get_masses().sum() / 6.02214076e23
    assert surface_area(atoms, 1.0, {"Si": 2.0, "O": 1.5}) == pytest.approx(area * 1e-20 / grams, rel=0.01)


def test_pores_of_a_slit():
    layer = bulk("Cu", cubic=True).repeat((3, 3, 2))
    layer.cell[2, 2] += 8.0
    result = voids(layer, 0.5, 0.4, radii_of(layer, {"Cu": 1.5}))
    gap = layer.cell[2, 2] - np.ptp(layer.positions[:, 2]) - 2 * 1.5
    assert result.largest == pytest.approx(gap, abs=1.2)
    assert (np.diff(result.volume) <= 1e-12).all() and result.median_diameter == pytest.approx(gap, rel=0.2)
