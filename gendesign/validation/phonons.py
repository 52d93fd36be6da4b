"""Phonons of crystals by phonopy, compared with the reference; each method at its own equilibrium."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.cell import Cell
from matplotlib.figure import Figure
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from gendesign.structure.types import Row
from gendesign.validation.crystals import equilibrium
from gendesign.validation.methods import Method
from gendesign.validation.picture import OWN, REFERENCE, grid

DISTANCE = 0.01  # Angstrom, of the displacements
EDGE = 9.0  # Angstrom, least edge of the supercell
MESH = (6, 6, 6)  # wave vectors at which the methods are compared
ALONG = 60  # wave vectors along the path of the picture


def force_constants(atoms: Atoms, method: Method, edge: float = EDGE) -> Phonopy | None:
    """A Phonopy object with the force constants of the method at `atoms`, None if the method has no answer.

    All displaced supercells, with edges of at least `edge` (Angstrom), are evaluated in one call.
    """
    cell = PhonopyAtoms(
        symbols=list(atoms.symbols), cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions()
    )
    repeats = np.ceil(edge / atoms.cell.lengths() - 1e-6).astype(int)
    phonon = Phonopy(cell, supercell_matrix=np.diag(repeats), primitive_matrix="auto", symprec=1e-4, log_level=0)
    phonon.generate_displacements(distance=DISTANCE)
    supercells = [
        Atoms(s.symbols, cell=s.cell, scaled_positions=s.scaled_positions, pbc=True)
        for s in phonon.supercells_with_displacements
    ]
    answers = method.evaluate(supercells)
    if any(answer is None for answer in answers):
        return None
    phonon.forces = [answer.forces for answer in answers]
    phonon.produce_force_constants(show_drift=False)
    phonon.symmetrize_force_constants(show_drift=False)
    return phonon


def on_mesh(phonon: Phonopy, mesh: Sequence[int] = MESH) -> np.ndarray:
    """Frequencies (wave vectors, modes) in THz on a regular mesh; imaginary ones are negative."""
    phonon.run_mesh(list(mesh), is_mesh_symmetry=False, is_gamma_center=True)
    return np.sort(np.asarray(phonon.mesh.frequencies), axis=1)


def at(phonon: Phonopy, points: np.ndarray) -> np.ndarray:
    """Frequencies (wave vectors, modes) in THz at `points` in units of the primitive cell's reciprocal vectors."""
    phonon.run_qpoints(np.asarray(points, dtype=float))
    return np.sort(np.asarray(phonon.qpoints.frequencies), axis=1)


def bands(phonon: Phonopy) -> dict[str, Any]:
    """Frequencies along ASE's standard path of the primitive cell, with the path's axis and labels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about lattices that are close to one of higher symmetry
        path = Cell(phonon.primitive.cell).bandpath(npoints=ALONG, eps=1e-3)
    axis, ticks, labels = path.get_linear_kpoint_axis()
    return {"axis": axis.round(5).tolist(), "ticks": ticks.round(5).tolist(), "labels": labels,
            "points": path.kpts.round(8).tolist(), "frequencies": at(phonon, path.kpts).round(4).tolist()}  # fmt: skip


def measure(method: Method, crystals: Sequence[Atoms], reference: Method | None = None) -> dict[str, Any]:
    """Bands, the range of frequencies on the mesh, and the mean absolute error (THz) on it against the reference."""
    predicted = equilibrium(crystals, method)
    expected = [None] * len(crystals) if reference is None else equilibrium(crystals, reference)
    results = []
    for start, minimum, reference_minimum in zip(crystals, predicted, expected, strict=True):
        row: dict[str, Any] = {"formula": start.get_chemical_formula(), "lowest": None, "highest": None, "mae": None}
        phonon = None if minimum is None else force_constants(minimum, method)
        if phonon is not None:
            mesh = on_mesh(phonon)
            row |= {"lowest": float(mesh.min()), "highest": float(mesh.max()), "bands": bands(phonon)}
            other = None if reference_minimum is None else force_constants(reference_minimum, reference)
            if other is not None and len(other.primitive) == len(phonon.primitive):
                row["mae"] = float(np.abs(mesh - on_mesh(other)).mean())
                row["reference"] = at(other, row["bands"]["points"]).round(4).tolist()
        results.append(row)
    return {"crystals": results}


def rows(results: dict[str, Any]) -> list[Row]:
    """Range of the frequencies of every crystal, and the mean absolute error against the reference."""
    out = []
    for crystal in results["crystals"]:
        out.append(Row(f"highest phonon, {crystal['formula']}", crystal["highest"], "THz", 1))
        out.append(Row(f"lowest phonon, {crystal['formula']} (below zero is unstable)", crystal["lowest"], "THz", 1))
    errors = [crystal["mae"] for crystal in results["crystals"] if crystal["mae"] is not None]
    if errors:
        out.append(Row("phonon frequencies MAE against the teacher", float(np.mean(errors)), "THz", len(errors)))
    return out


def picture(results: dict[str, Any]) -> Figure | None:
    """Phonon bands: the potential as solid lines, the reference as dashed lines."""
    crystals = [crystal for crystal in results["crystals"] if "bands" in crystal]
    if not crystals:
        return None
    figure, panels = grid(len(crystals), columns=2, size=(4.8, 3.2))
    for panel, crystal in zip(panels, crystals, strict=True):
        path = crystal["bands"]
        panel.plot(path["axis"], path["frequencies"], color=OWN, lw=1.2)
        if "reference" in crystal:
            panel.plot(path["axis"], crystal["reference"], "--", color=REFERENCE, lw=1.0)
        panel.set_xticks(path["ticks"], [label.replace("G", "Γ") for label in path["labels"]])
        panel.axhline(0, color="0.7", lw=0.7)
        panel.set(ylabel="frequency (THz)", xlim=(0, path["axis"][-1]))
        panel.set_title(crystal["formula"], fontsize=9)
    return figure
