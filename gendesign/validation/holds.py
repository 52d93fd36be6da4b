"""Torsion angles held during a relaxation: a stiff periodic restraint that ASE treats as a constraint.

A rotation is held by one dihedral angle, or by the sum of several where one would favour an atom over its equivalents:
the two N-H of an amide, for example. At a saddle point of the rotation the restraint exerts no torque and the energy
without it is exact; elsewhere the angle deviates by the torque divided by STIFFNESS, below half a degree for 0.2 eV.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.constraints import FixConstraint
from ase.geometry import get_dihedrals, get_dihedrals_derivatives

STIFFNESS = 30.0  # eV/rad^2, as stiff as a bond to hydrogen

Dihedral = tuple[int, int, int, int]


@dataclass(frozen=True)
class Hold:
    """A sum of dihedral angles of atoms i-j-k-l that is held at `degrees`, modulo 360."""

    dihedrals: tuple[Dihedral, ...]
    degrees: float

    def value(self, atoms: Atoms) -> float:
        """The sum of the dihedral angles in degrees, from -180 to 180."""
        return wrapped(sum(atoms.get_dihedral(*dihedral) for dihedral in self.dihedrals))

    def deviation(self, atoms: Atoms) -> float:
        """How far the sum is from `degrees`, in degrees from -180 to 180."""
        return wrapped(self.value(atoms) - self.degrees)


class Held(FixConstraint):
    """The restraint STIFFNESS (1 - cos(deviation)) of a `Hold`, for ase.Atoms.set_constraint.

    `get_forces` of the atoms then has the restraint's forces; `get_potential_energy` has its energy too, unless called
    with apply_constraint=False.
    """

    def __init__(self, hold: Hold, stiffness: float = STIFFNESS) -> None:
        self.hold, self.stiffness = hold, stiffness

    def get_removed_dof(self, atoms: Atoms) -> int:
        """None: the atoms still move in all directions."""
        return 0

    def adjust_positions(self, atoms: Atoms, new: np.ndarray) -> None:
        """Leave positions as they are."""

    def adjust_forces(self, atoms: Atoms, forces: np.ndarray) -> None:
        """Add the forces of the restraint to `forces` (atoms, 3) in eV/Angstrom."""
        torque = self.stiffness * np.sin(np.radians(self.hold.deviation(atoms)))
        for dihedral in self.hold.dihedrals:
            vectors = np.diff(atoms.positions[list(dihedral)], axis=0)
            slopes = np.radians(get_dihedrals_derivatives(*(vector[None] for vector in vectors))[0])
            np.subtract.at(forces, list(dihedral), torque * slopes)

    def adjust_potential_energy(self, atoms: Atoms) -> float:
        """Energy of the restraint in eV."""
        return float(self.stiffness * (1 - np.cos(np.radians(self.hold.deviation(atoms)))))


def held(atoms: Atoms, hold: Hold) -> Atoms:
    """A copy of a molecule in which `hold` acts as a constraint."""
    copy = Atoms(atoms.numbers, atoms.positions)
    copy.set_constraint(Held(hold))
    return copy


def dihedrals_of(positions: np.ndarray, dihedrals: Sequence[Dihedral]) -> np.ndarray:
    """Dihedral angles (n,) in degrees, from -180 to 180, of `positions` (atoms, 3)."""
    corners = np.asarray(positions)[np.asarray(dihedrals, dtype=int).reshape(-1, 4)]
    return wrapped(get_dihedrals(*np.diff(corners, axis=1).swapaxes(0, 1)))


def wrapped(degrees):
    """Angles in degrees brought between -180 and 180."""
    return (degrees + 180) % 360 - 180
