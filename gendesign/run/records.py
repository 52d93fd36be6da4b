"""Verdicts as Parquet, the same bytes for the same content, and candidates read back from extended XYZ."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ase import Atoms
from ase.io import read

from gendesign.structure.files import PROVENANCE, STEP_SEPARATOR
from gendesign.structure.types import Candidate, Verdict

FINISHED = "finished"  # the check that every attempt has, passed or not
SCHEMA = pa.schema(
    [
        ("candidate", pa.int64()),
        ("check", pa.string()),
        ("passed", pa.bool_()),
        ("value", pa.float64()),
        ("text", pa.string()),
        ("unit", pa.string()),
        ("reason", pa.string()),
    ]
)


def read_candidates(path: Path, verdicts: Sequence[Verdict]) -> list[Candidate]:
    """The candidates that `write_extxyz` wrote, in the order of the attempts.

    A failed attempt without atoms has no frame in the file; its verdict alone says that it was made.
    """
    frames = read(path, index=":", format="extxyz") if path.stat().st_size else []
    by_index = {candidate.index: candidate for candidate in map(_restore, frames)}
    reasons = {verdict.candidate: verdict.reason for verdict in verdicts if verdict.check == FINISHED}
    return [by_index.get(index) or Candidate(Atoms(), index, failure=reason) for index, reason in reasons.items()]


def write_verdicts(path: Path, verdicts: Sequence[Verdict]) -> None:
    """Write a row per candidate and check; numbers are in `value`, words in `text`."""
    rows = [
        {
            "candidate": verdict.candidate,
            "check": verdict.check,
            "passed": None if verdict.passed is None else bool(verdict.passed),
            "value": None if isinstance(verdict.value, str) or verdict.value is None else float(verdict.value),
            "text": verdict.value if isinstance(verdict.value, str) else None,
            "unit": verdict.unit,
            "reason": verdict.reason,
        }
        for verdict in verdicts
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, compression="zstd")


def read_verdicts(path: Path) -> list[Verdict]:
    """The verdicts that `write_verdicts` wrote."""
    return [
        Verdict(
            row["candidate"],
            row["check"],
            row["passed"],
            row["text"] if row["value"] is None else row["value"],
            row["unit"],
            row["reason"],
        )
        for row in pq.read_table(path, schema=SCHEMA).to_pylist()
    ]


def _restore(atoms: Atoms) -> Candidate:
    lists = {key: value for key, value in atoms.info.items() if isinstance(value, np.ndarray) and value.ndim}
    info = {
        key: value.item() if hasattr(value, "item") else value for key, value in atoms.info.items() if key not in lists
    }
    provenance = {key: info.pop(key) for key in PROVENANCE if key in info}
    history = provenance.get("history")
    provenance["history"] = tuple(history.split(STEP_SEPARATOR)) if history else ()
    if atoms.calc is not None and "energy" in atoms.calc.results:
        info["energy"] = float(atoms.calc.results["energy"])
    atoms.info = lists
    return Candidate(atoms, info=info, **provenance)
