"""The table of a run: rows (name, value, unit, n) and their readable form."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from gendesign.structure.types import Candidate, Row, TableRow, Verdict

VALID = "valid"  # the check that decides whether a candidate counts as a molecule
FRACTION = "fraction"  # the unit of a count divided by n
SHARE = "fraction of"  # how the unit of other shares begins, such as "fraction of atoms"
MOST_ROWS = 9  # of a table on the terminal


def valid(candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> list[Candidate]:
    """Those that finished and that no `valid` check rejected."""
    rejected = {verdict.candidate for verdict in verdicts if verdict.check == VALID and verdict.passed is False}
    return [candidate for candidate in candidates if candidate.failure is None and candidate.index not in rejected]


def count(candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> list[TableRow]:
    """A row per check: the share of all attempts that passed, or the median of a measurement."""
    rows: list[TableRow] = []
    attempts = len(candidates)
    for check in dict.fromkeys(verdict.check for verdict in verdicts):
        of_check = [verdict for verdict in verdicts if verdict.check == check]
        passed = [verdict.passed for verdict in of_check if verdict.passed is not None]
        numbers = [verdict.value for verdict in of_check if isinstance(verdict.value, float)]
        if passed:
            rows.append({"name": check, "value": sum(passed) / attempts, "unit": FRACTION, "n": attempts})
        elif numbers:
            unit = next((verdict.unit for verdict in of_check if verdict.unit), "")
            rows.append({"name": f"{check}, median", "value": median(numbers), "unit": unit, "n": len(numbers)})
    return rows


def condition_name(check: str) -> str:
    """What a check of a condition is called in tables and on cards."""
    return check.removeprefix("condition_").replace("_", " ")


def terminal_lines(summary: dict[str, Any], output: Path | None = None) -> list[str]:
    """What the terminal shows of a run: what was asked, a short table, remarks, where to look, and last the warnings.

    The table has the rows that `summary["headlines"]` names, or all of them where they are few.
    """
    table, headlines = summary["table"], summary.get("headlines", ())
    shown = table if len(table) <= MOST_ROWS else [row for row in table if row["name"] in headlines]
    shown = shown or table[:MOST_ROWS]
    pairs = readable(shown, summary["timings"])
    lines = [*filter(None, [summary.get("asked", "")]), *aligned(pairs), *summary.get("remarks", ())]
    if output is not None:
        more = len(table) - len(shown)
        lines.append(f"results in {output}: open {output / 'report.html'}" + (f" ({more} more rows)" if more else ""))
    return [*lines, *(f"warning: {' '.join(text.split())}" for text in summary.get("warnings", ()))]


def failures(candidates: Sequence[Candidate]) -> list[str]:
    """A line with the most frequent reason where at least half of the candidates failed. Numbers in it may differ."""
    reasons = [candidate.failure for candidate in candidates if candidate.failure is not None]
    if not reasons or 2 * len(reasons) < len(candidates):
        return []
    kinds = Counter(re.sub(r"\d+(\.\d+)?", "#", reason) for reason in reasons)
    kind, count = kinds.most_common(1)[0]
    shown = next(reason for reason in reasons if re.sub(r"\d+(\.\d+)?", "#", reason) == kind)
    often = "" if count == len(reasons) else f", {count} of them so"
    return [f"{len(reasons)} of {len(candidates)} failed{often}: {' '.join(shown.split())}"]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of as many cells each as lines with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def readable(rows: Sequence[TableRow], timings: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) pairs to print: shares of what they count, numbers with their units, time per candidate last."""
    candidates = timings["candidates"]
    pairs = [("attempted", str(candidates)), *((row["name"].replace("_", " "), _readable(row)) for row in rows)]
    if candidates:
        each = {stage: spent / candidates for stage, spent in timings["seconds"].items()}
        parts = ", ".join(f"{stage} {spent:.2f}" for stage, spent in each.items() if spent >= 0.005)
        pairs.append(("time per candidate", f"{sum(each.values()):.2f} s ({parts})"))
    return pairs


def _readable(row: TableRow) -> str:
    value = row["value"]
    if value is None:
        return row.get("reason") or "not measured"
    sample = f" of {row['n']}" if row.get("unit") == FRACTION else ""
    of_references = row.get("references")
    beside = "" if of_references is None else f"   (references {_number(of_references, row)})"
    reason = f"   ({row['reason']})" if row.get("reason") else ""
    return f"{_number(value, row)}{sample}{beside}{reason}"


def _number(value: float | str, row: TableRow) -> str:
    unit = row.get("unit", "")
    if isinstance(value, str):
        return f"{value} {unit}".strip()
    if unit == FRACTION:
        return f"{100 * value:.0f} %"
    if unit.startswith(SHARE):
        return f"{100 * value:.3g} %{unit.removeprefix('fraction')}"
    # total energies are large, and what is of interest are their last digits
    large = 10 if unit.startswith("eV") else 1000
    digits = ".3g" if not large <= abs(value) < 1e6 else ".0f" if large == 1000 and value == round(value) else ".3f"
    return f"{value:{digits}} {unit}".strip() if isinstance(value, float) else f"{value} {unit}".strip()


def measured_table(rows: Sequence[Row]) -> str:
    """Measured rows as aligned text: name, value with its unit or count, sample, target, met or not met."""
    met = {None: "", True: "met", False: "not met"}
    return "\n".join(
        aligned([(row.name, _measured(row), f"n={row.n}", row.target or "", met[row.met]) for row in rows])
    )


def six_digits(value: float | None) -> float | int | None:
    """The number with six digits, more than any sample here justifies; None for what JSON does not know."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")


def _measured(row: Row) -> str:
    value = six_digits(row.value)
    if value is None:
        return "not measured"
    number = f"{value:.3f}" if abs(value) < 10 and isinstance(value, float) else f"{value:g}"
    sample = f" ({round(value * row.n)} of {row.n})" if row.unit == FRACTION else ""
    return f"{number} {'' if sample else row.unit}".strip() + sample
