"""Neighbours, coordination, g(r) and angles against brute force, crystals and the ideal gas."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from gendesign.analysis.choices import cutoffs_of, r_max_of
from gendesign.analysis.coordination import coordination, defect_mask
from gendesign.analysis.distributions import bond_angles, bond_lengths, first_minimum, radial_distribution
from gendesign.analysis.energetics import quartz
from gendesign.analysis.neighbours import bonds, check_cutoff, heights, pairs
from gendesign.analysis.settings import Analysis
from gendesign.errors import UserError

SKEWED = [[14.0, 0, 0], [3.0, 13.0, 0], [-2.0, 4.0, 30.0]]


def gas(n: int = 400, cell=SKEWED, seed: int = 0, symbols: str = "Si") -> Atoms:
    """Atoms at random in a cell, some of them outside it."""
    rng = np.random.default_rng(seed)
    places = (rng.random((n, 3)) * 3 - 1) @ np.array(cell)
    return Atoms([symbols] * n if symbols == "Si" else list(symbols) * (n // len(symbols)), places, cell=cell, pbc=True)


def as_set(i, j, distance) -> set:
    return {(int(a), int(b), round(float(d), 6)) for a, b, d in zip(i, j, distance, strict=True)}


def test_slabs_find_the_same_pairs_as_ase():
    atoms, cutoff = gas(), 3.1
    parts = list(pairs(atoms, cutoff, most=300))
    assert len(parts) > 2
    found = [np.concatenate([getattr(part, name) for part in parts]) for name in ("i", "j", "distance", "vector")]
    i, j, d, vector = neighbor_list("ijdD", atoms, cutoff)
    assert as_set(*found[:3]) == as_set(i, j, d) and len(found[0]) == len(i)
    assert np.allclose(np.linalg.norm(found[3], axis=1), found[2])
    # vectors lead from i to an image of j
    ends = (atoms.positions[found[0]] + found[3] - atoms.positions[found[1]]) @ np.linalg.inv(atoms.cell.array)
    assert np.allclose(ends, np.rint(ends))
    del vector


def test_bonds_are_sorted_and_obey_the_cutoff_of_their_pair():
    atoms = gas(300, symbols="SiOO".replace("Si", "S"))
    table = bonds(atoms, {("S", "O"): 2.5, ("O", "O"): 1.2})
    assert (np.diff(table.i) >= 0).all() and table.counts.sum() == len(table.i)
    pair = np.sort(atoms.numbers[np.stack([table.i, table.j])], axis=0)
    assert not (pair == 16).all(0).any()
    assert table.distance[(pair == 8).all(0)].max() < 1.2 and table.distance.max() < 2.5
    expected = neighbor_list("i", atoms, {("S", "O"): 2.5, ("O", "O"): 1.2})
    assert (np.bincount(expected, minlength=300) == table.counts).all()


def test_a_cutoff_beyond_half_the_cell_is_one_line():
    atoms = bulk("Si", cubic=True)
    assert np.allclose(heights(atoms.cell.array), 5.43)
    with pytest.raises(UserError, match="longer than half the smallest cell height") as error:
        check_cutoff(atoms, 2.8, "r_max")
    assert "\n" not in str(error.value) and "2.71" in str(error.value)
    with pytest.raises(UserError, match="r_max=3"):
        r_max_of([atoms], Analysis(r_max=3.0))


def test_ideal_gas_has_no_correlation():
    atoms = gas(4000, np.eye(3) * 20, symbols="SO")
    radial = radial_distribution(atoms, 8.0, 1.0)
    far = radial.r > 2
    for g in (*radial.partial.values(), radial.total):
        assert np.abs(g[far] - 1).max() < 0.03


def test_sampled_slabs_agree_with_all_atoms():
    atoms = gas(3000, np.diag([15.0, 15.0, 90.0]))
    every = radial_distribution(atoms, 4.0, 0.5)
    some = radial_distribution(atoms, 4.0, 0.5, most=10_000)
    assert every.sampled == 1  # one chunk is never divided
    assert some.sampled == 1 or np.abs(some.total[2:] - every.total[2:]).max() < 0.2


def test_shells_of_diamond():
    atoms = bulk("Si", cubic=True).repeat(3)
    radial = radial_distribution(atoms, 7.0, 0.05)
    rho = len(atoms) / atoms.get_volume()
    edges = np.linspace(0, 7, len(radial.r) + 1)
    counts = np.cumsum(radial.partial["Si", "Si"] * rho * 4 / 3 * np.pi * np.diff(edges**3))
    at = lambda r: counts[np.searchsorted(edges, r) - 2]  # noqa: E731
    assert at(3.0) == pytest.approx(4) and at(4.2) == pytest.approx(16) and at(5.0) == pytest.approx(28)


def test_quartz():
    atoms = quartz().repeat(3)
    cutoffs, origin = cutoffs_of(atoms, Analysis())
    assert cutoffs == {("Si", "O"): 2.0} and origin == "usual for silica"
    table = bonds(atoms, cutoffs)
    silicon, oxygen = coordination(atoms, table)
    assert (silicon.element, silicon.total, silicon.defects) == ("Si", 4, 0)
    assert oxygen.histogram == (0, 0, 1) and oxygen.mean["Si"] == 2
    lengths = bond_lengths(atoms, table)
    assert lengths[0].pair == ("Si", "O") and lengths[0].mean == pytest.approx(1.609, abs=2e-3)
    angles = {angle.name: angle for angle in bond_angles(atoms, table)}
    assert angles["Si-O-Si"].mean == pytest.approx(143.7, abs=0.2)  # Levien et al. 1980: 143.73
    assert angles["Si-O-Si"].n == 162 and angles["O-Si-O"].n == 6 * 81
    assert angles["O-Si-O"].density.sum() == pytest.approx(1)


def test_angles_at_atoms_without_defect_only():
    places = [[5, 5, 5], [6.6, 5, 5], [5, 6.6, 5], [5, 5, 6.6], [8.2, 5, 5]]
    atoms = Atoms("OSi3O", positions=places, cell=[10] * 3, pbc=True)
    table = bonds(atoms, {("Si", "O"): 2.0})
    excess = defect_mask(atoms, table, coordination(atoms, table))
    assert excess.tolist() == [1, -2, -3, -3, -1]
    every = {angle.name: angle for angle in bond_angles(atoms, table)}
    assert every["Si-O-Si"].mean == pytest.approx(90) and every["O-Si-O"].mean == pytest.approx(180)
    assert bond_angles(atoms, table, vertices=excess == 0) == []


def test_cutoffs_of_other_elements_are_first_minima():
    atoms = bulk("Ge", cubic=True).repeat(3)
    atoms.rattle(0.08, seed=1)
    cutoffs, origin = cutoffs_of(atoms, Analysis())
    assert 2.5 < cutoffs["Ge", "Ge"] < 3.8 and origin == "first minima of g(r)"
    assert (bonds(atoms, cutoffs).counts == 4).all()
    r = np.linspace(0, 6, 120)
    assert first_minimum(r, np.zeros(120)) is None


@pytest.mark.parametrize("word", ["Si-O", "Si:2", "Si-Xx:2", "Si-O:-1", "Si-O:nan", "Si-O:x", "Ge-Ge:2.0", "Si-O:99"])
def test_wrong_cutoffs_are_one_line(word):
    with pytest.raises(UserError) as error:
        cutoffs_of(quartz().repeat(2), Analysis(cutoffs=(word,)))
    assert "\n" not in str(error.value)
