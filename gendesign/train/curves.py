"""Plots of a fit: learning curves, and predictions against labels."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from gendesign.structure.journal import read_log
from gendesign.train.dataset import Dataset

UNITS = {"energy": ("energy", "eV/atom"), "forces": ("force", "eV/Angstrom")}


def learning_curve(log: Path, picture: Path) -> None:
    """Plot the loss and the validation errors, if any, against steps."""
    rows = read_log(log)
    keys = [
        k for k in ("loss", "valid_loss", "valid_force_mev_a", "valid_energy_mev_atom") if any(k in r for r in rows)
    ]
    names = {"loss": "loss, trained", "valid_loss": "loss, held out", "valid_force_mev_a": "force MAE, meV/Angstrom"}
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    for key in keys:
        points = [(r["step"], r[key]) for r in rows if key in r]
        axis = axes[0] if "loss" in key else axes[1]
        axis.plot(*zip(*points, strict=True), marker=".", label=names.get(key, "energy MAE, meV/atom"))
    for axis, title in zip(axes, ("loss", "held-out errors"), strict=True):
        axis.set(xlabel="step", title=title, yscale="log")
        if axis.lines:
            axis.legend(frameon=False)
        else:
            axis.text(0.5, 0.5, "no validation structures", ha="center", transform=axis.transAxes)
    figure.savefig(picture, dpi=120)


def parity(sets: dict[str, Dataset], deviations: dict[str, dict], picture: Path) -> None:
    """Plot predicted against labelled energies (per atom, less a linear fit to the composition) and force components.

    deviations: of every set, as `train.loss.deviations` returns them.
    """
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots(1, 2)
    for name, data in sets.items():
        errors = deviations[name]
        counts = (data.pointer[1:] - data.pointer[:-1]).numpy()
        order = list(errors)
        label = data.energy.numpy()[order] / counts[order]
        elements = torch.stack([torch.bincount(data.numbers[a:b], minlength=120) for a, b in _ranges(data)]).numpy()
        label = label - _composition_part(label, elements[order] / counts[order, None])
        values = {
            "energy": (label, np.concatenate([errors[k]["energy"] for k in order])),
            "forces": tuple(np.concatenate([errors[k][key] for k in order]) for key in ("label", "forces")),
        }
        for axis, (key, (true, error)) in zip(axes, values.items(), strict=True):
            kept = np.isfinite(true) & np.isfinite(error)
            if kept.any():
                mae = 1000 * np.abs(error[kept]).mean()
                text = f"{name}: MAE {mae:.3g} m{UNITS[key][1]}"
                axis.plot(true[kept], (true + error)[kept], ".", ms=2, alpha=0.5, label=text, rasterized=True)
    for axis, (name, unit) in zip(axes, UNITS.values(), strict=True):
        axis.axline((0, 0), slope=1, color="black", lw=0.6)
        axis.set(xlabel=f"labelled {name}, {unit}", ylabel=f"predicted {name}, {unit}")
        if len(axis.lines) > 1:
            axis.legend(frameon=False)
    axes[0].set_title("energy minus linear fit to composition")
    figure.savefig(picture, dpi=120)


def _ranges(data: Dataset) -> list[tuple[int, int]]:
    return list(zip(data.pointer[:-1].tolist(), data.pointer[1:].tolist(), strict=True))


def _composition_part(energy: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Linear fit (structures,) to the composition; without it energies of different compositions hide the errors."""
    return shares @ np.linalg.lstsq(shares, energy, rcond=None)[0]
