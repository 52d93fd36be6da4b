"""Geometries: RMSD between minima of the potential and the reference, and whether the bond graph is conserved."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure

from gendesign.structure.bonds import connectivity
from gendesign.structure.superposition import aligned_rmsd
from gendesign.structure.types import Row
from gendesign.validation.methods import Method
from gendesign.validation.picture import OWN, grid

FMAX = 0.02  # eV/Angstrom
GRAPH_KEPT, MEDIAN_RMSD = "minima that keep their bond graph", "median heavy-atom RMSD of minima"


def heavy_rmsd(first: Atoms, second: Atoms) -> float:
    """RMSD (Angstrom) of the heavy atoms in the same order after optimal superposition; 0 without heavy atoms."""
    heavy = first.numbers > 1
    return aligned_rmsd(first.positions[heavy], second.positions[heavy])


def measure(method: Method, minima: Sequence[Atoms], steps: int = 500) -> dict[str, Any]:
    """Relax every reference minimum with the method: heavy-atom RMSD, conservation of the bond graph, convergence."""
    molecules = []
    for before, after in zip(minima, method.relax(minima, fmax=FMAX, steps=steps), strict=True):
        molecules.append(
            {
                "formula": before.get_chemical_formula(),
                "rmsd": None if after is None else heavy_rmsd(before, after.atoms),
                "graph_kept": after is not None and connectivity(before) == connectivity(after.atoms),
                "converged": after is not None and after.converged,
            }
        )
    return {"molecules": molecules}


def rows(results: dict[str, Any]) -> list[Row]:
    """Fractions and RMSD over all molecules. A molecule that exploded has no RMSD and counts as changed."""
    molecules = results["molecules"]
    rmsd, n = [m["rmsd"] for m in molecules if m["rmsd"] is not None], len(molecules)
    return [
        Row(GRAPH_KEPT, sum(m["graph_kept"] for m in molecules) / n, "fraction", n),
        Row(MEDIAN_RMSD, float(np.median(rmsd)) if rmsd else None, "Angstrom", len(rmsd)),
        Row("largest heavy-atom RMSD of minima", max(rmsd) if rmsd else None, "Angstrom", len(rmsd)),
        Row("relaxations converged", sum(m["converged"] for m in molecules) / n, "fraction", n),
    ]


def picture(results: dict[str, Any]) -> Figure:
    """The distribution of the RMSD."""
    figure, (panel,) = grid(1, columns=1, size=(4.6, 3.0))
    rmsd = [m["rmsd"] for m in results["molecules"] if m["rmsd"] is not None]
    panel.hist(rmsd, bins=20, color=OWN, edgecolor="white", linewidth=0.5)
    panel.set(xlabel="heavy-atom RMSD from the reference's minimum (Angstrom)", ylabel="molecules")
    return figure
