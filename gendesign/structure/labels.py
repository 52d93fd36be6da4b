"""Energies, forces and stresses of labelled structures, from calculator results, arrays or info."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from ase.stress import voigt_6_to_full_3x3_stress

from gendesign.errors import UserError

TEACHER_KEYS = ("teacher", "level_of_theory", "theory", "functional")
# Settings that change the convergence of a method or the state that it finds, but not its zero of energy.
NUMERICAL = re.compile(r"(, )?\b((kpoints_density|open_shell|supercell|spin|vacuum|dtype)=[^,)]*|k [\d.]+/Angstrom)")


def labels_of(frame: Atoms, need_forces: bool = True) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (atoms, 3) of a labelled frame.

    Missing forces of a single atom are zero. Other missing forces are NaN unless `need_forces`. Raises UserError for a
    label that is missing or not finite.
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
    """Stress (3, 3) in eV/Angstrom^3, positive under tension; NaN if the frame has none."""
    stress = _stored(frame, "stress")
    if stress is None or not frame.pbc.all():
        return np.full((3, 3), np.nan)
    return full_tensor(stress)


def full_tensor(values: Any) -> np.ndarray:
    """Tensor (3, 3) from nine numbers or from six in Voigt order (xx, yy, zz, yz, xz, xy)."""
    values = np.asarray(values, dtype=float)
    return voigt_6_to_full_3x3_stress(values.ravel()) if values.size == 6 else values.reshape(3, 3)


def has_label(frame: Atoms) -> bool:
    """Whether the frame has an energy, finite or not."""
    return _stored(frame, "energy") is not None


def has_forces(frame: Atoms) -> bool:
    """Whether the frame has an energy and forces, finite or not."""
    return has_label(frame) and (len(frame) == 1 or _stored(frame, "forces") is not None)


def kind_of(frame: Atoms) -> str:
    """The class of a frame in a table of errors: its info "kind" or "config_type", or "all"."""
    return str(frame.info.get("kind", frame.info.get("config_type", "all")))


def is_isolated(frame: Atoms, cutoff: float) -> bool:
    """Whether the frame is one atom without a neighbour, periodic images included, within `cutoff` (Angstrom)."""
    return len(frame) == 1 and (is_marked_isolated(frame) or _nearest_image(frame) > cutoff)


def is_marked_isolated(frame: Atoms) -> bool:
    """Whether the frame is marked as an isolated atom by config_type=IsolatedAtom in any spelling."""
    return len(frame) == 1 and re.sub(r"[\W_]", "", str(frame.info.get("config_type", ""))).lower() == "isolatedatom"


def isolated_energies(frames: Sequence[Atoms], cutoff: float) -> dict[int, float]:
    """Energy (eV) by atomic number of the isolated atoms among the frames.

    Of several atoms of one element, a marked one has precedence, then the one of lowest energy.
    """
    ranked: dict[int, tuple[bool, float]] = {}
    for frame in frames:
        if is_isolated(frame, cutoff):
            number, rank = int(frame.numbers[0]), (not is_marked_isolated(frame), labels_of(frame)[0])
            ranked[number] = min(ranked.get(number, rank), rank)
    return {number: energy for number, (_, energy) in ranked.items()}


def teacher_of(frame: Atoms) -> str:
    """The method of the labels that the frame states, without settings of its convergence; "" if not stated."""
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
