"""The inorganic part: corner-sharing octahedra, flat or tilted, as a slab of any thickness or in three dimensions."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.random import Generator
from scipy.spatial.transform import Rotation

# In-plane translations in units of the octahedra's own lattice, and the octahedra within them.
IN_PLANE = {
    "1": (((1, 0), (0, 1)), ((0, 0),)),
    "sqrt2": (((1, 1), (-1, 1)), ((0, 0), (0, 1))),
    "2x2": (((2, 0), (0, 2)), ((0, 0), (1, 0), (0, 1), (1, 1))),
}
DIAGONAL = 0.5  # of all tilts are about both in-plane axes alike, so about a diagonal between them, as in most crystals
STEEPEST = 0.6  # of the largest tilt about in-plane axes relative to that about the normal; most crystals rotate more


@dataclass(frozen=True)
class Tilt:
    """Rotation of the octahedra, degrees about their three axes, whose sign alternates from one to the next.

    The sign about an axis always alternates across it; `alternating` says for each axis whether it does along it as
    well (a minus in Glazer's notation) or not (a plus).
    """

    angles: tuple[float, float, float] = (0.0, 0.0, 0.0)
    alternating: tuple[bool, bool, bool] = (True, True, True)

    def rotation(self, place: tuple[int, int, int]) -> np.ndarray:
        """Rotation matrix (3, 3) of the octahedron at these coordinates."""
        parity = np.array(place)
        signs = [
            (-1) ** ((parity.sum() - parity[axis]) + (parity[axis] if self.alternating[axis] else 0))
            for axis in range(3)
        ]
        return Rotation.from_rotvec(np.radians(self.angles) * signs).as_matrix()


@dataclass(frozen=True)
class Framework:
    """Metals (m, 3), halides (h, 3) in Angstrom and the sites between them; lattice (2, 3) of a slab or (3, 3).

    A slab lies in the xy plane with its middle at z = 0. `above` and `below` (pockets, 3): middles of four octahedra
    in the plane of the outermost metals; `cages` (c, 3): between eight octahedra.
    """

    lattice: np.ndarray
    metals: np.ndarray
    halides: np.ndarray
    above: np.ndarray
    below: np.ndarray
    cages: np.ndarray


def draw_tilt(rng: Generator, cell: str, largest: float) -> Tilt:
    """Random tilts of up to `largest` degrees that fit into the cell; none in a cell of one octahedron."""
    limits = np.array([STEEPEST, STEEPEST, 1.0]) * largest
    angles = limits * rng.uniform(-1, 1, 3) * (rng.random(3) < 0.7)  # many crystals tilt about one or two axes only
    if rng.random() < DIAGONAL:
        angles[1] = angles[0] * rng.choice([-1, 1])
    alternating = rng.random(3) < 0.5
    if cell == "1" or largest == 0:
        return Tilt()
    if cell == "sqrt2":
        alternating[:2] = True  # this cell's translations join octahedra that are next but one
    return Tilt(tuple(angles.tolist()), tuple(bool(flag) for flag in alternating))


def build_framework(cell: str, depth: int | None, bond: float, tilt: Tilt) -> Framework:
    """Octahedra with metal-halide distances `bond` (Angstrom), `depth` of them thick, None for three dimensions.

    Where all tilts alternate in all directions the octahedra stay regular; other patterns leave corners apart that are
    joined halfway, which distorts them a little.
    """
    translations, places = IN_PLANE[cell]
    layers = depth or (1 if cell == "1" else 2)
    sites = [(i, j, k) for k in range(layers) for i, j in places]
    axes = _steps(sites, bond, tilt)
    metals = np.array(sites) @ axes
    lattice = np.array([(i, j, 0) for i, j in translations]) @ axes
    if depth is None:
        lattice = np.vstack([lattice, layers * axes[2]])
    halides = [_corner(site, axis, axes, bond, tilt) for site in sites for axis in ((0, 1) if depth else (0, 1, 2))]
    if depth:
        for i, j in places:
            for k in range(layers - 1):
                halides.append(_corner((i, j, k), 2, axes, bond, tilt))
            halides.append(np.array((i, j, layers - 1)) @ axes + bond * tilt.rotation((i, j, layers - 1))[:, 2])
            halides.append(np.array((i, j, 0)) @ axes - bond * tilt.rotation((i, j, 0))[:, 2])
    half = np.array([0.5, 0.5, 0.0])
    below = (np.array([(i, j, 0) for i, j in places]) + half) @ axes
    above = (np.array([(i, j, layers - 1) for i, j in places]) + half) @ axes
    gaps = range(layers if depth is None else layers - 1)
    cages = np.array([(i + 0.5, j + 0.5, k + 0.5) for k in gaps for i, j in places]).reshape(-1, 3) @ axes
    middle = 0.0 if depth is None else (metals.mean(axis=0) @ np.cross(*lattice[:2])) / _area(lattice)
    parts = (lattice, metals, np.array(halides), above, below, cages)
    lattice, metals, halides, above, below, cages = (part @ _upright(lattice).T for part in parts)
    down = np.array([0.0, 0.0, middle])
    return Framework(lattice, metals - down, halides - down, above - down, below - down, cages - down)


def _steps(sites: list[tuple[int, int, int]], bond: float, tilt: Tilt) -> np.ndarray:
    """Vectors (3, 3), one a row, from one octahedron to the next: they shrink as the octahedra tilt.

    Octahedra at R and R^T share a corner along e when they are bond * (R + R^T) e apart.
    """
    axes = np.zeros((3, 3))
    for axis in range(3):
        for site in sites:
            axes[axis] += bond * (tilt.rotation(site) + tilt.rotation(_next(site, axis)))[:, axis] / len(sites)
    return axes


def _corner(site: tuple[int, int, int], axis: int, axes: np.ndarray, bond: float, tilt: Tilt) -> np.ndarray:
    """The halide (3,) between a metal and the next one along an axis: halfway between what the two octahedra say."""
    other = _next(site, axis)
    mine = np.array(site) @ axes + bond * tilt.rotation(site)[:, axis]
    its = np.array(other) @ axes - bond * tilt.rotation(other)[:, axis]
    return (mine + its) / 2


def _next(site: tuple[int, int, int], axis: int) -> tuple[int, int, int]:
    return tuple(place + (direction == axis) for direction, place in enumerate(site))


def _area(lattice: np.ndarray) -> float:
    return float(np.linalg.norm(np.cross(lattice[0], lattice[1])))


def _upright(lattice: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) that lays the first lattice vector along x and the second into the xy plane."""
    x = lattice[0] / np.linalg.norm(lattice[0])
    z = np.cross(lattice[0], lattice[1])
    z /= np.linalg.norm(z)
    return np.array([x, np.cross(z, x), z])


def images(lattice: np.ndarray) -> np.ndarray:
    """The translations to a cell and its neighbours, (3**k, 3) for a lattice (k, 3)."""
    return np.array(list(product((-1, 0, 1), repeat=len(lattice)))) @ lattice
