"""Write card.html, a self-contained page with the table and picture of every test, and validation.json."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml
from matplotlib.figure import Figure

from gendesign.structure.files import write_atomically
from gendesign.structure.types import Row
from gendesign.validation.suite import TESTS

TEMPLATE = Path(__file__).with_name("card.html.j2")
CARD, NUMBERS = "card.html", "validation.json"
MET = {None: "", True: "met", False: "not met"}


def write_card(
    folder: Path, results: Mapping[str, dict[str, Any]], rows: Mapping[str, Sequence[Row]], about: dict[str, Any]
) -> None:
    """Write card.html and validation.json to `folder`.

    results: results of each test by name. rows: its rows, with targets if there are any. about: what was tested and
    how.
    """
    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text())
    sections = [
        {
            "title": TESTS[name].title,
            "rows": [_cells(row) for row in rows[name]],
            "picture": _embedded(TESTS[name].picture(result)),
        }
        for name, result in results.items()
    ]
    with_target = [row for group in rows.values() for row in group if row.target]
    page = template.render(
        name=about["name"],
        sections=sections,
        met=sum(row.met for row in with_target),
        judged=len(with_target),
        teacher=about.get("teacher"),
        structures=about.get("structures"),
        details=yaml.safe_dump(about, sort_keys=False, default_flow_style=None, width=110),
    )
    write_atomically(folder / CARD, page)
    table = [
        {"test": name, "name": row.name, "value": row.value, "unit": row.unit, "target": row.target, "n": row.n}
        for name, group in rows.items()
        for row in group
    ]
    content = {"about": about, "rows": table, "results": dict(results)}
    write_atomically(folder / NUMBERS, json.dumps(content, indent=1, ensure_ascii=False, default=float) + "\n")


def _cells(row: Row) -> dict[str, Any]:
    """The cells of a row as text; a fraction as "count of n"."""
    if row.value is None:
        value = "not measured"
    elif row.unit == "fraction":
        value = f"{round(row.value * row.n)} of {row.n}"
    else:
        value = f"{row.value:.3g} {row.unit}" if isinstance(row.value, float) else f"{row.value} {row.unit}"
    return {"name": row.name, "value": value.strip(), "n": row.n, "target": row.target or "", "met": MET[row.met]}


def _embedded(figure: Figure | None) -> str:
    """A figure as a base64-encoded PNG for an <img>, "" without a figure."""
    if figure is None:
        return ""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode()
