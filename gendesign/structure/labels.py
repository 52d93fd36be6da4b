"""Energies, forces and stresses that structures carry as labels, wherever their writer put them."""

from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from gendesign.structure.types import UserError


def labels_of(frame: Atoms, need_forces: bool = True) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (atoms, 3) of a labelled frame.

    A lone atom needs no forces, they are zero; others are not numbers where they are missing and not needed.
    Raises UserError when a label is missing or not finite.
    """
    energy, forces, formula = _stored(frame, "energy"), _stored(frame, "forces"), frame.get_chemical_formula()
    if forces is None and (len(frame) == 1 or not need_forces):
        forces = np.full((len(frame), 3), 0.0 if len(frame) == 1 else np.nan)
    elif forces is not None and not np.isfinite(forces).all():
        raise UserError(f"{formula} has forces that are not finite; leave it out")
    if energy is None or forces is None:
        raise UserError(f"{formula} has no energy and forces; label it first: gendesign label FILE")
    if not np.isfinite(energy):
        raise UserError(f"{formula} has an energy that is not finite; leave it out")
    return float(energy), np.asarray(forces)


def stress_of(frame: Atoms) -> np.ndarray:
    """Stress (3, 3) in eV/Angstrom^3, positive under tension; not numbers where the frame has none."""
    stress = _stored(frame, "stress")
    if stress is None or not frame.pbc.all():
        return np.full((3, 3), np.nan)
    stress = np.asarray(stress, dtype=float)
    return voigt_6_to_full_3x3_stress(stress) if stress.size == 6 else stress.reshape(3, 3)


def has_label(frame: Atoms) -> bool:
    """Whether the frame has energy and forces, finite or not."""
    return _stored(frame, "energy") is not None and _stored(frame, "forces") is not None


def kind_of(frame: Atoms) -> str:
    """The class of structures that a frame belongs to in a table of errors."""
    return str(frame.info.get("kind", frame.info.get("config_type", "all")))


def _stored(frame: Atoms, key: str) -> Any:
    results = {} if frame.calc is None else frame.calc.results
    return results.get(key, frame.arrays.get(key) if key == "forces" else frame.info.get(key))
