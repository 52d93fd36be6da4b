"""Layer groups of a layer of octahedra, and cations that obey one: starts with the symmetry crystals mostly have.

The layer groups come from pyxtal (Fredericks et al., Comput. Phys. Commun. 261, 107810). Its own
random crystals know no octahedra (none of 60 of (butylammonium)2PbI4 had six halides about each metal), so that what is
taken from it are the operations.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.random import Generator

from gendesign.generate.perovskite.cation import Cation
from gendesign.generate.perovskite.layer import Framework
from gendesign.generate.perovskite.placement import TRIES, Arrangement, draw_flip, draw_orientation

GROUPS = range(2, 65)  # all but the trivial one and those with three- and sixfold axes, which no square net has
ORIGINS = np.array(list(product((0, 0.25, 0.5, 0.75), repeat=2)))  # of a group, in the vectors of the layer's cell
SETTINGS = np.eye(3), np.eye(3)[[1, 0, 2]]  # of a group: as tabulated, and with its in-plane axes exchanged
NEAR = 1e-3  # of a lattice vector, or Angstrom along the normal: the same place


@dataclass(frozen=True)
class LayerGroup:
    """Operations x -> rotation @ x + shift of a layer: rotations (k, 3, 3), shifts (k, 3) in Angstrom, the identity
    first; atoms (k, a): where each atom, metals before halides, goes; pockets (k, p): the same of the pockets, those
    above before those below."""

    symbol: str
    rotations: np.ndarray
    shifts: np.ndarray
    atoms: np.ndarray
    pockets: np.ndarray

    def symmetrized(self, steps: np.ndarray) -> np.ndarray:
        """The part of displacements (a, 3) that leaves the layer this symmetry."""
        out = np.zeros_like(steps)
        for rotation, to in zip(self.rotations, self.atoms, strict=True):
            out[to] += steps @ rotation.T / len(self.rotations)
        return out

    def images(self, positions: np.ndarray) -> np.ndarray:
        """The molecule (n, 3) and its equivalents (k, n, 3)."""
        return np.einsum("kxy,ny->knx", self.rotations, positions) + self.shifts[:, None]


def draw_group(rng: Generator, framework: Framework, chiral: bool) -> LayerGroup | None:
    """One of the layer groups that the framework has, each as likely, with one of its origins; None where it has none.

    Only those that move every pocket, since a cation fits into one once. chiral: without reflections.
    """
    known = _operations(framework)
    groups: dict[str, list[LayerGroup]] = {}
    for number in GROUPS:
        symbol, proper, settings = group_table(number)
        for keys in settings if proper or not chiral else ():
            if not known.keys() >= set(keys):
                continue
            rotations, shifts, atoms, pockets = (np.array(part) for part in zip(*map(known.get, keys), strict=True))
            if not (pockets[1:] == pockets[0]).any():
                groups.setdefault(symbol, []).append(LayerGroup(symbol, rotations, shifts, atoms, pockets))
    if not groups:
        return None
    origins = groups[list(groups)[int(rng.integers(len(groups)))]]
    return origins[int(rng.integers(len(origins)))]


def fill_orbits(
    rng: Generator, cation: Cation, pockets: np.ndarray, arrangement: Arrangement, group: LayerGroup, cap: float
) -> bool:
    """Cations in all pockets (p, 3), those above before those below, equivalent where the group makes the pockets so.

    Each independent one has an orientation of its own; whether all found room.
    """
    empty = set(range(len(pockets)))
    while empty:
        first = min(empty)
        for _ in range(TRIES):
            before = len(arrangement.numbers)
            flip = draw_flip(rng, cation, first < len(pockets) // 2, first == 0)
            molecule = pockets[first] + draw_orientation(rng, cation, cap).positions(cation, flip)
            if all(arrangement.add(cation.numbers, image) for image in group.images(molecule)):
                break
            del arrangement.numbers[before:], arrangement.positions[before:]
        else:
            return False
        empty -= set(group.pockets[:, first].tolist())
    return True


@cache
def group_table(number: int) -> tuple[str, bool, list[list[tuple]]]:
    """Symbol of a layer group, whether it has rotations only, and the _keys of its operations for each of SETTINGS and
    ORIGINS.
    """
    from pyxtal.symmetry import Group  # which takes a second

    group = Group(number, dim=2)
    matrices = np.array([operation.affine_matrix for operation in group[0].ops])
    turns, shifts = matrices[:, :3, :3], matrices[:, :2, 3]
    settings = []
    for axes, origin in product(SETTINGS, ORIGINS):
        rotations = axes @ turns @ axes.T
        moved = shifts @ axes[:2, :2].T + origin - rotations[:, :2, :2] @ origin
        settings.append([_key(turn, shift) for turn, shift in zip(rotations, moved, strict=True)])
    proper = bool((np.linalg.det(turns) > 0).all())
    # A centred cell is not the smallest one of its layer.
    return f"{group.symbol} ({number})", proper, settings if group.symbol[0] == "p" else []


def _operations(framework: Framework) -> dict[tuple, tuple]:
    """All operations of the framework by _key: Cartesian rotation and shift, and where atoms and pockets go."""
    lattice = framework.lattice[:, :2]
    inverse = np.linalg.inv(lattice)
    atoms = _fractional(np.vstack([framework.metals, framework.halides]), inverse)
    pockets = _fractional(np.vstack([framework.above + [0, 0, 1], framework.below - [0, 0, 1]]), inverse)
    kinds = np.arange(len(atoms)) < len(framework.metals)
    metric, operations = lattice @ lattice.T, {}
    for turn in _SQUARE:
        plane = turn[:2, :2]
        if np.abs(plane.T @ metric @ plane - metric).max() > NEAR * metric.max():
            continue
        for target in atoms[kinds]:
            shift = (target - turn @ atoms[0])[:2]
            moved, holes = atoms @ turn.T + [*shift, 0], pockets @ turn.T + [*shift, 0]
            to, into = _matches(moved, atoms), _matches(holes, pockets)
            if to is None or into is None or (kinds[to] != kinds).any():
                continue
            cartesian = np.eye(3)
            cartesian[:2, :2], cartesian[2, 2] = lattice.T @ plane @ inverse.T, turn[2, 2]
            operations[_key(turn, shift)] = (cartesian, np.array([*(shift @ lattice), 0.0]), to, into)
    return operations


# What turns a square net and its two faces into themselves.
_SQUARE = [
    np.array([[a, b, 0], [c, d, 0], [0, 0, z]])
    for a, b, c, d in product((-1, 0, 1), repeat=4)
    for z in (1, -1)
    if abs(a * d - b * c) == 1 and a * b == 0 and c * d == 0
]


def _fractional(positions: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Positions (n, 3) in lattice vectors within the plane, in Angstrom across it."""
    return np.column_stack([positions[:, :2] @ inverse, positions[:, 2]])


def _matches(moved: np.ndarray, places: np.ndarray) -> np.ndarray | None:
    """For each of `moved` (n, 3) the number of the place it falls on, None where one falls between."""
    apart = moved[:, None] - places[None]
    apart[..., :2] -= np.round(apart[..., :2])
    near = (np.abs(apart) < NEAR).all(axis=-1)
    return near.argmax(axis=1) if (near.sum(axis=1) == 1).all() else None


def _key(turn: np.ndarray, shift: np.ndarray) -> tuple:
    """Turn and shift without whole lattice vectors, in steps fine enough for what operations differ in."""
    return (*np.round(turn).astype(int).ravel().tolist(), *(np.round(np.asarray(shift) * 48).astype(int) % 48).tolist())
