"""Cations of charge +2 between layers, each with one end in a pocket of either: as they come, or in a layer group."""

from itertools import product

import numpy as np
from numpy.random import Generator

from gendesign.generate.perovskite.cation import Cation
from gendesign.generate.perovskite.placement import TRIES, Arrangement, Orientation, draw_flip, draw_orientation
from gendesign.generate.perovskite.symmetry import NEAR, LayerGroup
from gendesign.structure.superposition import squared_distance

MISFIT = 2.5  # Angstrom that contacts may push bridged layers apart, or a cation's ends miss their pockets by
OWN_IMAGE = 0.3  # Angstrom, root mean square, by which heavy atoms may miss their image under an operation they obey
HALVES = np.array(list(product((-0.5, 0.0, 0.5, 1.0), repeat=2)))  # steps about a place, in in-plane lattice vectors


def fill_bridges(
    rng: Generator,
    cation: Cation,
    above: np.ndarray,
    below: np.ndarray,
    arrangement: Arrangement,
    shared: Orientation | None,
    cap: float,
) -> np.ndarray | None:
    """Cations between a layer and the next; None where one found no room.

    above, below (p, 3): where anchors stand on the pockets of a layer, on either side of it. Returned is the vector
    (3,) from one layer to the next that lets the cations reach, on the mean; each is moved sideways so that its own
    departure from the mean is shared by both of its pockets.
    """
    molecules, reaches = [], []
    for number in range(len(above)):
        orientation = shared or draw_orientation(rng, cation, cap)
        positions = orientation.positions(cation, draw_flip(rng, cation, True, number == 0))
        molecules.append(positions)
        reaches.append(positions[orientation.end.other])
    mean = np.mean(reaches, axis=0)
    for site, positions, reach in zip(above, molecules, reaches, strict=True):
        if not arrangement.add(cation.numbers, site + positions - (reach - mean) / 2 * [1, 1, 0]):
            return None
    return above[0] + mean - below[0]


def fill_bridge_orbits(
    rng: Generator,
    cation: Cation,
    above: np.ndarray,
    below: np.ndarray,
    arrangement: Arrangement,
    group: LayerGroup,
    cap: float,
) -> np.ndarray | None:
    """Cations between two layers alike, equivalent where the group makes them so; None where one found no room.

    above, below (p, 3): where anchors stand on the pockets of a layer, on either side of it. Operations that turn the
    layer over exchange the ends of cations, and keep a cation in its place only where it is its own image. Returned
    is the vector (3,) from one layer to the next: where the first cation reaches, or the nearest to it by which the
    crystal has the group; a cation is moved so that its departure is shared by both of its pockets.
    """
    lattice, third, empty = arrangement.lattice, None, set(range(len(above)))
    while empty:
        first = min(empty)
        for _ in range(TRIES):
            orientation = draw_orientation(rng, cation, cap)
            molecule = above[first] + orientation.positions(cation, draw_flip(rng, cation, True, first == 0))
            ways = []
            for far, aim in enumerate(molecule[orientation.end.other] - below):  # to the next layer, by each pocket
                step = _obeying(aim, group, lattice) if third is None else third
                ways.append((_shortest(step - aim, lattice), far, step))
            departure, far, step = min(ways, key=lambda way: np.linalg.norm(way[0]))
            if np.linalg.norm(departure) > MISFIT:
                continue
            images = _distinct(cation, molecule + departure / 2, (first, far), step, group, lattice)
            before = len(arrangement.numbers)
            free = images and images.keys() <= empty
            if free and all(arrangement.add(cation.numbers, image) for image in images.values()):
                break
            del arrangement.numbers[before:], arrangement.positions[before:]
        else:
            return None
        third = step
        empty -= images.keys()
    return third


def _obeying(aim: np.ndarray, group: LayerGroup, lattice: np.ndarray) -> np.ndarray:
    """The vector (3,) nearest to `aim` by which layers of a crystal with the group follow each other.

    Operations must turn it into itself or, those that turn layers over, back, but for whole lattice vectors.
    """
    plane, turns = lattice[:, :2], group.rotations[:, :2, :2] * group.rotations[:, 2:, 2:]
    free = turns.mean(axis=0)  # projects on what every operation keeps
    rest = aim[:2] - free @ aim[:2]
    steps = free @ aim[:2] + ((np.floor(2 * rest @ np.linalg.inv(plane)) / 2 + HALVES) @ plane) @ (np.eye(2) - free).T
    off = (np.einsum("kxy,sy->ksx", turns, steps) - steps) @ np.linalg.inv(plane)
    steps = steps[(np.abs(off - np.round(off)) < NEAR).all(axis=(0, 2))]
    return np.array([*min(steps, key=lambda step: np.linalg.norm(step - aim[:2])), aim[2]])


def _shortest(vector: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """A vector (3,) but for whole in-plane lattice vectors (2, 3)."""
    return vector - np.round(vector[:2] @ np.linalg.inv(lattice[:, :2])) @ lattice


def _distinct(
    cation: Cation,
    molecule: np.ndarray,
    pockets: tuple[int, int],
    step: np.ndarray,
    group: LayerGroup,
    lattice: np.ndarray,
) -> dict[int, np.ndarray]:
    """The images (atoms, 3) of a molecule by the pocket they stand on, none where two in one pocket are no copies.

    pockets: the one it stands on, of those above, and the one of the next layer, of those below, that it ends in.
    """
    images: dict[int, np.ndarray] = {}
    heavy, (near, far) = cation.numbers > 1, pockets
    for rotation, to, image in zip(group.rotations, group.pockets, group.images(molecule), strict=True):
        over = rotation[2, 2] < 0
        image = image + step if over else image
        pocket = int(to[len(to) // 2 + far] if over else to[near])
        if pocket not in images:
            images[pocket] = image
            continue
        apart = (image - images[pocket])[heavy].mean(axis=0)
        image = image - apart + _shortest(apart, lattice)
        if squared_distance(image, images[pocket], cation.numbers) > OWN_IMAGE**2 * heavy.sum():
            return {}
    return images
