"""The tests and the card of one potential, for `gendesign validate` and `gendesign benchmark potentials`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ase import Atoms

from gendesign.errors import UserError
from gendesign.potential.advice import concerns
from gendesign.potential.protocol import PotentialLike
from gendesign.run.domain import say
from gendesign.structure.labels import has_forces
from gendesign.structure.types import Row
from gendesign.train.teacher import Teacher, label, make_teacher
from gendesign.train.teachers.semiempirical import Pm6, Tblite
from gendesign.train.units import ADVICE, check_units
from gendesign.validation.card import write_card
from gendesign.validation.molecules import default_molecules
from gendesign.validation.settings import ValidationSettings
from gendesign.validation.suite import read_frames, rows_of, validate
from gendesign.validation.teachers import by_labels

PARTS = "parts"


def run_validation(
    potential: PotentialLike,
    files: Sequence[str | Path],
    config: Mapping[str, Any],
    output: Path,
    targets: Mapping[str, str] | None = None,
) -> dict[str, list[Row]]:
    """Make the missing results in output/parts and write the card into `output`; returns the rows by test.

    config: the fields of `ValidationSettings`, perhaps `teacher` (a section of conf/teacher), and keys that are ignored
        here.
    targets: of rows, by name.
    """
    names = {field.name for field in fields(ValidationSettings)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in config.items() if key in names
    }
    settings = ValidationSettings(**values)
    frames = read_frames(files, config.get("labels"))
    _warn_of_units(frames)
    shown = frames or default_molecules(potential.elements)
    warnings = [text for _, text in concerns(shown, potential)]
    say(warnings)
    references = teachers_of(config.get("teacher"), frozenset(s for atoms in shown for s in atoms.symbols))
    results = validate(potential, frames, settings, **references, parts=output / PARTS)
    rows = {name: [_with_target(row, targets or {}) for row in group] for name, group in rows_of(results).items()}
    about = {
        "name": potential.name,
        "weights_sha256": potential.weights_hash,
        "licence": potential.licence,
        "citation": potential.citation,
        "elements": list(potential.elements),
        "structures": f"{len(frames)} structures of {len(files)} file{'s' * (len(files) > 1)}"
        if files
        else "Molecules of the package",
        "files": [Path(file).name for file in files],
        "teacher": references["teacher"],
        "warnings": warnings,
        "settings": dict(config),
    }
    write_card(output, results, rows, about)
    return rows


def _warn_of_units(frames: Sequence[Atoms]) -> None:
    """Warn on stderr where labels do not look like eV and Angstrom."""
    try:
        check_units([frame for frame in frames if has_forces(frame)], {})
    except UserError as error:
        reason = str(error).removesuffix(f", {ADVICE}")
        print(f"gendesign: the labels may not be in eV and Angstrom: {reason}", file=sys.stderr)


def teachers_of(section: Mapping[str, Any] | None, symbols: frozenset[str]) -> dict[str, Any]:
    """The keywords `molecular`, `periodic` and `teacher` of `validate` for a section of conf/teacher, or for None.

    Raises UserError for a teacher that does not know all of `symbols`.
    Semi-empirical teachers label molecules only: they treat a crystal as a large supercell, which takes days.
    """
    if section is None:
        return {"molecular": None, "periodic": None, "teacher": None}
    teacher = make_teacher(section)
    teacher.check(symbols)
    crystals = teacher.periodic and not isinstance(teacher, Tblite | Pm6)
    labels = by_labels(lambda atoms: _label(teacher, atoms))
    return {
        "molecular": labels if teacher.molecules else None,
        "periodic": labels if crystals else None,
        "teacher": teacher.title,
    }


def _label(teacher: Teacher, atoms: Atoms) -> Atoms:
    if reason := teacher.refuse(atoms):
        return Atoms(info={"failure": f"the structure {reason}"})
    # two atoms at some distance are often open shells; the lower of two multiplicities counts
    changed: dict[str, Any] = {"open_shell": True} if hasattr(teacher, "open_shell") else {}
    is_pair = len(atoms) == 2 and not atoms.pbc.any()
    return label(replace(teacher, **changed) if is_pair else teacher, atoms)


def _with_target(row: Row, targets: Mapping[str, str]) -> Row:
    return replace(row, target=targets[row.name]) if row.name in targets else row
