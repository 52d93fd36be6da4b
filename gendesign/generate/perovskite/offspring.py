"""Children of relaxed layered perovskites: cations moved, inherited or made each other's images, layers slid.

The operators are those of evolutionary crystal structure prediction (Oganov, Glass, J. Chem. Phys. 124, 244704, 2006;
Zhu et al., Acta Cryst. B 68, 215, 2012, for molecules), in terms of what these crystals are made of: every cation has
a seat, the pocket between four octahedra on one side of a layer, and what is passed on is how it sits there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from matscipy.neighbours import neighbour_list
from numpy.linalg import matrix_power as power
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from gendesign.generate.perovskite.build import DEPTH
from gendesign.generate.perovskite.cation import Cation
from gendesign.generate.perovskite.contacts import radii
from gendesign.generate.perovskite.layer import IN_PLANE
from gendesign.generate.perovskite.placement import draw_orientation
from gendesign.generate.perovskite.stack import Layer, draw_slide, stack
from gendesign.structure.perovskite import METALS, TYPICAL, halides_of, metals_of
from gendesign.structure.superposition import squares_apart

OPERATORS = {  # how often
    "images": 0.4, "rotation": 0.2, "torsion": 0.15, "heredity": 0.1, "redraw": 0.05, "slide": 0.1,
}  # fmt: skip
ATTEMPTS = 8  # to make a child by one operator
CONTACT = 0.62  # share of the van der Waals distance that atoms of children keep, or what their parent has if less
HIGHEST, LIFT = 4.0, 0.25  # Angstrom by which layers may be lifted to keep it, and in which steps
ASTRAY = 1.5  # Angstrom by which a bridging cation's far end may miss its pocket, and by which its layers may be lifted
# Of all images half also get another place for the next layer, since that suits one packing of the cations and not the
# next; it comes down until atoms are this share of the van der Waals distance apart.
RESTACKED, APART = 0.5, 0.7
WOBBLE = 0.5  # radian, standard deviation of a rotation
# In-plane steps from one octahedron to the next, in lattice vectors.
STEPS = {cell: np.linalg.inv(vectors) for cell, (vectors, _) in IN_PLANE.items()}
LARGER = {"1": "sqrt2", "sqrt2": "2x2"}  # the cell with twice as many octahedra
# Operations of the square that keep one pair of axes: none, half a turn, and the reflections; two such pairs.
AXES = [
    [np.eye(3), np.diag([-1, -1, 1]), np.diag([-1, 1, 1]), np.diag([1, -1, 1])],
    [np.eye(3), np.diag([-1, -1, 1]), np.eye(3)[[1, 0, 2]], np.diag([-1, -1, 1]) @ np.eye(3)[[1, 0, 2]]],
]
FLIP = np.diag([1, 1, -1])  # to the other side of the layer
NEAREST = 0.4  # chance of the operations that the parent comes nearest to, and of each next if it is not that


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

    steps (2, 3): in-plane vectors from one octahedron to the next; joined: whether the cell's translations join those
    that are next but one; axes (3, 3): rows along the first step, across it, and up to the next layer. heads: the atoms
    of a spacer that may stand in a pocket; depth: how far from the metals they do, Angstrom. closest: see _closest.
    layers: of octahedra in the cell; floors (atoms,): the layer of each atom, counted upwards from the lowest, 0.
    """

    atoms: Atoms
    seats: tuple[Seat, ...]
    steps: np.ndarray
    joined: bool
    axes: np.ndarray
    heads: np.ndarray
    depth: float
    closest: float
    layers: int
    floors: np.ndarray

    @classmethod
    def of(cls, atoms: Atoms, cell: str, cation: Cation, spacers: int, layers: int = 1) -> "Parent":
        """From atoms as the builder made them (array `molecule`), the name of their in-plane cell, the spacers: so
        many of the last molecules, and the number of layers."""
        steps = STEPS[cell] @ atoms.cell.array[:2]
        up = np.cross(*steps) / np.linalg.norm(np.cross(*steps))
        up *= np.sign(up @ atoms.cell.array[2])
        first = steps[0] / np.linalg.norm(steps[0])
        axes = np.array([first, np.cross(up, first), up])
        molecule = atoms.arrays["molecule"]
        names = range(molecule.max() + 1 - spacers, molecule.max() + 1)
        depth = DEPTH * float(np.mean([TYPICAL[z] for z in atoms.numbers[halides_of(atoms)]]))
        heads = np.array(sorted({end.atom for ends in cation.ends for end in ends}))
        seats = tuple(_seat(atoms, np.flatnonzero(molecule == name), heads, steps, axes, depth) for name in names)
        floors = _floors(atoms, seats, axes[2], layers)
        return cls(atoms, seats, steps, cell != "2x2", axes, heads, depth, min(_closest(atoms)), layers, floors)

    def begun_at(self, first: int) -> "Parent":
        """The same crystal, its cell begun with that layer and those below it put on top: the last gap is another."""
        shifts = -((self.floors - first) // self.layers)[:, None] * self.atoms.cell.array[2]
        atoms = self.atoms.copy()
        atoms.positions += shifts
        seats = tuple(replace(seat, middle=seat.middle + shifts[seat.atoms[0]]) for seat in self.seats)
        return replace(self, atoms=atoms, seats=seats, floors=(self.floors - first) % self.layers)


def _seat(
    atoms: Atoms, members: np.ndarray, heads: np.ndarray, steps: np.ndarray, axes: np.ndarray, depth: float
) -> Seat:
    shifts = np.stack(np.meshgrid(*([np.arange(-2, 3)] * 2), [-1, 0, 1], indexing="ij"), -1).reshape(-1, 3)
    metals = (atoms.positions[metals_of(atoms), None] + shifts @ atoms.cell.array).reshape(-1, 3)
    middles = (metals[:, None] + [(a * steps[0] + b * steps[1]) / 2 for a in (-1, 1) for b in (-1, 1)]).reshape(-1, 3)
    apart = (atoms.positions[members[heads], None] - middles) @ axes.T
    off = np.abs(np.abs(apart[..., 2]) - depth) + np.linalg.norm(apart[..., :2], axis=-1)
    head, best = np.unravel_index(off.argmin(), off.shape)
    side = 1 if apart[head, best, 2] > 0 else -1
    return Seat(members, middles[best], side, (atoms.positions[members] - middles[best]) @ axes.T)


def _floors(atoms: Atoms, seats: Sequence[Seat], up: np.ndarray, layers: int) -> np.ndarray:
    """The layer of each atom: that of the metals at whose height it is, molecules as a whole and spacers by their seat;
    below 0, or layers and more, in the cells below and above."""
    heights, molecule = atoms.positions @ up, atoms.arrays["molecule"]
    metals = np.sort(heights[metals_of(atoms)])
    for name in range(molecule.max() + 1):
        heights[molecule == name] = heights[molecule == name].mean()
    for seat in seats:
        heights[seat.atoms] = seat.middle @ up
    number = np.arange(len(metals)) * layers // len(metals)
    cells = np.array([-1, 0, 1])
    apart = np.abs(heights[:, None, None] - metals[:, None] - cells * (atoms.cell.array[2] @ up))
    nearest, cell = np.unravel_index(apart.reshape(len(atoms), -1).argmin(1), apart.shape[1:])
    return number[nearest] + layers * cells[cell]


def doubled(atoms: Atoms, cell: str) -> Atoms:
    """The same crystal in the LARGER in-plane cell, its atoms and molecules in the builder's order."""
    matrix = np.eye(3)
    matrix[:2, :2] = IN_PLANE[LARGER[cell]][0] @ STEPS[cell]
    twice, molecule = make_supercell(atoms, matrix, wrap=False), np.tile(atoms.arrays["molecule"], 2)
    copy = np.repeat([0, 1], len(atoms))
    kind = np.where(np.isin(twice.numbers, METALS), 0, np.where(molecule < 0, 1, 2))
    order = np.lexsort([copy, molecule, kind])
    out = twice[order]
    out.set_array("molecule", np.where(molecule < 0, -1, 2 * molecule + copy)[order])
    return out


def draw_child(rng: Generator, parents: Sequence[Parent], cation: Cation, cap: float) -> tuple[Atoms, int, str] | None:
    """A child, the place of its parent and the operator; first parents are likelier. None: no room, or nothing changed.

    cation: the spacer; those of +2 hold two layers together, so layers do not slide and far ends stay where they are.
    cap: largest angle of a redrawn cation's axis to the normal, degrees. Of several layers in a cell any one may be
    the last, above which the next is slid and lifted.
    """
    place = int(len(parents) * rng.random() ** 1.5)
    parent = parents[place]
    if parent.layers > 1:
        parent = parent.begun_at(int(rng.integers(parent.layers)))
    useless = {"slide"} if cation.charge == 2 else set()
    useless |= set() if cation.torsions else {"torsion"}
    allowed = [name for name in OPERATORS if name not in useless]
    share = np.array([OPERATORS[name] for name in allowed])
    operator = str(rng.choice(allowed, p=share / share.sum()))
    for _ in range(ATTEMPTS):
        other = parents[int(rng.integers(len(parents)))]
        child = _changed(rng, operator, parent, other, cation, cap)
        if child is not None:
            return child, place, operator
    return None


def _changed(rng: Generator, operator: str, parent: Parent, other: Parent, cation: Cation, cap: float) -> Atoms | None:
    child, moved = parent.atoms.copy(), {}
    if operator == "heredity":
        moved = _inherited(rng, parent, other, cation.chiral)
    elif operator == "rotation":
        moved = _rotated(rng, parent, cation.charge)
    elif operator == "torsion":
        moved = {number: _twisted(rng, parent.seats[number].positions, cation) for number in _some(rng, parent)}
    elif operator == "images":
        moved = _images(rng, parent, other, cation, cap)
    elif operator == "redraw":
        moved = _redrawn(rng, parent, cation, cap)
    else:
        child.set_cell(_upright(child.cell[:2], child.cell[2] + draw_slide(rng, child.cell[:2])))
    if cation.charge == 2:
        moved = {number: x for number, x in moved.items() if _bridges(parent, parent.seats[number], x)}
    for number, positions in moved.items():
        seat = parent.seats[number]
        child.positions[seat.atoms] = seat.middle + positions @ parent.axes
    if operator == "images" and cation.charge == 1 and rng.random() < RESTACKED:
        child.set_cell(_restacked(rng, child, parent.axes))
    if np.allclose(child.positions, parent.atoms.positions, atol=1e-3) and np.allclose(child.cell, parent.atoms.cell):
        return None
    return _lifted(child, parent, ASTRAY if cation.charge == 2 else HIGHEST)


def _restacked(rng: Generator, atoms: Atoms, axes: np.ndarray) -> np.ndarray:
    """The cell (3, 3) with the next layer on this one as in starts: slid anyhow, and down until they touch."""
    layer = Layer(atoms.numbers, atoms.positions @ axes.T, atoms.arrays["molecule"])
    _, third = stack(rng, [layer], atoms.cell[:2] @ axes.T, APART, 0.0, np.inf)
    return _upright(atoms.cell[:2], third @ axes)


def _upright(plane: np.ndarray, third: np.ndarray) -> np.ndarray:
    """The cell (3, 3) whose third vector leans as little as those of the plane (2, 3) allow: steep ones relax badly."""
    return np.vstack([plane, third - np.round(third @ np.linalg.pinv(plane)) @ plane])


def _fresh(rng: Generator, parent: Parent, cation: Cation, cap: float, side: int) -> np.ndarray:
    """A cation as starts have them: any conformer and orientation (atoms, 3), its end in the pocket."""
    x = draw_orientation(rng, cation, cap).positions(cation, np.array([side if cation.chiral else 1, 1, side]))
    return x + [0, 0, side * parent.depth]


def _some(rng: Generator, parent: Parent) -> list[int]:
    """The numbers of one cation, or of half of them."""
    some = 1 if rng.random() < 0.5 else max(1, len(parent.seats) // 2)
    return rng.permutation(len(parent.seats))[:some].tolist()


def _redrawn(rng: Generator, parent: Parent, cation: Cation, cap: float) -> dict[int, np.ndarray]:
    """Some cations drawn anew."""
    return {number: _fresh(rng, parent, cation, cap, parent.seats[number].side) for number in _some(rng, parent)}


def _twisted(rng: Generator, x: np.ndarray, cation: Cation) -> np.ndarray:
    """One bond of a cation turned, mostly to the next of three staggered places; the molecule lies where it lay."""
    first, second, moving = cation.torsions[int(rng.integers(len(cation.torsions)))]
    angle = rng.choice([-1, 1]) * 2 * np.pi / 3 if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi)
    axis, side = x[second] - x[first], list(moving)
    out = x.copy()
    turn = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    out[side] = (x[side] - x[second]) @ turn.T + x[second]
    heavy = cation.numbers > 1
    middle, new = x[heavy].mean(0), out[heavy].mean(0)
    back = Rotation.align_vectors(x[heavy] - middle, out[heavy] - new)[0].as_matrix()
    return (out - new) @ back.T + middle


def _inherited(rng: Generator, parent: Parent, other: Parent, chiral: bool) -> dict[int, np.ndarray]:
    """Half of the cations sit as some of the other parent do, turned or reflected with the octahedra."""
    moved = {}
    for number in rng.permutation(len(parent.seats))[: max(1, len(parent.seats) // 2)]:
        donor = other.seats[int(rng.integers(len(other.seats)))]
        moved[int(number)] = donor.positions @ _draw_image(rng, donor.side != parent.seats[number].side, chiral).T
    return moved


def _rotated(rng: Generator, parent: Parent, charge: int) -> dict[int, np.ndarray]:
    """Some cations turned."""
    some = rng.permutation(len(parent.seats))[: int(rng.integers(1, len(parent.seats) + 1))]
    return {int(number): _turned(rng, parent.seats[number].positions, parent.heads, charge) for number in some}


def _turned(rng: Generator, x: np.ndarray, heads: np.ndarray, charge: int) -> np.ndarray:
    """A cation turned a little about its head, or anyhow about the normal; a bridging one about its axis."""
    angle = rng.uniform(0, 2 * np.pi)
    if charge == 2:
        origin = x.mean(0)
        turn = angle * np.linalg.svd(x - origin)[2][0]
    else:
        origin = x[heads[np.abs(x[heads, 2]).argmin()]]
        turn = rng.normal(0, WOBBLE, 3) if rng.random() < 0.6 else np.array([0.0, 0.0, angle])
    return (x - origin) @ Rotation.from_rotvec(turn).as_matrix().T + origin


def _images(rng: Generator, parent: Parent, other: Parent, cation: Cation, cap: float) -> dict[int, np.ndarray]:
    """All cations are images of one, under operations that the parent nearly has already.

    That one sits as it does, turned, with a bond turned, as one of the other parent does, or as drawn anew.
    """
    origin = parent.seats[int(rng.integers(len(parent.seats)))]
    found = operations(parent, origin, cation.chiral)
    across, images = found[min(int(rng.geometric(NEAREST)), len(found)) - 1]
    pattern = str(rng.choice(["own", "turned", "other", "new", *(["twisted"] if cation.torsions else [])]))
    if pattern == "new":
        base = _fresh(rng, parent, cation, cap, origin.side)
    elif pattern == "other":
        donor = other.seats[int(rng.integers(len(other.seats)))]
        base = donor.positions @ (np.eye(3) if donor.side == origin.side else across).T
    elif pattern == "twisted":
        base = _twisted(rng, origin.positions, cation)
    else:
        base = origin.positions if pattern == "own" else _turned(rng, origin.positions, parent.heads, cation.charge)
    return {number: base @ image.T for number, image in enumerate(images)}


def operations(parent: Parent, origin: Seat, chiral: bool) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Ways to make all cations images of the one at `origin`, those first that move them least.

    Each is what goes to the other side of the layer (3, 3), and the image for every seat (3, 3). They are of a group:
    one operation goes across, one to the next octahedron along each step, and all keep one pair of axes.
    """
    numbers = parent.atoms.numbers[origin.atoms]
    moves = np.round([(seat.middle - origin.middle) @ np.linalg.pinv(parent.steps) for seat in parent.seats])
    found = {}
    for axes in AXES:
        turns = axes[:2] if chiral else axes
        pairs = [(turn, turn) for turn in turns] if parent.joined else product(turns, turns)
        for over, (first, second) in product(axes[2:] if chiral else axes, pairs):
            across = over @ FLIP
            images = [
                power(first, int(i) % 2) @ power(second, int(j) % 2) @ power(across, int(seat.side != origin.side))
                for (i, j), seat in zip(moves, parent.seats, strict=True)
            ]
            apart = [squares_apart(origin.positions @ image.T, seat.positions, numbers)
                     for image, seat in zip(images, parent.seats, strict=True)]  # fmt: skip
            found[(np.array(images) + 0.0).tobytes()] = sum(apart), across, images
    return [found[key][1:] for key in sorted(found, key=lambda key: found[key][0])]


def _bridges(parent: Parent, seat: Seat, positions: np.ndarray) -> bool:
    """Whether the far head of a bridging cation is near a place like the one it had, a pocket of the next layer."""
    new, old = (x[parent.heads[np.abs(x[parent.heads, 2]).argmax()]] for x in (positions, seat.positions))
    apart = (new - old) @ parent.axes
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


def _lifted(atoms: Atoms, parent: Parent, highest: float) -> Atoms | None:
    """The atoms with the last layer as high as no two molecules touch, None where lifting so far does not help."""
    contact = min(CONTACT, parent.closest) - 1e-9
    within, between = _closest(atoms)
    lattice, lift = atoms.cell.array.copy(), 0.0
    while within >= contact > between and lift < highest:
        lift += LIFT
        atoms.set_cell(np.vstack([lattice[:2], lattice[2] + lift * parent.axes[2]]))
        between = _closest(atoms)[1]
    return atoms if min(within, between) >= contact else None


def _closest(atoms: Atoms) -> tuple[float, float]:
    """The least distance between molecules, and of them to the inorganic part, as a share of the van der Waals one:
    within the cell's own layers, and to those of the next cell up or down."""
    molecule, sizes = atoms.arrays["molecule"], radii(atoms.numbers)
    first, second, length, shift = neighbour_list("ijdS", atoms, 2 * CONTACT * sizes.max())
    own = (molecule[first] == molecule[second]) & (shift == 0).all(axis=1)  # molecules are whole
    inorganic = (molecule[first] < 0) & (molecule[second] < 0)
    share, apart = length / (sizes[first] + sizes[second]), ~own & ~inorganic
    return tuple(float(share[apart & which].min(initial=np.inf)) for which in (shift[:, 2] == 0, shift[:, 2] != 0))
