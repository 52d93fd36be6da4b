"""The geometry of a crystal's picture: whole molecules, images that complete octahedra, edges of the cell, a view."""

from itertools import combinations, product

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

BONDED = 1.25  # sums of covalent radii
IONS = (19, 37, 55, 56)  # K, Rb, Cs, Ba: lines to all of their neighbours would hide the rest
CATIONS = (3, 4, 11, 12, 20, 38)  # Li, Be, Na, Mg, Ca, Sr, which are not bonded to each other
NONMETALS = (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53)
TURN, TILT = 18.0, 12.0  # degrees, which show three faces of a cell
EDGE = 1e-3  # of a lattice vector: an atom so little outside of the cell stays at its face


def no_bond(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether elements (atomic numbers) are not drawn as bonded, however close; a mask of the broadcast shape."""
    return np.isin(first, IONS) | np.isin(second, IONS) | (np.isin(first, CATIONS) & np.isin(second, CATIONS))


def bonds_of(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs i, j (bonds,) and the lattice translation (bonds, 3) of j; each bond from both ends."""
    i, j, shift = neighbor_list("ijS", atoms, list(BONDED * covalent_radii[atoms.numbers]))
    drawn = ~no_bond(atoms.numbers[i], atoms.numbers[j])
    return i[drawn], j[drawn], shift[drawn]


def folded(atoms: Atoms) -> Atoms:
    """The same crystal with its atoms in the cell: whole molecules by their centres, all else atom by atom."""
    i, j, shift = bonds_of(atoms)
    moves = np.zeros((len(atoms), 3), dtype=int)  # lattice translations of the atoms
    graph = coo_matrix((np.ones(len(i)), (i, j)), (len(atoms),) * 2).tocsr()
    to = {(int(a), int(b)): s for a, b, s in zip(i, j, shift, strict=True)}
    count, label = connected_components(graph, directed=False)
    inverse = np.linalg.inv(atoms.cell.complete().array)
    for k in range(count):
        members = np.flatnonzero(label == k)
        order, parents = breadth_first_order(graph, members[0], directed=False)
        for atom in order[1:]:
            moves[atom] = moves[parents[atom]] + to[int(parents[atom]), int(atom)]
        own = label[i] == k
        finite = (moves[j[own]] == moves[i[own]] + shift[own]).all()
        places = (atoms.positions[members] + moves[members] @ atoms.cell.array) @ inverse
        if finite:
            moves[members] -= np.floor(places.mean(axis=0) + EDGE).astype(int)
        else:
            moves[members] = -np.floor(atoms.positions[members] @ inverse + EDGE).astype(int)
    out: Atoms = atoms.copy()
    out.set_positions(atoms.positions + (moves * atoms.pbc) @ atoms.cell.array, apply_constraint=False)
    return out


def with_images(atoms: Atoms) -> Atoms:
    """The atoms of a cell and all periodic images that are bonded to a heavier one of them.

    An atom that is bonded to images only is drawn at those places only.
    """
    i, j, shift = bonds_of(atoms)
    outer = shift.any(axis=1) & (atoms.numbers[i] > atoms.numbers[j])
    images = sorted({(int(k), *map(int, s)) for k, s in zip(j[outer], shift[outer], strict=True)})
    if not images:
        return atoms
    names, shifts = np.array(images)[:, 0], np.array(images)[:, 1:]
    inside = ~np.isin(np.arange(len(atoms)), np.setdiff1d(names, i[~shift.any(axis=1)]))
    return Atoms(
        np.concatenate([atoms.numbers[inside], atoms.numbers[names]]),
        np.concatenate([atoms.positions[inside], atoms.positions[names] + shifts @ atoms.cell.array]),
    )


def bonds_across_cells(atoms: Atoms) -> tuple[Atoms, np.ndarray, np.ndarray]:
    """Images that are bonded to a heavier atom of the cell, and the bonds of atoms in the cell that need a drawing.

    Returns the images, the starts of the bonds (bonds, 3) and their vectors (bonds, 3) in Angstrom. Bonds between
    nonmetals of one cell are left out: every viewer finds them from distances.
    """
    i, j, shift = bonds_of(atoms)
    outer = shift.any(axis=1)
    heavier = atoms.numbers[i] > atoms.numbers[j]
    plain = np.isin(atoms.numbers[i], NONMETALS) & np.isin(atoms.numbers[j], NONMETALS)
    drawn = (outer & heavier) | (~outer & ~plain & (i < j))
    i, j, shift, outer = i[drawn], j[drawn], shift[drawn], outer[drawn]
    starts, ends = atoms.positions[i], atoms.positions[j] + shift @ atoms.cell.array
    copies = sorted({(int(k), *map(int, s)) for k, s in zip(j[outer], shift[outer], strict=True)})
    names, shifts = np.array(copies, dtype=int).reshape(-1, 4)[:, 0], np.array(copies, dtype=int).reshape(-1, 4)[:, 1:]
    images = Atoms(atoms.numbers[names], atoms.positions[names] + shifts @ atoms.cell.array)
    return images, starts, ends - starts


def cell_edges(atoms: Atoms) -> np.ndarray:
    """Edges (edges, 2, 3) of the cell, in Angstrom, of the lattice translation that lies best around the atoms.

    Twelve of a crystal, four of a slab, one of a chain, none of a molecule.
    """
    periodic = np.flatnonzero(atoms.pbc)
    lattice = atoms.cell.array[periodic]
    if not len(periodic) or np.linalg.matrix_rank(lattice) < len(periodic):
        return np.empty((0, 2, 3))
    middle = atoms.positions.mean(axis=0)
    inside = np.linalg.pinv(lattice)  # (3, periodic): fractional coordinates along the periodic directions
    # across the other directions the cell has no place of its own and is put where the atoms are
    across = middle - middle @ inside @ lattice
    origin = np.round(middle @ inside - 0.5) @ lattice + across
    corners = np.array(list(product((0, 1), repeat=len(periodic))))
    pairs = [(i, j) for i, j in combinations(corners, 2) if np.abs(i - j).sum() == 1]
    edges: np.ndarray = origin + np.array(pairs) @ lattice
    return edges


def view(atoms: Atoms) -> np.ndarray:
    """Directions (3, 3) of the picture, right, down and towards the eye: a turned and tilted look at a cell."""
    lattice = atoms.cell.complete().array
    first, second = (0, 1) if np.linalg.norm(lattice[0]) >= np.linalg.norm(lattice[1]) - 1e-3 else (1, 0)
    up = lattice[2] / np.linalg.norm(lattice[2])
    right = lattice[first] - (lattice[first] @ up) * up
    if np.linalg.norm(right) < 1e-6:
        right = lattice[second] - (lattice[second] @ up) * up
    right /= np.linalg.norm(right)
    eye = np.cross(right, up)
    turn, tilt = np.radians(TURN), np.radians(TILT)
    right, eye = np.cos(turn) * right - np.sin(turn) * eye, np.sin(turn) * right + np.cos(turn) * eye
    up, eye = np.cos(tilt) * up - np.sin(tilt) * eye, np.sin(tilt) * up + np.cos(tilt) * eye
    return np.array([right, -up, eye])
