"""Run all tests of one potential. Each result is stored as soon as it is known, so that an interrupted run resumes."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from matplotlib.figure import Figure
from tqdm import tqdm

from gendesign.errors import UserError
from gendesign.potential.protocol import PotentialLike
from gendesign.structure.files import write_atomically
from gendesign.structure.label_files import Labels, read_labelled
from gendesign.structure.label_keys import LabelSettings, with_labels
from gendesign.structure.labels import has_forces, has_label, teacher_of
from gendesign.structure.types import Row
from gendesign.validation import (
    crystals,
    dimers,
    dynamics,
    errors,
    geometries,
    phonons,
    softening,
    torsions,
    vibrations,
)
from gendesign.validation.case import Case
from gendesign.validation.methods import OneByOne, Teacher
from gendesign.validation.settings import ValidationSettings


@dataclass(frozen=True)
class Test:
    """One test.

    applies: whether a case has the required input. measure: computes plain results. rows, picture: the rows and the
    picture of the results.
    """

    title: str
    applies: Callable[[Case], bool]
    measure: Callable[[Case], dict[str, Any]]
    rows: Callable[[dict[str, Any]], list[Row]]
    picture: Callable[[dict[str, Any]], Figure | None]


def _has_reference_molecules(case: Case) -> bool:
    return case.molecular is not None and bool(case.initial_molecules)


def _has_labels(case: Case) -> bool:
    return any(map(has_label, case.frames)) or _has_reference_molecules(case) or bool(case.periodic and case.crystals)


def _dynamics_settings(case: Case) -> dict[str, Any]:
    return {key: getattr(case.settings, key) for key in ("temperature", "timestep", "time", "seed")}


TESTS = {
    "errors": Test(
        "Errors on labelled structures",
        _has_labels,
        lambda case: errors.measure(case.labelled, case.answers, case.settings.together),
        errors.rows,
        errors.picture,
    ),
    "softening": Test(
        "Softening: forces off equilibrium",
        _has_labels,
        lambda case: softening.measure(case.labelled, case.answers),
        softening.rows,
        softening.picture,
    ),
    "dimers": Test(
        "Pairs of atoms",
        lambda case: bool(case.elements),
        lambda case: dimers.measure(case.method, case.elements, case.molecular, min(5.0, case.potential.cutoff)),
        dimers.rows,
        dimers.picture,
    ),
    "geometries": Test(
        "Geometries of minima",
        _has_reference_molecules,
        lambda case: geometries.measure(case.method, case.minima),
        geometries.rows,
        geometries.picture,
    ),
    "vibrations": Test(
        "Vibrations",
        _has_reference_molecules,
        lambda case: vibrations.measure(case.method, case.minima[: case.settings.vibrations], case.molecular),
        vibrations.rows,
        vibrations.picture,
    ),
    "torsions": Test(
        "Torsions",
        _has_reference_molecules,
        lambda case: torsions.measure(case.method, case.minima, case.molecular, case.settings.torsions),
        torsions.rows,
        torsions.picture,
    ),
    "drift": Test(
        "Energy conservation",
        lambda case: bool(case.initial_molecules or case.crystals),
        lambda case: dynamics.drift(
            case.minima if case.initial_molecules else case.crystals,
            case.potential,
            timestep=case.settings.timestep,
            time=case.settings.drift_time,
            seed=case.settings.seed,
        ),
        dynamics.drift_rows,
        dynamics.drift_picture,
    ),
    "stability": Test(
        "Stability at temperature",
        lambda case: bool(case.initial_molecules),
        lambda case: dynamics.stability(case.minima, case.potential, **_dynamics_settings(case)),
        dynamics.stability_rows,
        dynamics.stability_picture,
    ),
    "crystals": Test(
        "Crystals: equation of state, elasticity",
        lambda case: bool(case.crystals),
        lambda case: crystals.measure(case.method, case.crystals, case.periodic),
        crystals.rows,
        crystals.picture,
    ),
    "phonons": Test(
        "Phonons",
        lambda case: bool(case.crystals),
        lambda case: phonons.measure(case.method, case.crystals, case.periodic),
        phonons.rows,
        phonons.picture,
    ),
}


def read_frames(files: Sequence[str | Path], labels: Labels = None) -> list[Atoms]:
    """The structures of `files` with their info and labels. Raises UserError for unusable files.

    Prints to stderr which keys are used as labels, unless they have the plain names, and the number of structures that
    cannot be read.
    """
    records = read_labelled(files, labels)
    failed = [record.candidate.failure for record in records if record.candidate.failure]
    if failed:
        _print_note(f"{len(failed)} of {len(records)} structures are left out, the first because: {failed[0]}")
    return [record.candidate.atoms for record in records if not record.candidate.failure]


def validate(
    potential: PotentialLike,
    frames: Sequence[Atoms] = (),
    settings: ValidationSettings | None = None,
    *,
    molecular: Teacher | None = None,
    periodic: Teacher | None = None,
    teacher: str = "teacher",
    parts: Path | None = None,
    labels: Labels = None,
) -> dict[str, dict[str, Any]]:
    """Run every test that applies and return its plain results by name; see `TESTS` for rows and pictures.

    molecular, periodic: factories of the reference calculators for molecules and crystals. teacher: their name.
    parts: folder in which each result is stored as JSON; stored results are not computed again.
    labels: keys and units of the labels, fields of `structure.label_keys.LabelSettings`; usual names are recognised
        without it.

    Raises UserError for a requested test without the required input.
    """
    settings = settings or ValidationSettings()
    if parts is not None:
        parts.mkdir(parents=True, exist_ok=True)
    labelled = with_labels(frames, "the structures", LabelSettings.of(labels))
    if labelled.note and labels is not None:
        _print_note(labelled.note)
    frames = labelled.frames
    references = [None if make is None else OneByOne(make, teacher) for make in (molecular, periodic)]
    case = Case(potential, frames, settings, *references, parts)
    if idle := [name for name in settings.tests if not TESTS[name].applies(case)]:
        raise UserError(f"tests={idle[0]} needs what is missing: labelled files, a teacher, or crystals; leave it out")
    names = settings.tests or [name for name, test in TESTS.items() if test.applies(case)]
    _print_basis_of_errors(case, names)
    results = {}
    with tqdm(names, unit="test") as bar:
        for name in bar:
            bar.set_description(name)
            file = None if parts is None else parts / f"{name}.json"
            if file is not None and file.is_file():
                results[name] = json.loads(file.read_text())
                continue
            results[name] = json.loads(json.dumps(TESTS[name].measure(case), default=float))
            if file is not None:
                write_atomically(file, json.dumps(results[name]) + "\n")
    return results


def _print_basis_of_errors(case: Case, names: Sequence[str]) -> None:
    """Print to stderr on which structures the errors are measured, unless all frames are labelled by one teacher."""
    if not case.frames or not {"errors", "softening"} & set(names):
        return
    labelled = [frame for frame in case.frames if has_label(frame)]
    if not labelled:
        judges = " and ".join(sorted({method.name for method in (case.molecular, case.periodic) if method is not None}))
        _print_note(
            f"the structures given hold no energies (labels.energy=KEY names one under another key), hence no labels: "
            f"errors are measured on copies of them, displaced from minima and labelled by {judges}"
        )
        return
    if len(labelled) < len(case.frames):
        _print_note(f"{len(labelled)} of {len(case.frames)} structures have labels; errors are those on these alone")
    if bare := sum(not has_forces(frame) for frame in labelled):
        _print_note(f"{bare} of {len(labelled)} labelled structures have no forces; their energies alone are measured")
    if len(teachers := sorted({teacher_of(frame) or "no named teacher" for frame in labelled})) > 1:
        _print_note(
            f"the labels are by {len(teachers)} teachers, whose energies have no common zero: {'; '.join(teachers)}"
        )


def _print_note(text: str) -> None:
    print(f"gendesign: {text}", file=sys.stderr)


def rows_of(results: dict[str, dict[str, Any]]) -> dict[str, list[Row]]:
    """The rows of every test in `results`."""
    return {name: TESTS[name].rows(result) for name, result in results.items()}
