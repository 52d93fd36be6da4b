"""Sweeps: one command that makes a run for every combination of values, and one table of all runs.

Values come from comma lists on the command line (key=a,b) and from the section `sweep` of an experiment's file.
"""

import csv
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gendesign.errors import SettingsError
from gendesign.run.settings import expand, swept
from gendesign.run.values import split_outside

TABLE = "sweep.csv"
LONGEST = 200  # bytes of a folder's name, which file systems end at 255


@dataclass(frozen=True)
class Run:
    """One combination: its key=value words, those of them that vary, and its folder below the sweep's output."""

    overrides: list[str]
    varied: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""


def plan(verb: str, overrides: Sequence[str], sweeping: bool) -> list[Run]:
    """The runs of a command; raises SettingsError for an experiment with a sweep without --sweep."""
    lists = {key: values for key, values in swept(verb, overrides).items() if key not in _keys(overrides)}
    if not sweeping:
        if lists:
            raise SettingsError(f"this experiment runs over many values of {' and '.join(lists)}: add --sweep")
        return [Run(list(overrides))]
    words = [*overrides, *(f"{key}={','.join(values)}" for key, values in lists.items())]
    several = {word.partition("=")[0] for word in words if len(split_outside(word.partition("=")[2])) > 1}
    runs: list[Run] = []
    names: set[str] = set()
    for chosen in expand(words):
        varied = {key: value for key, _, value in (word.partition("=") for word in chosen) if key in several}
        name = re.sub(r"[^\w.=,+-]", "_", ",".join(f"{key}={value}" for key, value in varied.items()))
        if len(name.encode()) > LONGEST:  # a long SMILES
            digest = hashlib.sha256(name.encode()).hexdigest()[:12]
            name = f"{name.encode()[: LONGEST - 20].decode(errors='ignore')}-{digest}"
        while name in names:  # SMILES may differ only in characters that folders cannot have
            name += "+"
        names.add(name)
        runs.append(Run(chosen, varied, name))
    return runs


def _keys(overrides: Sequence[str]) -> set[str]:
    return {word.partition("=")[0] for word in overrides}


def write_table(output: Path, runs: Sequence[Run]) -> Path | None:
    """sweep.csv in `output`: a line for each run that has results, its varied values and the rows of its table.

    None where no run has results in a summary.
    """
    lines = []
    for run in runs:
        summary = output / run.folder / "summary.json"
        if summary.is_file():
            rows = json.loads(summary.read_text()).get("table", [])
            lines.append({**run.varied, "folder": run.folder, **{row["name"]: row["value"] for row in rows}})
    if not lines:
        return None
    partial = output / f".{TABLE}.partial"
    with open(partial, "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(dict.fromkeys(key for line in lines for key in line)))
        writer.writeheader()
        writer.writerows(lines)
    os.replace(partial, output / TABLE)
    return output / TABLE
