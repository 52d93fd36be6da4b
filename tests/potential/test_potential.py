"""The potential's physics: symmetries, derivatives, layers, and its two faces."""

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.build import bulk, graphene
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from gendesign.errors import UserError
from gendesign.potential import fit_chemical_potentials, mace
from gendesign.structure.graph import Batch, neighbours

NAMES = ("CH3OH", "H2O", "NH3")


@pytest.fixture(scope="module")
def potential():
    return tiny.potential()


@pytest.fixture(scope="module")
def crystal() -> Atoms:
    """A sheared, rattled cell smaller than the cutoff, of two elements."""
    atoms = bulk("C", cubic=True)
    atoms.numbers[1] = 8
    shear = np.array([[0, 0.3, 0.1], [0, 0, -0.2], [0.15, 0, 0]])
    atoms.set_cell(atoms.cell.array + shear, scale_atoms=True)
    atoms.rattle(0.05, seed=2)
    return atoms


def close(a, b, tolerance=1e-8):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=tolerance)


def test_symmetries(potential):
    atoms = tiny.rattled("CH3OH")
    before, features = potential.evaluate([atoms]), potential.descriptors([atoms])
    turn, order = Rotation.random(random_state=3).as_matrix(), np.random.default_rng(3).permutation(len(atoms))
    moved = atoms[order]
    moved.positions = moved.positions @ turn.T + [5.0, -3.0, 2.0]
    after = potential.evaluate([moved])
    close(after.energy, before.energy)
    close(after.forces, before.forces[order].numpy() @ turn.T)
    close(after.atom_energy, before.atom_energy[order])
    close(potential.descriptors([moved]), features[order])


def test_gradient_of_the_descriptors_turns_with_the_molecule(potential):
    turn = torch.tensor(Rotation.random(random_state=5).as_matrix())
    batch = potential.batch([tiny.rattled("CH3OH")])
    weight = torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def gradient(positions):
        positions = positions.clone().requires_grad_(True)
        (found,) = torch.autograd.grad((potential.descriptors(batch.at(positions)) @ weight).sum(), positions)
        return found

    straight = gradient(batch.positions)
    assert straight.norm() > 1e-3
    close(gradient(batch.positions @ turn.T), straight @ turn.T)


def test_forces_are_the_gradient_of_the_energy(potential):
    atoms, step = tiny.rattled("CH3OH"), 1e-4
    forces = potential.evaluate([atoms]).forces
    shifted = []
    for k in range(6):
        for sign in (1, -1):
            other = atoms.copy()
            other.positions[k % len(atoms), k % 3] += sign * step
            shifted.append(other)
    energy = potential.evaluate(shifted).energy.view(-1, 2)
    close([forces[k % len(atoms), k % 3] for k in range(6)], (energy[:, 1] - energy[:, 0]) / (2 * step), 1e-6)


def test_stress_is_the_gradient_with_the_cell(potential, crystal):
    predicted, step, expected = potential.evaluate([crystal], stress=True).stress[0], 1e-5, np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            strained = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[i, j] += sign * step / 2
                strain[j, i] += sign * step / 2
                other = crystal.copy()
                other.set_cell(crystal.cell.array @ strain, scale_atoms=True)
                strained.append(other)
            up, down = potential.evaluate(strained).energy.tolist()
            expected[i, j] = (up - down) / (2 * step * crystal.get_volume())
    assert np.abs(expected).max() > 1e-3
    close(predicted, expected, 1e-6)


def test_stress_of_a_molecule_is_refused(potential):
    with pytest.raises(UserError, match="without a cell"):
        potential.evaluate([tiny.rattled("H2O")], stress=True)


def test_ase_and_torchsim_agree(potential, crystal):
    import torch_sim

    calculator = potential.as_ase()
    for atoms, periodic in ((tiny.rattled("CH3OH"), False), (crystal, True)):
        ours, work = potential.evaluate([atoms], stress=periodic), atoms.copy()
        work.calc = calculator
        close(work.get_potential_energy(), ours.energy[0])
        close(work.get_forces(), ours.forces)
        state = torch_sim.io.atoms_to_state([atoms, atoms], potential.device, potential.dtype)
        theirs = potential.as_torchsim(stress=periodic)(state)
        close(theirs["energy"], ours.energy.repeat(2))
        close(theirs["forces"], ours.forces.repeat(2, 1))
        if periodic:
            close(work.get_stress(voigt=False), ours.stress[0])
            close(theirs["stress"][1], ours.stress[0])


@pytest.mark.parametrize("max_l", [0, 1])
def test_descriptors_are_the_first_blocks_of_node_feats(max_l):
    potential = tiny.potential(max_l)
    batch = potential.batch([tiny.rattled(name) for name in NAMES])
    data = mace.inputs(potential.net, batch, neighbours(batch, potential.cutoff))
    whole = potential.net(data, training=False, compute_force=False)["node_feats"].detach()
    close(potential.descriptors(batch).detach(), whole[:, :8], 1e-12)
    close(potential.descriptors(batch, layers=2).detach(), torch.cat([whole[:, :8], whole[:, -8:]], 1), 1e-12)
    with pytest.raises(UserError, match="choose 1 to that"):
        potential.descriptors(batch, layers=3)


def test_shortest_clamps_only_shorter_lengths(potential):
    def features(r, shortest):
        return potential.descriptors([Atoms("CO", [[0, 0, 0], [0, 0, r]])], shortest=shortest)

    assert torch.equal(features(1.0, 0.75), features(1.0, None))
    close(features(0.3, 0.75), features(0.75, None))
    assert (features(0.3, None) - features(0.75, None)).abs().max() > 1e-3


def test_an_isolated_atom_has_its_energy_exactly(potential):
    found = potential.evaluate([Atoms([z]) for z in tiny.ENERGIES])
    assert found.energy.tolist() == list(tiny.ENERGIES.values()) == list(potential.isolated_energies.values())
    assert not found.forces.any()


def test_a_batch_equals_one_by_one(potential):
    structures = [tiny.rattled(name, k) for k, name in enumerate(NAMES)]
    together = potential.evaluate(structures)
    single = [potential.evaluate([atoms]) for atoms in structures]
    close(together.energy, torch.cat([p.energy for p in single]), 1e-10)
    close(together.forces, torch.cat([p.forces for p in single]), 1e-10)


@pytest.mark.parametrize("max_l", [0, 1])
def test_energies_alone_are_those_of_evaluate(max_l):
    potential, structures = tiny.potential(max_l), [tiny.rattled("CH3OH", 1), tiny.rattled("CH4", 2), Atoms("H")]
    found = potential.energies(structures)
    assert found.dtype == torch.float64 and not found.requires_grad
    close(found, potential.evaluate(structures).energy, 1e-10)


@pytest.mark.parametrize("cutoff", [2.0, 5.5])
def test_periodic_neighbours_are_those_of_ase(crystal, cutoff):
    batch = Batch.from_atoms([crystal, crystal], torch.float64, "cpu")
    edges = neighbours(batch, cutoff)
    first = batch.system[edges.index[0]] == 0
    found = torch.cat([edges.index[:, first].T, edges.unit_shift[first].long()], 1).tolist()
    i, j, shift = neighbor_list("ijS", crystal, cutoff)
    assert sorted(found) == sorted(np.c_[i, j, shift].tolist())
    assert len(i) == int(first.sum()) == int((~first).sum())
    vectors = batch.positions[edges.index[1]] - batch.positions[edges.index[0]] + edges.shift
    assert vectors.norm(dim=-1).max() < cutoff


def test_unknown_element_is_refused(potential):
    with pytest.raises(UserError, match="does not know Si; it knows H C N O") as refused:
        potential.evaluate([Atoms("Si")])
    assert "\n" not in str(refused.value)


def test_chemical_potentials(potential):
    structures = [tiny.rattled(name) for name in (*NAMES, "CH4", "H2CO", "HCN")]
    energies = [sum(tiny.CHEMICAL_POTENTIALS[s] for s in a.symbols) for a in structures]
    assert fit_chemical_potentials(structures, energies) == pytest.approx(tiny.CHEMICAL_POTENTIALS)
    close(potential.formation(structures, np.add(energies, 0.5)), np.full(6, 0.5))
    with pytest.raises(UserError, match="cannot separate the elements H O"):
        fit_chemical_potentials([tiny.rattled("H2O")], [1.0])


def test_slabs_need_no_third_lattice_vector(potential):
    """Sheets come from ASE with a zero vector where they are not periodic; vacuum instead must change nothing."""
    sheet = graphene(a=2.5)
    sheet.rattle(0.05, seed=1)
    roomy = sheet.copy()
    roomy.cell[2] = [0, 0, 30.0]
    assert not sheet.cell[2].any()
    bare, with_vacuum = potential.evaluate([sheet]), potential.evaluate([roomy])
    close(bare.energy, with_vacuum.energy)
    close(bare.forces, with_vacuum.forces)


def test_evaluate_answers_without_autograd_and_refuses_nothing_in_words(potential):
    atoms = tiny.rattled("H2O")
    with torch.no_grad():
        close(potential.evaluate([atoms]).forces, potential.evaluate([atoms]).forces)
    with pytest.raises(UserError, match="no structures"):
        potential.evaluate([])


def test_the_torchsim_face_refuses_unknown_elements(potential):
    import torch_sim

    state = torch_sim.io.atoms_to_state([Atoms("Xe")], potential.device, potential.dtype)
    with pytest.raises(UserError, match="Xe"):
        potential.as_torchsim()(state)
