"""The table of a run of molecules: counts per attempt, without discarding any."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from ase.formula import Formula

from gendesign.screening.energetics import ALL_STRAIN_METHODS, NOT_MEASURED
from gendesign.screening.validity import PERIODIC
from gendesign.structure.types import Verdict

PER_ATTEMPT = {
    "edm_molecule": "EDM molecule stable",
    "valid": "valid",
    "posebusters": "PoseBusters",
    "dock": "PoseBusters beside the host",
}
PER_VALID = {
    "unique": "unique",
    "novel": "novel",
    "novel_references": "novel to the references",
    "novel_training": "novel to training",
    "novel_stereo": "novel to training, with stereo",
}

MEDIANS = {"shape_tanimoto": "shape Tanimoto", "contacts": "contacts with the host", "hydrogen_bonds": "hydrogen bonds"}


class Row(NamedTuple):
    """One line of a table; `value` is None when nothing was measured, `n` counts what it was measured on.

    `reason` says why nothing was measured, or what was left out.
    """

    name: str
    value: float | None
    unit: str
    n: int
    reason: str = ""


def summarise(verdicts: Sequence[Verdict], n: int) -> list[Row]:
    """Rows for `n` attempts; checks that did not run are left out.

    Valid, PoseBusters and EDM count per attempt, also failed ones, without structures to which a check does not apply
    (periodic ones) or for which time ran out. Unique, novel and medians count per valid molecule. A strain that a
    method failed to measure is infinite in its median, so that failures do not improve it.
    """
    table: dict[str, dict[int, Verdict]] = {}
    for verdict in verdicts:
        table.setdefault(verdict.check, {})[verdict.candidate] = verdict
    valid = [i for i, verdict in table.get("smiles", {}).items() if verdict.value is not None]
    rows = []
    for check, name in PER_ATTEMPT.items():
        if check in table:
            of_check = list(table[check].values())
            left_out = [v for v in of_check if v.passed is None]
            passed = sum(v.passed is True for v in of_check)
            rows.append(_share(name, passed, n - len(left_out), omission(left_out, n)))
    if "edm_molecule" in table:
        left_out = [v for v in table["edm_molecule"].values() if v.passed is None]
        total, judged = sum(_numbers(table.get("edm_atoms", {}).values())), n - len(left_out)
        rows.insert(
            0, Row("EDM atoms stable", total / judged if judged else None, "fraction", judged, omission(left_out, n))
        )
    for check, name in PER_VALID.items():
        answers = [table[check][i].passed for i in valid if i in table.get(check, {})]
        if any(answer is not None for answer in answers):
            rows.append(_share(f"{name} among valid", sum(answer is True for answer in answers), len(answers)))
    for method in ALL_STRAIN_METHODS:
        rows += _strain(table, valid, method)
    if valid:
        rows += _measures(table, valid)
    return rows + elements(table.get("formula", {}).values())


def omission(verdicts: Sequence[Verdict], n: int) -> str:
    """Why these verdicts of a check, of `n` attempts, count neither as passed nor as failed; empty without verdicts."""
    parts = []
    for reason, count in sorted(Counter(verdict.reason for verdict in verdicts).items()):
        of, one = f"{count} of {n} structures", count == 1
        if reason == PERIODIC:
            parts.append(f"not applicable: {of} {'is' if one else 'are'} periodic")
        else:
            parts.append(f"not measured: {of}{' was' if one else ' were'} {reason.removeprefix(NOT_MEASURED)}")
    return "; ".join(parts)


def _measures(table: dict[str, dict[int, Verdict]], valid: list[int]) -> list[Row]:
    rows = []
    for check, name in MEDIANS.items():
        if check in table:
            rows.append(_median(f"median {name}", "", _or_none(table[check][i] for i in valid)))
    if "clashes" in table:
        sound = sum(table["clashes"][i].passed is True for i in valid)
        rows.append(_share("without clashes with the host among valid", sound, len(valid)))
    if "sa_score" in table:
        rows.append(_median("synthetic accessibility", "", _or_none(table["sa_score"][i] for i in valid)))
    if "unstable_groups" in table:
        sound = sum(table["unstable_groups"][i].value == 0 for i in valid)
        rows.append(_share("without unstable groups among valid", sound, len(valid)))
    if "diversity" in table:
        rows.append(_mean("diversity", _numbers(table["diversity"].values())))
    if "ring_sizes" in table:
        sizes = [int(size) for i in valid for size in str(table["ring_sizes"][i].value or "").split()]
        rows.append(_share("three- and four-membered among rings", sum(size <= 4 for size in sizes), len(sizes)))
        small = sum(bool(table["small_rings"][i].value) for i in valid)
        rows.append(_share("molecules with such rings", small, len(valid)))
    return rows


def elements(formulas: Iterable[Verdict]) -> list[Row]:
    """Share of each element among the heavy atoms of all candidates that have atoms, valid or not."""
    counts: dict[str, int] = {}
    for verdict in formulas:
        if verdict.value:
            for symbol, count in Formula(str(verdict.value)).count().items():
                counts[symbol] = counts.get(symbol, 0) + count
    counts.pop("H", None)
    total = sum(counts.values())
    return [_share(f"element {symbol}", counts[symbol], total) for symbol in sorted(counts)]


def _strain(table: dict[str, dict[int, Verdict]], valid: list[int], method: str) -> list[Row]:
    of_method = [table[f"strain_{method}"][i] for i in valid if i in table.get(f"strain_{method}", {})]
    left_out = [v for v in of_method if v.reason.startswith(NOT_MEASURED)]
    strains = [v for v in of_method if not v.reason.startswith(NOT_MEASURED)]
    reason = omission(left_out, len(of_method))
    if all(v.value is None for v in strains) and not left_out:
        return []
    rmsd = _or_none(table[f"rmsd_{method}"][v.candidate] for v in strains)
    rows = [
        _median(f"median strain {method}", "kcal/mol", _or_none(strains)),
        _median(f"median RMSD {method}", "Angstrom", rmsd),
        _share(f"relaxed to its own minimum {method}", sum(not v.reason for v in strains), len(strains)),
    ]
    return [row._replace(reason=reason) for row in rows]


def _numbers(verdicts: Iterable[Verdict]) -> list[float]:
    """The values that are numbers."""
    return [float(v.value) for v in verdicts if isinstance(v.value, int | float)]


def _or_none(verdicts: Iterable[Verdict]) -> list[float | None]:
    """The values, None where there is no number."""
    return [float(v.value) if isinstance(v.value, int | float) else None for v in verdicts]


def _share(name: str, count: int, n: int, reason: str = "") -> Row:
    return Row(name, count / n if n else None, "fraction", n, reason)


def _mean(name: str, values: list[float]) -> Row:
    return Row(name, float(np.mean(values)) if values else None, "fraction", len(values))


def _median(name: str, unit: str, values: list[float | None]) -> Row:
    numbers = [np.inf if value is None else value for value in values]
    return Row(name, float(np.median(numbers)) if numbers else None, unit, len(numbers))
