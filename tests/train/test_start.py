"""Begin from a network that exists: old elements keep their energies, new ones start as the element they resemble."""

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.build import molecule

from gendesign.errors import UserError
from gendesign.potential import Potential, mace
from gendesign.train.fit import freeze
from gendesign.train.start import begin_from, most_similar, with_cutoff, with_elements

NAMES = ("CH4", "H2O", "CH3OH")


def grown(max_l: int) -> Potential:
    architecture, weights = begin_from(tiny.potential(max_l), {**tiny.ENERGIES, 16: -2042.0, 35: -500.0})
    net = mace.from_plain(architecture, torch.float64)
    net.load_state_dict(weights)
    return Potential(net.double(), "grown", "0", "MIT", "none")


@pytest.mark.parametrize("max_l", [0, 1])
def test_known_elements_keep_their_energies_and_forces(max_l):
    structures = [tiny.rattled(name) for name in NAMES]
    before, after = tiny.potential(max_l).evaluate(structures), grown(max_l).evaluate(structures)
    # begun in float32, as training goes on
    assert torch.allclose(before.energy, after.energy, atol=1e-4)
    assert torch.allclose(before.forces, after.forces, atol=1e-4)


@pytest.mark.parametrize("max_l", [0, 1])
def test_elements_can_be_left_out(max_l):
    architecture, weights = with_elements(tiny.potential(max_l), {z: tiny.ENERGIES[z] for z in (8, 1)})
    net = mace.from_plain(architecture, torch.float64)
    net.load_state_dict(weights)
    less = Potential(net.double(), "less", "0", "MIT", "none")
    assert less.elements == ("O", "H")
    water = tiny.rattled("H2O")
    assert torch.allclose(less.evaluate([water]).energy, tiny.potential(max_l).evaluate([water]).energy, atol=1e-4)


def test_a_new_element_starts_as_the_one_it_resembles():
    model = grown(0)
    del model.net.pair_repulsion_fn  # it knows the nuclear charge
    water = tiny.rattled("H2O")
    sulphide = Atoms(np.where(water.numbers == 8, 16, water.numbers), water.positions)
    low, high = model.evaluate([water, sulphide]).energy
    assert low.item() == pytest.approx(high.item(), abs=1e-5)


@pytest.mark.parametrize("max_l", [0, 1])
def test_a_longer_cutoff_predicts_the_same(max_l):
    begun = tiny.potential(max_l)
    plain, weights = begin_from(begun, {})
    longer, moved = with_cutoff(plain, weights, plain["r_max"] + 1.5)
    net = mace.from_plain(longer, torch.float32)
    net.load_state_dict(moved)
    farther = Potential(net.double(), "farther", "0", "MIT", "none")
    assert (begun.cutoff, farther.cutoff) == (plain["r_max"], plain["r_max"] + 1.5)
    structures = [tiny.rattled(name) for name in NAMES]
    before, after = begun.evaluate(structures), farther.evaluate(structures)
    scale = before.forces.abs().max()
    assert (before.energy - after.energy).abs().max() < 0.003 * scale
    assert (before.forces - after.forces).abs().max() < 0.01 * scale
    # between the two cutoffs it begins blind, and what it sees there it can learn
    apart = Atoms("HH", [[0, 0, 0], [0, 0, plain["r_max"] + 0.7]])
    assert farther.evaluate([apart]).forces.abs().max() < 0.01 * scale
    assert len(mace.from_plain(longer).radial_embedding.bessel_fn.bessel_weights) > plain["num_bessel"]


def test_cutoffs_that_cannot_be():
    plain, weights = begin_from(tiny.potential(0), {})
    for wrong in (2, float("inf"), "far"):
        with pytest.raises(UserError, match=rf"cutoff={wrong}: the potential of init has .* Angstrom; give more, or"):
            with_cutoff(plain, weights, wrong)
    with pytest.raises(UserError, match="cannot be extended to it; start a new network"):
        with_cutoff(plain | {"distance_transform": "Agnesi"}, _with_transform(plain, weights), 9.0)


def _with_transform(plain, weights):
    return {**mace.from_plain(plain | {"distance_transform": "Agnesi"}).state_dict(), **weights}


@pytest.mark.parametrize(("number", "wanted"), [(34, 16), (53, 17), (35, 17), (14, 6), (15, 7), (11, 1), (82, 6)])
def test_most_similar(number, wanted):
    assert most_similar(number, [1, 6, 7, 8, 9, 16, 17]) == wanted


def test_freezing():
    net = mace.from_plain(tiny.settings())
    freeze(net, 1)
    free = {name for name, p in net.named_parameters() if p.requires_grad}
    assert free and not any(name.startswith(("node_embedding", "interactions.0", "products.0")) for name in free)
    with pytest.raises(UserError, match="the network has 2 layers"):
        freeze(net, 3)


def test_a_lone_atom_is_where_it_was():
    assert grown(0).evaluate([Atoms("Br")]).energy.item() == pytest.approx(-500.0)
    assert grown(0).evaluate([molecule("H2O")]).energy.isfinite().all()
