"""Neighbour lists against ASE's: dense and sparse cells, atoms far outside of their cell, slabs."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from gendesign.structure.graph import Batch, _on_cpu, _on_gpu, neighbours

CUTOFF = 4.5


def crystals() -> list[Atoms]:
    rng = np.random.default_rng(3)
    tilted = Atoms("PbI3CH", rng.random((6, 3)) * 9 - 4, cell=[[6.1, 0, 0], [2.5, 6.4, 0], [-1.9, 3.0, 7.7]], pbc=True)
    wide = Atoms("CsI", [[0.1, 0.2, 0.3], [3.9, 0.2, 0.3]], cell=[14, 13, 12], pbc=True)
    return [bulk("NaCl", "rocksalt", 5.6), tilted, wide, bulk("Cu", cubic=True)]


def by_ase(structures: list[Atoms]) -> list[tuple]:
    """(first, second, shift) of every pair, atoms counted through the batch."""
    found, start = [], 0
    for atoms in structures:
        first, second, shift = neighbor_list("ijS", atoms, CUTOFF)
        found += [
            (i + start, j + start, *s) for i, j, s in zip(first.tolist(), second.tolist(), shift.tolist(), strict=True)
        ]
        start += len(atoms)
    return sorted(found)


def rows(index: torch.Tensor, unit: torch.Tensor) -> list[tuple]:
    return sorted(map(tuple, torch.cat([index.T, unit.long()], 1).tolist()))


# the list for GPUs runs on any device, and is tried here on the one there is
@pytest.mark.parametrize("listed", [_on_cpu, _on_gpu])
def test_crystals_have_the_neighbours_that_ase_finds(listed):
    batch = Batch.from_atoms(crystals(), torch.float64, "cpu")
    index, unit = listed(batch, batch.cell, CUTOFF)
    assert rows(index, unit) == by_ase(crystals())
    assert bool((index[0].diff() >= 0).all()) and index.dtype == torch.long and unit.dtype == torch.float64


@pytest.mark.parametrize("listed", [_on_cpu, _on_gpu])
def test_a_slab_without_a_third_vector_has_neighbours_in_its_plane_alone(listed):
    slab = Atoms("NaCl", [[0, 0, 0], [2.8, 0, 0.4]], cell=[5.6, 5.6, 0], pbc=[True, True, False])
    batch = Batch.from_atoms([slab, slab], torch.float64, "cpu")
    index, unit = listed(batch, batch.cell, CUTOFF)
    assert not unit[:, 2].any()
    assert rows(index, unit) == by_ase([slab, slab])


def test_shifts_lead_to_the_neighbours():
    batch = Batch.from_atoms(crystals(), torch.float64, "cpu")
    edges = neighbours(batch, CUTOFF)
    apart = batch.positions[edges.index[1]] - batch.positions[edges.index[0]] + edges.shift
    lengths = np.concatenate([neighbor_list("d", atoms, CUTOFF) for atoms in crystals()])
    np.testing.assert_allclose(np.sort(apart.norm(dim=1).numpy()), np.sort(lengths), atol=1e-12)
