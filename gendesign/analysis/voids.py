"""Voids: distance of every point of a grid to the nearest atom's surface, pore sizes, accessible surface area."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from scipy.spatial import cKDTree

from gendesign.analysis.neighbours import heights

MOST_POINTS = 4_000_000  # of the grid; a finer one is made coarser
MOST_PORE_POINTS = 300_000  # of the grid that pore sizes are found on
CHUNK = 500_000
RADII = {"Si": 2.10, "O": 1.52, "H": 1.20, "C": 1.70}  # Angstrom, van der Waals: Bondi 1964, Si by Alvarez 2013 rounded


@dataclass(frozen=True)
class Voids:
    """Voids of a model.

    fraction: share of the volume where the centre of a probe fits. spacing: of the grid, Angstrom. probe: its radius.
    largest: diameter of the largest sphere that fits between the atoms' surfaces, Angstrom.
    diameter (points,), volume (points,): share of the volume inside spheres of at least this diameter (Gelb and
        Gubbins, Langmuir 15, 305 (1999)).
    """

    fraction: float
    spacing: float
    probe: float
    largest: float
    diameter: np.ndarray
    volume: np.ndarray

    @property
    def median_diameter(self) -> float:
        """Diameter (Angstrom) at which half of the void volume is inside larger spheres."""
        if not len(self.volume) or self.volume[0] <= 0:
            return 0.0
        return float(np.interp(-self.volume[0] / 2, -self.volume, self.diameter))


def radii_of(atoms: Atoms, radii: Mapping[str, float] | None = None) -> dict[str, float]:
    """Radius in Angstrom by element: `radii`, else RADII, else the covalent radius plus 0.8."""
    known = {**RADII, **(radii or {})}
    return {
        str(symbol): known.get(symbol, float(covalent_radii[atomic_numbers[symbol]]) + 0.8)
        for symbol in sorted(set(atoms.symbols))
    }


def voids(atoms: Atoms, probe: float, spacing: float, radii: Mapping[str, float]) -> Voids:
    """Voids on a grid of about `spacing` (Angstrom) for a spherical probe of radius `probe`."""
    shape = _shape(atoms, spacing, MOST_POINTS)
    surface = SurfaceDistance(atoms, radii)
    fraction, largest, points = 0, 0.0, int(np.prod(shape))
    for low in range(0, points, CHUNK):
        far = surface(_points(atoms, shape, low, min(points, low + CHUNK)))
        fraction += int((far >= probe).sum())
        largest = max(largest, float(far.max()))
    diameter, volume = _pore_sizes(atoms, surface, probe, spacing)
    real = float((atoms.get_volume() / points) ** (1 / 3))
    return Voids(fraction / points, real, probe, 2 * largest, diameter, volume)


def _shape(atoms: Atoms, spacing: float, most: int) -> np.ndarray:
    tall = heights(atoms.cell.array)
    shape = np.maximum(2, np.round(tall / spacing)).astype(int)
    too_many = (np.prod(shape.astype(float)) / most) ** (1 / 3)
    return np.maximum(2, np.floor(shape / too_many)).astype(int) if too_many > 1 else shape


def _points(atoms: Atoms, shape: np.ndarray, low: int, high: int) -> np.ndarray:
    index = np.stack(np.unravel_index(np.arange(low, high), tuple(shape)), axis=1)
    return (index + 0.5) / shape @ atoms.cell.array


class SurfaceDistance:
    """Distance (Angstrom) from points to the nearest sphere of an atom, negative inside; up to `reach` and periodic."""

    def __init__(self, atoms: Atoms, radii: Mapping[str, float], reach: float = 12.0):
        reach = float(min(reach, heights(atoms.cell.array).min()))
        self.cell, self.inverse = atoms.cell.array, np.linalg.inv(atoms.cell.array)
        self.reach = reach
        places, self.images = padded(atoms, reach)
        symbols = np.array(atoms.get_chemical_symbols())[self.images]
        self.trees = {s: cKDTree(places[symbols == s]) for s in radii if (symbols == s).any()}
        self.radii = radii

    def __call__(self, points: np.ndarray, skip: tuple[str, float] | None = None) -> np.ndarray:
        """Distances (points,). skip: an element and a distance; its atoms nearer than that are the point's own."""
        fraction = points @ self.inverse
        points = (fraction - np.floor(fraction)) @ self.cell
        out = np.full(len(points), self.reach)
        for symbol, tree in self.trees.items():
            if skip is not None and skip[0] == symbol:
                near, _ = tree.query(points, k=2)  # the first is the own atom
                far = np.where(np.abs(near[:, 0] - skip[1]) < 1e-6, near[:, 1], near[:, 0])
            else:
                far, _ = tree.query(points)
            out = np.minimum(out, far - self.radii[symbol])
        return out


def padded(atoms: Atoms, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the atoms in the cell and of images within `reach` of it, and the atoms that they are."""
    cell = atoms.cell.array
    fraction = atoms.positions @ np.linalg.inv(cell)
    fraction -= np.floor(fraction)
    margin = reach / heights(cell)
    index = np.arange(len(atoms))
    for axis in range(3):
        parts, members = [], []
        for shift in range(-int(np.ceil(margin[axis])), int(np.ceil(margin[axis])) + 1):
            moved = fraction[:, axis] + shift
            near = (moved >= -margin[axis]) & (moved <= 1 + margin[axis])
            part = fraction[near].copy()
            part[:, axis] = moved[near]
            parts.append(part)
            members.append(index[near])
        fraction, index = np.concatenate(parts), np.concatenate(members)
    return fraction @ cell, index


def _pore_sizes(atoms: Atoms, surface: SurfaceDistance, probe: float, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Share of the volume that spheres of at least each diameter cover, by a distance transform of the same grid.

    A point is inside a sphere of radius r if a grid point with a free distance of r or more is within r of it.
    """
    shape = _shape(atoms, spacing, MOST_PORE_POINTS)
    points = _points(atoms, shape, 0, int(np.prod(shape)))
    far = surface(points)
    largest = float(far.max())
    if largest <= max(probe, 0):
        return np.zeros(0), np.zeros(0)
    radii = np.linspace(max(probe, spacing / 2), largest, 24)
    covered = np.zeros(len(points), dtype=bool)
    grid = Atoms(numbers=np.ones(len(points), dtype=int), positions=points, cell=atoms.cell, pbc=True)
    volume = []
    for radius in radii[::-1]:  # what a large sphere covers, smaller ones cover too
        places, _ = padded(grid[np.nonzero(far >= radius - 1e-9)[0]], float(radius))
        # points inside an atom belong to no sphere
        candidates = np.nonzero(~covered & (far > -spacing))[0]
        near, _ = cKDTree(places).query(points[candidates], distance_upper_bound=float(radius) + 1e-9)
        covered[candidates[np.isfinite(near)]] = True
        volume.append(float(covered.mean()))
    return 2 * radii, np.array(volume[::-1])


def surface_area(
    atoms: Atoms, probe: float, radii: Mapping[str, float], *, samples: int = 200_000, seed: int = 0
) -> float:
    """Accessible surface area in m^2/g: of spheres of radius atom plus probe, the part outside all others.

    samples: points drawn on the spheres of atoms that are drawn at random (Shrake and Rupley, J. Mol. Biol. 79, 351).
    """
    rng = np.random.default_rng([1302, seed])
    surface = SurfaceDistance(atoms, radii, reach=max(radii.values()) + probe + 4)
    symbols = np.array(atoms.get_chemical_symbols())
    area = 0.0
    for symbol, radius in radii.items():
        own = np.nonzero(symbols == symbol)[0]
        number = max(1, round(samples * len(own) / len(atoms)))
        way = rng.normal(size=(number, 3))
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        points = atoms.positions[rng.choice(own, number)] + (radius + probe) * way
        free = surface(points, skip=(symbol, radius + probe)) >= probe - 1e-9
        area += float(free.mean()) * len(own) * 4 * np.pi * (radius + probe) ** 2
    grams = atoms.get_masses().sum() / 6.02214076e23
    return area * 1e-20 / grams
