"""Harmonic frequencies by finite differences of forces, compared with the reference; each method at its own minimum."""

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
# sqrt(eV/Angstrom^2/amu) is ASE's unit of inverse time; hbar converts it to an energy and units.invcm to 1/cm.
TO_INVCM = units._hbar * units.J * units.second / units.invcm
FREQUENCY_MAE = "vibrational frequencies MAE"


def hessians(structures: Sequence[Atoms], method: Method, step: float = STEP) -> list[np.ndarray | None]:
    """Hessians (3 N, 3 N) in eV/Angstrom^2 by central differences, None where the method fails.

    step: displacement in Angstrom. All displaced structures are evaluated in one call.
    """
    moved = [_moved(atoms, k, sign * step) for atoms in structures for k in range(3 * len(atoms)) for sign in (1, -1)]
    answers, matrices, start = method.evaluate(moved), [], 0
    for atoms in structures:
        displaced = answers[start : start + 6 * len(atoms)]
        start += 6 * len(atoms)
        matrices.append(_hessian(displaced, step) if all(answer is not None for answer in displaced) else None)
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
    """Vibrational frequencies in 1/cm, ascending; imaginary ones are negative.

    Translations and rotations are projected out: (3 N - 6,), or (3 N - 5,) for linear molecules. hessian: (3 N, 3 N) in
    eV/Angstrom^2.
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
    """Frequencies (1/cm) at the minimum of the method near each structure.

    None where the method fails or the bond graph changes.
    """
    relaxed = method.relax(structures, fmax=FMAX)
    kept = [
        k
        for k, (atoms, end) in enumerate(zip(structures, relaxed, strict=True))
        if end is not None and connectivity(atoms) == connectivity(end.atoms)
    ]
    spectra: list[np.ndarray | None] = [None] * len(structures)
    minima = [relaxed[k].atoms for k in kept]
    for k, atoms, hessian in zip(kept, minima, hessians(minima, method), strict=True):
        spectra[k] = None if hessian is None else frequencies(atoms, hessian)
    return spectra


def measure(method: Method, minima: Sequence[Atoms], reference: Method) -> dict[str, Any]:
    """Frequencies (1/cm) of every molecule by the method and the reference, None where one fails."""
    predicted, expected = spectrum(minima, method), spectrum(minima, reference)
    return {
        "molecules": [
            {
                "formula": atoms.get_chemical_formula(),
                "frequencies": None if a is None else a.round(2).tolist(),
                "reference": None if b is None else b.round(2).tolist(),
            }
            for atoms, a, b in zip(minima, predicted, expected, strict=True)
        ]
    }


def _both(results: dict[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """(predicted, reference) frequencies of the molecules for which both have the same number of modes."""
    rows = [row for row in results["molecules"] if row["frequencies"] is not None and row["reference"] is not None]
    both = [(np.array(row["frequencies"]), np.array(row["reference"])) for row in rows]
    return [(a, b) for a, b in both if len(a) == len(b)]


def rows(results: dict[str, Any]) -> list[Row]:
    """Errors over all modes of all molecules after sorting, and the number of imaginary modes of the potential."""
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
    """Predicted against reference frequencies, and their errors."""
    figure, (parity, error) = grid(2, columns=2, size=(4.6, 3.4))
    both = _both(results)
    for predicted, reference in both:
        parity.plot(reference, predicted, ".", ms=3, color=OWN)
        error.plot(reference, predicted - reference, ".", ms=3, color=OWN)
    low, high = parity.get_xlim()
    parity.plot([low, high], [low, high], color="0.6", lw=0.8, zorder=0)
    error.axhline(0, color="0.6", lw=0.8, zorder=0)
    parity.set(xlabel="reference frequency (1/cm)", ylabel="frequency (1/cm)")
    error.set(xlabel="reference frequency (1/cm)", ylabel="error (1/cm)")
    return figure
