"""Energies, forces and stresses that structures carry as labels, wherever their writer put them."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from ase.stress import voigt_6_to_full_3x3_stress

from gendesign.errors import UserError

TEACHER_KEYS = ("teacher", "level_of_theory", "theory", "functional")
# Settings that change how well a method is converged or which state it finds, and not its zero of energy.
NUMERICAL = re.compile(r"(, )?\b((kpoints_density|open_shell|supercell|spin|vacuum|dtype)=[^,)]*|k [\d.]+/Angstrom)")


def labels_of(frame: Atoms, need_forces: bool = True) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (atoms, 3) of a labelled frame.

    A lone atom needs no forces: they are zero, in a crystal too. Others are not numbers where they are missing and not
    needed. Raises UserError when a label is missing or not finite.
    """
    energy, forces, formula = _stored(frame, "energy"), _stored(frame, "forces"), frame.get_chemical_formula()
    if forces is None and (len(frame) == 1 or not need_forces):
        forces = np.full((len(frame), 3), 0.0 if len(frame) == 1 else np.nan)
    elif forces is not None and not np.isfinite(forces).all():
        raise UserError(f"{formula} has forces that are not finite; leave it out")
    if energy is None or forces is None:
        missing = " and ".join(key for key, value in (("energy", energy), ("forces", forces)) if value is None)
        raise UserError(f"{formula} has no {missing}; label it first: gendesign label FILE")
    if not np.isfinite(energy):
        raise UserError(f"{formula} has an energy that is not finite; leave it out")
    return float(energy), np.asarray(forces)


def stress_of(frame: Atoms) -> np.ndarray:
    """Stress (3, 3) in eV/Angstrom^3, positive under tension; not numbers where the frame has none."""
    stress = _stored(frame, "stress")
    if stress is None or not frame.pbc.all():
        return np.full((3, 3), np.nan)
    return full_tensor(stress)


def full_tensor(values: Any) -> np.ndarray:
    """(3, 3) of nine numbers, or of six in the order xx yy zz yz xz xy."""
    values = np.asarray(values, dtype=float)
    return voigt_6_to_full_3x3_stress(values.ravel()) if values.size == 6 else values.reshape(3, 3)


def has_label(frame: Atoms) -> bool:
    """Whether the frame has an energy, finite or not."""
    return _stored(frame, "energy") is not None


def has_forces(frame: Atoms) -> bool:
    """Whether the frame has an energy and forces, finite or not."""
    return has_label(frame) and (len(frame) == 1 or _stored(frame, "forces") is not None)


def kind_of(frame: Atoms) -> str:
    """The class of structures that a frame belongs to in a table of errors."""
    return str(frame.info.get("kind", frame.info.get("config_type", "all")))


def is_isolated(frame: Atoms, cutoff: float) -> bool:
    """Whether the frame is one atom without a neighbour within `cutoff` (Angstrom), its own images included."""
    return len(frame) == 1 and (is_marked_isolated(frame) or _nearest_image(frame) > cutoff)


def is_marked_isolated(frame: Atoms) -> bool:
    """Whether its writer says that the frame is an isolated atom: config_type=IsolatedAtom, however it is spelled."""
    return len(frame) == 1 and re.sub(r"[\W_]", "", str(frame.info.get("config_type", ""))).lower() == "isolatedatom"


def isolated_energies(frames: Sequence[Atoms], cutoff: float) -> dict[int, float]:
    """Energy (eV) of each element that the frames hold as an isolated atom; marked ones win, then the lowest."""
    ranked: dict[int, tuple[bool, float]] = {}
    for frame in frames:
        if is_isolated(frame, cutoff):
            number, rank = int(frame.numbers[0]), (not is_marked_isolated(frame), labels_of(frame)[0])
            ranked[number] = min(ranked.get(number, rank), rank)
    return {number: energy for number, (_, energy) in ranked.items()}


def teacher_of(frame: Atoms) -> str:
    """The method that the frame says its labels are by, without settings of its convergence; empty for none."""
    teacher = next((str(frame.info[key]) for key in TEACHER_KEYS if frame.info.get(key) not in (None, "")), "")
    return NUMERICAL.sub("", teacher).replace("(, ", "(").replace("()", "")


def _nearest_image(frame: Atoms) -> float:
    """Distance (Angstrom) of an atom to its nearest periodic image."""
    if not frame.pbc.any():
        return np.inf
    reduced, _ = minkowski_reduce(frame.cell.complete(), pbc=frame.pbc)
    return float(np.linalg.norm(reduced[frame.pbc], axis=1).min())


def _stored(frame: Atoms, key: str) -> Any:
    results = {} if frame.calc is None else frame.calc.results
    return results.get(key, frame.arrays.get(key) if key == "forces" else frame.info.get(key))
