"""A model of the Hessian: springs between atoms, stiff along bonds and soft between molecules.

The softest and the stiffest motions of a molecular crystal are a factor of a thousand apart, which is what makes its
relaxation slow; this model takes most of that away (Packwood et al., J. Chem. Phys. 144, 164109, 2016, preconditioning;
Mones, Ortner, Csanyi, Sci. Rep. 8, 13991, 2018, springs of a force field for molecules). Cells belong to it: a strain
that stretches bonds is stiff, one that molecules can follow is soft.
"""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii, vdw_radii
from matscipy.neighbours import neighbour_list

REACH = 5.5  # Angstrom, of springs
BONDED = 1.25  # sums of covalent radii
STRETCH, BEND, TURN, CONTACT = 25.0, 8.0, 0.5, 0.15  # eV/Angstrom^2, atoms one, two, three bonds apart, and others
SINGLE = 1.5  # Angstrom, the bond that STRETCH belongs to; longer ones are softer by the fourth power
FADE = 0.35  # Angstrom, in which a contact loses a factor of e
FLOOR = 0.03  # eV/Angstrom^2, for whatever no spring holds
NONMETALS = np.array([1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 52, 53])  # their bonds have angles


def model_hessian(atoms: Atoms, deformation: np.ndarray | None = None, weight: float = 1.0) -> np.ndarray:
    """Second derivatives (eV/Angstrom^2) of the springs at rest, (3 atoms + 9, 3 atoms + 9) or without the 9.

    deformation: F of the coordinates (y, weight F) in which positions are y F and lattice vectors h0 F, as rows; None
    for positions alone. Positive definite. Dense: for cells of up to a thousand atoms or so.
    """
    n, cell = len(atoms), deformation is not None
    first, second, vectors, stiffness = springs(atoms)
    length = np.linalg.norm(vectors, axis=1)
    unit = vectors / length[:, None]
    along = unit @ deformation.T if cell else unit
    diagonal = np.einsum("p,pa,pb->pab", 2 * stiffness, along, along)  # the other direction serves the second atom
    blocks = np.zeros((n, n, 3, 3))
    np.add.at(blocks, (first, first), diagonal)
    np.subtract.at(blocks, (first, second), diagonal)
    out = np.zeros((3 * n + 9 * cell,) * 2)
    out[: 3 * n, : 3 * n] = blocks.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)
    if cell:
        strain = np.einsum("pa,pb->pab", vectors @ np.linalg.inv(deformation), unit).reshape(-1, 9) / weight
        both = np.zeros((n, 3, 9))
        np.subtract.at(both, first, np.einsum("p,pa,pb->pab", 2 * stiffness, along, strain))
        out[: 3 * n, 3 * n :] = both.reshape(3 * n, 9)
        out[3 * n :, : 3 * n] = out[: 3 * n, 3 * n :].T
        out[3 * n :, 3 * n :] = np.einsum("p,pa,pb->ab", stiffness, strain, strain)
    out[np.diag_indices(len(out))] += FLOOR
    return out


def springs(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of atoms: first, second (pairs,), the vector between them (pairs, 3) and its stiffness, eV/Angstrom^2.

    Each pair stands there in both directions with half of its stiffness.
    """
    spanned = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.complete(), pbc=atoms.pbc)
    first, second, length, vectors, shift = neighbour_list("ijdDS", spanned, REACH)
    apart = length > 1e-6  # coincident atoms have no direction; their forces are not finite either
    first, second, length, vectors, shift = (x[apart] for x in (first, second, length, vectors, shift))
    z = atoms.numbers
    bonded = length < BONDED * (covalent_radii[z][first] + covalent_radii[z][second])
    size = np.where(np.isnan(vdw_radii), 2.0, vdw_radii)[z]
    contact = 0.9 * (size[first] + size[second])
    stiffness = CONTACT * np.exp(-np.clip((length - contact) / FADE, -1.5, 8.0))
    covalent = bonded & np.isin(z[first], NONMETALS) & np.isin(z[second], NONMETALS)
    one = np.column_stack([first, second, shift])[covalent]
    two = _joined(one, one)
    names = _names(np.column_stack([first, second, shift]), len(z))
    for far, stiff in ((_joined(two, one), TURN), (two, BEND)):  # what is both near and far around a ring is near
        stiffness[np.isin(names, _names(far, len(z)))] = stiff
    stiffness[bonded] = STRETCH * np.minimum(1.0, (SINGLE / length[bonded]) ** 4)
    stiff = stiffness > 1e-3
    return first[stiff], second[stiff], vectors[stiff], stiffness[stiff] / 2


def _joined(ways: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """Each way (first, last, shift of its cell) longer by each bond from its last atom; bonds sorted by first atom."""
    begins = np.searchsorted(bonds[:, 0], ways[:, 1], side="left")
    counts = np.searchsorted(bonds[:, 0], ways[:, 1], side="right") - begins
    which = np.repeat(np.arange(len(ways)), counts)
    next_one = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(begins, counts)
    old, new = ways[which], bonds[next_one]
    return np.column_stack([old[:, 0], new[:, 1], old[:, 2:] + new[:, 2:]])


def _names(pairs: np.ndarray, atoms: int) -> np.ndarray:
    """One whole number for each pair of atoms and shift."""
    most = 64  # cells apart, far beyond REACH
    name = pairs[:, 0].astype(np.int64) * atoms + pairs[:, 1]
    for axis in range(3):
        name = name * (2 * most) + pairs[:, 2 + axis] + most
    return name
