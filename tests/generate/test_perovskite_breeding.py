"""Children of layered perovskites: molecules stay what they are, everyone is accounted for, the same again."""

from dataclasses import replace

import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from ionic import Ionic

from gendesign.generate.perovskite.breeding import Breeding, breed
from gendesign.generate.perovskite.build import Draws, build_start
from gendesign.generate.perovskite.composition import compose
from gendesign.generate.perovskite.contacts import radii
from gendesign.generate.perovskite.generator import Perovskite
from gendesign.generate.perovskite.offspring import CONTACT, OPERATORS, Parent, draw_child
from gendesign.structure.perovskite import network_fault
from gendesign.structure.types import UserError

SMALL = dict(cation="C[NH3+]", cell="1", steps=3, rungs=1, keep=0.5, offspring=0.5, generation=3, parents=4)


def parents(smiles: str, cell: str, **composition) -> list[Parent]:
    made = compose(smiles, metal="Pb", halide="I", **composition)
    starts = [build_start(made, Draws(cells=(cell,), distortion=0.0), seed=3, index=i) for i in range(3)]
    return [
        Parent.of(start.atoms, cell, made.spacers * start.atoms.info["formula_units"])
        for start in starts
        if not start.failure
    ]


@pytest.mark.parametrize("smiles,cell", [("CCCC[NH3+]", "1"), ("CC[NH3+]", "sqrt2"), ("[NH3+]CCCC[NH3+]", "sqrt2")])
def test_seats_are_the_pockets_that_the_builder_filled(smiles, cell):
    for parent in parents(smiles, cell):
        atoms, numbers = parent.atoms, parent.atoms.numbers
        assert sum(len(seat.atoms) for seat in parent.seats) == (numbers != 82).sum() - (numbers == 53).sum()
        if smiles.count("N") == 1:
            assert sorted(seat.side for seat in parent.seats) == sorted([-1, 1] * (len(parent.seats) // 2))
        for seat in parent.seats:
            np.testing.assert_allclose(
                seat.middle + seat.positions @ parent.axes, atoms.positions[seat.atoms], atol=1e-9
            )
            if smiles.count("N") == 1:  # drawn 1.25 metal-halide distances above the middle of four metals
                head = seat.positions[numbers[seat.atoms] == 7]
                np.testing.assert_allclose(head, [[0, 0, seat.side * 4.0]], atol=0.05)
        np.testing.assert_allclose(parent.axes @ parent.axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(parent.axes) == pytest.approx(1.0)


@pytest.mark.parametrize("smiles,cell", [("CCCC[NH3+]", "1"), ("C[C@H](CC)[NH3+]", "1"), ("[NH3+]CCCC[NH3+]", "sqrt2")])
def test_children_are_made_of_the_same_molecules_and_have_room(smiles, cell):
    made, chiral = parents(smiles, cell), "@" in smiles
    rng, seen = np.random.default_rng(0), set()
    for _ in range(40):
        drawn = draw_child(rng, made, smiles.count("+"), chiral)
        if drawn is None:
            continue
        child, place, operator = drawn
        seen.add(operator)
        parent = made[place].atoms
        assert not (np.allclose(child.positions, parent.positions) and np.allclose(child.cell, parent.cell))
        assert (child.numbers == parent.numbers).all() and not network_fault(child, 1)
        molecule, forms = child.arrays["molecule"], set()
        for source in made:
            forms |= {_form(source.atoms, seat.atoms, chiral) for seat in source.seats}
        for seat in made[place].seats:
            assert _form(child, seat.atoms, chiral) in forms
        sizes = CONTACT * radii(child.numbers)
        first, second, length, shift = neighbor_list("ijdS", child, 4.0)
        own = (molecule[first] == molecule[second]) & ((molecule[first] < 0) | (shift == 0).all(axis=1))
        assert (length >= sizes[first] + sizes[second] - 1e-9)[~own].all()
    assert "slide" not in seen if smiles.count("+") == 2 else seen == set(OPERATORS)


def test_cations_in_cages_stay_where_they_are():
    made = parents("CC[NH3+]", "1", thickness=2, a_site="MA")
    rng = np.random.default_rng(1)
    spacers = np.concatenate([seat.atoms for seat in made[0].seats])
    others = np.setdiff1d(np.arange(len(made[0].atoms)), spacers)
    assert len(made[0].seats) == 2 and len(others) == 2 + 7 + 8
    for _ in range(8):
        child, place, _ = draw_child(rng, made, 1, False)
        assert np.array_equal(child.positions[others], made[place].atoms.positions[others])


def _form(atoms, members: np.ndarray, chiral: bool) -> tuple:
    """A molecule's shape, of its mirror image another one where that matters."""
    x = atoms.positions[members]
    lengths = np.round(np.linalg.norm(x[:, None] - x[None], axis=-1), 3)
    hand = np.sign(np.linalg.det(x[1:4] - x[0])) if chiral else 0.0
    return (*lengths.ravel().tolist(), hand)


@pytest.fixture(scope="module")
def bred():
    return list(Perovskite(Ionic(), **SMALL).generate(range(20, 32), seed=4))


def test_everyone_is_accounted_for(bred):
    assert [c.index for c in bred] == list(range(20, 32))
    starts, children = bred[:6], bred[6:]
    assert all(c.parent is None and c.history[0] == "built" for c in starts)
    born = [c for c in children if c.history]
    assert born and all(c.history[0] == "bred" and c.generator == "perovskite" and c.seed == 4 for c in born)
    for child in born:
        operator, _, parent = child.info["orientations"].partition(" of ")
        assert operator in OPERATORS and int(parent) == child.parent
        # children of the second generation may descend from those of the first
        assert child.parent < (26 if child.index < 29 else 29)
    reasons = ("stopped at generation", "merged at generation", "broken at generation", "no child")
    assert all(c.failure is None or c.failure.startswith(reasons) for c in children)
    left = [c for c in bred if c.failure is None]
    assert left and all(c.info["pressure"] == 0.0 for c in left)


def test_the_same_again(bred):
    again = list(Perovskite(Ionic(), **SMALL).generate(range(20, 32), seed=4))
    for one, two in zip(bred, again, strict=True):
        assert one.failure == two.failure and one.info == two.info
        assert np.array_equal(one.atoms.positions, two.atoms.positions)


def test_a_lone_bridging_cation_turns_or_nothing():
    made, rng = parents("[NH3+]CCCC[NH3+]", "1"), np.random.default_rng(2)
    drawn = [draw_child(rng, made, 2, False) for _ in range(60)]
    operators = {one[2] for one in drawn if one is not None}
    assert None in drawn and "rotation" in operators and operators <= {"rotation", "heredity"}
    for child, place, _ in (one for one in drawn if one is not None):
        parent, nitrogen = made[place], np.flatnonzero(made[0].atoms.numbers == 7)
        apart = child.positions[nitrogen] - parent.atoms.positions[nitrogen]
        apart -= np.round(apart @ np.linalg.pinv(parent.steps)) @ parent.steps
        far = np.abs(parent.seats[0].positions[parent.atoms.numbers[parent.seats[0].atoms] == 7, 2]).argmax()
        assert np.linalg.norm(apart[far]) < 1.5


def test_without_parents_there_are_no_children():
    search = Perovskite(Ionic(), **SMALL | {"steps": 1})
    broken = [replace(search.start(i, seed=4), failure="broken at rung 1: so it is") for i in range(3)]
    own = (Ionic(), search.composition, search.breeding, search.halving, 4)
    found = list(breed(broken, [3, 4], *own))
    assert [c.failure for c in found[:3]] == ["broken at rung 1: so it is"] * 3
    assert [c.failure for c in found[3:]] == ["no child: none of the starts is left to have one"] * 2


def test_shares_of_children_and_none_in_three_dimensions():
    assert Breeding(offspring=0.5).starts(1) == 1 and Breeding(offspring=0.25).starts(16) == 12
    three = Perovskite(Ionic(), cation="C[NH3+]", thickness="3d", cell="1", rungs=0)
    assert all(c.history == ("built",) for c in three.generate(range(4), seed=0))


@pytest.mark.parametrize("wrong", [dict(offspring=1.0), dict(offspring=-0.1), dict(parents=0), dict(generation=0)])
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(UserError, match=f"generator.{next(iter(wrong))}="):
        Breeding(**wrong)
