"""Figures of the analysis of a score."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gendesign.generate.diffusion.anatomy import RESTORATIVE, Comparison

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")  # Okabe and Ito
DPI, SIZE = 150, (5.0, 3.6)
NOISE = "noise level (Å)"


def _new(columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(SIZE[0] * columns, SIZE[1]), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))


def draw_landscape(
    sigmas: np.ndarray,
    deformations: np.ndarray,
    energy: np.ndarray,
    walks: Sequence[tuple[np.ndarray, np.ndarray]],
    path: Path,
) -> None:
    """Figure 1: learned energy over noise and deformation, with trajectories of (sigma, deformation)."""
    figure, (axes,) = _new()
    shown = np.sign(energy) * np.log1p(np.abs(energy))
    mesh = axes.pcolormesh(deformations, sigmas, shown, shading="nearest", cmap="viridis")
    figure.colorbar(mesh, label="sign(E) ln(1 + |E|) per atom")
    for sigma, deformation in walks:
        kept = (sigma > 0) & (deformation > 0)
        axes.plot(deformation[kept], sigma[kept], color="white", lw=0.7, alpha=0.8)
    axes.set(xscale="log", yscale="log", xlabel="deformation (Å)", ylabel="noise level of the model (Å)")
    axes.set_xlim(deformations[0], deformations[-1])
    axes.set_ylim(sigmas[0], sigmas[-1])
    figure.savefig(path, dpi=DPI)


def draw_bands(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], y_name: str, path: Path) -> None:
    """Figures 2 and 3: means over molecules with one standard deviation, over sigma; values (levels, molecules)."""
    figure, (axes,) = _new()
    for colour, (name, (sigma, values)) in zip(COLOURS, curves.items(), strict=False):
        with np.errstate(invalid="ignore"):
            counts = np.isfinite(values).sum(1)
            kept = (counts > 0) & (sigma[: len(values)] > 0)
            mean = np.array([np.nanmean(row) if ok else np.nan for row, ok in zip(values, kept, strict=True)])
            width = np.array([np.nanstd(row) if ok else np.nan for row, ok in zip(values, kept, strict=True)])
        x = sigma[: len(values)]
        axes.plot(x[kept], mean[kept], color=colour, label=name)
        axes.fill_between(x[kept], (mean - width)[kept], (mean + width)[kept], color=colour, alpha=0.2, lw=0)
    axes.set(xscale="log", xlabel=NOISE, ylabel=y_name)
    axes.invert_xaxis()
    axes.legend(frameon=False)
    figure.savefig(path, dpi=DPI)


def draw_comparison(found: Mapping[str, Comparison], crossings: Mapping[str, tuple[float, float]], path: Path) -> None:
    """Figure 4: cosine and ratio of the score to each force, with bands of one standard deviation, and by element."""
    figure, (left, middle, right) = _new(3)
    for colour, (name, one) in zip(COLOURS, found.items(), strict=False):
        for axes, values in ((left, one.cosine), (middle, one.ratio)):
            mean, width = one.mean(values), one.deviation(values)
            axes.plot(one.sigmas, mean, color=colour, marker=".", label=name)
            axes.fill_between(one.sigmas, mean - width, mean + width, color=colour, alpha=0.2, lw=0)
        if name in crossings and np.isfinite(crossings[name][0]):
            left.axvline(crossings[name][0], color=colour, lw=0.7, ls=":")
    methods = [name for name in found if name != RESTORATIVE]
    for colour, (symbol, values) in zip(COLOURS, found[methods[0]].by_element.items() if methods else (), strict=False):
        right.plot(found[methods[0]].sigmas, found[methods[0]].mean(values), color=colour, marker=".", label=symbol)
    left.set(xscale="log", xlabel=NOISE, ylabel="cosine", ylim=(-0.3, 1.05))
    middle.set(xscale="log", yscale="log", xlabel=NOISE, ylabel="length of the score / force")
    right.set(xscale="log", xlabel=NOISE, ylabel=f"cosine with {methods[0]} by element" if methods else "")
    for axes in (left, right):
        if axes.lines:
            axes.legend(frameon=False)
    figure.savefig(path, dpi=DPI)


def draw_generation(sigma: np.ndarray, decided: np.ndarray, fragments: np.ndarray, path: Path) -> None:
    """Figure 5: share of atoms with their final element, and number of pieces, over sigma."""
    figure, (left, right) = _new(2)
    kept = sigma > 0
    left.plot(sigma[kept], decided[kept], color=COLOURS[1])
    right.plot(sigma[kept], fragments[kept], color=COLOURS[2])
    for axes, name in ((left, "atoms with their final element"), (right, "pieces of a molecule")):
        axes.set(xscale="log", xlabel=NOISE, ylabel=name)
        axes.invert_xaxis()
    figure.savefig(path, dpi=DPI)


def draw_sizes(rows: Sequence[Mapping[str, float]], largest: int, path: Path) -> None:
    """Figures 5 and 6: validity against the number of heavy atoms; `largest`: of the training."""
    figure, (axes,) = _new()
    x = [row["heavy_atoms"] for row in rows]
    for colour, key in zip(COLOURS[1:], ("valid", "molecules_stable", "atoms_stable"), strict=False):
        axes.plot(x, [row[key] for row in rows], color=colour, marker="o", label=key.replace("_", " "))
    axes.axvline(largest + 0.5, color="0.6", lw=0.8, ls="--")
    axes.set(xlabel="heavy atoms", ylabel="share of samples", ylim=(-0.02, 1.02))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=DPI)
