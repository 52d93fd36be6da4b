"""Molecules in pockets: which atoms of a host repel, which attract, and what a hydrogen bond is worth in the choice."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from tiny import references, simgen

from gendesign.errors import UserError
from gendesign.generate.simgen.assembly import Layout
from gendesign.generate.simgen.choice import Goal, choose
from gendesign.generate.simgen.finish import Finish
from gendesign.generate.simgen.polar_pull import TO_HEAVY, TO_HYDROGEN, WIDTH, PolarPull
from gendesign.generate.simgen.proposals import Proposal, assess
from gendesign.generate.simgen.requirements import Requirements
from gendesign.generate.simgen.shape_prior import HostRepulsion
from gendesign.generate.simgen.state import new_swarm
from gendesign.structure.contacts import Host
from gendesign.structure.counter_random import keys


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return references(tmp_path_factory.mktemp("reference"))


def swarm_of(numbers, positions):
    swarm = new_swarm(torch.tensor([len(numbers)]), keys(3, torch.arange(1)), 1)
    return replace(swarm.at(torch.as_tensor(positions, dtype=torch.float64)), numbers=torch.tensor(numbers))


def water():
    """Its oxygen at the origin, one hydrogen along x."""
    atoms = molecule("H2O")
    atoms.positions -= atoms.positions[0]
    atoms.rotate(atoms.positions[1], "x")
    return atoms


def test_hydrogens_of_the_host_repel_and_polar_pairs_come_nearer():
    host = water()
    wall = HostRepulsion.of(host)
    hydrogen = float(host.positions[1, 0])

    def push(number, distance) -> float:
        return float(wall(swarm_of([number], [[hydrogen + distance, 0.0, 0.0]]), 0.1)[0, 0])

    assert push(6, 2.7) > 0 and HostRepulsion.of(host[:1])(swarm_of([6], [[hydrogen + 2.7, 0, 0]]), 0.1)[0, 0] == 0
    assert push(6, 0.95 * 2.9 + 0.01) == 0  # carbon and hydrogen: van der Waals radii 1.7 and 1.2
    assert push(8, 1.85) == 0 and push(8, 1.7) > 0  # as far as in a hydrogen bond


def numerical(pull, swarm, h=1e-5):
    """Minus the gradient of the pull's energy."""

    def energy(x):
        at = x[:, None] - pull.sites[None]
        partner = pull._partners(swarm)
        return -pull.strength * float((torch.exp(-((at.norm(dim=-1) - pull.ideal) ** 2) / (2 * WIDTH**2)) * partner)
                                      .amax(1).sum())  # fmt: skip

    x = swarm.positions
    out = torch.zeros_like(x)
    for index in np.ndindex(*x.shape):
        step = torch.zeros_like(x)
        step[index] = h
        out[index] = -(energy(x + step) - energy(x - step)) / (2 * h)
    return out


def test_polar_atoms_are_drawn_to_their_partners():
    pull = PolarPull.of(Host.of(water()), strength=3.0)
    assert pull.ideal.tolist() == [TO_HYDROGEN, TO_HYDROGEN, TO_HEAVY] and pull.donating.tolist() == [True, True, False]
    swarm = swarm_of([6, 8, 7], [[3.0, 0.4, 0.2], [3.4, 0.3, -0.2], [-0.6, -2.0, 1.0]])
    force = pull(swarm, 0.1)
    torch.testing.assert_close(force, numerical(pull, swarm), atol=1e-6, rtol=1e-5)
    assert not force[0].any() and force[1:].norm(dim=1).min() > 0.1  # carbon feels nothing
    assert not pull(swarm, 1.5).any()  # before atoms have found each other


def test_atoms_of_blocks_are_drawn_to_complementary_partners_only():
    pull = PolarPull.of(Host.of(water()), strength=1.0)
    one = torch.zeros(1, 3, dtype=torch.long)
    layout = Layout(
        numbers=torch.tensor([[7, 7, 8]]), part=one, rigid=torch.ones(1, 3, dtype=torch.bool),
        open=torch.tensor([[1, 0, 0]]), hetero=one, kinds=one, template=torch.zeros(1, 3, 3), references=one[0],
        unsaturation=torch.zeros(1), blocks=((),),
    )  # fmt: skip
    swarm = swarm_of([7, 7, 8], np.zeros((3, 3)))
    partners = pull.of_layout(layout)._partners(swarm)
    donating, accepting = partners[:, 0].tolist(), partners[:, 2].tolist()
    assert donating == [False, True, True]  # the water's hydrogen: an amine that gives its own does not take it
    assert accepting == [True, False, False]  # the water's oxygen: carbonyl groups and pyridine have nothing to give


def test_the_energy_of_the_host_counts_in_the_choice():
    goal, settings = Goal(np.array([0, 0, 1]), 0.0), Finish(temperature=0.01)
    bound = Proposal(molecule("H2O"), 1, 0, -1.0, "O", pressed=-0.5)
    other = Proposal(molecule("H2O"), 1, 0, -1.4, "O")
    assert choose([bound, other], goal, [6, 7, 8], settings, 0.5) is bound
    assert choose([replace(bound, pressed=-0.3), other], goal, [6, 7, 8], settings, 0.5) is other


def test_what_a_run_with_a_host_measures(known):
    generator = simgen(known, host=water(), hydrogen_bonds=0.5)
    assert [type(wall).__name__ for wall in generator.problem.walls] == ["HostRepulsion", "PolarPull"]
    assert len(simgen(known, host=water()).problem.walls) == 1
    checks = {c.name for c in generator.requested}
    assert {"host", "host_distance", "host_contacts", "host_hydrogen_bonds"} <= checks
    with pytest.raises(UserError, match=r"hydrogen_bonds=0\.5 has no host"):
        simgen(known, hydrogen_bonds=0.5)


def test_contacts_are_pairs_of_heavy_atoms():
    host = Host.of(Atoms("CCH", [[0, 0, 0], [1.5, 0, 0], [0, 1, 0]]))
    assert host.contacts(Atoms("CO", [[0, 0, 3.9], [0, 0, 9.0]])) == 1
    assert host.contacts(Atoms("CO", [[0.7, 0, 3.0], [0, 0, 9.0]])) == 2


def test_the_place_of_a_ligand_and_the_wall_count_in_the_choice():
    ligand = molecule("C6H6")[:6]
    inside, beside = molecule("C6H6"), molecule("C6H6")
    beside.positions += [2.0, 0, 0]
    shapes = [a.shape for a in assess([inside, beside, molecule("CH4")], Requirements(place=ligand))]
    assert shapes[0] == pytest.approx(1.0) and shapes[1] < 0.6
    assert shapes[2] == 1.0  # too small to have the ligand's shape
    goal, settings = Goal(np.array([6, 0, 0]), 4.0), Finish(temperature=0.01)
    good, bad = (Proposal(a, 6, 0, -1.0, "c1ccccc1", shape=s) for a, s in zip((inside, beside), shapes, strict=False))
    cheaper = replace(bad, formation=-2.0)
    assert choose([good, cheaper], goal, [6, 7, 8], settings, 0.5) is good
    assert choose([good, cheaper], goal, [6, 7, 8], replace(settings, off_shape=0.0), 0.5) is cheaper
    squeezed = replace(good, pressed=2.0)
    assert choose([squeezed, replace(good, formation=0.0)], goal, [6, 7, 8], settings, 0.5) is not squeezed
