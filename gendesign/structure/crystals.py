"""Whether two crystals are the same."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

MATCHER = {"ltol": 0.2, "stol": 0.3, "angle_tol": 5.0}  # pymatgen's own tolerances
ENERGY, VOLUME = (
    0.02,
    0.03,
)  # of the energy (eV per formula unit) and the volume; crystals further apart are compared no more


def heavy_structure(atoms: Atoms) -> Structure:
    """The crystal without its hydrogens, as pymatgen has it."""
    heavy = atoms[atoms.numbers > 1]
    return Structure(Lattice(heavy.cell.array), heavy.symbols, heavy.positions, coords_are_cartesian=True)


def matcher() -> StructureMatcher:
    """Matching of heavy atoms, primitive cells, without scaling volumes: smaller cells of the same crystal are it."""
    return StructureMatcher(**MATCHER, primitive_cell=True, scale=False)


def duplicates(structures: Sequence[Atoms], energies: Sequence[float], units: Sequence[int]) -> list[int | None]:
    """For each structure the place of the first in the order of energy that is the same crystal; None for a first one.

    Energies in eV per formula unit, units: formula units per cell. Only neighbours in energy and volume are compared.
    """
    found: list[int | None] = [None] * len(structures)
    match, kept = matcher(), []
    volumes = [atoms.get_volume() / count for atoms, count in zip(structures, units, strict=True)]
    shapes: dict[int, Structure] = {}
    for i in np.argsort(energies, kind="stable").tolist():
        for j in kept:
            near = abs(energies[i] - energies[j]) < ENERGY and abs(volumes[i] / volumes[j] - 1) < VOLUME
            if not near:
                continue
            for k in (i, j):
                if k not in shapes:
                    shapes[k] = heavy_structure(structures[k])
            if match.fit(shapes[i], shapes[j]):
                found[i] = j
                break
        else:
            kept.append(i)
    return found
