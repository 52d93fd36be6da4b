"""The closed form of MACE with scalar messages says exactly what mace-torch's own modules say."""

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.build import bulk

from gendesign.potential import mace, scalar
from gendesign.structure.graph import Batch, neighbours

SHAPES = {
    "l_max 2 correlation 2": dict(max_ell=2, correlation=2),
    "l_max 3 correlation 3": dict(max_ell=3, correlation=3),
    "correlation 1": dict(max_ell=1, correlation=1),
    "correlation 4": dict(max_ell=2, correlation=4),
    "three layers": dict(max_ell=2, correlation=3, layers=3),
    "one layer": dict(max_ell=2, correlation=2, layers=1),
    "no pair term": dict(max_ell=2, correlation=2, pair_repulsion=False, scale=1.7),
}


def network(**shape):
    torch.manual_seed(4)
    return mace.from_plain(tiny.settings(**shape), torch.float64)


def molecules(net) -> tuple[Batch, object]:
    batch = Batch.from_atoms([tiny.rattled(n) for n in ("CH3OH", "HCN", "O")], torch.float64, "cpu")
    return batch, neighbours(batch, float(net.r_max))


def crystals(net):
    atoms = bulk("C", cubic=True)
    atoms.numbers[::3] = 7
    atoms.rattle(0.1, seed=2)
    other = Atoms("CO", [[0, 0, 0], [1.1, 0.2, 0]], cell=[[4, 0.2, 0], [0, 4.5, 0.4], [0.3, 0, 5]], pbc=True)
    batch = Batch.from_atoms([atoms, other], torch.float64, "cpu")
    return batch, neighbours(batch, float(net.r_max))


def by_modules(monkeypatch, call):
    with monkeypatch.context() as patch:
        patch.setattr(scalar, "supports", lambda *_: False)
        return call()


def close(ours, theirs):
    np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_energy_forces_stress_and_descriptors(shape, monkeypatch):
    net = network(**shape)
    assert scalar.supports(net)
    for batch, edges in (molecules(net), crystals(net)):
        periodic = batch.cell is not None
        ours = mace.predict(net, batch, edges, stress=periodic)
        theirs = by_modules(monkeypatch, lambda b=batch, e=edges, p=periodic: mace.predict(net, b, e, stress=p))
        for key in ("energy", "forces", "atom_energy") + ("stress",) * periodic:
            close(getattr(ours, key), getattr(theirs, key))

        def features(b=batch, e=edges):
            return mace.descriptors(net, b.positions, b.numbers, e, len(net.interactions), shortest=1.0)

        close(features(), by_modules(monkeypatch, features))


def test_gradients_of_a_loss_in_the_weights(monkeypatch):
    net = network(max_ell=2, correlation=3)
    batch, edges = molecules(net)
    wanted = torch.randn(len(batch.positions), 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def gradients():
        out = mace.predict(net, batch, edges, training=True)
        loss = (out.forces - wanted).norm(dim=-1).sum() + out.energy.sum()
        return torch.autograd.grad(loss, [p for p in net.parameters() if p.requires_grad], allow_unused=True)

    ours, theirs = gradients(), by_modules(monkeypatch, gradients)
    assert sum(g is not None for g in ours) > 10
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            close(a, b)


def test_an_atom_without_neighbours_has_the_energy_of_an_isolated_atom():
    net = network(max_ell=2, correlation=2)
    batch = Batch.from_atoms([Atoms("C"), Atoms("O")], torch.float64, "cpu")
    found = mace.predict(net, batch, neighbours(batch, float(net.r_max)))
    np.testing.assert_allclose(found.energy, [tiny.ENERGIES[6], tiny.ENERGIES[8]], atol=1e-9)
    assert not found.forces.any()


def test_vector_messages_go_through_the_modules():
    net = network(max_ell=2, max_l=1)
    assert not scalar.supports(net)
    assert scalar.supports(net, layers=1)  # the first layer's senders know nothing but their element
