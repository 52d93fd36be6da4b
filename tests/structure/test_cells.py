"""Numbers of cells against hand-computed ones, and CIFs against two readers."""

import io

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.io import read
from pymatgen.core import Structure

from gendesign.structure.cells import VACUUM, cif, density, pressure, space_group

SALT = bulk("NaCl", "rocksalt", a=5.64, cubic=True)


def test_density_by_hand():
    # 4 NaCl of 58.44 u in 179.41 A^3, 1 u = 1.66054e-24 g; the density in handbooks is 2.17 g/cm3
    assert density(SALT) == pytest.approx(4 * 58.44 * 1.66054 / 5.64**3, rel=1e-4)
    assert density(SALT) == pytest.approx(2.164, abs=0.001)
    # one water molecule of 18.015 u in 29.9 A^3 is liquid water
    assert density(Atoms("H2O", cell=[29.9, 1, 1], pbc=True)) == pytest.approx(1.0005, abs=0.001)


def test_pressure_is_positive_where_the_cell_is_compressed():
    assert pressure([-units.GPa, -2 * units.GPa, -3 * units.GPa, 5.0, 5.0, 5.0]) == pytest.approx(2.0)
    assert pressure(-np.diag([1.0, 2.0, 3.0]) * units.GPa) == pytest.approx(2.0)


def test_space_groups():
    assert space_group(SALT, 0.1) == "Fm-3m (225)"
    hydrogens = SALT.copy()
    hydrogens += Atoms("H", [[1.0, 0.3, 0.2]])
    assert space_group(hydrogens, 0.1) == "Fm-3m (225)"
    assert space_group(hydrogens, 0.1, heavy=False) == "P1 (1)"


def test_a_cif_is_the_crystal():
    rattled = SALT.copy()
    rattled.rattle(0.1, seed=1)
    rattled.set_cell(np.array(rattled.cell) @ np.array([[1, 0, 0], [0.1, 1.05, 0], [0, 0.2, 0.9]]), scale_atoms=True)
    text = cif(rattled, "3_salt", ["candidate 3"])
    assert text.startswith("# candidate 3\ndata_3_salt\n")
    (back,) = read(io.StringIO(text), ":", format="cif")
    assert back.cell.cellpar() == pytest.approx(rattled.cell.cellpar(), abs=1e-6)
    assert back.get_all_distances(mic=True) == pytest.approx(rattled.get_all_distances(mic=True), abs=1e-5)
    assert Structure.from_str(text, fmt="cif").composition.formula == "Na4 Cl4"


@pytest.mark.filterwarnings("ignore:.*")
def test_the_cif_of_a_slab_has_room_and_says_so():
    slab = fcc111("Al", (1, 1, 3))
    assert not slab.cell[2].any() and slab.pbc.tolist() == [True, True, False]
    text = cif(slab, "slab")
    assert "# periodic along a and b only" in text
    (back,) = read(io.StringIO(text), ":", format="cif")
    assert back.cell.lengths()[2] == pytest.approx(np.ptp(slab.positions[:, 2]) + VACUUM)
    assert sorted(back.get_all_distances()[0]) == pytest.approx(sorted(slab.get_all_distances()[0]), abs=1e-5)
