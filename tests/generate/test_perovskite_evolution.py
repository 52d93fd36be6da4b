"""Mutants of layered perovskites: molecules stay what they are, everyone is accounted for, the same again."""

from dataclasses import replace

import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from ionic import Ionic

from gendesign.errors import UserError
from gendesign.generate.perovskite.build import build_start, cations_text
from gendesign.generate.perovskite.cation import Cation, read_cation
from gendesign.generate.perovskite.compound import compose
from gendesign.generate.perovskite.contacts import radii
from gendesign.generate.perovskite.equivalence import operations
from gendesign.generate.perovskite.evolution import PARENTS, evolve
from gendesign.generate.perovskite.generator import Perovskite
from gendesign.generate.perovskite.mutations import (
    APART,
    OPERATORS,
    draw_mutant,
    restacked,
    twist,
)
from gendesign.generate.perovskite.seats import CONTACT, LARGER, Parent, enlarged
from gendesign.generate.perovskite.settings import Composition, Evolution, Halving, RandomStarts
from gendesign.generate.perovskite.symmetry import group_table
from gendesign.structure.crystals import heavy_structure, matcher
from gendesign.structure.generator import ShardContext
from gendesign.structure.perovskite import cation_fault, energy_of, network_fault
from gendesign.structure.step_cache import StepCache
from gendesign.structure.superposition import aligned_rmsd

SMALL = dict(
    composition=Composition("C[NH3+]"),
    start=RandomStarts(cells="1"),
    halving=Halving(rounds=1, steps=3, keep=0.5),
)


def parents(smiles: str, cell: str, **compound) -> list[Parent]:
    made = compose(Composition(smiles, metal="Pb", halide="I", **compound))
    starts = [
        build_start(made, RandomStarts(cells=(cell,), distortion=0.0, symmetry=0.0), seed=3, index=i) for i in range(3)
    ]
    return [
        Parent.of(start.atoms, cell, made.cation, made.spacers * start.atoms.info["formula_units"])
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
def test_mutants_are_made_of_the_same_molecules_and_have_room(smiles, cell):
    made = parents(smiles, cell)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(120):
        drawn = draw_mutant(rng, made, read_cation(smiles), 45.0)
        if drawn is None:
            continue
        child, place, operator = drawn.atoms, drawn.parent, drawn.operator
        seen.add(operator)
        parent = made[place].atoms
        assert not (np.allclose(child.positions, parent.positions) and np.allclose(child.cell, parent.cell))
        assert (child.numbers == parent.numbers).all() and not network_fault(child, 1)
        molecule = child.arrays["molecule"]
        cation = read_cation(smiles)
        forms = [_form(x, cation) for x in cation.conformers]
        for source in made:
            forms += [_form(source.atoms.positions[seat.atoms], cation) for seat in source.seats]
        for seat in made[place].seats:
            form = _form(child.positions[seat.atoms], cation)
            assert any(np.allclose(form, other, atol=1e-6) for other in forms)
        sizes = CONTACT * radii(child.numbers)
        first, second, length, shift = neighbor_list("ijdS", child, 4.0)
        own = (molecule[first] == molecule[second]) & ((molecule[first] < 0) | (shift == 0).all(axis=1))
        assert (length >= sizes[first] + sizes[second] - 1e-9)[~own].all()
    assert seen and ("slide" not in seen if smiles.count("+") == 2 else seen == set(OPERATORS))


def test_a_turned_bond_leaves_lengths_and_angles_alone_and_the_molecule_where_it_is():
    cation = read_cation("CCCC[NH3+]")
    x, rng, changed = cation.conformers[0] + [1.0, 2.0, 3.0], np.random.default_rng(0), 0
    bonds = set(cation.bonds) | {(j, i) for i, j in cation.bonds}
    near = [
        (i, j)
        for i in range(len(x))
        for j in range(i)
        if (i, j) in bonds or any((i, k) in bonds and (k, j) in bonds for k in range(len(x)))
    ]
    heavy = cation.numbers > 1
    for _ in range(20):
        new = twist(rng, x, cation)
        for i, j in near:
            assert np.linalg.norm(new[i] - new[j]) == pytest.approx(np.linalg.norm(x[i] - x[j]), abs=1e-9)
        apart = np.sqrt(((new - x)[heavy] ** 2).sum(1).mean())
        assert apart == pytest.approx(aligned_rmsd(new[heavy], x[heavy]), abs=1e-6)
        changed += apart > 0.3
    assert changed > 10


@pytest.mark.parametrize("cell", ["1", "sqrt2"])
def test_a_layer_put_on_another_place_touches_the_one_below(cell):
    parent, places = parents("CCCC[NH3+]", cell)[0], set()
    sizes = radii(parent.atoms.numbers)
    for seed in range(6):
        atoms = parent.atoms.copy()
        atoms.set_cell(restacked(np.random.default_rng(seed), atoms, parent.axes))
        first, second, length, shift = neighbor_list("ijdS", atoms, 4.0)
        between = shift[:, 2] != 0
        share = length / (sizes[first] + sizes[second])
        assert share[between].min() == pytest.approx(APART, abs=1e-6)
        np.testing.assert_allclose(atoms.cell[:2], parent.atoms.cell[:2])
        sideways = atoms.cell[2] @ np.linalg.pinv(atoms.cell[:2])
        assert (np.abs(sideways) <= 0.5 + 1e-9).all()
        places.add(tuple(sideways.round(3)))
    assert len(places) > 1


def stacked(smiles: str, layers: int, **compound) -> Parent:
    made = compose(Composition(smiles, **compound))
    start = build_start(
        made, RandomStarts(cells=("1",), layers=layers, symmetry=0.0), seed=3, index=0
    )  # every bridging cation has its seat on the lower layer
    return Parent.of(start.atoms, "1", made.cation, made.spacers * start.atoms.info["formula_units"], layers)


@pytest.mark.parametrize(
    ("smiles", "layers", "more"),
    [
        ("CCCC[NH3+]", 2, {}),
        ("CC[NH3+]", 3, {"thickness": 2, "a_site": "MA"}),
        ("[NH3+]CCCC[NH3+]", 2, {"thickness": 2, "a_site": "FA"}),
    ],
)
def test_a_cell_that_begins_with_another_layer_holds_the_same_crystal(smiles, layers, more):
    parent = stacked(smiles, layers, **more)
    assert np.bincount(parent.layer_of).tolist() == [len(parent.atoms) // layers] * layers
    heights = parent.atoms.positions @ parent.axes[2]
    for first in range(layers):
        other = parent.starting_at(first)
        moved = np.linalg.solve(parent.atoms.cell.T, (other.atoms.positions - parent.atoms.positions).T).T
        np.testing.assert_allclose(moved, np.round(moved), atol=1e-9)
        assert (moved[:, :2].round() == 0).all() and sorted(set(moved[:, 2].round())) == [0.0, 1.0][: 1 + (first > 0)]
        own = other.atoms.positions @ other.axes[2]
        metals = parent.atoms.numbers == 82
        up = parent.atoms.cell[2] @ parent.axes[2]
        lowest = heights[metals & (parent.layer_of == first)].min()
        np.testing.assert_allclose(own[metals].min(), lowest, atol=1e-9)
        assert own[metals].max() < lowest + up - 1.0  # all layers lie within one cell
        again = Parent.of(other.atoms, "1", compose(Composition(smiles, **more)).cation, len(parent.seats), layers)
        assert (again.layer_of == other.layer_of).all() and (other.layer_of >= 0).all()
        for seat in other.seats:
            inside = seat.middle + seat.positions @ other.axes
            np.testing.assert_allclose(inside, other.atoms.positions[seat.atoms], atol=1e-9)


def test_mutants_of_several_layers_slide_between_any_two():
    parent, cation, changed = stacked("CC[NH3+]", 3), read_cation("CC[NH3+]"), set()
    rng, metals = np.random.default_rng(5), parent.atoms.numbers == 82

    def steps(atoms) -> np.ndarray:
        """From each layer to the next, sideways in lattice vectors."""
        places, third = atoms.positions[metals], atoms.cell.array[2]
        apart = np.roll(places, -1, axis=0) - places
        apart -= np.floor(apart @ parent.axes[2] / (third @ parent.axes[2]))[:, None] * third
        return apart @ np.linalg.pinv(atoms.cell.array[:2])

    before = steps(parent.atoms)
    for _ in range(120):
        drawn = draw_mutant(rng, [parent], cation, 45.0)
        if drawn and drawn.operator == "slide":
            apart = steps(drawn.atoms) - before
            far = np.abs(apart - np.round(apart)).max(1) > 1e-6
            assert far.sum() <= 1  # none by a slide of nothing
            changed.update(np.flatnonzero(far).tolist())
    assert changed == {0, 1, 2}


def test_cations_in_cages_stay_where_they_are():
    made = parents("CC[NH3+]", "1", thickness=2, a_site="MA")
    rng = np.random.default_rng(1)
    spacers = np.concatenate([seat.atoms for seat in made[0].seats])
    others = np.setdiff1d(np.arange(len(made[0].atoms)), spacers)
    assert len(made[0].seats) == 2 and len(others) == 2 + 7 + 8
    for _ in range(8):
        mutant = draw_mutant(rng, made, read_cation("CC[NH3+]"), 45.0)
        assert np.array_equal(mutant.atoms.positions[others], made[mutant.parent].atoms.positions[others])


def _rigid(x: np.ndarray) -> np.ndarray:
    """A molecule's shape, of its mirror image another one."""
    return np.append(np.linalg.norm(x[:, None] - x[None], axis=-1), np.linalg.det(x[1:4] - x[0]))


def _form(x: np.ndarray, cation: Cation) -> np.ndarray:
    """What turned bonds leave of a molecule's shape: lengths, angles, and the hand of a chiral centre."""
    bonds = set(cation.bonds) | {(j, i) for i, j in cation.bonds}
    around = [[j for j in range(len(x)) if (i, j) in bonds] for i in range(len(x))]
    lengths = [np.linalg.norm(x[j] - x[k]) for i in range(len(x)) for j in (i, *around[i]) for k in around[i]]
    hands = [np.linalg.det([x[j] - x[i] for j in around[i][:3]]) for i in range(len(x)) if len(around[i]) == 4]
    return np.array(lengths + (hands if cation.chiral else []))


@pytest.mark.parametrize("cell", ["1", "sqrt2"])
def test_the_nearest_images_of_a_symmetric_crystal_are_its_own(cell):
    made, whole = compose(Composition("CCC[NH3+]", metal="Pb", halide="I")), 0
    for index in range(12):
        options = RandomStarts(cells=(cell,), symmetry=1.0, distortion=0.0, tilted=0.0)
        atoms = build_start(made, options, seed=2, index=index).atoms
        number = int(atoms.info["orientations"].rpartition("(")[2].rstrip(")"))
        parent = Parent.of(atoms, cell, made.cation, made.spacers * atoms.info["formula_units"])
        if len(group_table(number)[2][0]) < len(parent.seats):
            continue  # more than one cation is independent
        whole += 1
        for origin in parent.seats:
            across, images = operations(parent, origin, chiral=False)[0]
            assert np.linalg.det(across[:2, :2]) == pytest.approx(-np.linalg.det(across)) and across[2, 2] == -1
            for image, seat in zip(images, parent.seats, strict=True):
                np.testing.assert_allclose(origin.positions @ image.T, seat.positions, atol=1e-6)
    assert whole > 3


@pytest.mark.parametrize("cell,thickness", [("1", 1), ("sqrt2", 1), ("1", 2)])
def test_a_crystal_in_the_larger_cell_is_the_same(cell, thickness):
    made = compose(Composition("CC[NH3+]", metal="Pb", halide="I", thickness=thickness))
    atoms = build_start(made, RandomStarts(cells=(cell,), symmetry=0.0), seed=0, index=1).atoms
    larger, count = enlarged(atoms, cell), 2 * atoms.info["formula_units"]
    assert matcher().fit(heavy_structure(atoms), heavy_structure(larger))
    assert not network_fault(larger, thickness) and not cation_fault(larger, cations_text(made, count))
    one, two = (Parent.of(a, c, made.cation, made.spacers * n) for a, c, n in
                ((atoms, cell, count // 2), (larger, LARGER[cell], count)))  # fmt: skip
    np.testing.assert_allclose(np.linalg.norm(two.steps, axis=1), np.linalg.norm(one.steps, axis=1))
    forms = [_rigid(seat.positions) for seat in one.seats]
    assert len(two.seats) == 2 * len(one.seats)
    assert all(any(np.allclose(_rigid(seat.positions), form) for form in forms) for seat in two.seats)


@pytest.fixture(scope="module")
def evolved():
    return sorted(Perovskite(Ionic(), **SMALL).generate(range(20, 84), seed=4), key=lambda c: c.index)


def test_everyone_is_accounted_for(evolved):
    assert [c.index for c in evolved] == list(range(20, 84))
    starts, mutants = evolved[:32], evolved[32:]
    assert all(c.parent is None and c.history[0] == "built" for c in starts)
    born = [c for c in mutants if c.history]
    assert born and all(c.history[0] == "mutated" and c.generator == "perovskite" and c.seed == 4 for c in born)
    for child in born:
        operator, _, parent = child.info["orientations"].partition(" of ")
        assert operator in OPERATORS and int(parent) == child.parent
        # children of the second generation may descend from those of the first
        assert child.parent < (52 if child.index < 68 else 68)
    reasons = ("stopped at generation", "merged at generation", "broken at generation", "no mutant")
    assert all(c.failure is None or c.failure.startswith(reasons) for c in mutants)
    left = [c for c in evolved if c.failure is None]
    assert left and all(c.info["pressure"] == 0.0 for c in left)


def test_images_of_a_molecule_are_known_under_other_names_of_its_atoms():
    """Butanediammonium upside down is where the other one stands, atom by atom of another number."""
    made = compose(Composition("[NH3+]CCCC[NH3+]", metal="Pb", halide="I", conformers=1))
    atoms = build_start(
        made, RandomStarts(cells=("sqrt2",), distortion=0.0, tilted=0.0, symmetry=0.0), seed=3, index=0
    ).atoms
    parent = Parent.of(atoms, "sqrt2", made.cation, made.spacers * atoms.info["formula_units"])
    first, second = parent.seats
    heavy, names = np.flatnonzero(atoms.numbers[first.atoms] > 1), first.positions.copy()
    assert parent.heads.tolist() == [heavy[0], heavy[-1]]
    names[heavy] = names[heavy[::-1]]
    twins = replace(parent, seats=(first, replace(second, positions=names)))
    _, images = operations(twins, first, chiral=False)[0]
    assert all(np.array_equal(image, np.eye(3)) for image in images)


def test_of_each_generation_the_lowest_are_left(evolved):
    """Counted among all that were relaxed without pressure by then, as far as they are no copies."""
    ended = [c for c in evolved if (c.failure or "").startswith("stopped at generation") and c.info["pressure"] == 0.0]
    sound = [c for c in evolved if not (c.failure or "").startswith(("merged", "broken"))]
    settled = [c for c in sound if c.info.get("pressure") == 0.0]
    assert ended
    for child in ended:
        by_then = [c for c in settled if c.index < (68 if child.index < 68 else 84)]
        assert sum(energy_of(c) < energy_of(child) for c in by_then) >= PARENTS
        alike = [
            c for c in evolved if c.failure is None and (52 <= c.index < 68 if child.index < 68 else c.index >= 68)
        ]
        assert all(energy_of(c) <= energy_of(child) for c in alike)


def test_without_rounds_no_mutant_is_stopped():
    found = list(Perovskite(Ionic(), **SMALL | {"halving": None}).generate(range(8), seed=4))
    assert all(c.history[0] == "mutated" for c in found[4:] if c.history)
    assert not any((c.failure or "").startswith("stopped") for c in found)


def test_an_interrupted_search_goes_on_to_the_same(evolved, tmp_path):
    search, interrupted = Perovskite(Ionic(), **SMALL), 50

    class Stopped(Exception):
        pass

    def until(cache):
        for count, candidate in enumerate(search.generate(range(20, 84), seed=4, context=ShardContext(cache))):
            if count == interrupted:
                raise Stopped
            yield candidate

    with pytest.raises(Stopped):
        list(until(StepCache(tmp_path)))
    steps = {path.stem for path in tmp_path.iterdir()}
    assert {"starts", "round 1", "settling", "generation 1"} <= steps and "generation 4" not in steps
    (tmp_path / "generation 1.json").unlink()  # as if it had been killed then
    cache = StepCache(tmp_path)
    again = sorted(search.generate(range(20, 84), seed=4, context=ShardContext(cache)), key=lambda c: c.index)
    assert cache.seconds_saved > 0
    for one, two in zip(evolved, again, strict=True):
        assert one.failure == two.failure and one.info == two.info and one.history == two.history
        assert np.array_equal(one.atoms.positions, two.atoms.positions)


def test_a_lone_bridging_cation_turns_or_nothing():
    made, rng = parents("[NH3+]CCCC[NH3+]", "1"), np.random.default_rng(2)
    drawn = [draw_mutant(rng, made, read_cation("[NH3+]CCCC[NH3+]"), 45.0) for _ in range(60)]
    operators = {one.operator for one in drawn if one is not None}
    assert None in drawn and "rotation" in operators and operators <= {*OPERATORS} - {"slide"}
    for child, place in ((one.atoms, one.parent) for one in drawn if one is not None):
        parent, nitrogen = made[place], np.flatnonzero(child.numbers == 7)
        (seat,), ends = parent.seats, []
        for atoms in (child, parent.atoms):
            x = (atoms.positions[nitrogen] - seat.middle) @ parent.axes.T
            ends.append(x[np.abs(x[:, 2]).argmax()] @ parent.axes)
        apart = ends[0] - ends[1]
        apart -= np.round(apart @ np.linalg.pinv(parent.steps)) @ parent.steps
        assert np.linalg.norm(apart) < 1.5
        assert np.linalg.norm(child.cell[2] - parent.atoms.cell[2]) <= 1.5  # or the far end leaves its pocket


def test_without_parents_there_are_no_mutants():
    search = Perovskite(Ionic(), **SMALL | {"halving": Halving(rounds=1, steps=1, keep=0.5)})
    broken = [replace(search.build_start(i, seed=4), failure="broken at round 1: so it is") for i in range(3)]
    found = list(evolve(broken, [3, 4], Ionic(), search.compound, search.start, search.halving, 4))
    assert [c.failure for c in found[:3]] == ["broken at round 1: so it is"] * 3
    assert [c.failure for c in found[3:]] == ["no mutant: none of the starts is left to mutate"] * 2


def test_shares_of_mutants_and_none_in_three_dimensions():
    assert Evolution(share=0.5).starts(1) == 1 and Evolution(share=0.25).starts(16) == 12
    three = Perovskite(Ionic(), **SMALL | {"composition": Composition("C[NH3+]", thickness="3d"), "halving": None})
    assert all(c.history == ("built",) for c in three.generate(range(4), seed=0))


@pytest.mark.parametrize("wrong", [dict(share=1.0), dict(share=-0.1)])
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(UserError, match=f"generator.evolution.{next(iter(wrong))}="):
        Evolution(**wrong)
