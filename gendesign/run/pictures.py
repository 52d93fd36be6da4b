"""Small SVG pictures for the report: 2D formulas, projections of structures without one, histograms."""

import io
import re
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from ase.neighborlist import neighbor_list
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

WIDTH, HEIGHT = 190, 140
MOST_ATOMS = 400  # a projection of more atoms is a blot
BONDED = 1.25  # sums of covalent radii


def draw_smiles(smiles: str) -> str:
    """A 2D formula as an SVG element; an empty string when RDKit cannot read the SMILES."""
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return ""
    drawer = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT)
    options = drawer.drawOptions()
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
    """Balls and sticks seen along the flattest direction, as an SVG element; empty for no atoms or very many.

    A crystal is its cell and the images that are bonded to a heavier atom of it, so that octahedra are whole.
    """
    if not 0 < len(atoms) <= MOST_ATOMS or not np.isfinite(atoms.positions).all():
        return ""
    atoms = with_images(atoms) if atoms.pbc.any() else atoms
    points = atoms.positions - atoms.positions.mean(axis=0)
    axes = np.linalg.svd(points, full_matrices=True)[2]
    x, y, depth = (points @ axes.T).T
    radii = covalent_radii[atoms.numbers]
    span = max(np.ptp(x) / (WIDTH - 40), np.ptp(y) / (HEIGHT - 40), 0.05)
    left, top = WIDTH / 2 - (x.max() + x.min()) / 2 / span, HEIGHT / 2 - (y.max() + y.min()) / 2 / span
    x, y = left + x / span, top + y / span
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    bonded = np.triu(distances < BONDED * (radii[:, None] + radii[None]), k=1)
    parts = [
        f"<line x1='{x[i]:.1f}' y1='{y[i]:.1f}' x2='{x[j]:.1f}' y2='{y[j]:.1f}' stroke='#888' stroke-width='2'/>"
        for i, j in zip(*np.nonzero(bonded), strict=True)
    ]
    for i in np.argsort(depth):
        red, green, blue = (int(255 * channel) for channel in jmol_colors[atoms.numbers[i]])
        size = min(0.45 * radii[i] / span, 14)
        parts.append(
            f"<circle cx='{x[i]:.1f}' cy='{y[i]:.1f}' r='{size:.1f}' fill='rgb({red},{green},{blue})' stroke='#555'/>"
        )
    return f"<svg width='{WIDTH}px' height='{HEIGHT}px' viewBox='0 0 {WIDTH} {HEIGHT}'>{''.join(parts)}</svg>"


def with_images(atoms: Atoms) -> Atoms:
    """The atoms of a cell and all periodic images that are bonded to a heavier one of them."""
    i, j, shift = neighbor_list("ijS", atoms, list(BONDED * covalent_radii[atoms.numbers]))
    outer = shift.any(axis=1) & (atoms.numbers[i] > atoms.numbers[j])
    images = sorted({(int(k), *map(int, s)) for k, s in zip(j[outer], shift[outer], strict=True)})
    if not images:
        return atoms
    names, shifts = np.array(images)[:, 0], np.array(images)[:, 1:]
    return Atoms(
        np.concatenate([atoms.numbers, atoms.numbers[names]]),
        np.concatenate([atoms.positions, atoms.positions[names] + shifts @ atoms.cell.array]),
    )


def histogram(values: Sequence[float], title: str, unit: str, *, whole: bool = False) -> str:
    """A histogram as an SVG element, one bar per number when `whole`; a line of words when there is nothing to show."""
    finite = np.array([value for value in values if value is not None and np.isfinite(value)])
    if not len(finite):
        return f"<p class='empty'>{escape(title)}: nothing to show</p>"
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "gendesign", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=(4.4, 2.5), layout="constrained")
        axes = figure.subplots()
        # Few outliers would squeeze all others into one bar: they are gathered in the last one.
        top = finite.max() if whole else min(finite.max(), 4 * np.quantile(finite, 0.9) + 1e-9)
        bins = np.arange(finite.min() - 0.5, finite.max() + 1.5) if whole else min(24, 6 + len(finite) // 4)
        axes.hist(np.minimum(finite, top), bins=bins, color="#3b6ea5", edgecolor="white", linewidth=0.5)
        beyond = int((finite > top).sum())
        axes.set_xlabel(f"{title} ({unit})" if unit else title)
        axes.set_ylabel("candidates")
        if beyond:
            axes.set_title(f"{beyond} larger, up to {finite.max():.3g}, in the last bar", fontsize=8)
        axes.yaxis.get_major_locator().set_params(integer=True)
        if whole:
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        return _svg(figure)


def scatter(points: Sequence[tuple[float, float]], across: str, up: str) -> str:
    """Points (x, y) as an SVG element; a line of words when there is nothing to show."""
    if not points:
        return f"<p class='empty'>{escape(up)} against {escape(across)}: nothing to show</p>"
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "gendesign", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=(4.4, 2.5), layout="constrained")
        axes = figure.subplots()
        axes.scatter(*zip(*points, strict=True), s=14, color="#3b6ea5")
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.spines[["top", "right"]].set_visible(False)
        return _svg(figure)


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    svg = buffer.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
