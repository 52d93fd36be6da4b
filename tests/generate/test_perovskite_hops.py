"""Moves between packings: what they may change, what they must leave, and that a search with them ends no higher."""

import numpy as np
import pytest
from ase import Atoms
from ase.data import vdw_radii
from ase.neighborlist import neighbor_list
from ionic import Ionic

from gendesign.generate.perovskite.build import Draws, build_start
from gendesign.generate.perovskite.composition import compose
from gendesign.generate.perovskite.generator import Perovskite
from gendesign.generate.perovskite.hops import Crystal, moved
from gendesign.structure.types import UserError

SMALL = dict(cation="C[NH3+]", cell="1", steps=3, rungs=2, hops=0)


def crystal(cation: str, cell: str = "sqrt2", layers: int = 1, **composition) -> Atoms:
    draws = Draws(cells=(cell,), layers=layers, contact=0.66)
    start = build_start(compose(cation, conformers=3, **composition), draws, seed=4, index=1)
    assert start.failure is None
    return start.atoms


def taken(atoms: Atoms) -> Crystal:
    return Crystal(atoms, atoms.info["cations"], atoms.info["layers"])


def shapes(atoms: Atoms, members: list[np.ndarray]) -> list[np.ndarray]:
    """Distances within each molecule."""
    at = [atoms.positions[some] for some in members]
    return [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in at]


@pytest.mark.parametrize(
    ("cation", "options"),
    [
        ("CCC[NH3+]", {}),
        ("CCC[NH3+]", {"layers": 2}),
        ("[NH3+]CCCC[NH3+]", {}),
        ("CCC[NH3+]", {"thickness": 2, "a_site": "Cs"}),
        ("NC=[NH2+]", {"thickness": "3d"}),
        ("Cs", {"thickness": "3d"}),
    ],
)
def test_moves_leave_molecules_whole_and_nothing_in_contact(cation, options):
    atoms = crystal(cation, **options)
    members, seen = taken(atoms).members, set()
    for number in range(12):
        name, made = moved(atoms, atoms.info["cations"], atoms.info["layers"], np.random.default_rng(number))
        seen.add(name)
        assert (made.numbers == atoms.numbers).all() and made.calc is None
        assert (made.cell != atoms.cell).any() == (name == "layers slid")
        still = atoms.arrays["molecule"] < 0
        if name not in ("octahedra tilted", "layers slid"):
            assert np.allclose(made.positions[still], atoms.positions[still])
        if name != "a cation drawn anew":
            before, after = shapes(atoms, members), shapes(made, members)
            known = [np.allclose(new, old) for new, old in zip(after, before, strict=True)]
            assert all(known) or (name == "a cation copied" and known.count(False) == 1)
        # told by pairs and images, not by the rule that the moves use
        first, second, apart = neighbor_list("ijd", made, 3.0)
        molecule = made.arrays["molecule"]
        between = (molecule[first] != molecule[second]) & (apart > 1e-6)
        least = 0.6 * (vdw_radii[made.numbers[first]] + vdw_radii[made.numbers[second]])
        assert not (between & (apart < least)).any()
    assert not np.allclose(made.positions, atoms.positions)
    assert ("layers slid" in seen) <= (options.get("thickness") != "3d" and "]CCCC[" not in cation)


def test_heads_stay_in_their_pockets():
    atoms = crystal("CCC[NH3+]")
    heads = np.flatnonzero(atoms.numbers == 7)
    for name in ("one cation turned", "all cations turned", "a cation copied", "a cation drawn anew"):
        made = taken(atoms).moves[name](taken(atoms), np.random.default_rng(3))
        assert np.allclose(made.positions[heads], atoms.positions[heads])
        assert (np.abs(made.positions - atoms.positions).max(axis=1) > 1e-3).any()
        # no cation changes the side of the layer on which it stands
        assert all(
            taken(atoms).height(k) * taken(made).height(k) > 0
            for k in range(len(taken(atoms).members))
            if name in ("a cation copied", "a cation drawn anew")
        )


def test_a_copy_has_the_shape_of_another_up_to_its_mirror_image():
    atoms = crystal("CCC[NH3+]")
    made = taken(atoms).moves["a cation copied"](taken(atoms), np.random.default_rng(5))
    before, after = shapes(atoms, taken(atoms).members), shapes(made, taken(atoms).members)
    moved_atoms = (made.positions != atoms.positions).any(axis=1)
    changed = [k for k, members in enumerate(taken(atoms).members) if moved_atoms[members].any()]
    assert len(changed) == 1
    assert any(np.allclose(after[changed[0]], other) for k, other in enumerate(before) if k != changed[0])


def test_chiral_cations_keep_their_hand():
    atoms = crystal("C[C@H](N)[NH3+]")  # four different neighbours about atom 1

    def hands(some: Atoms) -> list[float]:
        found = []
        for k in taken(some).members:
            x = some.positions[k]
            around = x[[0, 2, 3]] - x[1]
            found.append(float(np.sign(np.linalg.det(around))))
        return found

    for seed in range(12):
        _, made = moved(atoms, atoms.info["cations"], 1, np.random.default_rng(seed))
        assert hands(made) == hands(atoms)


def test_octahedra_mirrored_twice_are_as_before():
    atoms = crystal("CCC[NH3+]")
    mirrored = next(seed for seed in range(20) if np.random.default_rng(seed).random() < 0.5)
    once = taken(atoms).moves["octahedra tilted"](taken(atoms), np.random.default_rng(mirrored))
    twice = taken(once).moves["octahedra tilted"](taken(once), np.random.default_rng(mirrored))
    assert not np.allclose(once.positions, atoms.positions, atol=0.05) and np.allclose(twice.positions, atoms.positions)


def test_of_two_layers_one_slides_as_a_whole():
    atoms = crystal("CCC[NH3+]", layers=2)
    layer = taken(atoms).layer
    assert sorted(np.bincount(layer)) == [len(atoms) // 2] * 2
    for seed in range(6):
        made = taken(atoms).moves["layers slid"](taken(atoms), np.random.default_rng(seed))
        step = made.positions - atoms.positions
        assert np.allclose(step[layer == 0], 0) and np.allclose(step[layer == 1], step[layer == 1][0])
        assert np.allclose(made.cell[:2], atoms.cell[:2]) and made.cell[2, 2] >= atoms.cell[2, 2] - 1e-9


def test_a_search_that_hops_ends_no_higher_and_says_how():
    plain = list(Perovskite(Ionic(), **SMALL).generate(range(6), seed=2))
    hopped = list(Perovskite(Ionic(), **{**SMALL, "hops": 3, "hop_steps": 5}).generate(range(6), seed=2))
    again = list(Perovskite(Ionic(), **{**SMALL, "hops": 3, "hop_steps": 5}).generate(range(6), seed=2))
    alive = {c.index for c in plain if c.failure is None}
    lowest = {c.index: c.info["enthalpy"] for c in hopped if c.failure is None}
    assert lowest and set(lowest) <= alive
    assert all(lowest[c.index] <= c.info["enthalpy"] for c in plain if c.index in lowest)
    assert any("hop 1: " in step for c in hopped for step in c.history)
    assert [c.info.get("enthalpy") for c in again] == [c.info.get("enthalpy") for c in hopped]


@pytest.mark.parametrize("settings", [dict(hops=-1), dict(hops=2, hop_steps=0)])
def test_wrong_settings_are_one_line(settings):
    with pytest.raises(UserError) as caught:
        Perovskite(Ionic(), **{**SMALL, **settings})
    assert "generator.hop" in str(caught.value) and "\n" not in str(caught.value)
