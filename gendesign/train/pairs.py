"""Pairs of neighbouring geometries, whose changes of energies, forces and stresses test the units of labels."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from matscipy.neighbours import neighbour_list
from scipy.spatial.transform import Rotation

from gendesign.relaxation.springs import BONDED, SINGLE, STRETCH
from gendesign.structure.labels import labels_of, stress_of

MAX_PAIRS = 500
MAX_GEOMETRIES = 60  # of one molecule, among which the nearest of each is searched
MAX_DISPLACEMENT = 0.5  # Angstrom, root mean square: beyond it the trapezoidal rule fails
HARMONIC = 0.2  # Angstrom: change of a bond beyond which it is not harmonic
MAX_STRAIN = 0.15  # largest component of the strain between two cells for which the trapezoidal rule holds


@dataclass(frozen=True)
class Pair:
    """Two geometries of one molecule or crystal, the second aligned to the first.

    step (atoms, 3): displacements without the strain (Angstrom). forces (2, atoms, 3) of both (eV/Angstrom). change: of
    the energy (eV). strain (3, 3) between the cells, zero for molecules. virial (2, 3, 3): volume times stress (eV),
    NaN without stress.
    """

    atoms: Atoms
    step: np.ndarray
    forces: np.ndarray
    change: float
    strain: np.ndarray
    virial: np.ndarray

    @property
    def work(self) -> float:
        """Change of the energy (eV) by the displacements, from the forces by the trapezoidal rule."""
        return -0.5 * float((self.forces.sum(0) * self.step).sum())

    @property
    def strain_work(self) -> float:
        """Change of the energy (eV) by the strain, from the stresses by the trapezoidal rule."""
        return 0.5 * float((self.virial.sum(0) * self.strain).sum())

    def bond_forces(self) -> tuple[np.ndarray, np.ndarray]:
        """(labelled, expected) changes of the tension of every bond (bonds,), eV/Angstrom.

        The tension is half the difference of the forces on the two atoms along the bond, which does not depend on
        rotations of parts of the molecule. The expected ones are those of springs of usual stiffness along bonds.
        """
        first, second, before, after, stiffness = self._bonds()
        length, longer = np.linalg.norm(before, axis=1), np.linalg.norm(after, axis=1)
        near = np.abs(longer - length) < HARMONIC
        unit, turned = before / length[:, None], after / longer[:, None]
        old, new = self.forces
        labelled = ((new[first] - new[second]) * turned - (old[first] - old[second]) * unit).sum(1) / 2
        pulls = np.zeros_like(self.step)
        np.add.at(pulls, first[near], (stiffness * (longer - length))[near, None] * unit[near])
        return labelled[near], ((pulls[first] - pulls[second]) * unit).sum(1)[near] / 2

    @property
    def keeps_bonds(self) -> bool:
        """Whether no bond changes by so much that the trapezoidal rule fails."""
        _, _, before, after, _ = self._bonds()
        return bool((np.abs(np.linalg.norm(after, axis=1) - np.linalg.norm(before, axis=1)) < HARMONIC).all())

    def _bonds(self) -> tuple[np.ndarray, ...]:
        """Bonds in both directions: first, second, vectors (bonds, 3) in both geometries, and stiffness."""
        first, second, before, stiffness = bond_springs(self.atoms)
        return first, second, before, before + self.step[second] - self.step[first] + before @ self.strain, stiffness


def bond_springs(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Bonds in both directions: first, second (bonds,), the vector (bonds, 3) and its stiffness, eV/Angstrom^2."""
    spanned = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.complete(), pbc=atoms.pbc)
    first, second, length, vectors = neighbour_list("ijdD", spanned, 2 * BONDED * covalent_radii[atoms.numbers].max())
    bonded = length < BONDED * (covalent_radii[atoms.numbers[first]] + covalent_radii[atoms.numbers[second]])
    first, second, length, vectors = (x[bonded & (length > 0.3)] for x in (first, second, length, vectors))
    return first, second, vectors, STRETCH * np.minimum(1.0, (SINGLE / length) ** 4)


def same_cell(frames: Sequence[Atoms]) -> list[Pair]:
    """Each geometry with the nearest one of the same molecule, or of the same crystal in the same cell."""
    groups: dict[tuple, list[Atoms]] = {}
    for frame in frames:
        if len(frame) > 1:
            key = (*frame.numbers.tolist(), *frame.cell.array.round(6).ravel(), str(frame.info.get("molecule")))
            groups.setdefault(key, []).append(frame)
    return _nearest(groups, MAX_DISPLACEMENT)


def other_cell(frames: Sequence[Atoms]) -> list[Pair]:
    """Each crystal with stress, and the nearest one of the same composition in another cell."""
    groups: dict[tuple, list[Atoms]] = {}
    for frame in frames:
        if frame.pbc.all() and frame.cell.rank == 3 and np.isfinite(stress_of(frame)).all():
            groups.setdefault((*frame.numbers.tolist(), str(frame.info.get("molecule"))), []).append(frame)
    pairs = _nearest(groups, MAX_DISPLACEMENT)
    return [pair for pair in pairs if 1e-4 < np.abs(pair.strain).max() < MAX_STRAIN]


def _nearest(groups: dict[tuple, list[Atoms]], far: float) -> list[Pair]:
    pairs: list[Pair] = []
    for group in groups.values():
        some = [_Geometry.of(frame) for frame in group[:MAX_GEOMETRIES]]
        for k, one in enumerate(some):
            if len(pairs) >= MAX_PAIRS:
                return pairs
            best = min((_between(one, other) for other in some[k + 1 :]), key=lambda pair: pair[0], default=None)
            if best is not None and best[0] < far:
                pairs.append(best[1]())
    return pairs


@dataclass(frozen=True)
class _Geometry:
    """A labelled frame, read once."""

    frame: Atoms
    energy: float
    forces: np.ndarray
    virial: np.ndarray

    @classmethod
    def of(cls, frame: Atoms) -> "_Geometry":
        volume = frame.get_volume() if frame.pbc.all() else np.nan
        return cls(frame, *labels_of(frame), volume * stress_of(frame))


def _between(one: _Geometry, other: _Geometry) -> tuple[float, "_Making"]:
    """(distance of two geometries by displacements and strain in Angstrom, a function that makes their pair)."""
    a, b = one.frame, other.frame
    if a.pbc.any():
        middle, strain = (a.cell.array + b.cell.array) / 2, np.zeros((3, 3))
        if a.cell.rank == 3:
            deformation = np.linalg.solve(middle, b.cell.array - a.cell.array)
            strain = (deformation + deformation.T) / 2
        middle = middle if a.cell.rank == 3 else a.cell.complete().array
        start, end = (np.linalg.solve(x.cell.complete().array.T, x.positions.T).T for x in (a, b))
        apart = end - start
        apart[:, a.pbc] -= np.round(apart[:, a.pbc])  # nearest periodic images
        step = (apart - apart.mean(0)) @ middle
        turned = other.forces
        size = np.sqrt(np.square(step).sum(1).mean()) + np.linalg.norm(strain) * len(a) ** (1 / 3)
    else:
        strain = np.zeros((3, 3))
        start, end = a.positions - a.positions.mean(0), b.positions - b.positions.mean(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the ambiguous rotation of linear molecules
            turn, _ = Rotation.align_vectors(start, end)
        step, turned = turn.apply(end) - start, turn.apply(other.forces)
        size = np.sqrt(np.square(step).sum(1).mean())
    return size, _Making(one, other, step, turned, strain)


@dataclass(frozen=True)
class _Making:
    one: _Geometry
    other: _Geometry
    step: np.ndarray
    turned: np.ndarray
    strain: np.ndarray

    def __call__(self) -> Pair:
        one, other = self.one, self.other
        forces, virial = np.stack([one.forces, self.turned]), np.stack([one.virial, other.virial])
        return Pair(one.frame, self.step, forces, other.energy - one.energy, self.strain, virial)
