"""The generator with a cheap stand-in for the potential: halving keeps the best, every start is accounted for."""

import math

import numpy as np
import pytest
from ionic import Ionic

from gendesign.errors import UserError
from gendesign.generate.perovskite.generator import Perovskite
from gendesign.generate.perovskite.halving import halve, one_round
from gendesign.generate.perovskite.settings import Composition, Evolution, Halving, RandomStarts
from gendesign.relaxation import relax
from gendesign.structure.generator import ShardContext
from gendesign.structure.types import Candidate

SMALL = dict(
    composition=Composition("C[NH3+]"),
    start=RandomStarts(cells="1"),
    halving=Halving(rounds=2, steps=3, keep=0.5),
    evolution=None,
)


@pytest.fixture(scope="module")
def searched() -> list[Candidate]:
    return sorted(Perovskite(Ionic(), **SMALL).generate(range(6), seed=2), key=lambda c: c.index)


def test_halving_keeps_the_best(searched):
    assert [candidate.index for candidate in searched] == list(range(6))
    search = Perovskite(Ionic(), **SMALL)
    starts = [search.build_start(index, seed=2) for index in range(6)]
    first = relax(starts, Ionic(), one_round(search.halving))
    energy = [c.info["energy"] / c.info["formula_units"] for c in first]
    stopped = {c.index for c in searched if (c.failure or "").startswith("stopped at round 1")}
    alive = (
        {c.index for c in searched} - stopped - {c.index for c in searched if "merged at round 1" in (c.failure or "")}
    )
    assert len(stopped) == 3 and max(energy[i] for i in alive) <= min(energy[i] for i in stopped)
    ended = [c for c in searched if (c.failure or "").startswith(("merged at round 2", "broken at round 2"))]
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
    one, two = search.build_start(0, seed=2), search.build_start(1, seed=2)
    broken = two.atoms.copy()
    broken.positions[-1] += [0.0, 0, 1.2]
    crowd = [one, Candidate(one.atoms.copy(), 7, info=one.info), Candidate(broken, 8, info=two.info)]
    lost = Candidate(one.atoms[:0], 9, failure="no room")
    (compared,) = halve([*crowd, lost], Ionic(), Halving(rounds=1, steps=1, keep=1.0))
    found = {c.index: c for c in compared}
    assert found[0].failure is None and found[9].failure == "no room"
    assert found[7].failure == "merged at round 1: same as 0"
    assert found[8].failure.startswith("broken at round 1")


def test_a_search_without_halving_passes_starts_on():
    search = Perovskite(Ionic(), **{**SMALL, "halving": None})
    (candidate,) = search.generate([5], seed=2)
    assert candidate.failure is None and "energy" not in candidate.info
    assert np.array_equal(candidate.atoms.positions, search.build_start(5, seed=2).atoms.positions)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (lambda: dict(composition=Composition("CCO[NH3+]")), "does not know O"),
        (lambda: dict(composition=Composition("C[NH3+]", halide="I2Br")), "divisor"),
        (lambda: dict(composition=Composition("C[NH3+]", metal="Zn")), "generator.composition.metal=Zn: allowed are"),
        (lambda: dict(halving=Halving(keep=0.0)), "generator.halving.keep=0.0: give a number above 0 and of 1 or less"),
        (lambda: dict(halving=Halving(steps=0)), "generator.halving.steps=0"),
        (lambda: dict(halving=Halving(max_atoms=0)), "generator.halving.max_atoms=0"),
        (lambda: dict(start=RandomStarts(cells="7x7")), "generator.start.cells=[7x7]: allowed are 1, sqrt2, 2x2"),
        (lambda: dict(start=RandomStarts(cells=())), "generator.start.cells=[]"),
        (lambda: dict(start=RandomStarts(tilt=41)), "generator.start.tilt=41: give a number from 0 to 40, degrees"),
        (lambda: dict(evolution=Evolution(1.0)), "generator.evolution.share=1.0"),
    ],
)
def test_wrong_settings_are_one_line(settings, said):
    with pytest.raises(UserError) as caught:
        Perovskite(Ionic(), **{**SMALL, **settings()})
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_phases_are_named_while_a_search_goes_on():
    phases = []
    context = ShardContext(phase=lambda name, done=0, total=0: phases.append((name, done, total)))
    search = Perovskite(Ionic(), **SMALL | {"evolution": Evolution(0.5)})
    list(search.generate(range(8), seed=2, context=context))
    assert list(dict.fromkeys(name for name, _, _ in phases)) == [
        "starts", "halving 1 of 2", "halving 2 of 2", "evolution, parents", "evolution 1 of 1",
    ]  # fmt: skip
    assert phases[:5] == [("starts", done, 4) for done in range(5)] and ("halving 1 of 2", 4, 4) in phases
