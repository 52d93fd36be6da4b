"""Check the atoms of a file: repair faults with a note, or reject them with a reason."""

import numpy as np
from ase import Atoms
from ase.constraints import FixScaled
from ase.geometry import get_distances
from ase.neighborlist import natural_cutoffs, neighbor_list
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gendesign.errors import UserError
from gendesign.structure.constraints import fixed_components, set_fixed
from gendesign.structure.hydrogens import open_valences

SAME_SITE = 0.05  # Angstrom; closer atoms of one element are the same site, written twice
TOO_CLOSE = 0.3  # Angstrom; closer atoms are an error in the file
DENSE = 300  # atoms up to which all distances are faster than a neighbour list
VACUUM = 5.0  # Angstrom on each side of a molecule that is alone in its box
BOXED = "a molecule in a periodic box, treated as periodic; periodic=false treats it as a molecule"


def checked(atoms: Atoms, *, hydrogens_needed: bool, keep_periodic: bool) -> tuple[Atoms, str, tuple[str, ...]]:
    """(atoms after repairs, why they cannot be used or "", notes on repairs and assumptions).

    Merges coincident sites and converts constraints to fixed Cartesian components. hydrogens_needed: reject structures
    with missing hydrogens. keep_periodic: False removes the periodic box around a single molecule.
    """
    if failure := unusable(atoms):
        return atoms, failure, ()
    atoms, failure, notes = _merged(atoms)
    if failure:
        return atoms, failure, notes
    try:
        set_fixed(atoms, fixed_components(atoms))
    except UserError as error:
        notes = (*notes, f"files do not keep {str(error).split(';')[0]}")  # a relaxation rejects it
    if atoms.pbc.any():
        molecule = alone_in_box(atoms)
        if molecule is None and not keep_periodic:
            return atoms, "periodic: it is no molecule alone in a box, so periodic=false does not fit", notes
        if molecule is not None:
            atoms, notes = (atoms, (*notes, BOXED)) if keep_periodic else (molecule, (*notes, "periodic box removed"))
    if not hydrogens_needed:
        return atoms, "", notes
    valences = open_valences(atoms)
    where = ", ".join(f"{atoms.symbols[i]}{i + 1}" for i in list(valences.missing)[:6])
    where += ", ..." if len(valences.missing) > 6 else ""
    if valences.clear:
        failure = (
            f"missing hydrogens: at {where} bonds leave valences open ({sum(valences.missing.values())} hydrogens); "
            "add them to the file, or set hydrogens=ignore for radicals and the like"
        )
    elif valences.missing:
        notes = (*notes, f"open valences at {where}")
    return atoms, failure, notes


def unusable(atoms: Atoms) -> str:
    """Why no method can use these atoms, "" if they are usable."""
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        return "unreadable: its coordinates are not finite"
    if not atoms.numbers.all():
        return f"atoms without an element: {int((atoms.numbers == 0).sum())} of them (X, dummy atoms); remove them"
    vectors = atoms.cell.array[atoms.pbc]
    if np.linalg.matrix_rank(vectors) < len(vectors):
        return "periodic without a cell: give its lattice vectors"
    if len(vectors) and 1 / np.linalg.norm(np.linalg.pinv(vectors), axis=0).max() < TOO_CLOSE:
        return f"cell: thinner than {TOO_CLOSE} Angstrom; give the lattice vectors in Angstrom"
    return ""


def _merged(atoms: Atoms) -> tuple[Atoms, str, tuple[str, ...]]:
    """Merge coincident sites of one element at their mean position, periodic images included; result as `checked`."""
    i, j, distance = _close_pairs(atoms)
    if not len(i):
        return atoms, "", ()
    same = (distance < SAME_SITE) & (atoms.numbers[i] == atoms.numbers[j]) & (i != j)
    if not same.all():
        first = int(np.flatnonzero(~same)[0])
        a, b = (f"{atoms.symbols[k]}{k + 1}" for k in (i[first], j[first]))
        return atoms, f"overlapping atoms: {a} and {b} are {distance[first]:.2f} Angstrom apart; mend the file", ()
    n = len(atoms)
    _, group = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(n, n)), directed=False)
    kept = np.unique(group, return_index=True)[1]
    positions = atoms.positions.copy()
    for site in kept:
        others = [k for k in np.flatnonzero(group == group[site]) if k != site]
        if others:
            shift, _ = get_distances(positions[[site]], positions[others], cell=atoms.cell, pbc=atoms.pbc)
            atoms.positions[site] = positions[site] + shift[0].sum(axis=0) / (1 + len(others))
    kept = np.sort(kept)
    count = n - len(kept)
    return atoms[kept], "", (f"merged {count} coincident site{'s' if count > 1 else ''}",)


def _close_pairs(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms i and j, and their distance (Angstrom), of all pairs closer than TOO_CLOSE."""
    if atoms.pbc.any() or len(atoms) > DENSE:
        return neighbor_list("ijd", atoms, TOO_CLOSE)
    distance = np.linalg.norm(atoms.positions[:, None] - atoms.positions, axis=2)
    np.fill_diagonal(distance, np.inf)
    i, j = np.nonzero(distance < TOO_CLOSE)
    return i, j, distance[i, j]


def alone_in_box(atoms: Atoms) -> Atoms | None:
    """The molecule, unwrapped and without its box, if it has no bonds to periodic images and VACUUM around it.

    None for crystals, surfaces, chains, and boxes with several molecules.
    """
    i, j, shift = neighbor_list("ijS", atoms, natural_cutoffs(atoms, mult=1.25))
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(len(atoms), len(atoms))).tocsr()
    if connected_components(graph, directed=False)[0] > 1:
        return None
    bonds: dict[int, list[tuple[int, np.ndarray]]] = {}
    for a, b, s in zip(i.tolist(), j.tolist(), shift, strict=True):
        bonds.setdefault(a, []).append((b, s))
    image, waiting = {0: np.zeros(3, dtype=int)}, [0]
    while waiting:
        a = waiting.pop()
        for b, s in bonds.get(a, []):
            if b not in image:
                image[b] = image[a] + s
                waiting.append(b)
            elif (image[b] != image[a] + s).any():
                return None  # bonds connect an atom to its periodic image
    molecule = atoms.copy()
    constraints = [c for c in atoms.constraints if not isinstance(c, FixScaled)]  # FixScaled needs the cell
    molecule.set_constraint()
    molecule.positions += np.array([image[k] for k in range(len(atoms))]) @ atoms.cell.array
    for axis in np.flatnonzero(atoms.pbc):
        others = atoms.cell.array[[k for k in range(3) if k != axis]]
        normal = np.cross(*others)
        if not np.linalg.norm(normal):  # periodic in this direction only
            normal = atoms.cell.array[axis]
        normal = normal / np.linalg.norm(normal)
        height = abs(atoms.cell.array[axis] @ normal)
        if height - np.ptp(molecule.positions @ normal) < 2 * VACUUM:
            return None
    molecule.set_cell(None)
    molecule.pbc = False
    molecule.set_constraint(constraints)
    return molecule
