"""The network of a model as a graph: atoms that are bonded, or bonded through a bridge such as Si-O-Si."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from gendesign.analysis.neighbours import Bonds, heights


@dataclass(frozen=True)
class Network:
    """A graph without loops and double edges.

    atoms (nodes,): the atom of every node. starts (nodes + 1,), neighbours (edges,): the neighbours of node a are
    `neighbours[starts[a] : starts[a + 1]]`, in order. longest: largest distance of neighbours, Angstrom.
    roots: nodes 0 to roots - 1 are those of the model itself, the others of its repetitions.
    """

    atoms: np.ndarray
    starts: np.ndarray
    neighbours: np.ndarray
    longest: float
    roots: int

    @property
    def degree(self) -> np.ndarray:
        """Number of neighbours of every node (nodes,)."""
        return np.diff(self.starts)


def bridging_element(atoms: Atoms) -> str | None:
    """The element over which the network is bridged: oxygen beside another element, else None."""
    symbols = set(atoms.symbols)
    return "O" if "O" in symbols and symbols - {"O", "H"} else None


def network(atoms: Atoms, bonds: Bonds, bridge: str | None = None, reach: float = 0.0) -> Network:
    """The network of all atoms, or of those besides `bridge`, which are neighbours where they share an atom of it.

    Two nodes with two bridges (an edge-sharing pair) are neighbours once. A direct bond between nodes counts too.
    reach: the cell is repeated until all its heights exceed `reach` times the longest edge, so that no closed path of
    so many edges crosses the whole cell.
    """
    i, j, vector = _edges(atoms, bonds, bridge)
    longest = float(np.linalg.norm(vector, axis=1).max()) if len(i) else 0.0
    number = atomic_numbers[bridge] if bridge else -1
    members = np.nonzero(atoms.numbers != number)[0]
    node = np.full(len(atoms), -1)
    node[members] = np.arange(len(members))
    i, j = node[i], node[j]
    repeats = np.ones(3, dtype=int)
    if reach and longest:
        repeats = np.maximum(1, np.ceil(reach * longest / heights(atoms.cell.array) + 1e-9).astype(int))
    i, j = _repeated(atoms, members, i, j, vector, repeats)
    total = len(members) * int(repeats.prod())
    edges = np.unique(i.astype(np.int64) * total + j)
    i, j = edges // total, edges % total
    keep = i != j
    starts = np.searchsorted(i[keep], np.arange(total + 1)).astype(np.int64)
    return Network(np.tile(members, int(repeats.prod())), starts, j[keep].astype(np.int32), longest, len(members))


def _edges(atoms: Atoms, bonds: Bonds, bridge: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directed edges between atoms with their vectors."""
    if bridge is None:
        return bonds.i, bonds.j, bonds.vector
    number = atomic_numbers[bridge]
    direct = (atoms.numbers[bonds.i] != number) & (atoms.numbers[bonds.j] != number)
    parts = [(bonds.i[direct], bonds.j[direct], bonds.vector[direct])]
    spokes = np.nonzero((atoms.numbers[bonds.i] == number) & (atoms.numbers[bonds.j] != number))[0]
    centre = bonds.i[spokes]
    first = np.searchsorted(centre, centre)  # spokes are sorted by their bridge
    count = np.searchsorted(centre, centre, side="right") - first
    for step in range(1, int(count.max(initial=0))):  # each spoke with the step-th after it, in a circle
        of = np.nonzero(count > step)[0]
        other = first[of] + (of - first[of] + step) % count[of]
        a, b = spokes[of], spokes[other]
        parts.append((bonds.j[a], bonds.j[b], bonds.vector[b] - bonds.vector[a]))
    i, j, vector = (np.concatenate(column) for column in zip(*parts, strict=True))
    return i, j, vector


def _repeated(
    atoms: Atoms, members: np.ndarray, i: np.ndarray, j: np.ndarray, vector: np.ndarray, repeats: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the repeated model: node = image * nodes + node of the model; image 0 is the model itself."""
    if repeats.prod() == 1:
        return i, j
    inverse = np.linalg.inv(atoms.cell.array)
    place = atoms.positions[members]
    shift = np.rint((place[i] + vector - place[j]) @ inverse).astype(int)  # cells between i and j
    parts = []
    for image in np.ndindex(*repeats):
        other = (np.array(image) + shift) % repeats
        target = np.ravel_multi_index(tuple(other.T), tuple(repeats))
        source = np.ravel_multi_index(image, tuple(repeats))
        parts.append((source * len(members) + i, target * len(members) + j))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]
