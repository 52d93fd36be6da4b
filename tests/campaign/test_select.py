"""Filters, Pareto ranks, diversity and copies, against definitions that are written out."""

import itertools
import random

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from gendesign.campaign.filters import Filter, Objective, refusal
from gendesign.campaign.select import Entry, chosen, copies_of, farthest_points, pareto_ranks, ranked, regret
from gendesign.errors import SettingsError, UserError
from gendesign.structure.types import Verdict


def values(**columns):
    return {name: Verdict(0, name, None, value) for name, value in columns.items()}


def entry(k, atoms=None, descriptor=None, **columns):
    return Entry(("run", k), values(**columns), lambda: atoms, descriptor)


def fronts_by_definition(costs):
    """Remove the undominated rows again and again."""
    rest, ranks = set(range(len(costs))), [0] * len(costs)
    for front in itertools.count():
        if not rest:
            return ranks
        best = {i for i in rest if not any((costs[j] <= costs[i]).all() and (costs[j] < costs[i]).any() for j in rest)}
        for i in best:
            ranks[i] = front
        rest -= best


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_fronts_are_those_of_the_definition(objectives):
    rng = np.random.default_rng(objectives)
    costs = rng.integers(0, 6, (60, objectives)).astype(float)  # many ties
    assert pareto_ranks(costs).tolist() == fronts_by_definition(costs)


def test_rows_without_a_number_come_last():
    costs = np.array([[1.0, 2.0], [np.inf, 0.0], [0.0, 3.0], [np.nan, np.nan]])
    assert pareto_ranks(costs).tolist() == [0, 1, 0, 1]
    assert pareto_ranks(np.array([[np.inf], [np.inf]])).tolist() == [0, 0]


def test_top_k_does_not_depend_on_the_order_of_arrival():
    entries = [entry(k, a=float(k % 7), b=float((5 * k) % 11)) for k in range(50)]
    by = (Objective.parse("min a"), Objective.parse("max b"))
    expected = [one.id for one, _ in ranked(entries, by)][:9]
    for seed in range(5):
        random.Random(seed).shuffle(entries)
        got = chosen(entries, by=by, budget=9, acquisition="rank", unique=None, distance=0.1)
        assert [one.id for one in got] == expected


def test_an_uncertain_one_is_chosen_before_a_certain_one():
    entries = [entry(k, uncertainty=value) for k, value in enumerate([0.1, 0.5, None, 0.3])]
    got = chosen(entries, by=(), budget=2, acquisition="uncertainty", unique=None, distance=0.1)
    assert [one.id[1] for one in got] == [1, 3]


def test_farthest_points_are_greedy_and_exact():
    points = np.array([[0.0], [1.0], [10.0], [4.9]])
    assert farthest_points(points, 3) == [0, 2, 3]
    assert farthest_points(np.zeros((3, 2)), 3) == [0, 1, 2]
    assert farthest_points(points, 9) == [0, 2, 3, 1]


def test_diversity_needs_descriptors_and_uses_them():
    entries = [entry(k, descriptor=np.array([x])) for k, x in enumerate([0.0, 0.1, 9.0])]
    got = chosen(entries, by=(), budget=2, acquisition="diversity", unique=None, distance=0.1)
    assert [one.id[1] for one in got] == [0, 2]
    with pytest.raises(UserError, match="descriptors"):
        chosen([entry(0), entry(1)], by=(), budget=1, acquisition="diversity", unique=None, distance=0.1)


def test_copies_by_inchikey_know_stereochemistry():
    texts = ["CC(O)C#N", "C[C@H](O)C#N", "C[C@@H](O)C#N", "OC(C)C#N", "not a molecule", "not a molecule"]
    entries = [entry(k, smiles_stereo=text) for k, text in enumerate(texts)]
    assert copies_of(entries, "inchikey", 0.1) == {("run", 3): ("run", 0)}


def test_copies_of_crystals_are_found_in_other_cells():
    rocksalt = bulk("NaCl", "rocksalt", a=5.6)
    entries = [entry(0, rocksalt), entry(1, rocksalt * (2, 1, 1)), entry(2, bulk("NaCl", "cesiumchloride", a=3.4))]
    assert copies_of(entries, "structure", 0.1) == {("run", 1): ("run", 0)}
    with pytest.raises(UserError, match="inchikey"):
        copies_of([entry(0, molecule("H2O"))], "structure", 0.1)


def test_copies_by_descriptor_have_the_same_composition():
    water, oxygen = Atoms("H2O"), Atoms("O2")
    rows = [(water, 0.0), (water, 1e-4), (oxygen, 0.0), (water, 1.0)]
    entries = [entry(k, atoms, np.array([x, 1.0])) for k, (atoms, x) in enumerate(rows)]
    assert copies_of(entries, "descriptor", 0.01) == {("run", 1): ("run", 0)}


def test_regret_counts_the_missed():
    assert regret([3.0, 1.0, 2.0, 0.0], [3, 2], top=2) == 0.5
    assert regret([3.0, 1.0], [0, 1], top=5) == 0.0


@pytest.mark.parametrize(
    ("text", "columns", "passes"),
    [
        ("size <= 4", {"size": 4.0}, True),
        ("size < 4", {"size": 4.0}, False),
        ("not size > 4", {"size": 4.0}, True),
        ("size >= -1e3", {"size": -1000.0}, True),
        ("size > 1", {}, False),
        ("size > 1", {"size": "large"}, False),
        ("size > 1", {"size": float("nan")}, False),
    ],
)
def test_filters(text, columns, passes):
    assert (not refusal([Filter.parse(text)], values(**columns))) is passes


def test_a_filter_on_a_check_asks_whether_it_was_passed():
    rows = {"valid": Verdict(0, "valid", False, reason="a radical"), "other": Verdict(0, "other", None)}
    assert refusal([Filter.parse("valid")], rows) == "valid is not met"
    assert not refusal([Filter.parse("not valid")], rows)
    assert "other has no value" in refusal([Filter.parse("other")], rows)
    assert not refusal([Filter.parse("valid <= 0")], rows)


@pytest.mark.parametrize("text", ["", "a b", "a <= x", "a <= 1.2.3", "__import__('os')", "a; b", "1 < a"])
def test_filters_refuse_what_they_do_not_know(text):
    with pytest.raises(SettingsError, match="keep="):
        Filter.parse(text)
    with pytest.raises(SettingsError, match="by="):
        Objective.parse(text)
