"""Small SVG pictures for the report: 2D formulas, projections of structures without one, histograms."""

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from gendesign.run.unit_cell import BONDED, cell_edges, folded, no_bond, view, with_images

WIDTH, HEIGHT = 190, 140
SIZE = (3.1, 2.1)  # inches of a chart, so that its text stays readable beside the table
MOST_ATOMS = 400  # a projection of more atoms is a blot
UPRIGHT = 2.0  # a crystal higher than this many widths is drawn lying down


def draw_smiles(smiles: str) -> str:
    """A 2D formula as an SVG element; an empty string when RDKit cannot read the SMILES."""
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return ""
    drawer = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT)
    options: Any = drawer.drawOptions()
    options.clearBackground = False
    options.fixedBondLength = 24
    options.bondLineWidth = 1.4
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, molecule)
    drawer.FinishDrawing()
    svg = drawer.GetDrawingText()
    svg = svg[svg.index("<svg") :]
    # Classes and decimals that nobody sees are half of RDKit's text, and a report holds hundreds of pictures.
    svg = re.sub(r" class='[^']*'|<!--.*?-->|\n", "", svg)
    svg = re.sub(r"(\d+\.\d)\d+", r"\1", svg)
    svg = re.sub(r"\s(xmlns:\w+|xml:space|version|baseProfile)='[^']*'", "", svg)
    return re.sub(r";stroke-linecap:butt;stroke-linejoin:miter;stroke-opacity:1|fill-rule:evenodd;", "", svg)


def draw_atoms(atoms: Atoms) -> str:
    """Balls and sticks as an SVG element; empty for no atoms or very many.

    A molecule is seen along its flattest direction. A crystal is its cell, drawn with its edges, and the images that
    are bonded to a heavier atom of it, so that octahedra are whole; molecules in it are whole too. c points upwards,
    and the shorter one of a and b towards the eye. A slab has the edges of its two periodic directions, a chain the one
    of its own.
    """
    if not 0 < len(atoms) <= MOST_ATOMS or not np.isfinite(atoms.positions).all():
        return ""
    axes, edges = None, cell_edges(atoms)
    if len(edges):
        atoms = folded(atoms)
        axes, edges, atoms = view(atoms), cell_edges(atoms), with_images(atoms)
    middle = atoms.positions.mean(axis=0)
    points, ends = atoms.positions - middle, edges - middle
    axes = np.linalg.svd(points, full_matrices=True)[2] if axes is None else axes
    (x, y, depth), (u, v, far) = (points @ axes.T).T, (ends.reshape(-1, 3) @ axes.T).T
    if len(edges) and np.ptp([*y, *v]) > UPRIGHT * np.ptp([*x, *u]):  # lying down it is larger
        x, y, u, v = y, -x, v, -u
    height = HEIGHT + 40 if len(edges) else HEIGHT
    radii = covalent_radii[atoms.numbers]
    span = max(np.ptp([*x, *u]) / (WIDTH - 40), np.ptp([*y, *v]) / (height - 40), 0.05)
    x, y, u, v = (
        size / 2 + (values - (max(whole) + min(whole)) / 2) / span
        for values, whole, size in (
            (x, [*x, *u], WIDTH), (y, [*y, *v], height), (u, [*x, *u], WIDTH), (v, [*y, *v], height),
        )
    )  # fmt: skip
    parts = _box(u.reshape(-1, 2), v.reshape(-1, 2), far.reshape(-1, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    bonded = np.triu(distances < BONDED * (radii[:, None] + radii[None]), k=1)
    bonded &= ~no_bond(atoms.numbers[:, None], atoms.numbers[None])
    parts += [
        f"<line x1='{x[i]:.1f}' y1='{y[i]:.1f}' x2='{x[j]:.1f}' y2='{y[j]:.1f}' stroke='#888' stroke-width='2'/>"
        for i, j in zip(*np.nonzero(bonded), strict=True)
    ]
    for i in np.argsort(depth, kind="stable"):
        red, green, blue = (int(255 * channel) for channel in jmol_colors[atoms.numbers[i]])
        size = min(0.45 * radii[i] / span, 14)
        parts.append(
            f"<circle cx='{x[i]:.1f}' cy='{y[i]:.1f}' r='{size:.1f}' fill='rgb({red},{green},{blue})' stroke='#555'/>"
        )
    return f"<svg width='{WIDTH}px' height='{height}px' viewBox='0 0 {WIDTH} {height}'>{''.join(parts)}</svg>"


def _box(x: np.ndarray, y: np.ndarray, depth: np.ndarray) -> list[str]:
    """Lines of the edges, each (edges, 2); those that meet in the corner farthest from the eye are dashed."""
    if not len(x):
        return []
    hidden = (depth < depth.min() + 1e-6).any(axis=1) & (len(x) == 12)
    return [
        f"<line x1='{a[0]:.1f}' y1='{b[0]:.1f}' x2='{a[1]:.1f}' y2='{b[1]:.1f}' stroke='#9aa5b1'{dashes}/>"
        for a, b, dashes in zip(x, y, np.where(hidden, " stroke-dasharray='3 3'", ""), strict=True)
    ]


def histogram(values: Sequence[float], title: str, unit: str, *, whole: bool = False) -> str:
    """A histogram as an SVG element, one bar per number when `whole`; empty where it would be a single bar."""
    finite = np.array([value for value in values if value is not None and np.isfinite(value)])
    if len(finite) < 2 or np.ptp(finite) <= 1e-9 * np.abs(finite).max():
        return ""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with rc_context({"svg.hashsalt": "gendesign", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        # Few outliers would squeeze all others into one bar: they are gathered in the last one.
        top = finite.max() if whole else _end(finite)
        bins = np.arange(finite.min() - 0.5, finite.max() + 1.5).tolist() if whole else min(24, 6 + len(finite) // 4)
        axes.hist(np.minimum(finite, top), bins=bins, color="#3b6ea5", edgecolor="white", linewidth=0.5)
        beyond = int((finite > top).sum())
        axes.set_xlabel(f"{title} ({unit})" if unit else title)
        axes.set_ylabel("candidates")
        if beyond:
            axes.set_title(f"{beyond} larger, up to {finite.max():.3g}, in the last bar", fontsize=8)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        if whole:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        return _svg(figure)


def _end(values: np.ndarray) -> float:
    """The largest number on the axis: four times as far from the smallest one as nine tenths of the values reach."""
    tenths = np.quantile(values, 0.9)
    span = float(tenths - values.min()) or abs(float(tenths))
    return min(float(values.max()), float(values.min()) + 4 * span) if span else float(values.max())


def scatter(points: Sequence[tuple[float, float]], across: str, up: str) -> str:
    """Points (x, y) as an SVG element; empty for fewer than two."""
    if len(points) < 2:
        return ""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "gendesign", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        across_values, up_values = zip(*points, strict=True)
        axes.scatter(across_values, up_values, s=14, color="#3b6ea5")
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.spines[["top", "right"]].set_visible(False)
        return _svg(figure)


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    svg = buffer.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
