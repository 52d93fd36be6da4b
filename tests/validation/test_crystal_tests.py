"""Crystals against closed forms and against ASE: springs between the nearest neighbours of an fcc lattice; EMT."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.phonons import Phonons

from gendesign.validation import crystals, phonons
from gendesign.validation.methods import OneByOne

R0, EPSILON, RHO = 2.5, 0.5, 6.0
EDGE = R0 * np.sqrt(2)
SPRING = 2 * EPSILON * RHO**2 / R0**2  # eV/Angstrom^2
# the second neighbours at 1.41 r0 are beyond the cutoff
SPRINGS = OneByOne(lambda atoms: MorsePotential(epsilon=EPSILON, r0=R0, rho0=RHO, rcut1=1.2, rcut2=1.35), "springs")
EMTS = OneByOne(lambda atoms: EMT(), "EMT")


@pytest.fixture(scope="module")
def fcc():
    (atoms,) = crystals.equilibrium([bulk("Al", "fcc", a=1.01 * EDGE)], SPRINGS)
    return atoms


def test_cell_and_elasticity_of_springs(fcc):
    assert fcc.get_volume() == pytest.approx(EDGE**3 / 4, rel=1e-3)
    stiffness = crystals.elastic_constants(fcc, SPRINGS)
    c11, c12 = 2 * SPRING / EDGE / units.GPa, SPRING / EDGE / units.GPa  # Born and Huang, with C44 = C12
    expected = np.diag([c11 - c12] * 3 + [c12] * 3) + np.pad(np.full((3, 3), c12), ((0, 3), (0, 3)))
    assert np.allclose(stiffness, expected, atol=0.01 * c11)
    state = crystals.equation_of_state(fcc, SPRINGS)
    assert state["bulk_modulus"] == pytest.approx((c11 + 2 * c12) / 3, rel=0.01)
    bulk_modulus, shear = crystals.voigt_reuss_hill(stiffness)
    assert bulk_modulus == pytest.approx((c11 + 2 * c12) / 3, rel=0.01)
    voigt, reuss = (c11 - c12 + 3 * c12) / 5, 5 * (c11 - c12) * c12 / (4 * c12 + 3 * (c11 - c12))
    assert shear == pytest.approx((voigt + reuss) / 2, rel=0.01)


def test_phonons_of_springs(fcc):
    phonon = phonons.force_constants(fcc, SPRINGS, edge=7.0)
    at_gamma, at_x = phonons.at(phonon, [[0, 0, 0], [0.5, 0.5, 0]])
    thz = np.sqrt(SPRING / fcc.get_masses()[0]) * units.second / (2 * np.pi) * 1e-12
    assert np.allclose(at_gamma, 0, atol=1e-3)
    assert at_x == pytest.approx(thz * np.sqrt([4, 4, 8]), rel=5e-3)


def test_phonons_agree_with_ase(tmp_path):
    (copper,) = crystals.equilibrium([bulk("Cu")], EMTS)
    points = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.0]])
    found = phonons.at(phonons.force_constants(copper, EMTS, edge=9.0), points)
    known = Phonons(copper, EMT(), supercell=(4, 4, 4), delta=phonons.DISTANCE, name=str(tmp_path / "phonon"))
    known.run()
    known.read(acoustic=True)
    thz = known.band_structure(points, verbose=False) * units._e / units._hplanck * 1e-12
    assert np.allclose(found, np.sort(thz.real, axis=1), atol=0.05)


def test_copper_beside_itself_and_beside_the_literature():
    found = crystals.measure(EMTS, [bulk("Cu")], EMTS)
    rows = {row.name: row for row in crystals.rows(found)}
    # EMT's bulk modulus of copper is 134 GPa (ASE's tutorial on equations of state), its lattice constant 3.59 Angstrom
    assert rows["bulk modulus, Cu"].value == pytest.approx(134, abs=3)
    assert rows["volume, Cu"].value == pytest.approx(3.59**3 / 4, rel=0.01)
    assert rows["volume MAE against the teacher"].value == 0
    assert rows["elastic constants MAE against the teacher"].value == pytest.approx(0, abs=1e-6)
    assert crystals.picture(found).axes


def test_phonon_rows_and_picture():
    found = phonons.measure(EMTS, [bulk("Al")], EMTS)
    rows = {row.name: row for row in phonons.rows(found)}
    assert rows["phonon frequencies MAE against the teacher"].value == pytest.approx(0, abs=1e-6)
    assert 5 < rows["highest phonon, Al"].value < 12 and found["crystals"][0]["lowest"] > -0.05
    assert phonons.picture(found).axes
