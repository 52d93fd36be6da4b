"""Hydrogen bonds by geometry, against the dimers of S22 and by hand."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.data import covalent_radii
from ase.data.s22 import create_s22_system, s22
from scipy.sparse.csgraph import connected_components

from gendesign.structure.contacts import Host
from gendesign.structure.hydrogen_bonds import PolarSites, hydrogen_bonds

# Hydrogen bonds that the authors of S22 name (Jurecka et al., Phys. Chem. Chem. Phys. 8, 1985, 2006); all other dimers
# are held by dispersion or mixed forces. The bent bond of the ammonia dimer is beyond the limits of distance used here.
BONDS = {
    "Water_dimer": 1, "Formic_acid_dimer": 2, "Formamide_dimer": 2, "Uracil_dimer_h-bonded": 2,
    "2-pyridoxine_2-aminopyridine_complex": 2, "Adenine-thymine_Watson-Crick_complex": 2, "Phenol_dimer": 1,
}  # fmt: skip


def halves(name: str) -> tuple[Atoms, Atoms]:
    dimer = create_s22_system(name)
    radii = covalent_radii[dimer.numbers]
    labels = connected_components(dimer.get_all_distances() < 1.25 * (radii[:, None] + radii))[1]
    return dimer[labels == 0], dimer[labels == 1]


@pytest.mark.parametrize("name", s22)
def test_the_bonds_of_s22(name):
    first, second = halves(name)
    assert len(hydrogen_bonds(first, Host.of(second))) == BONDS.get(name, 0)
    assert len(hydrogen_bonds(second, Host.of(first))) == BONDS.get(name, 0)
    if name in BONDS:  # and beside a partner without its hydrogens
        assert len(hydrogen_bonds(first, Host.of(second[second.numbers > 1]))) == BONDS[name]


def test_limits_by_hand():
    donor, acceptor = molecule("H2O"), Atoms("O")
    oxygen, hydrogen = donor.positions[:2]
    along = (hydrogen - oxygen) / np.linalg.norm(hydrogen - oxygen)

    def bonds(place) -> int:
        acceptor.positions[0] = place
        return len(hydrogen_bonds(donor, Host(acceptor.numbers, acceptor.positions, np.array([False]))))

    assert bonds(hydrogen + 2.4 * along) == 1 and bonds(hydrogen + 2.6 * along) == 0
    across = np.array([1.0, 0.0, 0.0])  # normal to the plane of the molecule: 90 degrees at the hydrogen
    assert bonds(hydrogen + 2.0 * across) == 0


def test_which_nitrogens_accept():
    def accepts(name: str) -> bool:
        atoms = molecule(name)
        return 7 in atoms.numbers[PolarSites.of(atoms.numbers, atoms.positions).acceptors]

    assert accepts("C5H5N") and accepts("HCN")  # pyridine
    assert not accepts("C4H4NH") and not accepts("CH3NO2")  # pyrrole, and the flat nitrogen of nitromethane


def test_nothing_without_atoms():
    assert hydrogen_bonds(Atoms(), Host.of(molecule("H2O"))) == []
