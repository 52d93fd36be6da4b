"""Errors of energies, forces and stresses on labelled structures, by class."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from matplotlib.figure import Figure

from gendesign.structure.labels import kind_of, labels_of, stress_of
from gendesign.structure.types import Row
from gendesign.validation.methods import Answer
from gendesign.validation.picture import COLOURS, grid

ALL = "all classes"
SHOWN = 1500  # points of a class in the parity plots


def label_of(frame: Atoms) -> Answer:
    """The label of a frame: energy, forces (NaN if missing) and stress if any. Raises UserError without an energy."""
    stress = stress_of(frame)
    return Answer(*labels_of(frame, need_forces=False), stress if np.isfinite(stress).all() else None)


def measure(frames: Sequence[Atoms], answers: Sequence[Answer | None], together: Sequence[str] = ()) -> dict[str, Any]:
    """Errors by class, with a sample of pairs for the parity plots.

    The classes `together` are also reported as one class "combined". Energies are in meV/atom, forces in meV/Angstrom
    per component, stresses in GPa per component. `failed` counts the structures without a finite answer.
    """
    pairs: dict[str, list[tuple[Atoms, Answer, Answer]]] = defaultdict(list)
    for frame, answer in zip(frames, answers, strict=True):
        if answer is not None:
            pairs[kind_of(frame)].append((frame, label_of(frame), answer))
    groups: dict[str, list] = {}
    if any(kind in pairs for kind in together):
        groups["combined"] = [item for kind in together for item in pairs.get(kind, ())]
    groups |= dict(sorted(pairs.items()))
    if len(pairs) > 1:
        groups[ALL] = [item for items in pairs.values() for item in items]
    return {
        "classes": {kind: _errors(items) for kind, items in groups.items()},
        "parity": {kind: _sample(items) for kind, items in sorted(pairs.items())},
        "failed": sum(answer is None for answer in answers),
    }


def _errors(items: Sequence[tuple[Atoms, Answer, Answer]]) -> dict[str, float]:
    energy = np.array([(answer.energy - label.energy) / len(frame) for frame, label, answer in items])
    true = np.concatenate([label.forces.ravel() for _, label, _ in items])
    error = np.concatenate([answer.forces.ravel() for _, _, answer in items]) - true
    table = {"n": len(items), "energy_mae_mev_atom": 1000 * float(np.abs(energy).mean())}
    if (known := np.isfinite(true)).any():
        table |= {
            "force_mae_mev_a": 1000 * float(np.abs(error[known]).mean()),
            "force_rmse_mev_a": 1000 * float(np.sqrt(np.square(error[known]).mean())),
            "force_rms_mev_a": 1000 * float(np.sqrt(np.square(true[known]).mean())),
        }
    tensions = [(label.stress, a.stress) for _, label, a in items if label.stress is not None and a.stress is not None]
    if tensions:
        table["stress_mae_gpa"] = float(np.mean([np.abs(a - b).mean() for a, b in tensions])) / units.GPa
    return table


def _sample(items: Sequence[tuple[Atoms, Answer, Answer]]) -> dict[str, list[list[float]]]:
    """Pairs [reference, predicted] of force components (eV/Angstrom) and energies (eV/atom), at most SHOWN each."""
    forces = np.concatenate([np.stack([label.forces.ravel(), a.forces.ravel()]) for _, label, a in items], axis=1)
    forces = forces[:, np.isfinite(forces[0])]
    energies = np.array([(label.energy / len(f), a.energy / len(f)) for f, label, a in items]).T
    return {"forces": _thinned(forces), "energies": _thinned(energies)}


def _thinned(pairs: np.ndarray) -> list[list[float]]:
    kept = np.linspace(0, max(pairs.shape[1] - 1, 0), min(SHOWN, pairs.shape[1])).astype(int)
    return pairs[:, kept].round(5).tolist()


def rows(results: dict[str, Any]) -> list[Row]:
    """The errors of every class."""
    out = []
    for kind, table in results["classes"].items():
        n = int(table["n"])
        if "force_mae_mev_a" in table:
            out.append(Row(f"force MAE, {kind}", table["force_mae_mev_a"], "meV/Angstrom", n))
        out.append(Row(f"energy MAE, {kind}", table["energy_mae_mev_atom"], "meV/atom", n))
        if "stress_mae_gpa" in table:
            out.append(Row(f"stress MAE, {kind}", table["stress_mae_gpa"], "GPa", n))
    if results["failed"]:
        out.append(
            Row("labelled structures without a finite answer", results["failed"], "structures", results["failed"])
        )
    return out


def picture(results: dict[str, Any]) -> Figure:
    """Predicted against reference forces, and the energy error of every structure, coloured by class."""
    figure, (forces, energies) = grid(2, columns=2, size=(4.6, 3.8))
    for k, (kind, parity) in enumerate(results["parity"].items()):
        colour = COLOURS[k % len(COLOURS)]
        forces.plot(*parity["forces"], ".", ms=2, alpha=0.5, color=colour, label=kind, rasterized=True)
        true, predicted = np.array(parity["energies"])
        energies.plot(true, 1000 * (predicted - true), ".", ms=4, color=colour, label=kind)
    low, high = forces.get_xlim()
    forces.plot([low, high], [low, high], color="0.6", lw=0.8, zorder=0)
    forces.set(xlabel="reference force (eV/Angstrom)", ylabel="predicted force (eV/Angstrom)")
    energies.axhline(0, color="0.6", lw=0.8, zorder=0)
    energies.set(xlabel="reference energy (eV/atom)", ylabel="energy error (meV/atom)")
    energies.legend(fontsize=7, markerscale=2, frameon=False)
    return figure
