"""Contacts between a molecule and the fixed atoms of its host, and the distance below which a pair overlaps.

Two atoms overlap when they are nearer than CONTACT times the sum of their van der Waals radii (Bondi). 0.75 is what
PoseBusters allows between a ligand and its protein (Buttenschoen et al., Chem. Sci. 15, 3130, 2024). A hydrogen on N
or O may come nearer to N, O or F: HYDROGEN_BOND is 1.50 Angstrom for O-H...O, where strong hydrogen bonds begin
(Steiner, Angew. Chem. Int. Ed. 41, 48, 2002). The dimers of S22 (Jurecka et al., Phys. Chem. Chem. Phys. 8, 1985, 2006)
reach 0.877 and 0.614 at equilibrium, and 0.801 and 0.553 when compressed to 0.9 of their distance: none overlaps.

Atoms of a host may carry hydrogens that its file does not show: all atoms of a host without any hydrogen, or those that
the reader of macromolecules marks. Hydrogens of the molecule need HIDDEN more of the sum there. All S22 dimers satisfy
this at equilibrium when one partner loses its hydrogens. For metals the sum of covalent radii is used, as for the
inorganic cofactors of PoseBusters, because metals bind nearby atoms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii, vdw_radii
from scipy.spatial import cKDTree

from gendesign.structure.types import Candidate

CONTACT, HYDROGEN_BOND, HIDDEN = 0.75, 0.55, 0.05  # of the sum of van der Waals radii
METAL_CONTACT = 0.75  # of the sum of covalent radii
NEAR = 4.0  # Angstrom between heavy atoms in contact
UNKNOWN = 1.7  # Angstrom, van der Waals radius (that of carbon) for elements without one in the table
DONORS, ACCEPTORS = (7, 8), (7, 8, 9)
NONMETALS = (1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 33, 34, 35, 36, 52, 53, 54)
RADII = np.where(np.isfinite(vdw_radii), vdw_radii, UNKNOWN)
IS_METAL = ~np.isin(np.arange(len(RADII)), NONMETALS)


@dataclass(frozen=True)
class Contact:
    """The pair of atoms closest to overlapping.

    atom, host_atom: indices from 0 in the molecule and in the host. distance in Angstrom; of_vdw, of_covalent,
    of_allowed: distance relative to the sums of van der Waals and covalent radii and to the least allowed distance.
    """

    atom: int
    host_atom: int
    distance: float
    of_vdw: float
    of_covalent: float
    of_allowed: float

    @property
    def overlaps(self) -> bool:
        """Whether the distance is below the least allowed one."""
        return self.of_allowed < 1.0


@dataclass(frozen=True, eq=False)
class Host:
    """Fixed atoms that molecules must not overlap: numbers (hosts,), positions (hosts, 3) in Angstrom; not periodic.

    hidden: mask (hosts,) of the atoms that may carry hydrogens which are not there; None: all of them where there is no
    hydrogen at all, otherwise none. bond_energy: what a hydrogen bond is worth in relaxations, in eV.
    """

    numbers: np.ndarray
    positions: np.ndarray
    hidden: np.ndarray | None = None
    bond_energy: float = 0.0

    @classmethod
    def of(cls, *structures: Atoms) -> Host:
        """A host of all atoms of `structures` at their positions, `hidden` from their arrays of this name."""
        parts = [cls(np.asarray(a.numbers), np.asarray(a.positions, float), a.arrays.get("hidden")) for a in structures]
        rows = zip(*((part.numbers, part.positions, part.bare) for part in parts), strict=True)
        numbers, positions, bare = map(np.concatenate, rows)
        return cls(numbers, positions, bare)

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def polar(self) -> np.ndarray:
        """Mask (hosts,) of the hydrogens bound to N or O."""
        return polar_hydrogens(self.numbers, self.positions)

    @cached_property
    def bare(self) -> np.ndarray:
        """Mask (hosts,) of the atoms that may carry hydrogens which are not there."""
        if self.hidden is not None:
            return np.asarray(self.hidden, dtype=bool)
        return np.full(len(self), not (self.numbers == 1).any())

    def near(self, positions: np.ndarray, reach: float) -> Host:
        """The part of the host within `reach` Angstrom of any of `positions` (atoms, 3)."""
        close = cKDTree(positions).query(self.positions, distance_upper_bound=reach)[0] <= reach
        part = replace(self, numbers=self.numbers[close], positions=self.positions[close], hidden=self.bare[close])
        part.__dict__.update(polar=self.polar[close])  # depends on the whole host and not on the part
        return part

    def allowed(self, numbers: np.ndarray, polar: np.ndarray, wider: float = 0.0) -> np.ndarray:
        """Least allowed distance (atoms, hosts) in Angstrom.

        numbers: atomic numbers (atoms,). polar: mask (atoms,) of hydrogens bound to N or O. wider: a fraction of the
        sum of van der Waals radii that is added, for repulsive walls that begin before atoms overlap.
        """
        share = np.full((len(numbers), len(self)), CONTACT)
        bond = polar[:, None] & np.isin(self.numbers, ACCEPTORS)[None]
        bond |= np.isin(numbers, ACCEPTORS)[:, None] & self.polar[None]
        share[bond] = HYDROGEN_BOND
        share += HIDDEN * ((numbers == 1)[:, None] & self.bare[None])
        out = (share + wider) * (RADII[numbers][:, None] + RADII[self.numbers][None])
        metal = IS_METAL[numbers][:, None] | IS_METAL[self.numbers][None]
        bound = (METAL_CONTACT + wider) * (covalent_radii[numbers][:, None] + covalent_radii[self.numbers][None])
        return np.where(metal, bound, out)

    def overlaps(self, atoms: Atoms) -> int:
        """Number of atoms of `atoms` that overlap the host."""
        if not len(atoms) or not len(self):
            return 0
        return int((self._ratios(atoms)[1] < 1).any(1).sum())

    def contacts(self, atoms: Atoms) -> int:
        """Number of pairs of heavy atoms, one of `atoms` and one of the host, at most NEAR Angstrom apart."""
        mine, own = atoms.positions[atoms.numbers > 1], self.positions[self.numbers > 1]
        return int(cKDTree(mine).count_neighbors(cKDTree(own), NEAR)) if len(mine) and len(own) else 0

    def _ratios(self, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        """Distances (atoms, hosts) in Angstrom, and relative to the least allowed distances."""
        numbers, x = np.asarray(atoms.numbers), np.asarray(atoms.positions, float)
        distance = np.linalg.norm(x[:, None] - self.positions[None], axis=-1)
        return distance, distance / self.allowed(numbers, polar_hydrogens(numbers, x))

    def contact(self, atoms: Atoms) -> Contact | None:
        """The pair of an atom of `atoms` and a host atom that is closest to overlapping; None without atoms."""
        if not len(atoms) or not len(self):
            return None
        distance, ratio = self._ratios(atoms)
        i, j = (int(k) for k in np.unravel_index(np.argmin(ratio), ratio.shape))
        pair = atoms.numbers[i], self.numbers[j]
        d = float(distance[i, j])
        return Contact(
            i, j, d, d / float(RADII[list(pair)].sum()), d / float(covalent_radii[list(pair)].sum()), float(ratio[i, j])
        )

    def overlap(self, atoms: Atoms) -> str:
        """The overlap of `atoms` with the host in words, "" without one."""
        closest = self.contact(atoms)
        if closest is None or not closest.overlaps:
            return ""
        symbol, host_symbol = (
            chemical_symbols[z] for z in (atoms.numbers[closest.atom], self.numbers[closest.host_atom])
        )
        least = closest.distance / closest.of_allowed
        return (
            f"overlaps the host: {symbol}{closest.atom} is {closest.distance:.2f} Angstrom from its "
            f"{host_symbol}{closest.host_atom}, at least {least:.2f} allowed"
        )


def polar_hydrogens(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Mask (atoms,) of the hydrogens whose nearest heavy atom is N or O."""
    heavy, hydrogen = np.flatnonzero(numbers > 1), np.flatnonzero(numbers == 1)
    out = np.zeros(len(numbers), dtype=bool)
    if len(heavy) and len(hydrogen):
        nearest = cKDTree(positions[heavy]).query(positions[hydrogen])[1]
        out[hydrogen] = np.isin(numbers[heavy[nearest]], DONORS)
    return out


def refuse_overlapping(candidates: list[Candidate], host: Host) -> list[Candidate]:
    """The candidates; those that overlap `host` become failures, and the reason names the pair of atoms."""
    out = []
    for candidate in candidates:
        reason = "" if candidate.failure is not None else host.overlap(candidate.atoms)
        out.append(candidate.after("compared with the host", failure=reason) if reason else candidate)
    return out
