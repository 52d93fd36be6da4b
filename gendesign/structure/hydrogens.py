"""Detect missing hydrogens from coordinates alone: neighbours, bond lengths and angles."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

H, C, N, O, SI, P, S = 1, 6, 7, 8, 14, 15, 16  # noqa: E741  the element's symbol
HALOGENS = {9, 17, 35, 53}
NONMETALS = {1, 2, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 33, 34, 35, 36, 52, 53, 54}
BONDED = 1.25  # longest bond between nonmetals, relative to the sum of covalent radii
COORDINATED = 1.15  # the same to metals and boron; the valence of their neighbours is not checked
# Longest bond (Angstrom) of a carbon with one neighbour that is complete, by the element of the neighbour: CO, C2 and
# chains of carbon, cyanides, CS, CP, SiC.
TERMINAL = {C: 1.305, N: 1.195, O: 1.17, SI: 1.75, P: 1.60, S: 1.57}
SHORT = 1.43  # a bond of carbon to C, N or O shorter than this has some double-bond character
# Shortest single bonds of carbon (Angstrom), by element.
SINGLE = {C: 1.47, N: 1.41, O: 1.36, 9: 1.30, SI: 1.80, P: 1.78, S: 1.75, 17: 1.70, 35: 1.85, 53: 2.05}
LINEAR, PYRAMIDAL = 150.0, 340.0  # degrees: least angle of a linear carbon, largest sum of angles of a pyramidal one
DENSE = 300  # atoms up to which all distances are faster than a neighbour list
LONE = {C: 4, N: 3, O: 2}  # hydrogens of an atom without neighbours


@dataclass(frozen=True)
class OpenValences:
    """Number of missing hydrogens by atom index (`missing`) and number of hydrogens in the structure (`present`)."""

    missing: dict[int, int]
    present: int

    @property
    def clear(self) -> bool:
        """Whether hydrogens were omitted from the file; False if the open valences may be radicals or carbenes."""
        count = sum(self.missing.values())
        return count > 0 and (self.present == 0 or (count >= 2 and count > self.present / 2))


def open_valences(atoms: Atoms) -> OpenValences:
    """Find missing hydrogens in a molecule or crystal by geometry.

    Bond lengths and angles of a carbon determine whether it needs four, three or two neighbours. Lone C, N and O count
    as methane, ammonia and water without hydrogens. Carbides, graphite, diamond, fullerenes, carbon chains, CO,
    cyanides, carbonates and carbenes next to N, S and halogens are complete, and so is a single atom.
    """
    numbers, present = atoms.numbers, int((atoms.numbers == H).sum())
    if (len(atoms) == 1 and not atoms.pbc.any()) or not np.isin(numbers, list(LONE)).any():
        return OpenValences({}, present)
    radii = covalent_radii[numbers]
    i, j, length, vector = _neighbours(atoms, BONDED * radii)
    metallic = ~np.isin(numbers[j], list(NONMETALS))
    ratio = length / (radii[i] + radii[j])
    bonded, coordinated = ~metallic, np.unique(i[metallic & (ratio < COORDINATED)])
    order = np.argsort(i[bonded], kind="stable")
    i, j, length, vector = i[bonded][order], j[bonded][order], length[bonded][order], vector[bonded][order]
    starts = np.searchsorted(i, np.arange(len(atoms) + 1))
    if set(numbers.tolist()) == {C} and (atoms.pbc.any() or (np.diff(starts) == 3).all()):
        return OpenValences({}, present)  # an allotrope of carbon
    degree, missing = np.diff(starts), {}
    for atom in np.flatnonzero(np.isin(numbers, list(LONE))):
        if atom in coordinated:
            continue
        around = slice(starts[atom], starts[atom + 1])
        count = _missing(int(numbers[atom]), numbers[j[around]], length[around], vector[around], degree[j[around]])
        if count:
            missing[int(atom)] = count
    return OpenValences(missing, present)


def _neighbours(atoms: Atoms, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Atoms i and j, distance (Angstrom) and vector from i to j of all pairs closer than the sum of their `radii`."""
    if atoms.pbc.any() or len(atoms) > DENSE:
        return neighbor_list("ijdD", atoms, list(radii))
    vector = atoms.positions - atoms.positions[:, None]
    length = np.linalg.norm(vector, axis=2)
    np.fill_diagonal(length, np.inf)
    i, j = np.nonzero(length < radii + radii[:, None])
    return i, j, length[i, j], vector[i, j]


def _missing(number: int, beside: np.ndarray, length: np.ndarray, vector: np.ndarray, degree: np.ndarray) -> int:
    """Number of hydrogens missing at an atom with k neighbours.

    beside (k,): atomic numbers, length (k,) and vector (k, 3): distances and vectors in Angstrom, degree (k,): numbers
    of neighbours of the neighbours.
    """
    k = len(beside)
    if k == 0:
        return LONE[number]
    if number != C or k > 3 or (beside == H).all():
        return 0
    short = bool(((length < SHORT) & np.isin(beside, [C, N, O])).any())
    if k == 1:
        z = int(beside[0])
        if length[0] <= TERMINAL.get(z, 0.0):
            return 0
        return 2 if short and length[0] < SHORT - 0.06 else 3
    unit = vector / length[:, None]
    angles = np.degrees(np.arccos(np.clip(unit @ unit.T, -1, 1)))[np.triu_indices(k, 1)]
    single = all(d >= SINGLE.get(int(z), np.inf) for z, d in zip(beside, length, strict=True) if z != H)
    if k == 3:
        return int(angles.sum() < PYRAMIDAL and single)
    if angles[0] >= LINEAR:
        return 2 if single and H not in beside else 0
    carbene = all(z in HALOGENS or z == S or (z == N and n >= 3) for z, n in zip(beside, degree, strict=True))
    return 0 if carbene else 1 if short else 2
