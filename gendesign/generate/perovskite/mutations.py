"""Mutations of relaxed layered perovskites: cations turned, redrawn, inherited or made equivalent, layers slid.

The operators are those of evolutionary crystal structure prediction (Oganov and Glass, J. Chem. Phys. 124, 244704,
2006; for molecules Zhu et al., Acta Cryst. B 68, 215, 2012), in terms of what these crystals are made of: every cation
has a seat, the pocket between four octahedra on one side of a layer, and a mutation changes how cations sit there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from ase import Atoms
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from gendesign.generate.perovskite.cation import Cation
from gendesign.generate.perovskite.equivalence import draw_image, operations
from gendesign.generate.perovskite.placement import draw_orientation
from gendesign.generate.perovskite.seats import CONTACT, Parent, Seat, closest_contacts
from gendesign.generate.perovskite.stack import Layer, draw_slide, stack

OPERATORS = {  # with their probabilities
    "images": 0.4, "rotation": 0.2, "torsion": 0.15, "heredity": 0.1, "redraw": 0.05, "slide": 0.1,
}  # fmt: skip
ATTEMPTS = 8  # to make a mutant by one operator
HIGHEST, LIFT = 4.0, 0.25  # Angstrom by which layers may be lifted to keep CONTACT, and in which steps
ASTRAY = 1.5  # Angstrom by which a bridging cation's far end may miss its pocket, and by which its layers may be lifted
# Half of all mutants by `images` also get another place for the next layer, since a place suits one packing of the
# cations only. The layer comes down until atoms are this share of the van der Waals distance apart.
RESTACKED, APART = 0.5, 0.7
WOBBLE = 0.5  # radian, standard deviation of a rotation
NEAREST = 0.4  # probability of the operations that the parent is nearest to, and of each next if it is not that
PREFERENCE = 1.5  # exponent that makes the first parents likelier


@dataclass(frozen=True)
class Mutant:
    """A mutated crystal, the position of its parent in the sequence of parents, and the operator."""

    atoms: Atoms
    parent: int
    operator: str


def draw_mutant(rng: Generator, parents: Sequence[Parent], cation: Cation, cation_angle: float) -> Mutant | None:
    """A random mutant of one of the parents, of which the first are likelier; None without room or without a change.

    cation: the spacer. One of charge +2 connects two layers, so that layers do not slide and far ends stay where they
    are. cation_angle: largest angle of a redrawn cation's axis to the normal, degrees. In a cell of several layers any
    of them may be the last one, above which the next cell is slid and lifted.
    """
    place = int(len(parents) * rng.random() ** PREFERENCE)
    parent = parents[place]
    if parent.layers > 1:
        parent = parent.starting_at(int(rng.integers(parent.layers)))
    useless = {"slide"} if cation.charge == 2 else set()
    useless |= set() if cation.torsions else {"torsion"}
    allowed = [name for name in OPERATORS if name not in useless]
    share = np.array([OPERATORS[name] for name in allowed])
    operator = str(rng.choice(allowed, p=share / share.sum()))
    for _ in range(ATTEMPTS):
        other = parents[int(rng.integers(len(parents)))]
        atoms = _mutated(rng, operator, parent, other, cation, cation_angle)
        if atoms is not None:
            return Mutant(atoms, place, operator)
    return None


def _mutated(
    rng: Generator, operator: str, parent: Parent, other: Parent, cation: Cation, cation_angle: float
) -> Atoms | None:
    """The parent after one operator; None where atoms come too close, or nothing changed."""
    atoms, moved = parent.atoms.copy(), {}
    if operator == "slide":
        atoms.set_cell(_upright(atoms.cell[:2], atoms.cell[2] + draw_slide(rng, atoms.cell[:2])))
    else:
        operators: dict[str, Callable[[], dict[int, np.ndarray]]] = {
            "heredity": partial(_inherited, rng, parent, other, cation.chiral),
            "rotation": partial(_rotated, rng, parent, cation.charge),
            "torsion": partial(_twisted, rng, parent, cation),
            "images": partial(_images, rng, parent, other, cation, cation_angle),
            "redraw": partial(_redrawn, rng, parent, cation, cation_angle),
        }
        moved = operators[operator]()
    if cation.charge == 2:
        moved = {number: x for number, x in moved.items() if _bridges(parent, parent.seats[number], x)}
    for number, positions in moved.items():
        seat = parent.seats[number]
        atoms.positions[seat.atoms] = seat.middle + positions @ parent.axes
    if operator == "images" and cation.charge == 1 and rng.random() < RESTACKED:
        atoms.set_cell(restacked(rng, atoms, parent.axes))
    if np.allclose(atoms.positions, parent.atoms.positions, atol=1e-3) and np.allclose(atoms.cell, parent.atoms.cell):
        return None
    return _lifted(atoms, parent, ASTRAY if cation.charge == 2 else HIGHEST)


def _inherited(rng: Generator, parent: Parent, other: Parent, chiral: bool) -> dict[int, np.ndarray]:
    """Half of the cations sit as some of the other parent do, turned or reflected with the octahedra."""
    moved = {}
    for number in rng.permutation(len(parent.seats))[: max(1, len(parent.seats) // 2)]:
        donor = other.seats[int(rng.integers(len(other.seats)))]
        moved[int(number)] = donor.positions @ draw_image(rng, donor.side != parent.seats[number].side, chiral).T
    return moved


def _rotated(rng: Generator, parent: Parent, charge: int) -> dict[int, np.ndarray]:
    """Some cations rotated."""
    chosen = rng.permutation(len(parent.seats))[: int(rng.integers(1, len(parent.seats) + 1))]
    return {int(number): _rotation(rng, parent.seats[number].positions, parent.heads, charge) for number in chosen}


def _twisted(rng: Generator, parent: Parent, cation: Cation) -> dict[int, np.ndarray]:
    """Some cations with one bond turned."""
    return {number: twist(rng, parent.seats[number].positions, cation) for number in _some(rng, parent)}


def _redrawn(rng: Generator, parent: Parent, cation: Cation, cation_angle: float) -> dict[int, np.ndarray]:
    """Some cations drawn anew."""
    return {
        number: _fresh(rng, parent, cation, cation_angle, parent.seats[number].side) for number in _some(rng, parent)
    }


def _images(
    rng: Generator, parent: Parent, other: Parent, cation: Cation, cation_angle: float
) -> dict[int, np.ndarray]:
    """All cations become images of one, under operations that the parent nearly has already.

    That one sits as it does, rotated, with a bond turned, as one of the other parent does, or as drawn anew.
    """
    origin = parent.seats[int(rng.integers(len(parent.seats)))]
    ways = operations(parent, origin, cation.chiral)
    across, images = ways[min(int(rng.geometric(NEAREST)), len(ways)) - 1]
    pattern = str(rng.choice(["same", "rotated", "other", "new", *(["twisted"] if cation.torsions else [])]))
    if pattern == "new":
        base = _fresh(rng, parent, cation, cation_angle, origin.side)
    elif pattern == "other":
        donor = other.seats[int(rng.integers(len(other.seats)))]
        base = donor.positions @ (np.eye(3) if donor.side == origin.side else across).T
    elif pattern == "twisted":
        base = twist(rng, origin.positions, cation)
    elif pattern == "rotated":
        base = _rotation(rng, origin.positions, parent.heads, cation.charge)
    else:
        base = origin.positions
    return {number: base @ image.T for number, image in enumerate(images)}


def _some(rng: Generator, parent: Parent) -> list[int]:
    """The numbers of one cation, or of half of them."""
    count = 1 if rng.random() < 0.5 else max(1, len(parent.seats) // 2)
    return rng.permutation(len(parent.seats))[:count].tolist()


def _fresh(rng: Generator, parent: Parent, cation: Cation, cation_angle: float, side: int) -> np.ndarray:
    """A cation as starts have them: any conformer and orientation (atoms, 3), its end in the pocket."""
    flips = np.array([side if cation.chiral else 1, 1, side])
    return draw_orientation(rng, cation, cation_angle).positions(cation, flips) + [0, 0, side * parent.depth]


def _rotation(rng: Generator, x: np.ndarray, heads: np.ndarray, charge: int) -> np.ndarray:
    """A cation rotated a little about its head or by any angle about the normal; a bridging one about its axis."""
    angle = rng.uniform(0, 2 * np.pi)
    if charge == 2:
        origin = x.mean(0)
        turn = angle * np.linalg.svd(x - origin)[2][0]
    else:
        origin = x[heads[np.abs(x[heads, 2]).argmin()]]
        turn = rng.normal(0, WOBBLE, 3) if rng.random() < 0.6 else np.array([0.0, 0.0, angle])
    return (x - origin) @ Rotation.from_rotvec(turn).as_matrix().T + origin


def twist(rng: Generator, x: np.ndarray, cation: Cation) -> np.ndarray:
    """One bond of a cation (atoms, 3) turned, mostly to the next of three staggered angles; the molecule stays in
    place, by superposition of its heavy atoms."""
    first, second, moving = cation.torsions[int(rng.integers(len(cation.torsions)))]
    angle = rng.choice([-1, 1]) * 2 * np.pi / 3 if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi)
    axis, side = x[second] - x[first], list(moving)
    out = x.copy()
    turn = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    out[side] = (x[side] - x[second]) @ turn.T + x[second]
    heavy = cation.numbers > 1
    centre, new_centre = x[heavy].mean(0), out[heavy].mean(0)
    back = Rotation.align_vectors(x[heavy] - centre, out[heavy] - new_centre)[0].as_matrix()
    return (out - new_centre) @ back.T + centre


def restacked(rng: Generator, atoms: Atoms, axes: np.ndarray) -> np.ndarray:
    """The cell (3, 3) with the next layer on this one as in starts: slid at random, and down until they touch."""
    layer = Layer(atoms.numbers, atoms.positions @ axes.T, atoms.arrays["molecule"])
    _, third = stack(rng, [layer], atoms.cell[:2] @ axes.T, APART, 0.0, np.inf)
    return _upright(atoms.cell[:2], third @ axes)


def _upright(plane: np.ndarray, third: np.ndarray) -> np.ndarray:
    """The cell (3, 3) whose third vector leans as little as those of the plane (2, 3) allow: steep ones relax badly."""
    return np.vstack([plane, third - np.round(third @ np.linalg.pinv(plane)) @ plane])


def _bridges(parent: Parent, seat: Seat, positions: np.ndarray) -> bool:
    """Whether the far head of a bridging cation is near a pocket of the next layer like the one it had."""
    new, old = (x[parent.heads[np.abs(x[parent.heads, 2]).argmax()]] for x in (positions, seat.positions))
    misfit = (new - old) @ parent.axes
    misfit = misfit - np.round(misfit @ np.linalg.pinv(parent.steps)) @ parent.steps
    return bool(np.linalg.norm(misfit) < ASTRAY)


def _lifted(atoms: Atoms, parent: Parent, highest: float) -> Atoms | None:
    """The atoms with the last layer lifted until no two molecules touch; None where `highest` Angstrom do not help."""
    contact = min(CONTACT, parent.closest) - 1e-9
    within, between = closest_contacts(atoms)
    lattice, lift = atoms.cell.array.copy(), 0.0
    while within >= contact > between and lift < highest:
        lift += LIFT
        atoms.set_cell(np.vstack([lattice[:2], lattice[2] + lift * parent.axes[2]]))
        between = closest_contacts(atoms)[1]
    return atoms if min(within, between) >= contact else None
