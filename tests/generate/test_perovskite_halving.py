"""The generator with a cheap stand-in for the potential: halving keeps the best, every start is accounted for."""

import math

import numpy as np
import pytest
from ionic import Ionic

from gendesign.errors import UserError
from gendesign.generate.perovskite.generator import Perovskite
from gendesign.generate.perovskite.halving import Halving, halve
from gendesign.relaxation import relax
from gendesign.structure.types import Candidate

SMALL = dict(cation="C[NH3+]", cell="1", steps=3, rungs=2, keep=0.5, offspring=0.0)


@pytest.fixture(scope="module")
def searched() -> list[Candidate]:
    return sorted(Perovskite(Ionic(), **SMALL).generate(range(6), seed=2), key=lambda c: c.index)


def test_halving_keeps_the_best(searched):
    assert [candidate.index for candidate in searched] == list(range(6))
    search = Perovskite(Ionic(), **SMALL)
    starts = [search.start(index, seed=2) for index in range(6)]
    first = relax(starts, Ionic(), search.halving.relaxation)
    energy = [c.info["energy"] / c.info["formula_units"] for c in first]
    stopped = {c.index for c in searched if (c.failure or "").startswith("stopped at rung 1")}
    alive = (
        {c.index for c in searched} - stopped - {c.index for c in searched if "merged at rung 1" in (c.failure or "")}
    )
    assert len(stopped) == 3 and max(energy[i] for i in alive) <= min(energy[i] for i in stopped)
    ended = [c for c in searched if (c.failure or "").startswith(("merged at rung 2", "broken at rung 2"))]
    assert len([c for c in searched if c.failure is None]) == math.ceil((len(alive) - len(ended)) / 2)
    assert all(
        "eV per formula unit above the best" in c.failure
        for c in searched
        if c.failure and not any(c is e for e in ended)
    )


def test_what_goes_on_says_what_it_is(searched):
    best = next(c for c in searched if c.failure is None)
    assert best.info["metal"] == "Pb" and best.info["formula_units"] == 1 and best.info["cations"] == "2 C[NH3+]"
    assert best.history[0] == "built" and best.atoms.pbc.all() and np.isfinite(best.info["energy"])
    assert all(isinstance(value, str | int | float | bool) for value in best.info.values())


def test_copies_and_broken_starts_end_early():
    search = Perovskite(Ionic(), **SMALL)
    one, two = search.start(0, seed=2), search.start(1, seed=2)
    broken = two.atoms.copy()
    broken.positions[-1] += [0.0, 0, 1.2]
    crowd = [one, Candidate(one.atoms.copy(), 7, info=one.info), Candidate(broken, 8, info=two.info)]
    lost = Candidate(one.atoms[:0], 9, failure="no room")
    (rung,) = halve([*crowd, lost], Ionic(), Halving(rungs=1, steps=1, keep=1.0))
    found = {c.index: c for c in rung}
    assert found[0].failure is None and found[9].failure == "no room"
    assert found[7].failure == "merged at rung 1: same as 0"
    assert found[8].failure.startswith("broken at rung 1")


def test_a_search_without_halving_passes_starts_on():
    search = Perovskite(Ionic(), **{**SMALL, "rungs": 0})
    (candidate,) = search.generate([5], seed=2)
    assert candidate.failure is None and "energy" not in candidate.info
    assert np.array_equal(candidate.atoms.positions, search.start(5, seed=2).atoms.positions)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(cation="CCO[NH3+]"), "does not know O"),
        (dict(keep=0.0), "generator.keep"),
        (dict(steps=0), "generator.steps"),
        (dict(max_atoms=0), "max_atoms"),
        (dict(cell="7x7"), "generator.cell"),
        (dict(halide="I2Br"), "divisor"),
    ],
)
def test_wrong_settings_are_one_line(settings, said):
    with pytest.raises(UserError) as caught:
        Perovskite(Ionic(), **{**SMALL, **settings})
    assert said in str(caught.value) and "\n" not in str(caught.value)
