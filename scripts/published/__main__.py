"""Measure methods against published values and write docs/benchmarks/published.json.

    python -m scripts.published organic gfn2 ani1ccx      # all values, 200 molecules of QM9: minutes a method
    python -m scripts.published organic quick             # 10 molecules of QM9 instead; 50: that many
    python -m scripts.published table                     # the tables of docs/notebook/published.md
A method is the name or folder of a potential, gfn2, pm6 or ani1ccx. Rows of other methods stay as they are.
An interrupted measurement continues from training/published; delete its files after a change of the method.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gendesign.benchmark.record import hardware, table
from gendesign.errors import UserError
from gendesign.run.table import six_digits
from gendesign.structure.files import write_atomically
from gendesign.structure.types import Row
from scripts.published import qm9
from scripts.published.energies import Difference, differences
from scripts.published.methods import Judged, method
from scripts.published.values import CLASSES, FROM_MEMORY, VALUES

RECORD = Path("docs/benchmarks/published.json")
TARGETS = {
    "organic": {"torsion barriers": "<= 0.7"},
    "organic-cc": {"torsion barriers": "<= 0.4", "rmsd": "<= 0.02", "frequencies": "<= 25"},
}


def energy_rows(name: str, found: Sequence[Difference], targets: dict[str, str]) -> list[Row]:
    """One row a value, and by class the mean and the largest absolute error."""
    out = [Row(f"{name}: {d.value.kind}, {d.value.name}", d.energy, "kcal/mol", 1) for d in found]
    moved = [d for d in found if d.moved is not None]
    out += [Row(f"{name}: {d.value.kind}, {d.value.name}, moved", d.moved, "degrees", 1) for d in moved]
    for kind in CLASSES:
        of_kind = [d for d in found if d.value.kind == kind]
        errors = np.abs([d.error for d in of_kind if d.error is not None])
        measures = [float(f(errors)) if len(errors) else None for f in (np.mean, np.median, np.max)]
        out += [
            Row(f"{name}: {kind}, MAE", measures[0], "kcal/mol", len(errors), targets.get(kind)),
            Row(f"{name}: {kind}, median error", measures[1], "kcal/mol", len(errors)),
            Row(f"{name}: {kind}, largest error", measures[2], "kcal/mol", len(errors)),
            Row(f"{name}: {kind}, minima lost", sum(d.moved is not None for d in of_kind), "values", len(of_kind)),
            Row(f"{name}: {kind}, without a value", sum(d.error is None for d in of_kind), "values", len(of_kind)),
        ]
    return out


def published_rows() -> list[Row]:
    """The published values themselves."""
    return [Row(f"published: {value.kind}, {value.name}", value.energy, "kcal/mol", 1) for value in VALUES]


def record(name: str, rows: Sequence[Row]) -> None:
    """Replace the rows of a method, and those of the published values, in RECORD."""
    kept = json.loads(RECORD.read_text()) if RECORD.is_file() else []
    kept = [row for row in kept if row["name"].split(": ")[0] not in (name, "published")]
    new = [
        {"name": row.name, "value": six_digits(row.value), "unit": row.unit, "target": row.target, "n": row.n,
         "hardware": "" if row.name.startswith("published") else hardware()}
        for row in (*published_rows(), *rows)
    ]  # fmt: skip
    published, others = new[: len(VALUES)], new[len(VALUES) :]
    lines = [json.dumps(row, ensure_ascii=False) for row in (*published, *kept, *others)]
    write_atomically(RECORD, "[\n  " + ",\n  ".join(lines) + "\n]\n")


def markdown() -> str:
    """The recorded values as Markdown tables: a row a value, and a row a measure."""
    rows: dict[str, dict[str, dict]] = {}
    recorded = json.loads(RECORD.read_text())
    for row in recorded:
        name, _, what = row["name"].partition(": ")
        rows.setdefault(what, {})[name] = row
    names = dict.fromkeys(row["name"].partition(": ")[0] for row in recorded)
    methods = [name for name in names if name != "published"]
    lines = []
    for kind in CLASSES:
        lines += [
            "",
            f"| {kind}, kcal/mol | published | {' | '.join(methods)} | source |",
            "|---" * (len(methods) + 3) + "|",
        ]
        for value in (value for value in VALUES if value.kind == kind):
            what = f"{kind}, {value.name}"
            lost = rows.get(f"{what}, moved", {})
            cells = [_cell(rows[what].get(name)) + "*" * (name in lost) for name in methods]
            lines.append(f"| {value.name} | {value.energy:g} | {' | '.join(cells)} | {short(value.source)} |")
    measures = [what for what in rows if "published" not in rows[what] and not what.endswith(", moved")]
    lines += ["", f"| measure | unit | {' | '.join(methods)} |", "|---" * (len(methods) + 2) + "|"]
    for what in measures:
        unit = next(iter(rows[what].values()))["unit"]
        lines.append(f"| {what} | {unit} | {' | '.join(_cell(rows[what].get(name)) for name in methods)} |")
    return "\n".join(lines)


def short(source: str) -> str:
    """The name of a source in the table of the page, which lists the sources below."""
    if source == FROM_MEMORY:
        return "memory"
    return next(key for key in ("BHROT27", "ACONF", "Amino20x4", "ISO34", "W4-11", "Weldon") if key in source)


def _cell(row: dict | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    digits = 3 if row["unit"] in ("Angstrom", "fraction", "") else 2 if row["unit"] == "kcal/mol" else 0
    return f"{row['value']:.{digits}f}"


def main(words: Sequence[str]) -> None:
    """Measure each method of `words`: energies first, then QM9, of which `quick` takes ten and a number that many."""
    if list(words) == ["table"]:
        print(markdown())
        return
    sizes = [qm9.QUICK if word == "quick" else int(word) for word in words if word == "quick" or word.isdigit()]
    n, names = [*sizes, qm9.SAMPLE][0], [word for word in words if word != "quick" and not word.isdigit()]
    if not names:
        raise UserError("no method was given; give potentials, gfn2, pm6 or ani1ccx")
    methods = [method(name) for name in names]
    energies = {judged.name: _energies(judged) for judged in methods}
    for judged in methods:
        rows = qm9.rows(judged.name, qm9.compare(judged, n), TARGETS.get(judged.name, {}))
        print(table(rows))
        record(judged.name, [*energies[judged.name], *rows])


def _energies(judged: Judged) -> list[Row]:
    found = differences(VALUES, judged)
    for difference in found:
        if difference.reason:
            print(f"{judged.name}: {difference.value.name}: {difference.reason}", flush=True)
    rows = energy_rows(judged.name, found, TARGETS.get(judged.name, {}))
    print(table(rows), flush=True)
    record(judged.name, rows)
    return rows


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"scripts.published: {error}")
