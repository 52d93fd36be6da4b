"""The table of a run: rows (name, value, unit, n) and their readable form."""

from collections.abc import Sequence
from typing import Any

from gendesign.run.stages import Row
from gendesign.structure.types import Candidate, Verdict

VALID = "valid"  # the check that decides whether a candidate counts as a molecule


def valid(candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> list[Candidate]:
    """Those that finished and that no `valid` check rejected."""
    rejected = {verdict.candidate for verdict in verdicts if verdict.check == VALID and verdict.passed is False}
    return [candidate for candidate in candidates if candidate.failure is None and candidate.index not in rejected]


def count(candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> list[Row]:
    """A row per check: the share of all attempts that passed, or the median of a measurement."""
    rows = []
    for check in dict.fromkeys(verdict.check for verdict in verdicts):
        judged = [v for v in verdicts if v.check == check]
        passed = [v.passed for v in judged if v.passed is not None]
        numbers = sorted(v.value for v in judged if isinstance(v.value, float))
        if passed:
            rows.append(
                {"name": check, "value": sum(passed) / len(candidates), "unit": "fraction", "n": len(candidates)}
            )
        elif numbers:
            unit = next((v.unit for v in judged if v.unit), "")
            rows.append({"name": f"{check}, median", "value": median(numbers), "unit": unit, "n": len(numbers)})
    return rows


def condition_name(check: str) -> str:
    """What a check of a condition is called in tables and on cards."""
    return check.removeprefix("condition_").replace("_", " ")


def median(numbers: Sequence[float]) -> float:
    """Median of sorted numbers."""
    middle = len(numbers) // 2
    return numbers[middle] if len(numbers) % 2 else (numbers[middle - 1] + numbers[middle]) / 2


def terminal_lines(summary: dict[str, Any]) -> list[str]:
    """What the terminal says of a run: its table, remarks, and last the warnings, which nobody should overlook."""
    pairs = readable(summary["table"], summary["timings"])
    width = max(len(name) for name, _ in pairs)
    warnings = [f"warning: {' '.join(text.split())}" for text in summary.get("warnings", ())]
    return [*(f"{name:<{width}}  {value}" for name, value in pairs), *summary.get("remarks", ()), *warnings]


def readable(rows: Sequence[Row], timings: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) pairs to print: shares of what they count, numbers with their units, time per candidate last."""
    made = timings["candidates"]
    pairs = [("attempted", str(made)), *((row["name"].replace("_", " "), _readable(row)) for row in rows)]
    if made:
        each = {stage: spent / made for stage, spent in timings["seconds"].items()}
        parts = ", ".join(f"{stage} {spent:.2f}" for stage, spent in each.items() if spent >= 0.005)
        pairs.append(("time per candidate", f"{sum(each.values()):.2f} s ({parts})"))
    return pairs


def _readable(row: Row) -> str:
    if row["value"] is None:
        return row.get("reason") or "not measured"
    counted = f" of {row['n']}" if row.get("unit") == "fraction" else ""
    known = row.get("references")
    beside = "" if known is None else f"   (references {_number(known, row)})"
    left_out = f"   ({row['reason']})" if row.get("reason") else ""
    return f"{_number(row['value'], row)}{counted}{beside}{left_out}"


def _number(value: float, row: Row) -> str:
    if row.get("unit") == "fraction":
        return f"{100 * value:.0f} %"
    # total energies are large, and what is of interest are their last digits
    large = 10 if row.get("unit", "").startswith("eV") else 1000
    number = (
        (f"{value:.3f}" if large <= abs(value) < 1e6 else f"{value:.3g}") if isinstance(value, float) else str(value)
    )
    return f"{number} {row.get('unit', '')}".strip()
