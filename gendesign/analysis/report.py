"""Files of an analysis: analysis.json, table.csv, a CSV for each curve, figures, models.extxyz."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from gendesign.analysis.compare import Agreement, Measured
from gendesign.analysis.figures import DRAWN, draw_sq, save
from gendesign.analysis.results import Curve, Found, Mean, mean_curves, means
from gendesign.structure.files import write_atomically

HEADLINES = (
    "density", "coordination", "defects", "bond length", "angle", "King rings, mean size", "first diffraction peak",
    "diamond-like nodes", "void fraction", "energy above the crystal", "bulk modulus", "clustering z",
    "diffusion coefficient", "R factor",
)  # fmt: skip
SKIPPED = ("length, deviation", "height", "width", "bonded to")


@dataclass
class Report:
    """Results of all models. cutoffs: in words. notes: assumptions and what was left out. agreements: with measured
    curves, by name."""

    found: list[Found]
    cutoffs: str
    settings: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    agreements: dict[str, Agreement] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)

    @property
    def means(self) -> list[Mean]:
        """Means over models, then agreements with measured curves."""
        rows = means(self.found)
        for name, one in self.agreements.items():
            about = f"{one.n} points from {one.low:g} to {one.high:g}; computed curve times {one.scale:.4g}"
            rows.append(Mean(f"R factor of {name}", one.r_factor, None, "", len(self.found), about))
        return rows


def write_report(report: Report, output: Path, figures: bool, models: Sequence[Atoms] = ()) -> list[str]:
    """Write all files; returns their names."""
    rows = report.means
    written = [_write(output / "analysis.json", _json(report, rows)), _write(output / "table.csv", _table(rows))]
    curves = mean_curves(report.found)
    for kind, (curve, errors) in curves.items():
        written.append(_write(output / f"{kind}.csv", _curve(curve, errors)))
        if figures and kind in DRAWN:
            if kind == "sq":
                smooth = curves["sq_from_rdf"][0] if "sq_from_rdf" in curves else None
                radiation = report.settings.get("radiation", "neutron")
                drawn = draw_sq(curve, errors, smooth, report.measured.get("sq"), radiation)
            else:
                drawn = DRAWN[kind](curve, errors)
            (output / "figures").mkdir(exist_ok=True)
            save(drawn, output / "figures" / f"{kind}.png")
            written.append(f"figures/{kind}.png")
    if models:
        written.append(_write(output / "models.extxyz", _labelled(models, report.found)))
    return written


def lines(report: Report, output: Path) -> list[str]:
    """What the terminal shows: the cutoffs, a short table, notes, where the rest is."""
    chosen = [
        row
        for row in report.means
        if any(word in row.name for word in HEADLINES) and not any(word in row.name for word in SKIPPED)
    ]
    cells = [(row.name, _shown(row), f"n={row.n}") for row in chosen]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)] if cells else []
    table = ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells]
    more = len(report.means) - len(chosen)
    where = f"results in {output}: analysis.json, table.csv ({more} more rows), curves as CSV, figures/"
    return [f"cutoffs: {report.cutoffs}", *table, *dict.fromkeys(report.notes), where]


def _shown(row: Mean) -> str:
    scale, unit = (100, "%") if row.unit == "fraction" else (1, row.unit)
    error = f" +- {scale * row.error:.2g}" if row.error is not None else ""
    return f"{scale * row.value:.4g}{error} {unit}".strip()


def _json(report: Report, rows: Sequence[Mean]) -> str:
    content = {
        "cutoffs": report.cutoffs,
        "settings": report.settings,
        "notes": list(dict.fromkeys(report.notes)),
        "mean": [
            {"name": r.name, "value": _digits(r.value), "error": _digits(r.error), "unit": r.unit, "n": r.n,
             "about": r.about}
            for r in rows
        ],
        "models": [
            {
                "name": one.name,
                "values": {value.name: _digits(value.value) for value in one.values},
                "notes": one.notes,
                "seconds": {part: round(spent, 2) for part, spent in one.seconds.items()},
            }
            for one in report.found
        ],
    }  # fmt: skip
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _digits(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(f"{value:.8g}")


def _table(rows: Sequence[Mean]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "mean", "standard_error", "unit", "models", "about"])
    for row in rows:
        error = "" if row.error is None else f"{row.error:.6g}"
        writer.writerow([row.name, f"{row.value:.8g}", error, row.unit, row.n, row.about])
    return text.getvalue()


def _curve(curve: Curve, errors: Mapping[str, np.ndarray]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(curve.columns)
    with_errors = [name for name in names if name in errors]
    writer.writerow([curve.x_name, *names, *(f"{name} standard error" for name in with_errors)])
    columns = [curve.x, *(curve.columns[name] for name in names), *(errors[name] for name in with_errors)]
    for row in zip(*columns, strict=True):
        writer.writerow([f"{value:.6g}" for value in row])
    return text.getvalue()


def _labelled(models: Sequence[Atoms], found: Sequence[Found]) -> str:
    import ase.io

    text = io.StringIO()
    for atoms, one in zip(models, found, strict=True):
        copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        for name, values in one.labels.items():
            copy.set_array(name, np.where(values == "", "none", values) if values.dtype.kind == "U" else values)
        copy.info["name"] = one.name.replace(" ", "_")
        ase.io.write(text, copy, format="extxyz")
    return text.getvalue()


def _write(path: Path, text: str) -> str:
    write_atomically(path, text)
    return path.name
