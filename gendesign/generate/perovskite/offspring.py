"""Children of relaxed layered perovskites: cations moved, inherited or made each other's images, layers slid.

The operators are those of evolutionary crystal structure prediction (Oganov, Glass, J. Chem. Phys. 124, 244704, 2006;
Zhu et al., Acta Cryst. B 68, 215, 2012, for molecules), in terms of what these crystals are made of: every cation has
a seat, the pocket between four octahedra on one side of a layer, and what is passed on is how it sits there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from gendesign.generate.perovskite.build import DEPTH
from gendesign.generate.perovskite.contacts import radii
from gendesign.generate.perovskite.stack import draw_slide
from gendesign.structure.perovskite import TYPICAL, halides_of, metals_of

OPERATORS = {"heredity": 0.4, "rotation": 0.2, "images": 0.25, "slide": 0.15}  # how often
CONTACT = 0.62  # share of the van der Waals distance that atoms of children keep, or what their parent has if less
LIFTS = np.arange(0.0, 4.01, 0.25)  # Angstrom by which layers may be lifted to keep it
ASTRAY = 1.5  # Angstrom by which the far end of a cation that bridges may miss where the one before it had its
WOBBLE = 0.5  # radian, standard deviation of a rotation
# In-plane steps from one octahedron to the next, in lattice vectors.
STEPS = {"1": ((1, 0), (0, 1)), "sqrt2": ((0.5, 0.5), (0.5, -0.5)), "2x2": ((0.5, 0), (0, 0.5))}


@dataclass(frozen=True)
class Seat:
    """How a cation sits: its atoms (indices), the middle of its pocket in the plane of the metals (3,), the side of the
    layer (1 or -1), and positions (atoms, 3) from that middle in the axes of the layer, Angstrom."""

    atoms: np.ndarray
    middle: np.ndarray
    side: int
    positions: np.ndarray


@dataclass(frozen=True)
class Parent:
    """A relaxed perovskite with the seats of its spacers.

    steps (2, 3): in-plane vectors from one octahedron to the next; axes (3, 3): rows along the first step, across it,
    and up to the next layer.
    """

    atoms: Atoms
    seats: tuple[Seat, ...]
    steps: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, atoms: Atoms, cell: str, spacers: int) -> "Parent":
        """From atoms as the builder made them (array `molecule`), the name of their in-plane cell, and how many of the
        last molecules are spacers."""
        steps = np.array(STEPS[cell]) @ atoms.cell.array[:2]
        up = np.cross(*steps) / np.linalg.norm(np.cross(*steps))
        up *= np.sign(up @ atoms.cell.array[2])
        first = steps[0] / np.linalg.norm(steps[0])
        axes = np.array([first, np.cross(up, first), up])
        molecule = atoms.arrays["molecule"]
        names = range(molecule.max() + 1 - spacers, molecule.max() + 1)
        seats = tuple(_seat(atoms, np.flatnonzero(molecule == name), steps, axes) for name in names)
        return cls(atoms, seats, steps, axes)


def _seat(atoms: Atoms, members: np.ndarray, steps: np.ndarray, axes: np.ndarray) -> Seat:
    heavy = members[atoms.numbers[members] > 1]
    heads = heavy[atoms.numbers[heavy] == 7]
    heads = heads if len(heads) else heavy
    shifts = np.stack(np.meshgrid(*([np.arange(-2, 3)] * 2), [-1, 0, 1], indexing="ij"), -1).reshape(-1, 3)
    metals = (atoms.positions[metals_of(atoms), None] + shifts @ atoms.cell.array).reshape(-1, 3)
    middles = (metals[:, None] + [(a * steps[0] + b * steps[1]) / 2 for a in (-1, 1) for b in (-1, 1)]).reshape(-1, 3)
    apart = (atoms.positions[heads, None] - middles) @ axes.T
    depth = DEPTH * np.mean([TYPICAL[z] for z in atoms.numbers[halides_of(atoms)]])
    off = np.abs(np.abs(apart[..., 2]) - depth) + np.linalg.norm(apart[..., :2], axis=-1)
    head, best = np.unravel_index(off.argmin(), off.shape)
    side = 1 if apart[head, best, 2] > 0 else -1
    return Seat(members, middles[best], side, (atoms.positions[members] - middles[best]) @ axes.T)


def draw_child(rng: Generator, parents: Sequence[Parent], charge: int, chiral: bool) -> tuple[Atoms, int, str] | None:
    """A child, the place of its parent and the operator; first parents are likelier. None: no room, or nothing changed.

    charge: of a spacer; those of +2 hold two layers together, so layers do not slide and far ends stay where they are.
    Of several layers in a cell the last one alone is slid and lifted.
    """
    place = int(len(parents) * rng.random() ** 1.5)
    parent = parents[place]
    allowed = [name for name in OPERATORS if charge == 1 or name != "slide"]
    share = np.array([OPERATORS[name] for name in allowed])
    operator = str(rng.choice(allowed, p=share / share.sum()))
    child = parent.atoms.copy()
    if operator == "heredity":
        moved = _inherited(rng, parent, parents[int(rng.integers(len(parents)))], chiral)
    elif operator == "rotation":
        moved = _rotated(rng, parent, charge)
    elif operator == "images":
        moved = _images(rng, parent, chiral)
    else:
        moved = {}
        lattice = child.cell.array.copy()
        lattice[2] += draw_slide(rng, lattice[:2])
        child.set_cell(lattice)
    if charge == 2:
        moved = {number: x for number, x in moved.items() if _bridges(parent, parent.seats[number], x)}
    for number, positions in moved.items():
        seat = parent.seats[number]
        child.positions[seat.atoms] = seat.middle + positions @ parent.axes
    if np.allclose(child.positions, parent.atoms.positions, atol=1e-3) and np.allclose(child.cell, parent.atoms.cell):
        return None
    lifted = _lifted(child, parent.axes[2], min(CONTACT, _closest(parent.atoms)))
    return None if lifted is None else (lifted, place, operator)


def _inherited(rng: Generator, parent: Parent, other: Parent, chiral: bool) -> dict[int, np.ndarray]:
    """Half of the cations sit as some of the other parent do, turned or reflected with the octahedra."""
    moved = {}
    for number in rng.permutation(len(parent.seats))[: max(1, len(parent.seats) // 2)]:
        donor = other.seats[int(rng.integers(len(other.seats)))]
        moved[int(number)] = donor.positions @ _draw_image(rng, donor.side != parent.seats[number].side, chiral).T
    return moved


def _rotated(rng: Generator, parent: Parent, charge: int) -> dict[int, np.ndarray]:
    """Some cations turned: a little about their head, or anyhow about the normal; bridging ones about their axis."""
    moved = {}
    for number in rng.permutation(len(parent.seats))[: int(rng.integers(1, len(parent.seats) + 1))]:
        seat = parent.seats[number]
        x, angle = seat.positions, rng.uniform(0, 2 * np.pi)
        if charge == 2:
            origin = x.mean(0)
            turn = angle * np.linalg.svd(x - origin)[2][0]
        else:
            heads = np.flatnonzero(parent.atoms.numbers[seat.atoms] == 7)
            origin = x[heads[np.abs(x[heads, 2]).argmin()]] if len(heads) else x[np.abs(x[:, 2]).argmin()]
            turn = rng.normal(0, WOBBLE, 3) if rng.random() < 0.6 else np.array([0.0, 0.0, angle])
        moved[int(number)] = (x - origin) @ Rotation.from_rotvec(turn).as_matrix().T + origin
    return moved


def _images(rng: Generator, parent: Parent, chiral: bool) -> dict[int, np.ndarray]:
    """All cations are images of one of them under two operations that the octahedra nearly have."""
    chosen = int(rng.integers(len(parent.seats)))
    pattern = parent.seats[chosen]
    same, across = _draw_image(rng, False, chiral), _draw_image(rng, True, chiral)
    moved = {}
    for number, seat in enumerate(parent.seats):
        if number != chosen:
            image = np.eye(3) if seat.side == pattern.side else across
            moved[number] = pattern.positions @ (image if rng.random() < 0.5 else same @ image).T
    return moved


def _bridges(parent: Parent, seat: Seat, positions: np.ndarray) -> bool:
    """Whether the far head of a bridging cation is near a place like the one it had, a pocket of the next layer."""
    heads = np.flatnonzero(parent.atoms.numbers[seat.atoms] == 7)
    far = heads[np.abs(seat.positions[heads, 2]).argmax()]
    apart = (positions[far] - seat.positions[far]) @ parent.axes
    inverse = np.linalg.pinv(parent.steps)
    apart = apart - np.round(apart @ inverse) @ parent.steps
    return bool(np.linalg.norm(apart) < ASTRAY)


def _draw_image(rng: Generator, across: bool, chiral: bool) -> np.ndarray:
    """An operation (3, 3) of the square that the octahedra make, to the other side of the layer or not.

    Chiral molecules take rotations only.
    """
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    mirror = across if chiral else rng.random() < 0.5
    out = np.linalg.matrix_power(quarter, int(rng.integers(4))) @ np.diag([-1 if mirror else 1, 1, 1])
    return out @ np.diag([1, 1, -1 if across else 1])


def _lifted(atoms: Atoms, up: np.ndarray, contact: float) -> Atoms | None:
    """The atoms with the last layer as high as no two molecules touch, None where lifting does not help."""
    for lift in LIFTS:
        lattice = atoms.cell.array.copy()
        lattice[2] += lift * up
        out = atoms.copy()
        out.set_cell(lattice)
        if _closest(out) >= contact - 1e-9:
            return out
    return None


def _closest(atoms: Atoms) -> float:
    """The least distance between molecules, and of them to the inorganic part, as a share of the van der Waals one."""
    molecule, sizes = atoms.arrays["molecule"], radii(atoms.numbers)
    first, second, length, shift = neighbour_list("ijdS", atoms, 2 * CONTACT * sizes.max())
    own = (molecule[first] == molecule[second]) & (shift == 0).all(axis=1)  # molecules are whole
    inorganic = (molecule[first] < 0) & (molecule[second] < 0)
    between = ~own & ~inorganic
    return float((length / (sizes[first] + sizes[second]))[between].min(initial=np.inf))
