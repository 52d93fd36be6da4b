"""The table of a run: counts per attempt, nothing discarded."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase.formula import Formula

from gendesign.screening.energetics import STRAIN_METHODS
from gendesign.structure.types import Verdict

PER_ATTEMPT = {"edm_molecule": "EDM molecule stable", "valid": "valid", "posebusters": "PoseBusters"}
PER_VALID = {
    "unique": "unique",
    "novel": "novel",
    "novel_references": "novel to the references",
    "novel_training": "novel to training",
    "novel_stereo": "novel to training, with stereo",
}


class Row(NamedTuple):
    """One line of a table; `value` is None when nothing was measured, `n` counts what it was measured on."""

    name: str
    value: float | None
    unit: str
    n: int


def summarise(verdicts: Sequence[Verdict], n: int) -> list[Row]:
    """Rows for `n` attempts; checks that did not run are left out.

    Valid, PoseBusters and EDM count per attempt; unique, novel and medians per valid molecule. A strain that a method
    could not measure counts as infinite in its median, so that failures cannot flatter it.
    """
    table: dict[str, dict[int, Verdict]] = {}
    for verdict in verdicts:
        table.setdefault(verdict.check, {})[verdict.candidate] = verdict
    valid = [i for i, verdict in table.get("smiles", {}).items() if verdict.value is not None]
    rows = []
    for check, name in PER_ATTEMPT.items():
        if check in table:
            rows.append(_share(name, sum(v.passed is True for v in table[check].values()), n))
    if "edm_atoms" in table:
        total = sum(v.value for v in table["edm_atoms"].values())
        rows.insert(0, Row("EDM atoms stable", total / n if n else None, "fraction", n))
    for check, name in PER_VALID.items():
        judged = [table[check][i].passed for i in valid if i in table.get(check, {})]
        if any(passed is not None for passed in judged):
            rows.append(_share(f"{name} among valid", sum(passed is True for passed in judged), len(judged)))
    for method in STRAIN_METHODS:
        rows += _strain(table, valid, method)
    return rows + _measures(table, valid) + elements(table.get("formula", {}).values())


def _measures(table: dict[str, dict[int, Verdict]], valid: list[int]) -> list[Row]:
    rows = []
    if "sa_score" in table:
        rows.append(_median("synthetic accessibility", "", [table["sa_score"][i].value for i in valid]))
    if "diversity" in table:
        rows.append(_mean("diversity", [v.value for v in table["diversity"].values() if v.value is not None]))
    if "ring_sizes" in table:
        sizes = [int(size) for i in valid for size in str(table["ring_sizes"][i].value or "").split()]
        rows.append(_share("three- and four-membered among rings", sum(size <= 4 for size in sizes), len(sizes)))
        small = sum(bool(table["small_rings"][i].value) for i in valid)
        rows.append(_share("molecules with such rings", small, len(valid)))
    return rows


def elements(formulas) -> list[Row]:
    """Share of each element among the heavy atoms of all candidates that have atoms, valid or not."""
    counts: dict[str, int] = {}
    for verdict in formulas:
        if verdict.value:
            for symbol, count in Formula(verdict.value).count().items():
                counts[symbol] = counts.get(symbol, 0) + count
    counts.pop("H", None)
    total = sum(counts.values())
    return [_share(f"element {symbol}", counts[symbol], total) for symbol in sorted(counts)]


def _strain(table: dict[str, dict[int, Verdict]], valid: list[int], method: str) -> list[Row]:
    found = table.get(f"strain_{method}", {})
    strains = [found[i] for i in valid if i in found]
    if all(v.value is None for v in strains):
        return []
    rmsd = [table[f"rmsd_{method}"][v.candidate].value for v in strains]
    return [
        _median(f"median strain {method}", "kcal/mol", [v.value for v in strains]),
        _median(f"median RMSD {method}", "Angstrom", rmsd),
        _share(f"relaxed to its own minimum {method}", sum(not v.reason for v in strains), len(strains)),
    ]


def _share(name: str, count: int, n: int) -> Row:
    return Row(name, count / n if n else None, "fraction", n)


def _mean(name: str, values: list[float]) -> Row:
    return Row(name, float(np.mean(values)) if values else None, "fraction", len(values))


def _median(name: str, unit: str, values: list[float | None]) -> Row:
    numbers = [np.inf if value is None else value for value in values]
    return Row(name, float(np.median(numbers)) if numbers else None, unit, len(numbers))
