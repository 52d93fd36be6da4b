"""The recipe of silicon-oxygen: its crystals, its held-out trajectories, its filter of force spikes."""

import numpy as np
import pytest
import torch
from ase import Atoms
from matscipy.neighbours import neighbour_list

from gendesign.potential.base import PotentialBase
from gendesign.structure.types import Prediction
from scripts.silicon_oxygen import clusters, crystals
from scripts.silicon_oxygen.data import in_test
from scripts.silicon_oxygen.label import fault
from scripts.silicon_oxygen.melts import all_melts, script

FOURFOLD = ("quartz", "beta-quartz", "cristobalite", "beta-cristobalite", "tridymite", "coesite")


@pytest.mark.parametrize("name", crystals.SILICA)
def test_silica_has_its_coordination_and_composition(name):
    atoms = crystals.POLYMORPHS[name]()
    counts = np.bincount(neighbour_list("i", atoms, 2.1), minlength=len(atoms))
    silicon, oxygen = (4, 2) if name in FOURFOLD else (6, 3)
    assert set(counts[atoms.numbers == 14]) == {silicon} and set(counts[atoms.numbers == 8]) == {oxygen}
    assert (atoms.numbers == 8).sum() == 2 * (atoms.numbers == 14).sum()


@pytest.mark.parametrize(("name", "volume"), [("quartz", 37.7), ("coesite", 34.2), ("stishovite", 23.3)])
def test_volumes_of_experiments(name, volume):
    """Angstrom^3 per SiO2, Levien, Prewitt et al. and Ross et al."""
    atoms = crystals.POLYMORPHS[name]()
    assert 3 * atoms.get_volume() / len(atoms) == pytest.approx(volume, rel=0.01)


@pytest.mark.parametrize(("name", "bonds"), [("diamond", 4), ("lonsdaleite", 4), ("clathrate", 4), ("beta-tin", 6)])
def test_silicon_has_its_coordination(name, bonds):
    atoms = crystals.POLYMORPHS[name]()
    counts = np.bincount(neighbour_list("i", atoms, 2.7), minlength=len(atoms))
    assert set(counts) == {bonds}


def test_random_structures_are_of_use():
    rng = np.random.default_rng(0)
    for make in (crystals.defective, crystals.slab):
        for _ in range(5):
            atoms = make(rng)
            assert 8 < len(atoms) <= crystals.LARGEST + 1 and atoms.pbc.all()
    cluster = clusters.cluster(rng, 7)
    distances = neighbour_list("d", cluster, 5.0)
    assert distances.min() > 1.1 and cluster.info["group"] == "cluster-7"


def test_trajectories_are_held_out_as_a_whole():
    names = [melt.name for melt in all_melts()]
    assert len(set(names)) == len(names)
    held = [in_test(Atoms("Si", info={"kind": "silicon melt", "group": name})) for name in names]
    assert 0.04 < np.mean(held) < 0.2
    assert not any(in_test(Atoms("Si", info={"kind": kind, "group": f"x{k}"})) for kind in ("dimer", "silica equation")
                   for k in range(50))  # fmt: skip
    assert "pair_coeff * * SiO.1994.vashishta Si O" in script(
        next(m for m in all_melts() if m.potential == "vashishta")
    )


class Spiky(PotentialBase):
    """Forces of 20 eV/Angstrom; a spike of 50 at one exact position."""

    name, elements, cutoff = "spiky", ("Si",), 5.0
    device, dtype = torch.device("cpu"), torch.float64

    def evaluate(self, structures, *, stress=False):
        batch = self.batch(structures)
        forces = torch.full_like(batch.positions, 20 / 3**0.5)
        return Prediction(torch.zeros(batch.n_systems, dtype=torch.float64), forces, None)


def test_a_force_that_moved_copies_lack_is_a_spike():
    atoms = Atoms("Si2", [[0, 0, 0], [0, 0, 2.4]], cell=[9, 9, 9], pbc=True)
    smooth, spike = np.full((2, 3), 20 / 3**0.5), np.full((2, 3), 50 / 3**0.5)
    assert fault(Spiky(), atoms, smooth) == "" and fault(Spiky(), atoms, spike) == "force spike"
    assert fault(Spiky(), atoms, 10 * spike) == "force of 500 eV/Angstrom"
    assert fault(Spiky(), atoms, np.zeros((2, 3))) == ""
