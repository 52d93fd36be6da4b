"""Energies (systems,) of positions (systems, largest, 3), by which Guidance acts; lengths in Angstrom.

Quadratic, so that the force grows with the distance from what is wanted, and zero where it is fulfilled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting

Place = int | Sequence[float]  # the slot of a heavy atom, counted from 0, or a fixed point
SECTION = "generator.guidance.function"  # where a restraint stands in the settings
TINY = 1e-12  # Angstrom^2 under roots, whose slope at zero is infinite


@dataclass(frozen=True)
class RadiusOfGyration:
    """n/2 (R - target)^2 with the radius of gyration R of n atoms of equal weight; n makes the pull per atom
    independent of the size."""

    target: float = setting(1.8, "radius of gyration of the heavy atoms", unit="Angstrom", least=0)

    def __post_init__(self) -> None:
        check_bounds(self, SECTION)

    def __call__(self, positions: Tensor, mask: Tensor) -> Tensor:
        """Energy (systems,) of the restraint for padded positions (systems, largest, 3); `mask` marks atoms."""
        share = mask.to(positions.dtype)
        n = share.sum(1)
        centre = (share[..., None] * positions).sum(1) / n[:, None]
        square = (share * (positions - centre[:, None]).square().sum(-1)).sum(1) / n
        return n / 2 * ((square + TINY).sqrt() - self.target).square()


@dataclass(frozen=True)
class Distance:
    """Half the square of how far the distance between two places is from `target`, or outside `low` to `high`.

    A place is a slot or a point (x, y, z); one of the two is a slot. A system without the slot is left alone.
    """

    first: Place = setting(help="slot of a heavy atom, counted from 0, or a point [x,y,z] in Angstrom")
    second: Place = setting(help="slot or point of the other")
    target: float | None = setting(None, "distance wanted; null for low to high", unit="Angstrom", least=0)
    low: float = setting(0.0, "least distance wanted", unit="Angstrom", least=0)
    high: float = setting(math.inf, "largest distance wanted; inf for any", unit="Angstrom", infinite=True)

    def __post_init__(self) -> None:
        check_bounds(self, SECTION)
        for key in ("first", "second"):
            place = getattr(self, key)
            if isinstance(place, int) and not isinstance(place, bool):
                _check(self, place >= 0, f"{key}={place}", "a slot of 0 or more, or a point [x, y, z]")
            else:
                object.__setattr__(self, key, _points(self, key, [place])[0])
        _check(self, isinstance(self.first, int) or isinstance(self.second, int), "two points", "one slot at least")
        _check(self, self.first != self.second, f"first=second={self.first}", "two different places")
        if self.target is not None:
            values = f"target={self.target} with low={self.low}, high={self.high}"
            _check(self, self.low == 0 and self.high == math.inf, values, "a target of 0 or more, or low and high")
        else:
            some = self.low > 0 or self.high < math.inf
            _check(self, some and 0 <= self.low <= self.high, f"low={self.low}, high={self.high}", "0 <= low <= high")

    def __call__(self, positions: Tensor, mask: Tensor) -> Tensor:
        """Energy (systems,) of the restraint for padded positions (systems, largest, 3); `mask` marks atoms."""
        (a, has_a), (b, has_b) = (self._at(place, positions, mask) for place in (self.first, self.second))
        distance = ((a - b).square().sum(-1) + TINY).sqrt()
        if self.target is not None:
            off = distance - self.target
        else:
            off = (self.low - distance).clamp_min(0) + (distance - self.high).clamp_min(0)
        return torch.where(has_a & has_b, off.square() / 2, 0.0)

    def _at(self, place: Place, positions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (systems, 3) of a place and which systems have it (systems,)."""
        if not isinstance(place, int):
            return positions.new_tensor(place).expand(len(positions), 3), mask.new_ones(len(mask))
        if place >= positions.shape[1]:
            return 0.0 * positions[:, 0], mask.new_zeros(len(mask))
        return positions[:, place], mask[:, place]


@dataclass(frozen=True)
class Contact:
    """For every one of `points` (points, 3), sum of (d - distance)^2 / 2 over the `count` nearest atoms farther away.

    It asks for `count` atoms within `distance` of each point, and pulls from afar.
    """

    points: Sequence[Sequence[float]] = setting(help="points [[x,y,z], ...] near which atoms shall be", unit="Angstrom")
    distance: float = setting(1.0, "how near", unit="Angstrom", least=0)
    count: int = setting(1, "how many atoms at each point", least=1)

    def __post_init__(self) -> None:
        check_bounds(self, SECTION)
        object.__setattr__(self, "points", _points(self, "points", self.points))

    def __call__(self, positions: Tensor, mask: Tensor) -> Tensor:
        """Energy (systems,) of the restraint for padded positions (systems, largest, 3); `mask` marks atoms."""
        apart = positions[:, :, None] - positions.new_tensor(self.points)[None, None]
        far = ((apart.square().sum(-1) + TINY).sqrt() - self.distance).clamp_min(0)  # (systems, largest, points)
        ranked, atom = far.masked_fill(~mask[..., None], math.inf).sort(1)
        nearest = ranked[:, : self.count]
        there = torch.gather(mask[..., None].expand_as(far), 1, atom[:, : self.count])
        return torch.where(there, nearest, 0.0).square().sum((1, 2)) / 2


@dataclass(frozen=True)
class Sphere:
    """Half the square of how far each atom is outside a sphere."""

    radius: float = setting(4.0, "radius of the sphere that atoms shall not leave", unit="Angstrom", above=0)
    centre: Sequence[float] = setting((0.0, 0.0, 0.0), "centre of the sphere", unit="Angstrom")

    def __post_init__(self) -> None:
        check_bounds(self, SECTION)
        object.__setattr__(self, "centre", _points(self, "centre", [self.centre])[0])

    def __call__(self, positions: Tensor, mask: Tensor) -> Tensor:
        """Energy (systems,) of the restraint for padded positions (systems, largest, 3); `mask` marks atoms."""
        square = (positions - positions.new_tensor(self.centre)).square().sum(-1)
        return _summed(((square + TINY).sqrt() - self.radius).clamp_min(0), mask)


@dataclass(frozen=True)
class Box:
    """Half the square of how far each atom is outside a box."""

    low: Sequence[float] = setting(
        (-4.0, -4.0, -4.0),
        "corner of the box that atoms shall not leave; -inf leaves a side open",
        unit="Angstrom",
        infinite=True,
    )
    high: Sequence[float] = setting(
        (4.0, 4.0, 4.0), "the opposite corner; inf leaves a side open", unit="Angstrom", infinite=True
    )

    def __post_init__(self) -> None:
        for key in ("low", "high"):
            object.__setattr__(self, key, _points(self, key, [getattr(self, key)], infinite=True)[0])
        sound = all(low < high for low, high in zip(self.low, self.high, strict=True))
        _check(self, sound, f"low={list(self.low)}, high={list(self.high)}", "low below high along x, y and z")

    def __call__(self, positions: Tensor, mask: Tensor) -> Tensor:
        """Energy (systems,) of the restraint for padded positions (systems, largest, 3); `mask` marks atoms."""
        low, high = positions.new_tensor(self.low), positions.new_tensor(self.high)
        outside = (low - positions).clamp_min(0) + (positions - high).clamp_min(0)
        return torch.where(mask, outside.square().sum(-1), 0.0).sum(1) / 2


@dataclass(frozen=True)
class Wall:
    """Half the square of how far each atom is beyond the plane through `point`, on the side of `normal`."""

    normal: Sequence[float] = setting((0.0, 0.0, 1.0), "direction from the wall into the forbidden half of space")
    point: Sequence[float] = setting((0.0, 0.0, 0.0), "a point of the wall", unit="Angstrom")

    def __post_init__(self) -> None:
        for key in ("normal", "point"):
            object.__setattr__(self, key, _points(self, key, [getattr(self, key)])[0])
        length = math.hypot(*self.normal)
        _check(self, length > 0, f"normal={list(self.normal)}", "a direction such as [0, 0, 1]")
        object.__setattr__(self, "normal", tuple(value / length for value in self.normal))

    def __call__(self, positions: Tensor, mask: Tensor) -> Tensor:
        """Energy (systems,) of the restraint for padded positions (systems, largest, 3); `mask` marks atoms."""
        beyond = (positions - positions.new_tensor(self.point)) @ positions.new_tensor(self.normal)
        return _summed(beyond.clamp_min(0), mask)


RESTRAINTS = (RadiusOfGyration, Distance, Contact, Sphere, Box, Wall)


def _summed(lengths: Tensor, mask: Tensor) -> Tensor:
    """Half the sum of squares (systems,) of lengths (systems, largest) of atoms that exist."""
    return torch.where(mask, lengths.square(), 0.0).sum(1) / 2


def _points(restraint: object, key: str, values: Sequence, infinite: bool = False) -> tuple[tuple[float, ...], ...]:
    """Tuples of three numbers; UserError for anything else."""
    try:
        points = tuple(tuple(float(value) for value in point) for point in values)
    except (TypeError, ValueError):
        points = ()
    refused = math.isnan if infinite else lambda value: not math.isfinite(value)
    sound = bool(points) and all(len(point) == 3 and not any(map(refused, point)) for point in points)
    _check(restraint, sound, f"{key}={values if key == 'points' else values[0]}", "x, y and z in Angstrom")
    return points


def _check(restraint: object, sound: bool, values: str, allowed: str) -> None:
    if not sound:
        raise UserError(f"{type(restraint).__name__}: {values} cannot be used; give {allowed}")
