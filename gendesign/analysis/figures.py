"""Figures of an analysis, one for each kind of curve: means over models with bands of standard error."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gendesign.analysis.compare import Measured
from gendesign.analysis.results import Curve

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
SIZE = (4.6, 3.3)  # inches, one column of a journal
DPI = 200
Errors = Mapping[str, np.ndarray]


def _axes(curve: Curve, y_name: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(curve.x_name.replace("(Angstrom)", "(Å)").replace("1/Angstrom", "Å$^{-1}$"))
    axes.set_ylabel(y_name)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _lines(axes: Axes, curve: Curve, errors: Errors, offset: float = 0.0, names: tuple[str, ...] = ()) -> None:
    """Every column as a line, shifted by `offset` each."""
    for k, name in enumerate(names or curve.columns):
        y, colour = curve.columns[name] + k * offset, COLOURS[k % len(COLOURS)]
        shift = f" (+{k * offset:g})" if k and offset else ""
        axes.plot(curve.x, y, color=colour, lw=1.2, label=name + shift)
        if name in errors:
            axes.fill_between(curve.x, y - errors[name], y + errors[name], color=colour, alpha=0.25, lw=0)


def draw_rdf(curve: Curve, errors: Errors) -> Figure:
    """Partial radial distribution functions, one above the other."""
    figure, axes = _axes(curve, "g(r)")
    names = tuple(name for name in curve.columns if name != "total")
    top = max(float(curve.columns[name].max()) for name in names)
    step = 0.0 if len(names) == 1 else max(1.0, round(min(top / 4, 4.0)))
    _lines(axes, curve, errors, step, names)
    for k in range(len(names)):
        axes.axhline(1 + k * step, color="0.8", lw=0.6, zorder=0)
    axes.set_xlim(max(0.0, float(curve.x[np.argmax(curve.columns["total"] > 0.05)]) - 0.5), curve.x[-1])
    axes.set_ylim(0, min(top, 12) * 1.05 + step * (len(names) - 1))
    axes.legend(frameon=False, reverse=True)
    return figure


def draw_sq(
    curve: Curve, errors: Errors, smooth: Curve | None = None, measured: Measured | None = None, kind: str = "neutron"
) -> Figure:
    """Neutron and X-ray structure factors: direct sums as dots, transforms of g(r) as lines, and a measured curve."""
    figure, axes = _axes(curve, "S(q)")
    if smooth is None:
        _lines(axes, curve, errors, 1.0, ("neutron", "xray"))
    else:
        for k, name in enumerate(("neutron", "xray")):
            axes.plot(curve.x, curve.columns[name] + k, ".", ms=2.5, color=COLOURS[k], alpha=0.45, mew=0)
        _lines(axes, smooth, {}, 1.0, ("neutron", "xray"))
    axes.lines[-2].set_label("neutron")
    axes.lines[-1].set_label("X-ray (+1)")
    if measured is not None:
        axes.plot(measured.x, measured.y + (kind == "xray"), "o", ms=2, color="0.3", label=f"measured, {kind}")
    for k in range(2):
        axes.axhline(1 + k, color="0.8", lw=0.6, zorder=0)
    axes.set_xlim(0, curve.x[-1])
    axes.legend(frameon=False)
    return figure


def draw_angles(curve: Curve, errors: Errors) -> Figure:
    """Distributions of bond angles."""
    figure, axes = _axes(curve, "probability per degree")
    _lines(axes, curve, errors)
    filled = np.nonzero(sum(curve.columns.values()) > 1e-4)[0]  # type: ignore[arg-type]
    axes.set_xlim(max(0, curve.x[filled[0]] - 5), min(180, curve.x[filled[-1]] + 5))
    axes.set_ylim(0)
    axes.legend(frameon=False)
    return figure


def draw_bars(curve: Curve, errors: Errors, y_name: str) -> Figure:
    """Columns as groups of bars over whole numbers."""
    figure, axes = _axes(curve, y_name)
    width = 0.8 / len(curve.columns)
    for k, (name, y) in enumerate(curve.columns.items()):
        x = curve.x + (k - (len(curve.columns) - 1) / 2) * width
        bar = {"yerr": errors[name], "error_kw": {"lw": 0.8}} if name in errors else {}
        axes.bar(x, y, width, color=COLOURS[k % len(COLOURS)], label=name, **bar)
    shown = curve.x[np.max(list(curve.columns.values()), axis=0) > 1e-4]
    if len(shown):
        axes.set_xlim(shown[0] - 0.8, shown[-1] + 0.8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    return figure


def draw_rings(curve: Curve, errors: Errors) -> Figure:
    """Rings of a node by size."""
    names = {"king": "King", "primitive": "primitive"}
    shown = Curve(curve.kind, "ring size (nodes)", curve.x, {names[key]: curve.columns[key] for key in names})
    return draw_bars(shown, {names[key]: errors[key] for key in names if key in errors}, "rings per node")


def draw_coordination(curve: Curve, errors: Errors) -> Figure:
    """Shares of coordination numbers, on a logarithmic axis that shows rare defects."""
    figure = draw_bars(curve, errors, "share of atoms")
    axes = figure.axes[0]
    axes.set_xlabel("number of bonds")
    axes.set_yscale("log")
    axes.set_ylim(1e-4, 1.5)
    return figure


def draw_plain(y_name: str) -> Callable[[Curve, Errors], Figure]:
    """A drawing of lines with this name of the y axis."""

    def draw(curve: Curve, errors: Errors) -> Figure:
        figure, axes = _axes(curve, y_name)
        _lines(axes, curve, errors)
        axes.set_xlim(0, curve.x[-1])
        axes.set_ylim(0)
        if len(curve.columns) > 1:
            axes.legend(frameon=False)
        return figure

    return draw


def draw_pores(curve: Curve, errors: Errors) -> Figure:
    """The share of the volume inside spheres of at least a diameter."""
    figure = draw_plain("share of volume in larger spheres")(curve, errors)
    figure.axes[0].set_xlim(curve.x[0], curve.x[-1])
    return figure


def draw_vdos(curve: Curve, errors: Errors) -> Figure:
    """The vibrational density of states, to where it ends."""
    figure = draw_plain("density of states (1/THz)")(curve, errors)
    density = curve.columns["density"]
    last = curve.x[np.nonzero(density > 2e-3 * density.max())[0][-1]]
    figure.axes[0].set_xlim(0, last * 1.1)
    return figure


DRAWN: dict[str, Callable[[Curve, Errors], Figure]] = {
    "rdf": draw_rdf,
    "sq": draw_sq,
    "angles": draw_angles,
    "rings": draw_rings,
    "coordination": draw_coordination,
    "pores": draw_pores,
    "vdos": draw_vdos,
    "msd": draw_plain("mean-squared displacement (Å$^2$)"),
}


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, dpi=DPI)
