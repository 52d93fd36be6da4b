"""Shapes with a name, sized for a number of atoms. Shapes from files are in shape_files.py.

A shape gives `points(n)` (points, 3) in Angstrom for a molecule of n heavy atoms, neighbours in space close to each
other in the list, and states its `skin`: how far from the nearest point an atom still counts as in the shape. One that
runs around a hole has `ring(n)`: how many of n atoms a ring along it has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from scipy.optimize import brentq

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.structure.clouds import grid_where, spacing_for

CHAIN = 1.28  # Angstrom along a zigzag chain per atom: 1.53 Angstrom bonds at 113 degrees
ZIGZAG = 0.42  # Angstrom from the middle of such a chain to its atoms
SHEET = 3.2  # Angstrom^2 of a closed sheet per atom: 2.6 in graphene, 2.9 in dodecahedrane, more with substituents
VOLUME = 15.0  # Angstrom^3 per heavy atom within the molecule's own surface
SURFACE = 1.5  # Angstrom from the outermost atoms' centres to that surface
PER_ATOM = 8  # points of curves and surfaces per atom
SECTION = "generator.prior.shape"  # where a shape stands in the settings


class Shape(Protocol):
    """What a `ShapePrior` asks of a shape."""

    skin: float

    def points(self, n: int) -> np.ndarray:
        """Points (points, 3) in Angstrom for a molecule of n heavy atoms."""
        ...


@runtime_checkable
class RingShape(Protocol):
    """A shape that runs around a hole."""

    def ring(self, n: int) -> float:
        """How many of n heavy atoms a ring along the shape has."""
        ...


@dataclass(frozen=True)
class Line:
    """A straight line along x."""

    length: float | None = setting(
        None, "length of the line along x; null for a chain of all heavy atoms", unit="Angstrom", above=0
    )
    skin: ClassVar[float] = ZIGZAG

    def __post_init__(self) -> None:
        check_bounds(self, SECTION)

    def points(self, n: int) -> np.ndarray:
        """Points (points, 3) in Angstrom for a molecule of n heavy atoms."""
        # n atoms have n - 1 steps between them; the systematic choice of points leaves half a step at each end
        length = CHAIN * n if self.length is None else self.length * n / max(1, n - 1)
        along = (np.arange(PER_ATOM * n) + 0.5) / (PER_ATOM * n) - 0.5
        return np.outer(length * along, [1.0, 0.0, 0.0])


@dataclass(frozen=True)
class Circle:
    """A circle in the plane z = 0."""

    radius: float | None = setting(
        None, "radius of the circle in the plane z = 0; null for a ring of all heavy atoms", unit="Angstrom", above=0
    )
    skin: ClassVar[float] = ZIGZAG

    def __post_init__(self) -> None:
        check_bounds(self, SECTION)

    def points(self, n: int) -> np.ndarray:
        """Points (points, 3) in Angstrom for a molecule of n heavy atoms."""
        radius = CHAIN * n / (2 * np.pi) if self.radius is None else self.radius
        angle = 2 * np.pi * np.arange(PER_ATOM * n) / (PER_ATOM * n)
        return radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)

    def ring(self, n: int) -> float:
        """Number of the n heavy atoms in a ring along the shape."""
        return n if self.radius is None else min(n, 2 * np.pi * self.radius / CHAIN)


@dataclass(frozen=True)
class Heart:
    """The outline of a heart in the plane z = 0."""

    size: float | None = setting(
        None, "width of the outline in the plane z = 0; null for a ring of all heavy atoms", unit="Angstrom", above=0
    )
    skin: ClassVar[float] = ZIGZAG

    def __post_init__(self) -> None:
        check_bounds(self, SECTION)

    def points(self, n: int) -> np.ndarray:
        """Points (points, 3) in Angstrom for a molecule of n heavy atoms."""
        curve, arc = _heart()
        scale = CHAIN * n / arc[-1] if self.size is None else self.size / 32
        even = arc[-1] * np.arange(PER_ATOM * n) / (PER_ATOM * n)
        points = np.stack([np.interp(even, arc, curve[:, k]) for k in range(3)], -1)
        return scale * (points - points.mean(0))

    def ring(self, n: int) -> float:
        """Number of the n heavy atoms in a ring along the shape."""
        return n if self.size is None else min(n, _heart()[1][-1] * self.size / 32 / CHAIN)


def _heart() -> tuple[np.ndarray, np.ndarray]:
    """Points (points, 3) of a common closed curve that looks like a heart, 32 wide, and the length up to each."""
    t = np.linspace(0, 2 * np.pi, 2001)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    curve = np.stack([16 * np.sin(t) ** 3, y, 0 * t], -1)
    return curve, np.concatenate([[0.0], np.linalg.norm(np.diff(curve, axis=0), axis=1).cumsum()])


@dataclass(frozen=True)
class Shell:
    """The surface of a sphere, one atom thick."""

    radius: float | None = setting(
        None, "radius of the sphere; null for a cage of all heavy atoms", unit="Angstrom", above=0
    )
    skin: ClassVar[float] = ZIGZAG

    def __post_init__(self) -> None:
        check_bounds(self, SECTION)

    def points(self, n: int) -> np.ndarray:
        """Points (points, 3) in Angstrom for a molecule of n heavy atoms."""
        radius = np.sqrt(SHEET * n / (4 * np.pi)) if self.radius is None else self.radius
        k = np.arange(PER_ATOM * n)
        z = 1 - (2 * k + 1) / len(k)  # equal areas between parallels, turned by the golden angle (Fibonacci's sphere)
        angle, ring = np.pi * (3 - np.sqrt(5)) * k, np.sqrt(1 - z**2)
        return radius * np.stack([ring * np.cos(angle), ring * np.sin(angle), z], -1)


@dataclass(frozen=True)
class Torus:
    """The inside of a torus around z. Without a radius and a tube, the tube is a quarter as wide as the radius."""

    radius: float | None = setting(
        None,
        "distance of the tube's middle from the axis, z; null for what the heavy atoms fill",
        unit="Angstrom",
        above=0,
    )
    tube: float | None = setting(
        None, "radius of the tube; null for what the heavy atoms fill", unit="Angstrom", above=0
    )
    skin: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        check_bounds(self, SECTION)
        if self.radius is not None and self.tube is not None and self.tube > self.radius:
            raise UserError(f"{SECTION}.tube={self.tube} exceeds {SECTION}.radius={self.radius}; make it narrower")

    def size(self, n: int) -> tuple[float, float]:
        """Radius and tube for n atoms: the tube with the atoms' own extent around it holds VOLUME for each."""
        if self.radius is not None and self.tube is not None:
            return self.radius, self.tube

        def excess(radius: float, tube: float) -> float:
            return 2 * np.pi**2 * radius * (tube + SURFACE) ** 2 - VOLUME * n

        if self.radius is not None:
            return self.radius, _root(lambda tube: excess(self.radius, tube), 0.1, self.radius)
        if self.tube is not None:
            return _root(lambda radius: excess(radius, self.tube), self.tube, 1e3), self.tube
        radius = _root(lambda radius: excess(radius, radius / 4), 0.4, 1e3)
        return radius, radius / 4

    def points(self, n: int) -> np.ndarray:
        """Points (points, 3) in Angstrom for a molecule of n heavy atoms."""
        radius, tube = self.size(n)

        def inside(x: np.ndarray) -> np.ndarray:
            return np.hypot(np.hypot(x[:, 0], x[:, 1]) - radius, x[:, 2]) <= tube

        corner = np.array([radius + tube, radius + tube, tube])
        points = grid_where(inside, -corner, corner, min(spacing_for(2 * np.pi**2 * radius * tube**2), tube))
        return points[np.argsort(np.arctan2(points[:, 1], points[:, 0]), kind="stable")]

    def ring(self, n: int) -> float:
        """Number of the n heavy atoms in a ring along the shape."""
        # the shortest way around the hole, along the inner side of the tube
        radius, tube = self.size(n)
        return min(n, 2 * np.pi * max(radius - tube, tube) / CHAIN)


def _root(excess: Callable[[float], float], low: float, high: float) -> float:
    """Where `excess`, which rises, is zero; the nearer end where it is not between them."""
    if excess(low) >= 0:
        return low
    return high if excess(high) <= 0 else brentq(excess, low, high)
