"""Neighbours of all atoms of a periodic cell, as a bond table or as pairs in chunks of bounded memory."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from matscipy.neighbours import neighbour_list

from gendesign.errors import UserError

MOST_PAIRS = 4_000_000  # directed pairs in memory at once, about 0.3 GB with vectors
Pair = tuple[str, str]


@dataclass(frozen=True)
class Pairs:
    """Directed pairs: atoms i and j (pairs,), distances (pairs,) and vectors from i to j (pairs, 3), Angstrom."""

    i: np.ndarray
    j: np.ndarray
    distance: np.ndarray
    vector: np.ndarray


@dataclass(frozen=True)
class Bonds:
    """All directed bonds of `n` atoms, sorted by i: the bonds of atom a are `starts[a]` to `starts[a + 1]`."""

    n: int
    i: np.ndarray
    j: np.ndarray
    distance: np.ndarray
    vector: np.ndarray

    @cached_property
    def starts(self) -> np.ndarray:
        """First bond of every atom (n + 1,)."""
        return np.searchsorted(self.i, np.arange(self.n + 1)).astype(np.int64)

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of bonds of every atom (n,)."""
        return np.diff(self.starts)


def heights(cell: np.ndarray) -> np.ndarray:
    """Distances (3,) between opposite faces of a cell (3, 3), Angstrom."""
    return 1 / np.linalg.norm(np.linalg.inv(np.asarray(cell, dtype=float)), axis=0)


def check_periodic(atoms: Atoms, name: str = "the structure") -> None:
    """Raise UserError unless the structure is periodic in three directions and has atoms."""
    if len(atoms) == 0:
        raise UserError(f"{name} has no atoms; give a file with at least one structure")
    if atoms.cell.rank < 3 or not atoms.pbc.all():
        raise UserError(f"{name} is not periodic in three directions; give a file with a cell and pbc in all of them")


def check_cutoff(atoms: Atoms, cutoff: float, key: str) -> None:
    """Raise UserError for a cutoff beyond half the smallest height of the cell, where atoms would meet their images."""
    half = float(heights(atoms.cell.array).min()) / 2
    if cutoff > half + 1e-9:
        raise UserError(
            f"{key}={cutoff:g} Angstrom is longer than half the smallest cell height ({half:.3f}); give {key} of "
            f"{math.floor(half * 100) / 100:g} or less, or a larger model"
        )


def element_pairs(atoms: Atoms) -> list[Pair]:
    """Unordered pairs of the elements of a structure, the heavier element first: Si-Si, Si-O, O-O."""
    symbols = sorted(set(map(str, atoms.symbols)), key=lambda symbol: -atomic_numbers[symbol])
    return list(combinations_with_replacement(symbols, 2))


def pairs(
    atoms: Atoms, cutoff: float, *, most: int = MOST_PAIRS, share: float = 1.0, vectors: bool = True
) -> Iterator[Pairs]:
    """All directed pairs within `cutoff` (Angstrom), in chunks of about `most` pairs.

    The cell is divided into slabs along its longest height. Each slab is searched together with a margin of `cutoff`.
    share: below 1 only every so many slabs are searched, so that their atoms are a sample of the centres i; the atoms
    searched are those of `centres`.
    """
    for inside, slab in _slabs(atoms, cutoff, most, share):
        yield _search(atoms, cutoff, inside, slab, vectors)


def centres(atoms: Atoms, cutoff: float, *, most: int = MOST_PAIRS, share: float = 1.0) -> np.ndarray:
    """The atoms (n,) that `pairs` with the same arguments has as centres i, as a mask."""
    mask = np.zeros(len(atoms), dtype=bool)
    for inside, _ in _slabs(atoms, cutoff, most, share):
        mask |= inside
    return mask


def expected_pairs(atoms: Atoms, cutoff: float) -> float:
    """Directed pairs within `cutoff` of a homogeneous model."""
    return len(atoms) ** 2 / atoms.get_volume() * 4 / 3 * math.pi * cutoff**3


def _slabs(atoms: Atoms, cutoff: float, most: int, share: float) -> Iterator[tuple[np.ndarray, tuple[Any, ...]]]:
    """For each slab its atoms as a mask, and (axis, lower edge, upper edge) in fractions of the cell."""
    tall = heights(atoms.cell.array)
    axis = int(np.argmax(tall))
    wanted = math.ceil(expected_pairs(atoms, cutoff) / most)
    number = max(1, min(wanted, int(tall[axis] / (2 * cutoff))))  # thinner slabs are mostly margin
    if number == 1:
        yield np.ones(len(atoms), dtype=bool), ()
        return
    fraction = _fractions(atoms, axis)
    slab = np.minimum((fraction * number).astype(int), number - 1)
    kept = max(1, round(number * share))
    for k in np.unique(np.linspace(0, number, kept, endpoint=False).astype(int)):
        yield slab == k, (axis, k / number, (k + 1) / number, cutoff / tall[axis], fraction)


def _fractions(atoms: Atoms, axis: int) -> np.ndarray:
    fraction = atoms.positions @ np.linalg.inv(atoms.cell.array)[:, axis]
    fraction -= np.floor(fraction)
    fraction[fraction >= 1] = 0
    return fraction


def _search(atoms: Atoms, cutoff: float, inside: np.ndarray, slab: tuple[Any, ...], vectors: bool) -> Pairs:
    """Pairs whose first atom is inside a slab; without a slab all pairs."""
    wanted = "ijdD" if vectors else "ijd"
    if not slab:
        found = neighbour_list(wanted, positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=cutoff)
        return _as_pairs(found, vectors)
    axis, low, high, margin, fraction = slab
    margin *= 1 + 1e-9
    # images below and above: an atom of the margin may be an image on the other side of the cell
    index, shift = [], []
    for image in (-1, 0, 1):
        at = fraction + image
        near = np.nonzero((at >= low - margin) & (at < high + margin))[0]
        index.append(near)
        shift.append(at[near] - fraction[near])
    members, moved = np.concatenate(index), np.concatenate(shift)
    cell = atoms.cell.array.copy()
    wrapped = atoms.positions[members] + np.outer(
        moved + fraction[members] - atoms.positions[members] @ np.linalg.inv(cell)[:, axis] - (low - margin), cell[axis]
    )
    cell[axis] *= high - low + 2 * margin
    pbc = atoms.pbc.copy()
    pbc[axis] = False
    found = neighbour_list(wanted, positions=wrapped, cell=cell, pbc=pbc, cutoff=cutoff)
    own = inside[members] & (np.abs(moved) < 0.5)
    keep = own[found[0]]
    return _as_pairs((members[found[0][keep]], members[found[1][keep]], *(part[keep] for part in found[2:])), vectors)


def _as_pairs(found: Any, vectors: bool) -> Pairs:
    return Pairs(found[0], found[1], found[2], found[3] if vectors else np.empty((0, 3)))


def bonds(atoms: Atoms, cutoffs: Mapping[Pair, float]) -> Bonds:
    """Bonds of all pairs of elements that `cutoffs` names, each within its own cutoff (Angstrom).

    Raises UserError for a cutoff beyond half the smallest height of the cell.
    """
    longest = max(cutoffs.values())
    check_cutoff(atoms, longest, "cutoffs")
    table = np.zeros((119, 119))
    for (a, b), cutoff in cutoffs.items():
        table[atomic_numbers[a], atomic_numbers[b]] = table[atomic_numbers[b], atomic_numbers[a]] = cutoff
    parts = []
    for part in pairs(atoms, longest):
        keep = part.distance < table[atoms.numbers[part.i], atoms.numbers[part.j]]
        kept = (part.i[keep], part.j[keep], part.distance[keep], part.vector[keep])
        parts.append((kept[0].astype(np.int32), kept[1].astype(np.int32), *kept[2:]))
    i, j, distance, vector = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(i, kind="stable") if len(parts) > 1 else slice(None)
    return Bonds(len(atoms), i[order], j[order], distance[order], vector[order])
