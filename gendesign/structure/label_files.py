"""Read labelled structures from files; the keys of each file are recognised or named by the user, and reported."""

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
    """One labelled structure of a file.

    candidate: the structure, with its labels (eV and Angstrom) as the results of a calculator. file: the name of the
    file. holds: the numeric keys of the file, in words.
    """

    candidate: Candidate
    file: str
    holds: str


def read_labelled(files: Sequence[str | Path], labels: Labels = None, aloud: bool = True) -> list[Record]:
    """Every structure of `files` with its labels in eV and Angstrom, including failed ones (`candidate.failure`).

    With `aloud`, prints to stderr which keys were used, unless they have the plain names. Raises UserError for
    unreadable files and for labels that are ambiguous or missing.
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
        labelled_frames = iter(labelled.frames)
        for candidate in candidates:
            complete = candidate if candidate.failure else replace(candidate, atoms=next(labelled_frames))
            records.append(Record(complete, name, labelled.holds))
        if labelled.note:
            notes.setdefault(labelled.note, []).append(name)
    if aloud:
        for note, names in notes.items():
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            print(f"gendesign: {shown}: {note}", file=sys.stderr)
    return records
