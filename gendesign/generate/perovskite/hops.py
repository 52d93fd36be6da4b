"""Moves from one packing to a neighbouring one: cations turned, copied or drawn anew, layers slid, octahedra tilted.

Basin hopping (Wales and Doye, J. Phys. Chem. A 101, 5111, 1997) by moves that know what hybrid perovskites are made of.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from gendesign.generate.perovskite.cation import Cation, read_cation
from gendesign.generate.perovskite.contacts import radii
from gendesign.generate.perovskite.placement import draw_free, draw_orientation
from gendesign.generate.perovskite.stack import draw_slide
from gendesign.structure.perovskite import METALS, network

TRIES = 40  # moves drawn before a hop is given up
CONTACT = 0.62  # share of the van der Waals distance that molecules keep; hydrogen bonds of relaxed crystals have 0.78
TUMBLE = 0.5  # radians, standard deviation about each axis
BULGE = 0.5  # Angstrom, of a shared halide off the line between its metals
LIFT, LIFTS = 0.4, 12  # Angstrom by which layers are moved apart after a slide, and how often at most
CAP, CONFORMERS = 45.0, 5  # of cations drawn anew, as of starts: degrees from the normal, and how many


def moved(atoms: Atoms, cations: str, layers: int, rng: Generator) -> tuple[str, Atoms] | None:
    """The crystal after one random move without contacts, and the move's name; None where TRIES draws had contacts.

    atoms: as built, molecules whole and after the inorganic part, array `molecule`; cations: what follows it, as
    candidates state it ("4 CCCC[NH3+]"); layers: slabs per cell, whose atoms stand in blocks of each kind.
    """
    crystal = Crystal(atoms, cations, layers)
    moves = crystal.moves
    for _ in range(TRIES):
        name = str(rng.choice(list(moves)))
        made = moves[name](crystal, rng)
        if made is not None and not touching(made):
            return name, made
    return None


def touching(atoms: Atoms) -> bool:
    """Whether atoms of different molecules, images among them, or of one and the inorganic part are too close."""
    first, second, image = neighbor_list("ijS", atoms, list(CONTACT * radii(atoms.numbers)))
    name = atoms.arrays["molecule"]
    same = (name[first] == name[second]) & ((name[first] < 0) | ~image.any(axis=1))
    return bool((~same).any())


class Crystal:
    """A crystal taken apart: its molecules, where each is anchored and points to, and the axes of its layers.

    kinds: the SMILES of each molecule; members: its atoms; turnable: molecules of more than one atom; axes (3, 3): rows
    along the first lattice vector, across it in the plane, and normal to the plane.
    """

    def __init__(self, atoms: Atoms, cations: str, layers: int) -> None:
        self.atoms, self.layers = atoms, layers
        words = cations.split()
        self.kinds = [smiles for count, smiles in zip(words[::2], words[1::2], strict=True) for _ in range(int(count))]
        name = atoms.arrays["molecule"]
        self.members = [np.flatnonzero(name == k) for k in range(len(self.kinds))]
        self.turnable = [k for k, members in enumerate(self.members) if len(members) > 1]
        a, b, _ = atoms.cell.array
        along, normal = a / np.linalg.norm(a), np.cross(a, b) / np.linalg.norm(np.cross(a, b))
        self.axes = np.array([along, np.cross(normal, along), normal])
        bonds = network(atoms)
        # The last cations have two charges and hold the layers together, or free halides end these.
        self.bridged = _cation(self.kinds[-1]).charge > 1
        self.slides = not self.bridged and bool((np.unique(bonds.halide, return_counts=True)[1] == 1).any())

    @property
    def moves(self) -> dict[str, Callable[["Crystal", Generator], Atoms | None]]:
        """The moves that this crystal has, by name."""
        found: dict[str, Callable[[Crystal, Generator], Atoms | None]] = {"octahedra tilted": tilted}
        if self.turnable:
            found |= {"one cation turned": turned_one, "all cations turned": turned_all}
            if not self.bridged:
                found["a cation drawn anew"] = drawn
        if any(self.kinds.count(self.kinds[k]) > 1 for k in self.turnable):
            found["a cation copied"] = copied
        if self.slides:
            found["layers slid"] = slid
        return found

    @property
    def layer(self) -> np.ndarray:
        """Which layer each atom belongs to (atoms,)."""
        out = np.zeros(len(self.atoms), dtype=int)
        inorganic = self.atoms.arrays["molecule"] < 0
        metal = inorganic & np.isin(self.atoms.numbers, METALS)
        blocks = [list(np.flatnonzero(metal)), list(np.flatnonzero(inorganic & ~metal))]
        for kind in dict.fromkeys(self.kinds):
            blocks.append([members for members, own in zip(self.members, self.kinds, strict=True) if own == kind])
        for block in blocks:
            for number, places in enumerate(np.array_split(np.arange(len(block)), self.layers)):
                for place in places:
                    out[block[place]] = number
        return out

    def anchor(self, k: int) -> np.ndarray:
        """The point (3,) of molecule k that stays: the middle of its nitrogens, or of all of it."""
        here = self.members[k]
        return _heads(self.atoms.positions[here], self.atoms.numbers[here])

    def shape(self, k: int) -> np.ndarray:
        """Molecule k about its anchor (atoms, 3)."""
        return self.atoms.positions[self.members[k]] - self.anchor(k)

    def along(self, k: int) -> np.ndarray:
        """Unit vector (3,) from the anchor to the atom farthest from it."""
        shape = self.shape(k)
        far = shape[np.argmax(np.linalg.norm(shape, axis=1))]
        return far / np.linalg.norm(far)

    def height(self, k: int) -> float:
        """How much molecule k points along the normal, from -1 to 1."""
        return float(self.along(k) @ self.axes[2])

    def mirror(self, x: float, y: float, z: float) -> np.ndarray:
        """The reflection (3, 3) by these signs along the layers' axes; it is its own inverse and transpose."""
        return self.axes.T @ np.diag([x, y, z]) @ self.axes

    def with_shapes(self, shapes: dict[int, np.ndarray]) -> Atoms:
        """The crystal with some molecules' shapes (atoms, 3) about their anchors replaced."""
        out = _bare(self.atoms)
        for k, shape in shapes.items():
            out.positions[self.members[k]] = self.anchor(k) + shape
        return out


def turned_one(crystal: Crystal, rng: Generator) -> Atoms:
    """One cation spun about its long axis or tumbled, its anchor staying."""
    k = int(rng.choice(crystal.turnable))
    return crystal.with_shapes({k: crystal.shape(k) @ _turn(crystal, rng)(k).T})


def turned_all(crystal: Crystal, rng: Generator) -> Atoms:
    """All cations spun by one angle, either way, or tumbled by one rotation or its mirror images."""
    turn = _turn(crystal, rng)
    return crystal.with_shapes({k: crystal.shape(k) @ turn(k).T for k in crystal.turnable})


def _turn(crystal: Crystal, rng: Generator) -> Callable[[int], np.ndarray]:
    """A rotation matrix (3, 3) for each molecule."""
    if rng.random() < 0.5:
        angle = rng.uniform(-np.pi, np.pi)
        return lambda k: Rotation.from_rotvec(rng.choice([-1, 1]) * angle * crystal.along(k)).as_matrix()
    tumble = Rotation.from_rotvec(rng.normal(0, TUMBLE, 3)).as_matrix()

    def mirrored(k: int) -> np.ndarray:
        mirror = crystal.mirror(*rng.choice([-1.0, 1.0], 3))
        return mirror @ tumble @ mirror

    return mirrored


def copied(crystal: Crystal, rng: Generator) -> Atoms:
    """One cation gets the shape and orientation of another of its kind, up to a reflection that keeps its side."""
    kinds = crystal.kinds
    pairs = [(k, j) for k in crystal.turnable for j in crystal.turnable if k != j and kinds[k] == kinds[j]]
    k, j = pairs[int(rng.integers(len(pairs)))]
    opposite = crystal.height(k) * crystal.height(j) < 0
    return crystal.with_shapes({k: crystal.shape(j) @ _reflection(crystal, rng, k, -1.0 if opposite else 1.0)})


def drawn(crystal: Crystal, rng: Generator) -> Atoms:
    """One cation as starts have it: a conformer and an orientation drawn, on the side where it was."""
    k = int(rng.choice(crystal.turnable))
    kind, caged = _cation(crystal.kinds[k]), not crystal.slides or crystal.kinds[k] != crystal.kinds[-1]
    drawing = draw_free(rng, kind) if caged else draw_orientation(rng, kind, CAP)
    up = rng.choice([-1.0, 1.0]) if caged else 1.0 if crystal.height(k) > 0 else -1.0
    shape = drawing.positions(kind, np.ones(3)) @ crystal.axes @ _reflection(crystal, rng, k, up)
    return crystal.with_shapes({k: shape - _heads(shape, kind.numbers)})


def tilted(crystal: Crystal, rng: Generator) -> Atoms:
    """Shared halides mirrored at the middle between their metals, or put off that line anew."""
    out, bonds = _bare(crystal.atoms), network(crystal.atoms)
    back = rng.random() < 0.5
    for halide in np.unique(bonds.halide):
        ends = np.flatnonzero(bonds.halide == halide)
        if len(ends) == 2:
            off = bonds.vector[ends].mean(axis=0)
            out.positions[halide] += (-off if back else rng.normal(0, BULGE, 3)) - off
    return out


def slid(crystal: Crystal, rng: Generator) -> Atoms | None:
    """The layers above a gap slid sideways and lifted until nothing touches; None where nothing helps."""
    above = crystal.layer > int(rng.integers(crystal.layers))
    step = draw_slide(rng, crystal.atoms.cell.array[:2])
    for lift in range(LIFTS):
        out, shift = _bare(crystal.atoms), step + lift * LIFT * crystal.axes[2]
        out.positions[above] += shift
        out.cell[2] += shift
        if not touching(out):
            return out
    return None


def _reflection(crystal: Crystal, rng: Generator, k: int, up: float) -> np.ndarray:
    """A reflection (3, 3) with this sign along the normal; a rotation where molecule k has a hand to keep."""
    x, y = rng.choice([-1.0, 1.0], 2)
    if _cation(crystal.kinds[k]).chiral and x * y * up < 0:
        x = -x
    return crystal.mirror(x, y, up)


def _heads(positions: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    heads = positions[numbers == 7]
    return (heads if len(heads) else positions).mean(axis=0)


@cache
def _cation(smiles: str) -> Cation:
    return read_cation(smiles, CONFORMERS)


def _bare(atoms: Atoms) -> Atoms:
    """A copy without results."""
    out = atoms.copy()
    out.calc = None
    return out
