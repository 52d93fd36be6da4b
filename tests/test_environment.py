"""Relaxation beside a host: the wall's derivative, energies that stay the potential's own, no molecule inside."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
from ase import Atoms
from ase.build import molecule

from gendesign.relaxation import Relaxation, relax
from gendesign.relaxation.environment import STIFFNESS, Wall, WalledPotential, relax_beside
from gendesign.structure.contacts import Host


def benzene() -> Host:
    return Host.of(molecule("C6H6"))


def test_the_wall_by_hand():
    host = Host.of(Atoms("CH", [[0, 0, 0], [0, 0, 30.0]]))
    energy, forces = Wall(host)(np.array([6]), np.array([[0.0, 0.0, 2.5]]))
    inside = 0.85 * 3.4 - 2.5  # it begins 0.10 of the van der Waals sum before atoms overlap
    assert energy == pytest.approx([STIFFNESS / 2 * inside**2])
    np.testing.assert_allclose(forces, [[0, 0, STIFFNESS * inside]], atol=1e-12)
    energy, forces = Wall(host)(np.array([6]), np.array([[0.0, 0.0, 2.9]]))
    assert energy == 0 and not forces.any()


def test_forces_of_the_wall_are_its_derivative():
    atoms = molecule("CH3OH")
    atoms.positions += [1.2, 0.3, 2.0]
    wall, x, h = Wall(benzene()), atoms.positions, 1e-5
    energy, forces = wall(atoms.numbers, x)
    assert energy.sum() > 0.1
    for atom in range(len(atoms)):
        for axis in range(3):
            step = np.zeros_like(x)
            step[atom, axis] = h
            slope = (wall(atoms.numbers, x + step)[0].sum() - wall(atoms.numbers, x - step)[0].sum()) / (2 * h)
            assert forces[atom, axis] == pytest.approx(-slope, abs=1e-6)


def test_a_hydrogen_bond_attracts_where_it_has_an_energy():
    bound = molecule("H2O")
    host = replace(Host.of(bound), bond_energy=0.25)
    guest = molecule("H2O")  # accepts a hydrogen of the host at the ideal distance, along its bond
    along = bound.positions[1] - bound.positions[0]
    along /= np.linalg.norm(along)
    guest.positions += bound.positions[1] + 1.9 * along - guest.positions[0]
    wall, without = Wall(host), Wall(Host.of(bound))
    difference = wall(guest.numbers, guest.positions)[0].sum() - without(guest.numbers, guest.positions)[0].sum()
    assert -0.30 < difference < -0.25  # the other pairs are far from their ideal distance and add a little
    x, h = guest.positions + [0.13, -0.2, 0.31], 1e-5
    forces = wall(guest.numbers, x)[1]
    for atom in range(3):
        for axis in range(3):
            step = np.zeros_like(x)
            step[atom, axis] = h
            slope = (wall(guest.numbers, x + step)[0].sum() - wall(guest.numbers, x - step)[0].sum()) / (2 * h)
            assert forces[atom, axis] == pytest.approx(-slope, abs=1e-6)
    assert len(host.near(guest.positions, 5.0)) == 3 and host.near(guest.positions, 5.0).bond_energy == 0.25


def test_batches_get_the_wall_of_each_structure():
    potential, wall = tiny.potential(), Wall(benzene())
    near, far = molecule("CH4"), molecule("H2O")
    near.positions += [0, 0, 2.5]
    far.positions += 40.0
    done = relax([near, far], WalledPotential(potential, wall), Relaxation(max_steps=0))
    own = relax([near, far], potential, Relaxation(max_steps=0))
    energy, forces = wall(near.numbers, near.positions)
    assert done[0].info["energy"] - own[0].info["energy"] == pytest.approx(energy.sum()) and energy.sum() > 0
    np.testing.assert_allclose(done[0].atoms.get_forces() - own[0].atoms.get_forces(), forces, atol=1e-9)
    assert done[1].info["energy"] == own[1].info["energy"]


def test_stored_energies_are_the_potentials_own_and_fmax_is_of_both():
    potential, host = tiny.potential(), benzene()
    start = molecule("CH4")
    start.positions += [0.2, 0.1, 2.6]
    (done,) = relax_beside(host, [start], potential, Relaxation(max_steps=3, fmax=0.01))
    bare = potential.evaluate([Atoms(done.atoms.numbers, done.atoms.positions)])
    energy, forces = Wall(host)(done.atoms.numbers, done.atoms.positions)
    assert done.info["energy"] == pytest.approx(float(bare.energy[0]), abs=1e-9)
    assert done.info["host_energy"] == pytest.approx(energy.sum()) and done.atoms.get_potential_energy() == (
        pytest.approx(float(bare.energy[0]), abs=1e-9)
    )
    np.testing.assert_allclose(done.atoms.get_forces(), bare.forces.numpy(), atol=1e-8)
    total = bare.forces.numpy() + forces
    assert done.info["fmax"] == pytest.approx(np.linalg.norm(total, axis=1).max(), abs=1e-8)


def test_without_a_host_nothing_changes():
    atoms, settings = tiny.rattled("CH3OH"), Relaxation(max_steps=2)
    (one,), (two,) = relax([atoms], tiny.potential(), settings), relax_beside(None, [atoms], tiny.potential(), settings)
    assert one.info == two.info and (one.atoms.positions == two.atoms.positions).all() and one.history == two.history


@pytest.mark.parametrize("optimizer", ["lbfgs", "fire", "precon_lbfgs"])
def test_an_overlapping_molecule_is_pushed_out(optimizer):
    from gendesign import load_potential

    host, start = benzene(), molecule("CH4")
    start.positions += [0.3, 0.2, 2.3]
    assert host.overlap(start)
    settings = Relaxation(optimizer=optimizer, max_steps=150, fmax=0.05)
    (done,) = relax_beside(host, [start], load_potential("organic"), settings)
    assert done.info["converged"] and host.overlap(done.atoms) == "" and done.info["host_energy"] < 0.3


def test_a_candidate_that_stays_inside_has_failed():
    from gendesign.processes import SERIAL
    from gendesign.run.conditions import relaxing
    from gendesign.structure.types import Candidate

    inside, beside = molecule("CH4"), molecule("CH4")
    beside.positions[:, 2] += 9.0
    seen = []
    stage = relaxing(benzene(), tiny.potential(), Relaxation(max_steps=0), SERIAL)
    first, second = stage([Candidate(inside, 0), Candidate(beside, 1)], lambda *numbers: seen.append(numbers))
    assert first.failure.startswith("overlaps the host: ") and len(first.atoms) == 5 and second.failure is None
    assert seen[-1] == (2, 2) and second.info["host_energy"] == 0.0
