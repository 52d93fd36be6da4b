"""Operations under which all cations of a layered perovskite become images of one, and random ones of a square."""

from itertools import product

import numpy as np
from numpy.linalg import matrix_power as power
from numpy.random import Generator

from gendesign.generate.perovskite.seats import Parent, Seat
from gendesign.structure.superposition import squared_distance

# Operations of the square that keep one pair of axes: none, half a turn, and the reflections; two such pairs.
AXES = [
    [np.eye(3), np.diag([-1, -1, 1]), np.diag([-1, 1, 1]), np.diag([1, -1, 1])],
    [np.eye(3), np.diag([-1, -1, 1]), np.eye(3)[[1, 0, 2]], np.diag([-1, -1, 1]) @ np.eye(3)[[1, 0, 2]]],
]
FLIP = np.diag([1, 1, -1])  # to the other side of the layer


def operations(parent: Parent, origin: Seat, chiral: bool) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Ways to make all cations images of the one at `origin`, those first that move them least.

    Each is the operation to the other side of the layer (3, 3), and the operation for every seat (3, 3). The operations
    of one way form a group: one goes across, one to the next octahedron along each step, and all keep one pair of axes.
    chiral: rotations only.
    """
    numbers = parent.atoms.numbers[origin.atoms]
    moves = np.round([(seat.middle - origin.middle) @ np.linalg.pinv(parent.steps) for seat in parent.seats])
    ways = {}
    for axes in AXES:
        turns = axes[:2] if chiral else axes
        pairs = [(turn, turn) for turn in turns] if parent.joined else product(turns, turns)
        for over, (first, second) in product(axes[2:] if chiral else axes, pairs):
            across = over @ FLIP
            images = [
                power(first, int(i) % 2) @ power(second, int(j) % 2) @ power(across, int(seat.side != origin.side))
                for (i, j), seat in zip(moves, parent.seats, strict=True)
            ]
            squares = [squared_distance(origin.positions @ image.T, seat.positions, numbers)
                       for image, seat in zip(images, parent.seats, strict=True)]  # fmt: skip
            ways[(np.array(images) + 0.0).tobytes()] = sum(squares), across, images
    return [ways[key][1:] for key in sorted(ways, key=lambda key: ways[key][0])]


def draw_image(rng: Generator, across: bool, chiral: bool) -> np.ndarray:
    """A random operation (3, 3) of the square that the octahedra make; across: to the other side of the layer.

    Chiral molecules take rotations only.
    """
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    mirror = across if chiral else rng.random() < 0.5
    out = power(quarter, int(rng.integers(4))) @ np.diag([-1 if mirror else 1, 1, 1])
    return out @ np.diag([1, 1, -1 if across else 1])
