"""Candidates and verdicts as files, byte for byte the same for the same content."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from gendesign.structure.types import Candidate, Verdict

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
ARROW = " > "  # between the steps of a history
RESULTS = ("energy", "forces", "stress")


def write_candidates(path: Path, candidates: Sequence[Candidate]) -> None:
    """Extended XYZ with energy, forces, stress and provenance (candidate, generator, seed, parent, history, failure)."""
    if candidates:
        write(path, [_to_atoms(candidate) for candidate in candidates], format="extxyz")
    else:
        path.write_text("")


def read_candidates(path: Path) -> list[Candidate]:
    """What `write_candidates` wrote."""
    if not path.stat().st_size:
        return []
    return [_from_atoms(atoms) for atoms in read(path, index=":", format="extxyz")]


def write_verdicts(path: Path, verdicts: Sequence[Verdict]) -> None:
    """Parquet, a row per candidate and check; numbers in `value`, words in `text`."""
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
    """What `write_verdicts` wrote."""
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


def _to_atoms(candidate: Candidate) -> Atoms:
    atoms = Atoms(
        candidate.atoms.get_chemical_symbols(),
        positions=candidate.atoms.positions,
        cell=candidate.atoms.cell,
        pbc=candidate.atoms.pbc,
    )
    provenance = {
        "candidate": candidate.index,
        "generator": candidate.generator,
        "seed": candidate.seed,
        "parent": candidate.parent,
        "history": ARROW.join(candidate.history),
        "failure": candidate.failure,
    }
    extra = {key: value for key, value in candidate.info.items() if key not in provenance and key not in RESULTS}
    # ASE's reader stumbles over an empty value and reads the next key as part of it.
    atoms.info = {key: _plain(value) for key, value in {**provenance, **extra}.items() if value not in (None, "")}
    known = getattr(candidate.atoms.calc, "results", {})
    if len(atoms) and known:
        atoms.calc = SinglePointCalculator(atoms, **{key: known[key] for key in RESULTS if key in known})
    return atoms


def _from_atoms(atoms: Atoms) -> Candidate:
    info = {key: _plain(value) for key, value in atoms.info.items()}
    history = str(info.pop("history", ""))
    provenance = {
        "index": info.pop("candidate"),
        "generator": str(info.pop("generator")),
        "seed": info.pop("seed"),
        "parent": info.pop("parent", None),
        "history": tuple(history.split(ARROW)) if history else (),
        "failure": info.pop("failure", None),
    }
    if atoms.calc is not None and "energy" in atoms.calc.results:
        info["energy"] = float(atoms.calc.results["energy"])
    atoms.info = {}
    return Candidate(atoms=atoms, info=info, **provenance)


def _plain(value: Any) -> Any:
    """Plain Python numbers; numpy and torch scalars print differently from version to version."""
    return value.item() if hasattr(value, "item") else value
