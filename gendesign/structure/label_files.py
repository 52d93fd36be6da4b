"""Labelled structures from files: each file's keys are recognised or named, and what was used is said."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gendesign.structure.files import read_structures
from gendesign.structure.label_keys import LabelSettings, with_labels
from gendesign.structure.types import Candidate

Labels = LabelSettings | Mapping[str, Any] | None


@dataclass(frozen=True)
class Record:
    """One structure of a file: `candidate` as read, its atoms with all of its info and its labels as results of a
    calculator; `holds` lists the numbers that the file has."""

    candidate: Candidate
    file: str
    holds: str


def read_labelled(files: Sequence[str | Path], labels: Labels = None, aloud: bool = True) -> list[Record]:
    """Every structure of `files` with its labels in eV and Angstrom, failed ones too (`candidate.failure`).

    Says on stderr, once for all files alike, which keys were used where these are not plain. Raises UserError for files
    that cannot be read and for labels that are ambiguous or not there.
    """
    settings, records = LabelSettings.of(labels), []
    notes: dict[str, list[str]] = {}
    for file in files:
        name = Path(file).name
        candidates = read_structures([file], strict=False, hydrogens="ignore", repair=False)
        usable = [candidate for candidate in candidates if not candidate.failure]
        frames = []
        for candidate in usable:
            frame = candidate.atoms
            frame.info = {**frame.info, **candidate.info}
            frames.append(frame)
        labelled = with_labels(frames, name, settings)
        after = iter(labelled.frames)
        for candidate in candidates:
            whole = candidate if candidate.failure else replace(candidate, atoms=next(after))
            records.append(Record(whole, name, labelled.holds))
        if labelled.note:
            notes.setdefault(labelled.note, []).append(name)
    if aloud:
        for note, names in notes.items():
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            print(f"gendesign: {shown}: {note}", file=sys.stderr)
    return records
