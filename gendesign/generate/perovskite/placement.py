"""Cations into sites: orientations, the discrete choices, and rejection of contacts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from gendesign.generate.perovskite.cation import Cation, End
from gendesign.generate.perovskite.contacts import clash, radii
from gendesign.generate.perovskite.stack import Layer

TRIES = 6  # for one molecule before all are drawn anew


@dataclass(frozen=True)
class Orientation:
    """A conformer, turned: which one, which end is anchored, and the rotation (3, 3); the molecule points up."""

    conformer: int
    end: End | None
    rotation: np.ndarray

    def positions(self, cation: Cation, flip: np.ndarray) -> np.ndarray:
        """Positions (atoms, 3) with the anchor (or the middle) at the origin after the flips (3,) of +-1."""
        shape = cation.conformers[self.conformer]
        origin = np.zeros(3) if self.end is None else shape[self.end.atom]
        return (shape - origin) @ self.rotation.T * flip


@dataclass
class Arrangement:
    """What stands already in a periodic cell, growing molecule by molecule; lattice (k, 3) of up to three."""

    lattice: np.ndarray
    contact: float
    numbers: list[np.ndarray] = field(default_factory=list)
    positions: list[np.ndarray] = field(default_factory=list)

    def add(self, numbers: np.ndarray, positions: np.ndarray, *, tested: bool = True) -> bool:
        """Put atoms in, unless (when tested) they come too close to anything; whether they are in."""
        if tested and clash(
            positions,
            self.contact * radii(numbers),
            np.concatenate(self.positions),
            self.contact * radii(np.concatenate(self.numbers)),
            self.lattice,
        ):
            return False
        self.numbers.append(numbers)
        self.positions.append(positions)
        return True

    def layer(self, reach: np.ndarray | None = None) -> Layer:
        """All of it as one layer: what was put in first is its inorganic part, then follow the molecules."""
        molecule = [np.full(len(numbers), k - 1) for k, numbers in enumerate(self.numbers)]
        return Layer(np.concatenate(self.numbers), np.concatenate(self.positions), np.concatenate(molecule), reach)


def draw_orientation(rng: Generator, cation: Cation, cap: float) -> Orientation:
    """A conformer, an end, the axis uniform on a cap of `cap` degrees about the normal, the spin about it uniform.

    Any conformer of a charge of +1 is as likely; of +2 mostly low ones, whose charges are far apart and reach across.
    """
    count = len(cation.conformers)
    conformer = int(count * rng.random() ** 2) if cation.charge == 2 else int(rng.integers(count))
    ends = cation.ends[conformer]
    end = ends[int(rng.integers(len(ends)))]
    height = rng.uniform(np.cos(np.radians(cap)), 1.0)
    turn, spin = rng.uniform(0, 2 * np.pi, 2)
    side = np.sqrt(1 - height**2)
    axis = np.array([side * np.cos(turn), side * np.sin(turn), height])
    rotation = Rotation.from_rotvec(spin * axis).as_matrix() @ _onto(end.axis, axis)
    return Orientation(conformer, end, rotation)


def draw_free(rng: Generator, cation: Cation) -> Orientation:
    """Any orientation about the middle, for a cation in a cage."""
    conformer = int(rng.integers(len(cation.conformers)))
    return Orientation(conformer, None, Rotation.from_quat(rng.normal(size=4)).as_matrix())


def draw_flip(rng: Generator, cation: Cation, up: bool, first: bool) -> np.ndarray:
    """Signs (3,) of the reflections that make this molecule from the common orientation.

    The two reflections across the normal are drawn, for the first molecule of a cell neither, as turning everything at
    once gives nothing new. A chiral molecule takes rotations only: an even number of reflections.
    """
    x, y = (1, 1) if first else rng.choice([-1, 1], 2)
    z = 1 if up else -1
    if cation.chiral and x * y * z < 0:
        x = -x
    return np.array([x, y, z], dtype=float)


def fill_cages(rng: Generator, cation: Cation, cages: np.ndarray, arrangement: Arrangement) -> bool:
    """A freely turned cation in every cage; whether all found room."""
    return all(
        any(
            arrangement.add(cation.numbers, site + draw_free(rng, cation).positions(cation, np.ones(3)))
            for _ in range(TRIES)
        )
        for site in cages
    )


def fill_pockets(
    rng: Generator,
    cation: Cation,
    pockets: Sequence[tuple[np.ndarray, bool]],
    arrangement: Arrangement,
    shared: Orientation | None,
    cap: float,
    first: bool,
) -> bool:
    """A cation in every pocket (position, points up); whether all found room.

    `shared`: the orientation of all but for their reflections, None to draw one for each. first: this is the first
    layer of the cell, whose first molecule is not reflected.
    """
    for number, (site, up) in enumerate(pockets):
        for _ in range(TRIES):
            orientation = shared or draw_orientation(rng, cation, cap)
            flip = draw_flip(rng, cation, up, first and number == 0)
            if arrangement.add(cation.numbers, site + orientation.positions(cation, flip)):
                break
        else:
            return False
    return True


def _onto(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The rotation matrix (3, 3) by the smallest angle from one unit vector to another."""
    cross, cosine = np.cross(start, end), float(start @ end)
    if np.linalg.norm(cross) < 1e-9:
        if cosine > 0:
            return np.eye(3)
        across = np.cross(start, [1.0, 0, 0] if abs(start[0]) < 0.9 else [0, 1.0, 0])
        return Rotation.from_rotvec(np.pi * across / np.linalg.norm(across)).as_matrix()
    angle = np.arctan2(np.linalg.norm(cross), cosine)
    return Rotation.from_rotvec(angle * cross / np.linalg.norm(cross)).as_matrix()
