"""Missing hydrogens by geometry: no false alarm for what is whole, an alarm for what lost its hydrogens."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule, nanotube
from ase.collections import g2
from ase.io import read
from ase.spacegroup import crystal

from gendesign.structure.hydrogens import open_valences

REFERENCES = Path(__file__).resolve().parents[2] / "checkpoints" / "organic" / "reference.extxyz"
TROUBLES = Path(__file__).resolve().parents[1] / "data" / "troubles"
# Without hydrogens these are C2, CN, dichloro- and difluorocarbene, or one atom: all of them exist.
REAL_WITHOUT_HYDROGENS = {"C2H2", "HCN", "H2CCl2", "H2CF2", "CH4", "CH2_s1A1d"}
CRYSTALS = {
    "diamond": bulk("C"),
    "silicon carbide": bulk("SiC", "zincblende", a=4.36),
    "titanium carbide": bulk("TiC", "rocksalt", a=4.33),
    "graphene": graphene(size=(2, 2, 1), vacuum=8),
    "nanotube": nanotube(5, 0, length=2),
    "graphite": Atoms("C4", scaled_positions=[(0, 0, 0.25), (0, 0, 0.75), (1 / 3, 2 / 3, 0.25), (2 / 3, 1 / 3, 0.75)],
                      cell=[2.461, 2.461, 6.708, 90, 90, 120], pbc=True),
    "calcite": crystal(["Ca", "C", "O"], [(0, 0, 0), (0, 0, 0.25), (0.2568, 0, 0.25)], spacegroup=167,
                       cellpar=[4.99, 4.99, 17.06, 90, 90, 120]),
    "dry ice": crystal(["C", "O"], [(0, 0, 0), (0.1185, 0.1185, 0.1185)], spacegroup=205,
                       cellpar=[5.62, 5.62, 5.62, 90, 90, 90]),
    "calcium carbide": Atoms("CaC2", [[0, 0, 0], [0, 0, 2.59], [0, 0, 3.79]], cell=[2.75, 2.75, 6.38], pbc=True),
    "potassium cyanide": Atoms("KCN", [[3.2, 3.2, 3.2], [0, 0, 0], [0, 0, 1.17]], cell=[4.1, 4.1, 4.1], pbc=True),
    "caesium oxide and magnesia": bulk("MgO", "rocksalt", a=4.21),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in g2.names if not molecule(name).get_initial_magnetic_moments().any()])
def test_closed_shell_molecules_are_whole_and_miss_their_hydrogens(name):
    whole = molecule(name)
    assert not open_valences(whole).missing
    beside_carbon = whole.get_all_distances()[np.ix_(whole.numbers == 6, whole.numbers == 1)]
    if (beside_carbon < 1.3).any() and name not in REAL_WITHOUT_HYDROGENS:
        assert open_valences(whole[whole.numbers != 1]).clear


def test_radicals_are_noticed_and_not_refused():
    found = {name: open_valences(molecule(name)) for name in ("CH3CO", "C2H3")}
    assert all(f.missing == {1: 1} and not f.clear for f in found.values())


@pytest.mark.parametrize("name", CRYSTALS)
def test_crystals_of_carbon_are_whole(name):
    assert not open_valences(CRYSTALS[name]).missing


def test_references_and_fullerenes_are_whole():
    frames = read(REFERENCES, index=":")
    assert not any(open_valences(atoms).missing for atoms in frames)
    carbon = [atoms[atoms.numbers != 1] for atoms in frames if 6 in atoms.numbers]
    assert np.mean([open_valences(atoms).clear for atoms in carbon]) > 0.99
    assert not open_valences(read(TROUBLES / "c60.xyz")).missing


def test_molecules_in_crystals():
    methanol = molecule("CH3OH")
    methanol.set_cell([5.0, 5.0, 5.0])
    methanol.pbc = True
    assert not open_valences(methanol).missing
    heavy = methanol[methanol.numbers != 1]
    assert open_valences(heavy).clear and open_valences(heavy).missing == {0: 3}
    assert open_valences(read(TROUBLES / "mapi_noH.cif")).clear
    ice = Atoms("O2", [[0, 0, 0], [2.3, 1.3, 0.9]], cell=[5, 5, 5], pbc=True)
    assert open_valences(ice).missing == {0: 2, 1: 2} and open_valences(ice).clear


def test_single_atoms_are_atoms():
    for symbol in "CNO":
        assert not open_valences(Atoms(symbol)).missing
