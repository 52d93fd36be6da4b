"""What a run of molecules is compared with: molecules that do not count as novel, and the scores of the references."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import ase.io

from gendesign.screening.summary import summarise
from gendesign.screening.uniqueness import Reference
from gendesign.structure.bonds import perceive
from gendesign.structure.generator import Generator
from gendesign.structure.identity import smiles
from gendesign.structure.types import TableRow, Verdict


def _bundled_folder() -> Path:
    from gendesign.potential.zoo import checkpoints_folder  # mace takes seconds to import

    return checkpoints_folder() / "organic"


@cache
def reference_scores() -> dict[str, float]:
    """Scores of the bundled references, relaxed and screened like candidates, by row (scripts/organic/scores.py)."""
    path = _bundled_folder() / "reference_scores.json"
    return {row["name"]: row["value"] for row in json.loads(path.read_text())} if path.is_file() else {}


def known_molecules(generator: Generator) -> Reference | None:
    """Molecules that do not count as novel: those that trained the bundled checkpoint, and the references.

    The references are the generator's own, or else the bundled ones. None where the bundled files are absent.
    """
    folder = _bundled_folder()
    skeletons, training = folder / "reference.extxyz", folder / "training.smi"
    if not (skeletons.is_file() and training.is_file()):
        return None
    if generator.own_references is not None:
        molecules = [perceive(atoms).mol for atoms in generator.own_references]
        return Reference.read(training, [smiles(mol) for mol in molecules if mol is not None])
    return Reference.read(training, [str(atoms.info["smiles"]) for atoms in ase.io.read(skeletons, index=":")])


def table_rows(verdicts: Sequence[Verdict], n: int, scores: Mapping[str, float]) -> list[TableRow]:
    """The table of `n` attempts, each row with the references' own score where that was measured.

    A median that most candidates have no number for is None, as JSON knows no infinity.
    """
    rows: list[TableRow] = []
    for name, value, unit, count, reason in summarise(verdicts, n):
        value = None if value is not None and math.isinf(value) else value
        row: TableRow = {"name": name, "value": value, "unit": unit, "n": count}
        if reason:
            row["reason"] = reason
        row["references"] = scores.get(name)
        rows.append(row)
    return rows
