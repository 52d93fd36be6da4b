"""One picture for each part of `gendesign benchmark amorphous`."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from gendesign.analysis.figures import COLOURS
from gendesign.benchmark.glass_parts import Curves, Part

PANELS = {
    "rdf": ("r (Å)", "g(r)"), "angles": ("angle (degrees)", "probability per degree"),
    "sq_from_rdf": ("q (Å$^{-1}$)", "S(q), neutron"), "rings": ("ring size", "King rings per node"),
}  # fmt: skip
CHOSEN = {"sq_from_rdf": ("neutron",), "rings": ("king",)}  # columns of kinds that have more
RANGES = {"rdf": (1.2, 8), "angles": (50, 180), "sq_from_rdf": (0.5, 12), "rings": (2.5, 10.5)}
MOST = 6  # models in a picture
DIRECT, HIGHEST = "sq", 12  # S(q) by direct sum, drawn as dots over the transform of g(r); top of g(r)


def draw(part: Part, path: Path) -> None:
    """Curves of the part in a panel for each kind, and its points in a panel for each of their names."""
    kinds = [kind for kind in PANELS if any(kind in curves for curves in part.curves.values())]
    panels = [*kinds, *part.points]
    if not panels:
        return
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.8 * columns, 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, name in zip(axes, panels, strict=False):
        if name in kinds:
            _curves(panel, name, dict(list(part.curves.items())[:MOST]))
        else:
            _points(panel, name, part.points[name])
        panel.spines[["top", "right"]].set_visible(False)
    for panel in axes[len(panels) :]:
        panel.set_visible(False)
    figure.savefig(path, dpi=120)


def _curves(panel, kind: str, models: Mapping[str, Curves]) -> None:
    """All columns of one kind, a colour for each model and a dash for each column."""
    for k, (title, curves) in enumerate(models.items()):
        if kind not in curves:
            continue
        columns = curves[kind]
        names = CHOSEN.get(kind) or tuple(name for name in columns if name not in ("x", "total"))
        for dash, name in zip(("-", "--", ":", "-."), names, strict=False):
            label = title if len(names) == 1 else f"{title}, {name}"
            style = {"marker": "o", "ms": 3} if kind == "rings" else {}
            panel.plot(columns["x"], columns[name], dash, lw=1.1, color=COLOURS[k % len(COLOURS)], label=label, **style)
        if kind == "sq_from_rdf" and DIRECT in curves:
            direct = curves[DIRECT]
            panel.plot(direct["x"], direct["neutron"], ".", ms=2, alpha=0.35, color=COLOURS[k % len(COLOURS)])
    top = HIGHEST if kind == "rdf" and panel.get_ylim()[1] > HIGHEST else None
    panel.set(xlabel=PANELS[kind][0], ylabel=PANELS[kind][1], xlim=RANGES[kind], ylim=(0, top))
    panel.legend(frameon=False, fontsize=6)


def _points(panel, name: str, points: list[list[float]]) -> None:
    """Numbers with error bars over the rate, or a plain row of numbers."""
    x, y = [row[0] for row in points], [row[1] for row in points]
    if points and len(points[0]) == 3:
        panel.errorbar(x, y, yerr=[row[2] for row in points], marker="o", capsize=3, color=COLOURS[0])
        unit = " (eV/atom above diamond)" if name == "energy" else " (% of the atoms)"
        panel.set(xscale="log", xlabel="rate of the quench (K/ps)", ylabel=name + unit)
    else:
        panel.bar(x, y, color=COLOURS[0])
        panel.set(title=name, xticks=x)
