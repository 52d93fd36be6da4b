"""Hydrogen bonds between two sets of atoms, by geometry.

A hydrogen on N or O and an acceptor are bonded when they are at most H_ACCEPTOR apart with an angle of at least ANGLE
at the hydrogen, limits in common use (Jeffrey, An Introduction to Hydrogen Bonding, Oxford 1997). Acceptors are O, and
N with a lone pair: without hydrogen and with at most two neighbours, or with three out of its plane. An atom whose
hydrogens are not in the file (structure/contacts.py) may donate to any acceptor at most HEAVY away with an angle of at
least SIDE at it.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from scipy.spatial.distance import cdist

from gendesign.structure.contacts import Host

H_ACCEPTOR, ANGLE = 2.5, 120.0  # Angstrom, degrees
HEAVY, LEAST, SIDE = 3.5, 2.4, 90.0  # Angstrom, Angstrom, degrees
TO_HYDROGEN, TO_HEAVY = 1.9, 2.9  # Angstrom: ideal distances of an acceptor to the hydrogen, and to the donor
BOND = 1.25  # of the sum of covalent radii
FLAT = 0.25  # Angstrom of an N off the plane of its three neighbours, below which it has no lone pair to give
AROUND = 8.0  # Angstrom from the molecule to the atoms of the host that are looked at


@dataclass(frozen=True, eq=False)
class PolarSites:
    """Polar atoms by index.

    donors (bonds, 2): atom and hydrogen. hidden (atoms,): atoms that may donate hydrogens which are not there.
    acceptors (atoms,). positions (all, 3) in Angstrom. near: neighbours of every atom of `hidden`.
    """

    positions: np.ndarray
    donors: np.ndarray
    hidden: np.ndarray
    acceptors: np.ndarray
    near: dict[int, np.ndarray]

    @classmethod
    def of(cls, numbers: np.ndarray, positions: np.ndarray, bare: np.ndarray | None = None) -> "PolarSites":
        """Of atoms with `numbers` (atoms,) at `positions` (atoms, 3), of which `bare` (atoms,) lack hydrogens."""
        donors, hidden, acceptors, near = [], [], [], {}
        for k in np.flatnonzero(np.isin(numbers, (7, 8))):
            distance = np.linalg.norm(positions - positions[k], axis=1)
            bonded = np.flatnonzero(distance < BOND * (covalent_radii[numbers] + covalent_radii[numbers[k]]))
            bonded = bonded[bonded != k]
            hydrogens = bonded[numbers[bonded] == 1]
            donors += [(int(k), int(h)) for h in hydrogens]
            if bare is not None and bare[k]:
                hidden.append(int(k))
                near[int(k)] = bonded
            if numbers[k] == 8 or (not len(hydrogens) and _has_lone_pair(positions[k], positions[bonded])):
                acceptors.append(int(k))
        return cls(
            positions, np.array(donors, int).reshape(-1, 2), np.array(hidden, int), np.array(acceptors, int), near
        )

    def donated_to(self, other: "PolarSites") -> set[tuple[int, int]]:
        """Pairs of an atom here that donates and an acceptor of `other`."""
        pairs: set[tuple[int, int]] = set()
        if not len(other.acceptors):
            return pairs
        ends = other.positions[other.acceptors]
        if len(self.donors):
            hydrogen, donor = self.positions[self.donors[:, 1]], self.positions[self.donors[:, 0]]
            short = cdist(hydrogen, ends) <= H_ACCEPTOR
            for i, j in zip(*np.nonzero(short), strict=True):
                if _angle(donor[i], hydrogen[i], ends[j]) >= ANGLE:
                    pairs.add((int(self.donors[i, 0]), int(other.acceptors[j])))
        for k in self.hidden.tolist():
            distance = np.linalg.norm(ends - self.positions[k], axis=1)
            for j in np.flatnonzero((distance <= HEAVY) & (distance >= LEAST)):
                around = [_angle(self.positions[n], self.positions[k], ends[j]) for n in self.near[k]]
                if not around or min(around) >= SIDE:
                    pairs.add((k, int(other.acceptors[j])))
        return pairs


def hydrogen_bonds(atoms: Atoms, host: Host) -> list[tuple[int, int]]:
    """Pairs (atom, atom of `host.near(atoms.positions, AROUND)`) that are joined by a hydrogen bond, each once."""
    if not len(atoms) or not len(host):
        return []
    near = host.near(atoms.positions, AROUND)
    guest, pocket = (
        PolarSites.of(atoms.numbers, atoms.positions),
        PolarSites.of(near.numbers, near.positions, near.bare),
    )
    pairs = guest.donated_to(pocket) | {(i, j) for j, i in pocket.donated_to(guest)}
    return sorted(pairs)


def _has_lone_pair(x: np.ndarray, neighbours: np.ndarray) -> bool:
    if len(neighbours) <= 2:
        return True
    if len(neighbours) > 3:
        return False
    normal = np.cross(neighbours[1] - neighbours[0], neighbours[2] - neighbours[0])
    return abs(float((x - neighbours[0]) @ normal)) / max(float(np.linalg.norm(normal)), 1e-9) > FLAT


def _angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Degrees at b."""
    u, v = a - b, c - b
    return float(np.degrees(np.arccos(np.clip(u @ v / max(np.linalg.norm(u) * np.linalg.norm(v), 1e-9), -1, 1))))
