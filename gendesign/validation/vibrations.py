"""Harmonic frequencies by finite differences of forces, beside the reference's, each at its own minimum."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from matplotlib.figure import Figure

from gendesign.structure.bonds import connectivity
from gendesign.structure.types import Row
from gendesign.validation.methods import Answer, Method
from gendesign.validation.picture import OWN, grid

STEP = 0.01  # Angstrom
FMAX = 0.003  # eV/Angstrom, of the minima
# sqrt(eV/Angstrom^2/amu) is ASE's inverse time; hbar turns it into an energy and units.invcm into 1/cm
TO_INVCM = units._hbar * units.J * units.second / units.invcm
FREQUENCY_MAE = "vibrational frequencies MAE"


def hessians(structures: Sequence[Atoms], method: Method, step: float = STEP) -> list[np.ndarray | None]:
    """Second derivatives (3 atoms, 3 atoms) in eV/Angstrom^2 by central differences; all displacements in one call."""
    moved = [_moved(atoms, k, sign * step) for atoms in structures for k in range(3 * len(atoms)) for sign in (1, -1)]
    answers, matrices, start = method.evaluate(moved), [], 0
    for atoms in structures:
        own = answers[start : start + 6 * len(atoms)]
        start += 6 * len(atoms)
        matrices.append(_hessian(own, step) if all(answer is not None for answer in own) else None)
    return matrices


def _moved(atoms: Atoms, coordinate: int, by: float) -> Atoms:
    positions = atoms.positions.copy()
    positions[divmod(coordinate, 3)] += by
    return Atoms(atoms.numbers, positions, cell=atoms.cell, pbc=atoms.pbc)


def _hessian(answers: Sequence[Answer], step: float) -> np.ndarray:
    forces = np.array([answer.forces.ravel() for answer in answers])
    hessian = (forces[1::2] - forces[::2]) / (2 * step)
    return (hessian + hessian.T) / 2


def frequencies(atoms: Atoms, hessian: np.ndarray) -> np.ndarray:
    """Frequencies in 1/cm, ascending, without the translations and rotations; imaginary ones are negative.

    3 N - 6 of them, 3 N - 5 for linear molecules.
    """
    root = np.repeat(np.sqrt(atoms.get_masses()), 3)
    centred = atoms.positions - atoms.get_center_of_mass()
    rigid = []
    for axis in np.eye(3):
        rigid += [np.tile(axis, (len(atoms), 1)).ravel() * root, np.cross(axis, centred).ravel() * root]
    basis, singular, _ = np.linalg.svd(np.array(rigid).T, full_matrices=True)
    rank = int((singular > 1e-3 * singular[0]).sum())  # a linear molecule has one rotation less
    inner = basis[:, rank:]
    squares = np.linalg.eigvalsh(inner.T @ (hessian / np.outer(root, root)) @ inner)
    return np.sign(squares) * np.sqrt(np.abs(squares)) * TO_INVCM


def spectrum(structures: Sequence[Atoms], method: Method) -> list[np.ndarray | None]:
    """Frequencies at the method's minimum near each structure; None where it has none or the bond graph changed."""
    relaxed = method.relax(structures, fmax=FMAX)
    kept = [
        k
        for k, (atoms, end) in enumerate(zip(structures, relaxed, strict=True))
        if end is not None and connectivity(atoms) == connectivity(end.atoms)
    ]
    found: list[np.ndarray | None] = [None] * len(structures)
    minima = [relaxed[k].atoms for k in kept]
    for k, atoms, hessian in zip(kept, minima, hessians(minima, method), strict=True):
        found[k] = None if hessian is None else frequencies(atoms, hessian)
    return found


def measure(method: Method, minima: Sequence[Atoms], reference: Method) -> dict[str, Any]:
    """Both spectra of every molecule, in 1/cm; None where one could not be had."""
    own, true = spectrum(minima, method), spectrum(minima, reference)
    return {
        "molecules": [
            {
                "formula": atoms.get_chemical_formula(),
                "frequencies": None if a is None else a.round(2).tolist(),
                "reference": None if b is None else b.round(2).tolist(),
            }
            for atoms, a, b in zip(minima, own, true, strict=True)
        ]
    }


def _both(results: dict[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """(own, reference) of molecules that have both spectra, of one length."""
    rows = [row for row in results["molecules"] if row["frequencies"] is not None and row["reference"] is not None]
    both = [(np.array(row["frequencies"]), np.array(row["reference"])) for row in rows]
    return [(a, b) for a, b in both if len(a) == len(b)]


def rows(results: dict[str, Any]) -> list[Row]:
    """Errors after sorting, over all modes of all molecules; imaginary modes at the potential's minima."""
    both = _both(results)
    error = np.concatenate([np.abs(a - b) for a, b in both]) if both else np.array([])
    count = len(results["molecules"])
    return [
        Row(FREQUENCY_MAE, float(error.mean()) if len(error) else None, "1/cm", len(both)),
        Row("vibrational frequencies, largest error", float(error.max()) if len(error) else None, "1/cm", len(both)),
        Row("imaginary frequencies below -20 1/cm", sum(int((a < -20).sum()) for a, _ in both), "modes", len(both)),
        Row("molecules without a spectrum to compare", count - len(both), "molecules", count),
    ]


def picture(results: dict[str, Any]) -> Figure:
    """Frequencies against the reference's, and their errors."""
    figure, (parity, error) = grid(2, columns=2, size=(4.6, 3.4))
    both = _both(results)
    for own, true in both:
        parity.plot(true, own, ".", ms=3, color=OWN)
        error.plot(true, own - true, ".", ms=3, color=OWN)
    low, high = parity.get_xlim()
    parity.plot([low, high], [low, high], color="0.6", lw=0.8, zorder=0)
    error.axhline(0, color="0.6", lw=0.8, zorder=0)
    parity.set(xlabel="reference frequency (1/cm)", ylabel="frequency (1/cm)")
    error.set(xlabel="reference frequency (1/cm)", ylabel="error (1/cm)")
    return figure
