"""Structures from files of any common format, and candidates to extended XYZ and SDF."""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict, write_xyz
from rdkit import Chem

from gendesign.errors import UserError
from gendesign.structure.bonds import perceive
from gendesign.structure.constraints import fixed_components, set_fixed
from gendesign.structure.formats import SDF_SUFFIXES, Record, read_records
from gendesign.structure.repairs import checked, unusable
from gendesign.structure.types import Candidate

Check = Callable[[Atoms], tuple[Atoms, str, tuple[str, ...]]]

__all__ = ["SDF_SUFFIXES", "read_structures", "write_atomically", "write_extxyz", "write_sdf"]

CHARGE_KEYS = ("charge", "total_charge")
PROVENANCE = ("index", "generator", "seed", "parent", "history", "failure")
# extxyz keeps these words for itself; everything else may name a value.
RESERVED = {"Lattice", "Properties", "pbc", "energy", "forces", "stress"}
STEP_SEPARATOR = " | "
SOURCE = "read from "  # begins the step of a history that names the file
READ_BEFORE = "_failed_before"  # marks, while reading, failures of an earlier run, which are no reason to refuse a file
RADICAL = "an odd number of electrons, taken for a radical; charge=1 in its comment line or tags makes it an ion"
HYDROGENS, PERIODIC = ("required", "ignore"), ("auto", "false")
# Columns that files keep for themselves, that belong to another geometry, or that describe the cell that was read.
OWN_COLUMNS = {"numbers", "positions", "species", "pos", "symbols", "forces", "energies", "stresses", "move_mask",
               "magmoms", "charges", "momenta", "spacegroup_kinds", "occupancy"}  # fmt: skip


def read_structures(
    paths: Sequence[str | Path],
    *,
    strict: bool = True,
    hydrogens: str = "required",
    periodic: str | bool = "auto",
    chargeless: str | None = "the potential",
    repair: bool = True,
) -> list[Candidate]:
    """Every structure of every file, `index` counting over all of them; plain values of a frame end up in `info`.

    Generator, seed, parent, history and failure are restored from files that `write_extxyz` wrote. What was repaired or
    assumed while reading (merged sites, D read as H) is in `history`; isotopes, constraints and plain per-atom columns
    are kept.

    A record that cannot be used raises UserError or, unless `strict`, becomes a failed candidate. Failures read
    "kind: details", and `read_notes` counts them. hydrogens: "required" refuses structures whose hydrogens were left
    out, "ignore" takes them. periodic: "auto" as the file says; "false" makes molecules of those that stand alone in a
    box. chargeless: the method that is about to be used and has no charges, None where charges are welcome.
    repair: False leaves atoms and boxes as the file has them, where labels belong to these very coordinates.

    Raises UserError for files that are missing, empty or of no known format.
    """
    if hydrogens not in HYDROGENS:
        raise UserError(f"hydrogens={hydrogens}: allowed are {' and '.join(HYDROGENS)}")
    if str(periodic).lower() not in PERIODIC:
        raise UserError(f"periodic={periodic}: allowed are {' and '.join(PERIODIC)}")
    needed = hydrogens == "required"
    keep_periodic = str(periodic).lower() == "auto"
    check = partial(checked, hydrogens_needed=needed, keep_periodic=keep_periodic) if repair else _as_it_is
    candidates: list[Candidate] = []
    for path in map(Path, paths):
        for number, record in enumerate(read_records(path, needed), start=1):
            candidate = _candidate(record, len(candidates), path.name, check)
            if chargeless and not candidate.failure and (charge := total_charge(candidate)):
                reason = f"charged: it has charge {charge:+g}, but {chargeless} has no charges; give neutral structures"
                candidate = replace(candidate, failure=reason)
            if strict and candidate.failure and READ_BEFORE not in candidate.info:
                raise UserError(f"{path}, structure {number} cannot be used: {candidate.failure}")
            candidate.info.pop(READ_BEFORE, None)
            candidates.append(candidate)
    return candidates


def stated_charge(info: Mapping[str, Any]) -> float:
    """The charge that a structure's info states in numbers, 0 when it states none."""
    charges = (info.get(key) for key in CHARGE_KEYS)
    return next((float(value) for value in charges if isinstance(value, int | float | np.number) and value), 0.0)


def total_charge(candidate: Candidate) -> float:
    """The charge that the info states, or that the partial charges add up to."""
    # Partial charges are rounded in files; half an electron tells an ion from rounding.
    return stated_charge(candidate.info) or round(float(candidate.atoms.get_initial_charges().sum()))


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _candidate(record: Record, index: int, name: str, check: Check) -> Candidate:
    atoms, failure, notes = record.atoms, record.failure, record.notes
    values = {key: _plain(value) for key, value in atoms.info.items()}
    values = {key: value for key, value in values.items() if value is not None}
    atoms.info = {key: value for key, value in atoms.info.items() if key not in values}
    ours = {key: values.pop(key) for key in PROVENANCE if key in values}
    if "generator" in ours and atoms.calc is not None and "energy" in atoms.calc.results:
        # Only of our own files is it known that the energy is the potential's.
        values["energy"] = float(atoms.calc.results["energy"])
    before = str(ours["failure"]) if ours.get("failure") else ""
    if before:
        failure, values[READ_BEFORE] = before, True
    elif not failure and not len(atoms):
        failure = f"unreadable: {name} has a structure without atoms; remove it"
    elif not failure:
        atoms, failure, more = check(atoms)
        notes = (*notes, *more)
        if not failure and not atoms.pbc.any() and (atoms.numbers.sum() - round(stated_charge(values))) % 2:
            notes = (*notes, RADICAL)
    history = tuple(str(ours["history"]).split(STEP_SEPARATOR)) if ours.get("history") else ()
    return Candidate(
        atoms,
        index,
        generator=str(ours.get("generator", "file")),
        seed=_whole(ours.get("seed")) or 0,
        parent=_whole(ours.get("parent")),
        history=(*history, f"{SOURCE}{name}", *notes),
        failure=failure or None,
        info=values,
    )


def _as_it_is(atoms: Atoms) -> tuple[Atoms, str, tuple[str, ...]]:
    return atoms, unusable(atoms), ()


def source_of(candidate: Candidate) -> str:
    """The step of the history that names the file a candidate was last read from, "" for others."""
    return next((step for step in reversed(candidate.history) if step.startswith(SOURCE)), "")


def _plain(value: Any) -> bool | int | float | str | None:
    """A bool, int, float or str for what is one, None for everything else."""
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, bool | int | float | str) else None


def _values(candidate: Candidate) -> dict[str, Any]:
    """Everything about a candidate but its atoms, in the order files hold it."""
    values: dict[str, Any] = {"index": candidate.index, "generator": candidate.generator, "seed": candidate.seed}
    if candidate.parent is not None:
        values["parent"] = candidate.parent
    values["history"] = STEP_SEPARATOR.join(candidate.history)
    if candidate.failure:
        values["failure"] = candidate.failure
    known = {**candidate.atoms.info, **candidate.info}
    for key in sorted(set(known) - set(PROVENANCE)):
        if _plain(known[key]) is not None:
            values[key] = _plain(known[key])
    return values


def write_extxyz(candidates: Iterable[Candidate], path: str | Path) -> None:
    """Write candidates, failed ones too, with energy, forces, provenance and all plain values; deterministic, atomic.

    Candidates without a single atom are left out, because an extended XYZ frame needs one. Raises UserError if the file
    cannot be written.
    """
    text = StringIO()
    for candidate in candidates:
        if len(candidate.atoms):
            write_xyz(text, [_frame(candidate)])
    write_atomically(path, text.getvalue())


def _frame(candidate: Candidate) -> Atoms:
    source = candidate.atoms
    atoms = Atoms(source.numbers, source.positions, cell=source.cell, pbc=source.pbc)
    for name in sorted(set(source.arrays) - OWN_COLUMNS):
        if _is_column(name, source.arrays[name]):
            atoms.new_array(name, source.arrays[name])
    with suppress(UserError):  # of constraints that are no fixed components; only what was not relaxed carries them
        set_fixed(atoms, fixed_components(source))
    lists = {key: value for key, value in sorted(source.info.items()) if isinstance(value, np.ndarray) and value.ndim}
    atoms.info = {key: value for key, value in lists.items() if value.dtype.kind in "biuf" and value.ndim <= 2}
    atoms.info |= {key: _quoted(key, value) for key, value in _values(candidate).items()}
    atoms.info = {key: value for key, value in atoms.info.items() if key not in RESERVED}
    if source.calc is not None:
        results = source.calc.results
        kept = {key: results[key] for key in ("energy", "forces", "stress") if key in results}
        atoms.calc = SinglePointCalculator(atoms, **kept)
    elif "energy" in candidate.info:
        atoms.calc = SinglePointCalculator(atoms, energy=candidate.info["energy"])
    return atoms


def _is_column(name: str, column: np.ndarray) -> bool:
    """Whether extended XYZ can hold this per-atom array: numbers, or words without blanks, in one or two dimensions."""
    if not re.fullmatch(r"\w+", name) or column.ndim > 2 or not column.size:
        return False
    if column.dtype.kind in "UO":
        return column.ndim == 1 and all(isinstance(word, str) and re.fullmatch(r"\S+", word) for word in column)
    return column.dtype.kind in "biuf"


def _quoted(key: str, value: Any) -> Any:
    """The value, or its JSON where extxyz would read something else from it ('F' as False, '007' as 7)."""
    if isinstance(value, str):
        # Another key follows, because a value such as '=' takes it for its own.
        line = key_val_dict_to_str({key: value, "next": 1})
        parsed = {} if "\n" in line else key_val_str_to_dict(line)
        if not isinstance(parsed.get(key), str) or parsed != {key: value, "next": 1}:
            # The writer escapes quotes but not backslashes, the reader undoes both.
            return "_JSON " + json.dumps(value).replace("\\", "\\\\")
    return value


def write_sdf(candidates: Iterable[Candidate], path: str | Path, *, zwitterions: bool = False) -> int:
    """Write molecules with the bonds and the stereo that their coordinates show; the number written.

    Values become tags. Candidates that failed, are periodic or show no valid bonds are left out; `zwitterions` as in
    structure.bonds.perceive. Deterministic, atomic;
    raises UserError if the file cannot be written.
    """
    text = StringIO()
    writer = Chem.SDWriter(text)
    for candidate in candidates:
        if candidate.failure or not len(candidate.atoms) or any(candidate.atoms.pbc):
            continue
        mol = perceive(candidate.atoms, zwitterions=zwitterions).mol
        if mol is None:
            continue
        mol = Chem.Mol(mol)
        Chem.AssignStereochemistryFrom3D(mol)
        for name in list(mol.GetPropNames()):
            mol.ClearProp(name)
        mol.SetProp("_Name", str(candidate.index))
        for key, value in _values(candidate).items():
            mol.SetProp(key, " ".join(str(value).split()))
        writer.write(mol)
    count = writer.NumMols()
    writer.close()
    write_atomically(path, text.getvalue())
    return count


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Replace a file so that a reader, also after a crash, finds the old content or the new, never a part.

    Raises UserError if the folder is missing or not writable.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        reason = error.strerror or str(error)
        if path.parent.is_dir() and os.access(path.parent, os.W_OK):
            advice = "make room and give the same command again"
        else:
            advice = "choose a folder that exists and is writable"
        raise UserError(f"{path} cannot be written: {reason}; {advice}") from error
