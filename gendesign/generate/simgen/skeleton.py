"""Bonds, bond orders and hydrogen counts of a hydrogen-free skeleton, by maximum likelihood over its geometry.

Every atom takes one state (the orders of its bonds; the valence left over is hydrogen). A state must fit the bond
lengths, the angles and the planarity; the statistics of those come from relaxed molecules
(scripts/organic/skeleton_statistics.py). The best assignments are found by dynamic programming over the atoms.
"""

import json
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from ase.data import chemical_symbols, covalent_radii

# Orders and hydrogens that an atom carries in total; sulphur may also take 4 or 6, nitrogen 5 (see `_allowed`).
VALENCE = {"C": 4, "N": 3, "O": 2, "S": 2, "F": 1, "Cl": 1, "Br": 1, "I": 1, "B": 3, "Si": 4}
MAX_NEIGHBOURS = {**VALENCE, "S": 6}
# Covalent radii for single, double and triple bonds in Angstrom (Pyykko & Atsumi, Chem. Eur. J. 15, 186 and 12770,
# 2009), for the bonds that the statistics do not hold.
PYYKKO = {
    "C": (0.75, 0.67, 0.60), "N": (0.71, 0.60, 0.54), "O": (0.63, 0.57, 0.53), "F": (0.64, 0.59, 0.53),
    "S": (1.03, 0.94, 0.95), "Cl": (0.99, 0.95, 0.93), "Br": (1.14, 1.09, 1.10), "I": (1.33, 1.29, 1.25),
    "B": (0.85, 0.78, 0.73), "Si": (1.16, 1.07, 1.02),
}  # fmt: skip
# Elements that the statistics lack: all their bonds are single but for about one in a hundred; boron is planar.
UNCOUNTED, SINGLE = ("B", "Si"), 30.0  # pseudo-count of states without double bonds
PLANAR, BENT_PLANAR = (0.0, 0.05, 0), (120.0, 8.0, 0)  # height in Angstrom and angle in degrees of boron, widths
REACH = 1.30  # of the sum of covalent radii: farther pairs are never bonded
CERTAIN = 1.12  # nearer pairs are always bonded where the valences allow it
ISOCYANIDE = 1.32  # Angstrom: shorter bonds to a terminal carbon may be -N#C, written with order 4 in the search
NOISE = 0.05  # Angstrom per coordinate that a generated skeleton may be off

# Order and symbol of the end that becomes the anion when its bond to a pentavalent nitrogen gives up one order.
ANIONS = {(2, "O"), (3, "N"), (4, "C")}

Bond = tuple[int, int, int]


@dataclass(frozen=True)
class Assignment:
    """Bond orders between heavy atoms, hydrogens per atom, kind of each atom, log-likelihood."""

    bonds: tuple[Bond, ...]
    hydrogens: tuple[int, ...]
    kinds: tuple[str, ...]
    score: float


@dataclass(frozen=True)
class FixedAtoms:
    """The heavy atoms of fragments, whose bonds are known: the first atoms of a skeleton.

    numbers (atoms,), positions (atoms, 3), orders of the bonds among them (pentavalent nitrogen, no charges),
    `open_bonds` (atoms,) how many single bonds to further atoms each has, positions of each atom's hydrogens.
    """

    numbers: np.ndarray
    positions: np.ndarray
    orders: dict[tuple[int, int], int]
    open_bonds: tuple[int, ...]
    hydrogen_positions: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def may_bond(self, i: int, j: int) -> bool:
        """Whether atoms i and j of the skeleton may share a new bond: at least one of them must be new."""
        new = [k >= len(self) for k in (i, j)]
        return all(new) or (any(new) and self.open_bonds[min(i, j)] > 0)

    def limit(self, atom: int, symbol: str) -> int:
        """How many neighbours an atom of the skeleton may have."""
        if atom >= len(self):
            return MAX_NEIGHBOURS.get(symbol, 4)
        return sum(atom in pair for pair in self.orders) + self.open_bonds[atom]


@dataclass(frozen=True)
class Geometry:
    """What the search needs of a skeleton: symbols, positions [atoms, 3], candidate edges, possible non-bonds."""

    symbols: tuple[str, ...]
    positions: np.ndarray
    edges: tuple[tuple[int, int], ...]
    lengths: tuple[float, ...]
    absent: tuple[float | None, ...]  # log-likelihood that the edge is no bond; None where it must be one
    incident: tuple[tuple[int, ...], ...]
    fixed: FixedAtoms | None = None

    def other(self, edge: int, atom: int) -> int:
        """The far end of an edge."""
        i, j = self.edges[edge]
        return j if i == atom else i


@cache
def statistics() -> dict:
    """Means, widths and counts measured on relaxed molecules, by kind of atom."""
    return json.loads(files(__package__).joinpath("skeleton_statistics.json").read_text())


def kind(symbol: str, orders: Sequence[int]) -> str:
    """Name of an atom's bonding: symbol and number of pi bonds, or valence for hypervalent S and charged N."""
    pi, valence = sum(orders) - len(orders), sum(orders)
    if symbol == "S" and valence > 2:
        return f"S+{valence}"
    if symbol == "N" and valence > 3:
        return "N+5"
    return f"{symbol}{pi}"


def bonds_of_skeleton(
    numbers: np.ndarray, positions: np.ndarray, fixed: FixedAtoms | None = None
) -> list[tuple[int, int]]:
    """Pairs bonded by distance, shortest first (relative to covalent radii), while both atoms have a place left.

    Bonds among `fixed` atoms come first, and no others between them.
    """
    bonds = [] if fixed is None else list(fixed.orders)
    n_bonds = np.bincount(np.array(bonds, int).ravel(), minlength=len(numbers)).tolist()
    for _, i, j in _near_pairs(numbers, positions):
        if fixed is not None and not fixed.may_bond(i, j):
            continue
        symbols = (chemical_symbols[numbers[k]] for k in (i, j))
        limits = [
            MAX_NEIGHBOURS.get(symbol, 4) if fixed is None else fixed.limit(k, symbol)
            for k, symbol in zip((i, j), symbols, strict=True)
        ]
        if all(n_bonds[k] < limit for k, limit in zip((i, j), limits, strict=True)):
            bonds.append((i, j))
            n_bonds[i] += 1
            n_bonds[j] += 1
    return bonds


def components(numbers: np.ndarray, positions: np.ndarray, fixed: FixedAtoms | None = None) -> list[np.ndarray]:
    """Indices of the pieces joined by bonds of `bonds_of_skeleton`, largest first."""
    return [np.array(piece) for piece in pieces(len(numbers), bonds_of_skeleton(numbers, positions, fixed))]


def _near_pairs(numbers: np.ndarray, positions: np.ndarray) -> list[tuple[float, int, int]]:
    radii = covalent_radii[np.asarray(numbers)]
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    relative = distance / (radii[:, None] + radii[None])
    return sorted((float(relative[i, j]), int(i), int(j)) for i, j in np.argwhere(np.triu(relative < REACH, 1)))


def pieces(n: int, bonds: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Indices of the connected parts of a graph of `n` atoms, largest first."""
    """Indices of the connected parts of a graph of `n` atoms, largest first."""
    neighbours = [[] for _ in range(n)]
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    unvisited, pieces = set(range(n)), []
    for start in range(n):
        if start in unvisited:
            piece, queue = [], deque([start])
            unvisited.discard(start)
            while queue:
                piece.append(queue.popleft())
                fresh = [k for k in neighbours[piece[-1]] if k in unvisited]
                unvisited.difference_update(fresh)
                queue.extend(fresh)
            pieces.append(sorted(piece))
    return sorted(pieces, key=len, reverse=True)


def perceive(
    numbers: np.ndarray, positions: np.ndarray, *, firm: bool = False, fixed: FixedAtoms | None = None
) -> Geometry:
    """Candidate edges: every bond that fits the valences and the pairs that compete with those.

    With `firm` the edges are those of `bonds_of_skeleton`, all of them bonds; those among `fixed` atoms always are.
    """
    symbols = tuple(chemical_symbols[z] for z in numbers)
    certain = set(bonds_of_skeleton(numbers, positions, fixed))
    pairs = [row for row in _near_pairs(numbers, positions) if not firm or row[1:] in certain]
    limit = np.array([MAX_NEIGHBOURS[s] for s in symbols])
    if fixed is not None:
        known = [(0.0, i, j) for i, j in fixed.orders]  # bonds, however long they are
        pairs = known + [row for row in pairs if fixed.may_bond(*row[1:])]
        limit[: len(fixed)] = [fixed.limit(k, symbols[k]) for k in range(len(fixed))]
    crowd = np.zeros(len(numbers), int)
    for _, i, j in pairs:
        crowd[[i, j]] += 1
    over = crowd > limit
    kept = [(x, i, j) for x, i, j in pairs if (i, j) in certain or max((crowd - limit)[[i, j]]) < 2]
    neighbours = [set() for _ in symbols]
    for _, i, j in kept:
        neighbours[i].add(j)
        neighbours[j].add(i)
    absent = [
        None
        if firm or x == 0 or (x < CERTAIN and not over[[i, j]].any())
        else _log_no_bond(x, share_neighbour=not neighbours[i].isdisjoint(neighbours[j]))
        for x, i, j in kept
    ]
    edges = tuple((i, j) for _, i, j in kept)
    incident = tuple(tuple(e for e, ij in enumerate(edges) if a in ij) for a in range(len(symbols)))
    lengths = tuple(float(np.linalg.norm(positions[i] - positions[j])) for i, j in edges)
    return Geometry(symbols, np.asarray(positions, float), edges, lengths, tuple(absent), incident, fixed)


def _log_no_bond(relative: float, share_neighbour: bool) -> float:
    """Two atoms on a common neighbour may come near without a bond (cages, small rings); others rarely do."""
    if share_neighbour:
        return -1.5 - 40.0 * max(0.0, 1.24 - relative)
    return -4.0 - 30.0 * max(0.0, 1.20 - relative) - 40.0 * max(0.0, REACH - relative)


def _log_normal(x: float, mean: float, width: float) -> float:
    """A Student density of 4 degrees of freedom: close to a Gaussian, but one bad bond cannot veto everything."""
    z = (x - mean) / width
    return math.log(0.375 / width) - 2.5 * math.log1p(z * z / 4)


def log_length(symbols: tuple[str, str], kinds: tuple[str, str], order: int, length: float) -> float:
    """Log-likelihood of a bond's length (Angstrom) for the kinds of its ends and its order."""
    """Log-likelihood of a bond's length (Angstrom) for the kinds of its ends and its order."""
    a, b = sorted(kinds)
    measured = statistics()["bond"].get(f"{a} {b} {order}")
    if measured:
        mean, width = measured[:2]
        return _log_normal(length, mean, math.hypot(width, 1.2 * NOISE))
    radii = [PYYKKO[s][min(order, 3) - 1] for s in symbols]
    return _log_normal(length, sum(radii), math.hypot(0.05, 1.2 * NOISE)) - 2.0


def states(geometry: Geometry, atom: int) -> list[tuple[int, ...]]:
    """Every choice of one order per incident edge that the element's valences allow."""
    symbol, edges = geometry.symbols[atom], geometry.incident[atom]
    ends = [geometry.symbols[geometry.other(e, atom)] for e in edges]
    is_fixed = geometry.fixed is not None and atom < len(geometry.fixed)
    highest = 9 if is_fixed else {"S": 6, "N": 5}.get(symbol, VALENCE[symbol])
    out: list[tuple[int, ...]] = [()]
    for edge in edges:
        out = [(*done, o) for done in out for o in _options(geometry, edge) if sum(done) + o <= highest]
    if is_fixed:  # known to be right, also for N-oxides, whose nitrogen has four neighbours
        further = [geometry.edges[e] not in geometry.fixed.orders for e in edges]
        wanted = geometry.fixed.open_bonds[atom]
        return [s for s in out if sum(o for o, new in zip(s, further, strict=True) if new) == wanted]
    return [s for s in out if _allowed(symbol, [(o, end) for o, end in zip(s, ends, strict=True) if o])]


def _allowed(symbol: str, bonded: Sequence[tuple[int, str]]) -> bool:
    orders = [o for o, _ in bonded]
    total, count = sum(orders), len(orders)
    if count > MAX_NEIGHBOURS[symbol]:
        return False
    if total <= VALENCE[symbol]:
        return True
    if symbol == "S":
        return total in (4, 6) and count >= 2 and max(orders) < 3
    # Pentavalent N stands for the charge-separated nitro, N-oxide, azide, diazo and isocyanide groups: one end must be
    # able to take the charge.
    return symbol == "N" and sorted(orders) in ([1, 2, 2], [2, 3], [1, 4]) and bool(ANIONS & set(bonded))


def _options(geometry: Geometry, edge: int) -> tuple[int, ...]:
    ends, fixed = geometry.edges[edge], geometry.fixed
    if fixed is not None and ends in fixed.orders:
        return (fixed.orders[ends],)
    if fixed is not None and min(ends) < len(fixed):  # an attachment has single bonds only
        return (1,) if geometry.absent[edge] is None else (0, 1)
    highest = min(3, *(VALENCE[geometry.symbols[k]] for k in ends))
    if {geometry.symbols[k] for k in ends} == {"C", "N"} and geometry.lengths[edge] < ISOCYANIDE:
        highest += any(geometry.symbols[k] == "C" and len(geometry.incident[k]) == 1 for k in ends)
    return tuple(range(1 if geometry.absent[edge] is None else 0, highest + 1))


def _ring_size(geometry: Geometry, a: int, b: int, without: int) -> int:
    """Size of the smallest ring through b - without - a, 0 when there is none of up to 7 atoms."""
    visited, layer = {a, without}, [a]
    for size in range(3, 8):
        layer = [k for x in layer for e in geometry.incident[x] if (k := geometry.other(e, x)) not in visited]
        visited.update(layer)
        if b in layer:
            return size
    return 0


def height(centre: np.ndarray, ends: np.ndarray) -> float:
    """Distance of an atom from the plane of its three neighbours, Angstrom."""
    normal = np.cross(ends[1] - ends[0], ends[2] - ends[0])
    return abs(float(np.dot(centre - ends[0], normal)) / max(float(np.linalg.norm(normal)), 1e-9))


def angle(centre: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Angle a - centre - b in degrees."""
    u, v = a - centre, b - centre
    return math.degrees(math.acos(np.clip(np.dot(u, v) / (np.linalg.norm(u) * np.linalg.norm(v)), -1, 1)))


def log_atom(geometry: Geometry, atom: int, orders: tuple[int, ...], rings: dict) -> float:
    """Prior of the atom's state and likelihood of its angle (two neighbours) or of its planarity (three).

    `rings` remembers the ring sizes at this atom from one state to the next.
    """
    table, name = statistics(), kind(geometry.symbols[atom], [o for o in orders if o])
    ends = tuple(geometry.other(e, atom) for e, o in zip(geometry.incident[atom], orders, strict=True) if o)
    symbol = geometry.symbols[atom]
    usual = {f"{symbol}0": SINGLE} if symbol in UNCOUNTED else {}
    counts = table["state"].get(f"{symbol} {len(ends)}", usual)
    score = math.log((counts.get(name, 0) + 0.3) / (sum(counts.values()) + 1.0))
    if len(ends) not in (2, 3):
        return score
    centre, tips = geometry.positions[atom], geometry.positions[list(ends)]
    if len(ends) == 2:
        if ends not in rings:
            rings[ends] = _ring_size(geometry, *ends, atom)
        ring = rings[ends]
        mean, width, _ = _angle_statistics(name, ring)
        noise = math.degrees(2.0 * NOISE / max(float(np.linalg.norm(tips - centre, axis=1).mean()), 0.5))
        return score + _log_normal(angle(centre, *tips), mean, math.hypot(width, noise))
    mean, width, _ = table["height"].get(name, PLANAR if symbol == "B" else (0.2, 0.2, 0))
    above, width = height(centre, tips), math.hypot(width, 1.2 * NOISE)
    return score + float(np.logaddexp(_log_normal(above, mean, width), _log_normal(above, -mean, width)))


def _angle_statistics(name: str, ring: int) -> tuple[float, float, int]:
    table = statistics()["angle"]
    measured = table.get(f"{name} {ring}")
    if measured:
        return measured
    if name == "B0" and not ring:
        return BENT_PLANAR
    mean = {"0": 110.0, "1": 121.0, "2": 178.0}.get(name[-1], 112.0)
    return (min(mean, 180.0 - 360.0 / ring) if ring else mean, 8.0, 0)


def twist(geometry: Geometry, edge: int) -> float | None:
    """Mean absolute sine of the dihedrals about an edge; None without neighbours on both ends."""
    i, j = geometry.edges[edge]
    x, axis = geometry.positions, geometry.positions[j] - geometry.positions[i]
    sides = [[geometry.other(e, a) for e in geometry.incident[a] if e != edge] for a in (i, j)]
    sines = []
    for a in sides[0]:
        for b in sides[1]:
            u, v = np.cross(x[a] - x[i], axis), np.cross(x[b] - x[j], axis)
            size = np.linalg.norm(u) * np.linalg.norm(v)
            if a != b and size > 0.8:  # a nearly linear end has no plane
                sines.append(abs(float(np.dot(np.cross(u, v), axis)) / (size * float(np.linalg.norm(axis)))))
    return sum(sines) / len(sines) if sines else None


def log_twist(sine: float | None) -> float:
    """Log-likelihood of a double bond against a single one for a mean absolute sine of its dihedrals."""
    if sine is None:
        return 0.0
    return max(-8.0, 1.0 - 0.5 * (sine / 0.22) ** 2)
