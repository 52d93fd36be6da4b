"""Random numbers: independent streams for every key, purpose and counter, of which a generation uses none twice."""

import itertools

import pytest
import tiny
import torch
from ase.build import molecule

from gendesign.generate.simgen.shape import Circle
from gendesign.generate.simgen.shape_prior import ShapePrior
from gendesign.randomness import Purpose
from gendesign.structure import counter_random as random
from gendesign.structure.counter_random import derived, keys, normal, uniform

MINE = [purpose for purpose in Purpose if 200 <= purpose < 300]
N = 2000


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"counts": "N0-1", "n_heavy_atoms": "4-6"},
        {"formula": "C2H5NO", "n_heavy_atoms": "auto"},
        {"prior": ShapePrior(Circle()), "n_heavy_atoms": "5-8"},
        {"fragments": [molecule("C6H6")], "attachments": [6, 8], "n_heavy_atoms": "auto"},
    ],
    ids=lambda settings: " ".join(settings) or "plain",
)
def test_no_two_draws_of_a_generation_share_numbers(settings, tmp_path, monkeypatch):
    """Every (key, purpose, counters) occurs once, and so does every key of 64 bits that becomes of it."""
    draws, streams, inner, derive = set(), [], random._stream, random.derived

    def deriving(key, purpose, *counters):
        if all(isinstance(counter, int) for counter in counters):  # a draw; keys of families and atoms have tensors
            own = {(k, int(purpose), *counters) for k in key.flatten().tolist()}
            assert len(own) == key.numel() and draws.isdisjoint(own), (purpose, counters)
            draws.update(own)
        return derive(key, purpose, *counters)

    def stream(key, n):
        streams.extend(key.flatten().tolist())
        return inner(key, n)

    monkeypatch.setattr(random, "derived", deriving)
    monkeypatch.setattr(random, "_stream", stream)
    generator = tiny.simgen(tiny.references(tmp_path), swap_every=1, max_atoms=60, **settings)
    assert len(list(generator.generate(range(3), seed=4))) == 3
    assert len(streams) == len(set(streams)) == len(draws) > 1000
    used = {purpose for _, purpose, *_ in draws}
    assert {Purpose.SIZE, Purpose.REFERENCE, Purpose.ROUNDING, Purpose.CHURN, Purpose.CHOICE} <= used


def test_keys_of_atoms_and_families_are_distinct():
    key = keys(3, torch.arange(40))
    families = derived(key[:, None], Purpose.FAMILY_KEY, torch.arange(5)).flatten()
    atoms = derived(
        families[:, None, None], Purpose.ATOM_KEY, torch.arange(10)[:, None], torch.arange(20)[None]
    ).flatten()
    slots = derived(families[:, None], Purpose.SLOT_KEY, torch.arange(20)).flatten()
    everything = torch.cat([key, families, atoms, slots])
    assert len(everything.unique()) == len(everything)
    other_seeds = torch.cat([keys(seed, torch.arange(1000)) for seed in range(20)])
    assert len(other_seeds.unique()) == 20_000


def test_a_counter_is_no_purpose_and_no_key():
    """What adding numbers would mix up: neighbouring purposes, counters and seeds."""
    key = keys(0, torch.arange(3))
    found = [derived(key, purpose, *counters).tolist() for purpose in MINE
             for counters in [(), (0,), (1,), (0, 1), (1, 0), (1, 1), (0, 0)]]  # fmt: skip
    flat = list(itertools.chain.from_iterable(found))
    assert len(set(flat)) == len(flat)


@pytest.mark.parametrize("purpose", [Purpose.SIZE, Purpose.CHURN])
def test_numbers_are_uniform(purpose):
    flat, _ = uniform(keys(7, torch.arange(N)), purpose, 20).flatten().sort()
    assert flat[0] > 0 and flat[-1] < 1
    deviation = (flat - torch.linspace(0, 1, len(flat), dtype=torch.float64)).abs().max()
    assert deviation < 1.95 / len(flat) ** 0.5  # Kolmogorov and Smirnov at 0.1 %
    assert flat.mean().item() == pytest.approx(0.5, abs=4 * (1 / 12 / len(flat)) ** 0.5)
    assert flat.var().item() == pytest.approx(1 / 12, rel=4 * (0.8 / len(flat)) ** 0.5)


def test_normal_numbers_have_their_moments():
    z = normal(keys(7, torch.arange(N)), Purpose.CHURN, 50, 3).flatten()
    assert abs(z.mean()) < 4 / len(z) ** 0.5
    assert z.var().item() == pytest.approx(1, abs=4 * (2 / len(z)) ** 0.5)
    assert ((z**4).mean() / 3).item() == pytest.approx(1, abs=4 * (96 / 9 / len(z)) ** 0.5)


def test_streams_are_uncorrelated():
    """Between purposes, steps, rounds, positions in a stream, families, atoms and neighbouring candidates."""
    key = keys(11, torch.arange(N))
    columns = [uniform(key, purpose, 2) for purpose in MINE]
    columns += [uniform(key, Purpose.CHURN, 1, step) for step in range(8)]
    columns += [uniform(key, Purpose.EXCHANGED_SITES, 1, step, k) for step in range(3) for k in range(3)]
    columns += [uniform(derived(key, Purpose.FAMILY_KEY, k), Purpose.CHURN, 1, 0) for k in range(3)]
    columns += [uniform(derived(key, Purpose.ATOM_KEY, k, 1), Purpose.CHURN, 1, 0) for k in range(3)]
    columns += [uniform(keys(11, torch.arange(N) + 1), Purpose.CHURN, 1, 0)]
    columns += [uniform(keys(12, torch.arange(N)), Purpose.CHURN, 1, 0)]
    correlation = torch.corrcoef(torch.cat(columns, 1).T).fill_diagonal_(0)
    assert correlation.abs().max() < 5 / N**0.5


def test_numbers_do_not_depend_on_the_batch():
    order = torch.tensor([5, 2, 9])
    whole = uniform(keys(3, torch.arange(10))[order], Purpose.CHURN, 7, 2)
    assert torch.equal(whole, uniform(keys(3, order), Purpose.CHURN, 7, 2))
    assert torch.equal(whole[:, :4], uniform(keys(3, order), Purpose.CHURN, 4, 2))
    assert not torch.equal(keys(3, order), keys(4, order))
