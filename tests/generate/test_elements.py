"""Elements: mutants of a swarm, and the last sweep over a finished molecule."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase.build import molecule
from rdkit import Chem

from gendesign.generate.simgen.elements import ElementSwaps, temperature
from gendesign.generate.simgen.kernel import Environments
from gendesign.generate.simgen.state import new_swarm
from gendesign.generate.simgen.sweep import substitutions
from gendesign.structure.bonds import perceive
from gendesign.structure.counter_random import keys


def references(**counts: float) -> Environments:
    numbers = torch.tensor([{"C": 6, "N": 7, "O": 8}[symbol] for symbol in counts])
    none = torch.zeros(len(counts), 1)
    weight = torch.tensor(list(counts.values())).log()
    return Environments(none, weight, numbers, 1.0, numbers, none, none[..., None], torch.zeros(len(counts), 2))


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_mutants_change_exactly_their_share(share):
    sizes = torch.tensor([1, 4, 5, 6, 11])
    swarm = new_swarm(sizes, keys(0, torch.arange(5)), 4)
    score = SimpleNamespace(references=references(C=6.0, N=3.0, O=1.0))
    swaps = ElementSwaps(score, (6, 7, 8), 50, torch.zeros(5, 3), share)
    mutants = swaps.mutate(swarm, torch.zeros(len(swarm.numbers), dtype=torch.float64), 0)
    changed = swarm.per_particle((mutants.numbers != 6).double())
    assert not changed[:, 0].any()
    assert changed[:, 1:].tolist() == [[math.ceil(share * n)] * 3 for n in sizes.tolist()]
    assert mutants.positions is swarm.positions
    alone = ElementSwaps(score, (6,), 50, torch.zeros(5, 1), share)
    assert torch.equal(alone.mutate(swarm, torch.zeros(len(swarm.numbers)), 0).numbers, swarm.numbers)


def test_mutants_follow_the_shares_of_the_references():
    swarm = new_swarm(torch.full((400,), 10), keys(1, torch.arange(400)), 6)
    score = SimpleNamespace(references=references(C=6.0, N=3.0, O=1.0))
    swaps = ElementSwaps(score, (6, 7, 8), 50, torch.zeros(400, 3))
    numbers = swaps.mutate(swarm, torch.zeros(len(swarm.numbers), dtype=torch.float64), 0).numbers
    changed = numbers[numbers != 6]
    assert len(changed) == 400 * 5 * 2
    assert (changed == 7).double().mean().item() == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 4000) ** 0.5)


def test_unlike_sites_mutate_first():
    swarm = new_swarm(torch.full((50,), 5), keys(2, torch.arange(50)), 3)
    swaps = ElementSwaps(SimpleNamespace(references=references(C=1.0, N=1.0)), (6, 7), 50, torch.zeros(50, 2))
    strange = (swarm.slot == 3).double() * 50
    mutants = swaps.mutate(swarm, strange, 0)
    assert (mutants.slot[mutants.numbers == 7] == 3).all()


def test_the_fitter_particle_survives():
    """Cold, the particle of least energy replaces all others of its molecule."""
    refs = references(C=1.0, N=1.0)
    energy = SimpleNamespace(
        references=refs,
        potential=SimpleNamespace(dtype=torch.float64),
        energies=lambda swarm, positions, sigma: (swarm.particle != 2).double(),
        weights=lambda swarm: 1.0,
    )
    swarm = new_swarm(torch.tensor([4, 4]), keys(3, torch.arange(2)), 3)
    swarm.numbers[(swarm.particle == 2) & (swarm.slot == 1)] = 7
    carbon = torch.tensor([[4.0, 0.0]]).expand(2, 2)
    swaps = ElementSwaps(energy, (6, 7), 50, carbon, every=2, off_composition=0.0)
    after = swaps(swarm, 0, 0.0)
    assert after.padded(after.numbers)[[0, 3]].tolist() == [[6, 7, 6, 6]] * 2
    wanted = replace(swaps, off_composition=10.0)(swarm, 0, 0.0)  # a nitrogen more than wanted costs more than it gains
    assert (wanted.padded(wanted.numbers)[[0, 3]] == 6).all()
    assert swaps(swarm, 1, 0.0) is swarm and swaps(swarm, 46, 0.0) is swarm
    assert temperature(0.0) == pytest.approx(0.1) and temperature(1.0) == pytest.approx(1e6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CH3CH2OH", ["CCC", "CCN", "CNO", "COO", "NCO", "OCO"]),
        ("C6H6", ["c1ccncc1"] * 6),
        ("H2CO", ["C=C", "C=N", "N=O", "O=O"]),
        ("CH3CN", ["C#CC", "N#CN", "N#CO"]),
    ],
)
def test_sweep_of_known_molecules(name, expected):
    found = substitutions(molecule(name), (6, 7, 8))
    smiles = []
    for atoms in found:
        mol = perceive(atoms).mol
        assert mol is not None
        smiles.append(Chem.MolToSmiles(Chem.RemoveHs(mol)))
        heavy = int((atoms.numbers > 1).sum())
        assert (atoms.numbers[:heavy] > 1).all() and (atoms.numbers[heavy:] == 1).all()
        assert atoms.get_all_distances()[~np.eye(len(atoms), dtype=bool)].min() > 0.9
    assert sorted(smiles) == sorted(expected)
