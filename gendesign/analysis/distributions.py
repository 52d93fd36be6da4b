"""Radial distribution functions, bond lengths and bond angles."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from gendesign.analysis.neighbours import (
    MOST_PAIRS,
    Bonds,
    Pair,
    centres,
    check_cutoff,
    element_pairs,
    expected_pairs,
    pairs,
)

MOST_COUNTED = 60_000_000  # pairs counted for g(r); beyond them slabs of the cell are sampled
ANGLE_CHUNK = 200_000  # atoms whose angles are computed at once


@dataclass(frozen=True)
class Radial:
    """Radial distribution functions of one model.

    r (bins,): centres of the shells, Angstrom. partial: g_ab(r) (bins,) by pair of elements, with 1 for no correlation.
    total: the mean of all partials, weighted by the concentrations. density: atoms per Angstrom^3.
    sampled: share of the atoms that were centres.
    """

    r: np.ndarray
    partial: dict[Pair, np.ndarray]
    total: np.ndarray
    density: float
    sampled: float

    @property
    def r_max(self) -> float:
        """Upper edge of the last shell, Angstrom."""
        return float(self.r[-1] + (self.r[1] - self.r[0]) / 2)


def radial_distribution(atoms: Atoms, r_max: float, width: float, *, most: int = MOST_COUNTED) -> Radial:
    """g(r) to `r_max` in shells of `width` (Angstrom), normalised by the number of pairs of an ideal gas.

    The integral of 4 pi r^2 rho_b g_ab over a shell is the mean number of neighbours b of an atom a there. So g_aa of
    an ideal gas of N atoms is 1 - 1/N. Raises UserError for an `r_max` beyond half the smallest height of the cell.
    """
    check_cutoff(atoms, r_max, "r_max")
    edges = np.linspace(0, r_max, max(2, round(r_max / width)) + 1)
    species, kind = np.unique(atoms.numbers, return_inverse=True)
    kind = kind.astype(np.int64)
    bins, k = len(edges) - 1, len(species)
    share = min(1.0, most / max(1.0, expected_pairs(atoms, r_max)))
    counts = np.zeros(k * k * bins)
    scale = bins / r_max
    for part in pairs(atoms, r_max, share=share, vectors=False):
        at = np.minimum((part.distance * scale).astype(np.int64), bins - 1)
        counts += np.bincount((kind[part.i] * k + kind[part.j]) * bins + at, minlength=len(counts))
    counted = counts.reshape(k, k, bins)
    chosen = centres(atoms, r_max, share=share) if share < 1 else np.ones(len(atoms), dtype=bool)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    n, here = np.bincount(kind, minlength=k), np.bincount(kind[chosen], minlength=k)
    volume = atoms.get_volume()
    ideal = here[:, None] * n[None, :] / volume
    # both orders of a pair were counted, and in a sample they differ
    both = counted + counted.transpose(1, 0, 2)
    g = both / (ideal + ideal.T)[:, :, None] / shells
    index = {chemical_symbols[number]: position for position, number in enumerate(species)}
    partial = {(a, b): g[index[a], index[b]] for a, b in element_pairs(atoms)}
    concentration = n / n.sum()
    total = np.einsum("a,b,abr->r", concentration, concentration, g)
    middle = (edges[:-1] + edges[1:]) / 2
    return Radial(middle, partial, total, len(atoms) / volume, float(chosen.mean()))


def first_minimum(r: np.ndarray, g: np.ndarray) -> float | None:
    """The first minimum (Angstrom) after the first peak of g(r), smoothed over five shells; None without a peak."""
    smooth = np.convolve(g, np.ones(5) / 5, mode="same")
    above = np.nonzero(smooth > 1.2)[0]
    if not len(above):
        return None
    start = above[0]
    below = np.nonzero(smooth[start:] < 1.0)[0]
    if not len(below):
        return None
    end = start + below[0]
    again = np.nonzero(smooth[end:] > 1.0)[0]
    stop = end + again[0] if len(again) else min(len(r), end + len(r) // 4)
    valley = smooth[end : max(stop, end + 1)]
    lowest = np.nonzero(valley <= valley.min() + 1e-12)[0]
    return float(r[end + int(np.median(lowest))])


@dataclass(frozen=True)
class Lengths:
    """Bond lengths of a pair of elements: mean and standard deviation (Angstrom) of n bonds."""

    pair: Pair
    mean: float
    deviation: float
    n: int


def bond_lengths(atoms: Atoms, bonds: Bonds) -> list[Lengths]:
    """Bond lengths by pair of elements; pairs without bonds are omitted."""
    out = []
    numbers = atoms.numbers
    for a, b in element_pairs(atoms):
        za, zb = Atoms(a).numbers[0], Atoms(b).numbers[0]
        of = (numbers[bonds.i] == za) & (numbers[bonds.j] == zb)
        if of.any():
            lengths = bonds.distance[of]
            out.append(Lengths((a, b), float(lengths.mean()), float(lengths.std()), len(lengths) // (1 + (a == b))))
    return out


@dataclass(frozen=True)
class Angles:
    """Bond angles of a triplet of elements, the middle one at the vertex.

    mean, deviation: degrees, of n angles. edges (bins + 1,), degrees. density (bins,): per degree, integral 1.
    """

    triplet: tuple[str, str, str]
    mean: float
    deviation: float
    n: int
    edges: np.ndarray
    density: np.ndarray

    @property
    def name(self) -> str:
        """The triplet in words, such as Si-O-Si."""
        return "-".join(self.triplet)


def bond_angles(atoms: Atoms, bonds: Bonds, width: float = 1.0, vertices: np.ndarray | None = None) -> list[Angles]:
    """Angles between all pairs of bonds of an atom, by triplet of elements, in bins of `width` degrees.

    vertices (n,): mask of the atoms whose angles count; None for all. Published Si-O-Si angles are often those of
    twofold oxygen alone.
    """
    edges = np.linspace(0, 180, max(2, round(180 / width)) + 1)
    sums: dict[tuple[int, int, int], np.ndarray] = {}
    for a, centre, b, angle in angle_chunks(bonds):
        if vertices is not None:
            kept = vertices[centre]
            a, centre, b, angle = a[kept], centre[kept], b[kept], angle[kept]
        za, zc, zb = atoms.numbers[a], atoms.numbers[centre], atoms.numbers[b]
        code = (zc * 120 + np.minimum(za, zb)) * 120 + np.maximum(za, zb)
        for one in np.unique(code):
            of = angle[code == one]
            key = (int(one // 120 % 120), int(one // 14400), int(one % 120))
            row = np.concatenate([[len(of), of.sum(), (of**2).sum()], np.histogram(of, edges)[0]])
            sums[key] = sums.get(key, 0) + row
    out = []
    for key in sorted(sums):
        n, first, second = sums[key][:3]
        deviation = float(np.sqrt(max(0.0, second / n - (first / n) ** 2)))
        names = tuple(chemical_symbols[number] for number in key)
        density = sums[key][3:] / n / np.diff(edges)
        out.append(Angles(names, float(first / n), deviation, int(n), edges, density))
    return out


def angle_chunks(bonds: Bonds) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Every angle once, in chunks: first neighbour, vertex, second neighbour (angles,), and the angle in degrees."""
    unit = bonds.vector / bonds.distance[:, None]
    for low in range(0, bonds.n, ANGLE_CHUNK):
        counts = bonds.counts[low : low + ANGLE_CHUNK]
        starts = bonds.starts[low : low + len(counts)]
        parts = []
        for k in np.unique(counts[counts > 1]):
            first, second = np.triu_indices(int(k), 1)
            begin = starts[counts == k][:, None]
            parts.append(((begin + first).ravel(), (begin + second).ravel()))
        if not parts:
            continue
        p, q = (np.concatenate(column) for column in zip(*parts, strict=True))
        cosine = np.clip(np.einsum("ij,ij->i", unit[p], unit[q]), -1, 1)
        yield bonds.j[p], bonds.i[p], bonds.j[q], np.degrees(np.arccos(cosine))


__all__ = ["MOST_PAIRS", "Angles", "Lengths", "Radial", "angle_chunks", "bond_angles", "bond_lengths",
           "first_minimum", "radial_distribution"]  # fmt: skip
