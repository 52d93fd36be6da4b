"""Labels of a potential for a student, and why some structures are left out."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list

from gendesign.potential.batching import in_batches
from gendesign.potential.protocol import PotentialLike

BATCH = 512  # atoms evaluated at once


@dataclass(frozen=True)
class Labelled:
    """A periodic structure with its energy (eV) and forces (atoms, 3) in eV/Angstrom; the number of its original."""

    original: int
    atoms: Atoms
    energy: float
    forces: np.ndarray


def boxed(atoms: Atoms, radius: float) -> Atoms:
    """A periodic copy: axes without periodicity get so much vacuum that images are farther than `radius` (Angstrom)."""
    if atoms.pbc.all():
        return atoms.copy()
    out = atoms.copy()
    free = tuple(axis for axis in range(3) if not atoms.pbc[axis])
    out.center(vacuum=radius / 2 + 0.5, axis=free)
    out.pbc = True
    return out


def shortest(atoms: Atoms, radius: float) -> float:
    """The shortest distance below `radius` (Angstrom), infinite if there is none."""
    distances = neighbour_list("d", atoms, radius)
    return float(distances.min()) if len(distances) else float("inf")


def labels(
    potential: PotentialLike,
    groups: Sequence[tuple[int, Atoms]],
    radius: float,
    closest: float,
    max_force: float,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[Labelled], Counter[str]]:
    """Labels of the structures, and how many were left out for which reason.

    Structures with a pair closer than `closest` or a force beyond `max_force` are left out. `radius` is that of the
    student, for the boxes of molecules; `progress` is called with the number of finished structures.
    """
    boxes = [(number, boxed(atoms, max(radius, potential.cutoff))) for number, atoms in groups]
    usable = [(number, atoms) for number, atoms in boxes if shortest(atoms, closest) >= closest]
    reasons = Counter({f"a pair closer than {closest:g} Angstrom": len(boxes) - len(usable)})
    out, done = [], len(boxes) - len(usable)
    rest = iter(usable)
    for batch in in_batches([atoms for _, atoms in usable], BATCH):
        prediction = potential.evaluate(batch)
        forces = np.split(prediction.forces.double().cpu().numpy(), np.cumsum([len(atoms) for atoms in batch])[:-1])
        for energy, force in zip(prediction.energy.tolist(), forces, strict=True):
            number, atoms = next(rest)
            if not np.isfinite(energy) or not np.isfinite(force).all():
                reasons["energies that are not finite"] += 1
            elif np.abs(force).max() > max_force:
                reasons[f"a force beyond {max_force:g} eV/Angstrom"] += 1
            else:
                out.append(Labelled(number, atoms, energy, force))
        done += len(batch)
        progress(done)
    return out, +reasons
