"""Whether two crystals are the same."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure


@dataclass(frozen=True)
class Alike:
    """How near two crystals are the same: tolerances of pymatgen's StructureMatcher (ltol; stol, in units of the cube
    root of the volume per atom; angle_tol, degrees) on all atoms or on the heavy ones, and how far energies (eV per
    formula unit) and volumes (share) may lie apart, beyond which crystals are compared no more."""

    ltol: float
    stol: float
    angle_tol: float
    energy: float
    volume: float
    hydrogens: bool = False


ENERGY = 0.02  # eV per formula unit
RELAXED = Alike(0.2, 0.3, 5.0, ENERGY, 0.03)  # pymatgen's own tolerances
# On the way down crystals that look alike often end in different minima (docs/notebook/perovskite-rounds.md).
UNRELAXED = Alike(0.05, 0.03, 2.0, 0.002, 0.005, hydrogens=True)


def heavy_structure(atoms: Atoms) -> Structure:
    """The crystal without its hydrogens, as pymatgen has it."""
    return _structure(atoms[atoms.numbers > 1])


def _structure(atoms: Atoms) -> Structure:
    return Structure(Lattice(atoms.cell.array), atoms.symbols, atoms.positions, coords_are_cartesian=True)


def matcher(alike: Alike = RELAXED) -> StructureMatcher:
    """Matching of primitive cells without scaling volumes: smaller cells of the same crystal are it."""
    return StructureMatcher(alike.ltol, alike.stol, alike.angle_tol, primitive_cell=True, scale=False)


def duplicates(
    structures: Sequence[Atoms], energies: Sequence[float], units: Sequence[int], alike: Alike = RELAXED
) -> list[int | None]:
    """For each structure the place of the first in the order of energy that is the same crystal; None for a first one.

    Energies in eV per formula unit, units: formula units per cell. Only neighbours in energy and volume are compared.
    """
    originals: list[int | None] = [None] * len(structures)
    match = matcher(alike)
    kept: list[int] = []
    form = _structure if alike.hydrogens else heavy_structure
    volumes = [atoms.get_volume() / count for atoms, count in zip(structures, units, strict=True)]
    shapes: dict[int, Structure] = {}
    for i in np.argsort(energies, kind="stable").tolist():
        for j in kept:
            apart = abs(energies[i] - energies[j]), abs(volumes[i] / volumes[j] - 1)
            if apart[0] >= alike.energy or apart[1] >= alike.volume:
                continue
            for k in (i, j):
                if k not in shapes:
                    shapes[k] = form(structures[k])
            if match.fit(shapes[i], shapes[j]):
                originals[i] = j
                break
        else:
            kept.append(i)
    return originals
