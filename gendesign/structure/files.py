"""Read structures from files of any common format; write candidates as extended XYZ and SDF."""

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
# Keys that extended XYZ reserves. Every other key may name a value.
RESERVED = {"Lattice", "Properties", "pbc", "energy", "forces", "stress"}
STEP_SEPARATOR = " | "
SOURCE = "read from "  # begins the step of a history that names the file
READ_BEFORE = "_failed_before"  # marks failures of an earlier run while reading: they do not make a file unusable
RADICAL = "an odd number of electrons, taken for a radical; charge=1 in its comment line or tags makes it an ion"
HYDROGENS, PERIODIC = ("required", "ignore"), ("auto", "false")
# Columns that the file format reserves, that belong to another geometry, or that describe the cell of the input file.
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
    """Read every structure of every file as a candidate; `index` counts over all files.

    Plain values of a frame become `info`. Isotopes, constraints and plain per-atom columns are kept. Files written by
    `write_extxyz` also restore generator, seed, parent, history and failure. Repairs and assumptions made while reading
    (merged sites, D read as H) are added to `history`.

    strict: raise UserError for an unusable structure; if False it becomes a failed candidate, whose failure
        reads "kind: details".
    hydrogens: "required" rejects structures with missing hydrogens, "ignore" accepts them.
    periodic: "auto" follows the file; "false" turns a molecule that is alone in a periodic box into a molecule without
        a box.
    chargeless: name of a method without charges, for which charged structures are rejected; None accepts charges.
    repair: False keeps atoms and boxes exactly as in the file, for labels that belong to these coordinates.

    Raises UserError for files that are missing, empty or of an unknown format.
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
    """The charge that the info of a structure states as a number, 0 without one."""
    charges = (info.get(key) for key in CHARGE_KEYS)
    return next((float(value) for value in charges if isinstance(value, int | float | np.number) and value), 0.0)


def total_charge(candidate: Candidate) -> float:
    """The charge that the info states, or the rounded sum of the partial charges."""
    # Partial charges are rounded in files; half an electron separates an ion from rounding errors.
    return stated_charge(candidate.info) or round(float(candidate.atoms.get_initial_charges().sum()))


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _candidate(record: Record, index: int, name: str, check: Check) -> Candidate:
    atoms, failure, notes = record.atoms, record.failure, record.notes
    values = {key: _plain(value) for key, value in atoms.info.items()}
    values = {key: value for key, value in values.items() if value is not None}
    atoms.info = {key: value for key, value in atoms.info.items() if key not in values}
    provenance = {key: values.pop(key) for key in PROVENANCE if key in values}
    if "generator" in provenance and atoms.calc is not None and "energy" in atoms.calc.results:
        # Only files written by this package are known to hold the energy of the potential.
        values["energy"] = float(atoms.calc.results["energy"])
    before = str(provenance["failure"]) if provenance.get("failure") else ""
    if before:
        failure, values[READ_BEFORE] = before, True
    elif not failure and not len(atoms):
        failure = f"unreadable: {name} has a structure without atoms; remove it"
    elif not failure:
        atoms, failure, more = check(atoms)
        notes = (*notes, *more)
        if not failure and not atoms.pbc.any() and (atoms.numbers.sum() - round(stated_charge(values))) % 2:
            notes = (*notes, RADICAL)
    history = tuple(str(provenance["history"]).split(STEP_SEPARATOR)) if provenance.get("history") else ()
    return Candidate(
        atoms,
        index,
        generator=str(provenance.get("generator", "file")),
        seed=_whole(provenance.get("seed")) or 0,
        parent=_whole(provenance.get("parent")),
        history=(*history, f"{SOURCE}{name}", *notes),
        failure=failure or None,
        info=values,
    )


def _as_it_is(atoms: Atoms) -> tuple[Atoms, str, tuple[str, ...]]:
    return atoms, unusable(atoms), ()


def source_of(candidate: Candidate) -> str:
    """The step of the history that names the file the candidate was last read from, "" without one."""
    return next((step for step in reversed(candidate.history) if step.startswith(SOURCE)), "")


def _plain(value: Any) -> bool | int | float | str | None:
    """The value if it is a bool, int, float or str, also of NumPy; None for all other types."""
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, bool | int | float | str) else None


def _values(candidate: Candidate) -> dict[str, Any]:
    """All values of a candidate except its atoms, in the order in which files store them."""
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
    """Write candidates, also failed ones, with energy, forces, provenance and all plain values.

    The output is deterministic and written atomically. Candidates without atoms are omitted, because an extended XYZ
    frame needs at least one. Raises UserError if the file cannot be written.
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
    with suppress(UserError):  # other constraints occur only on structures that were not relaxed, and are dropped
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
    """Whether extended XYZ can store this per-atom array: numbers in 1 or 2 dimensions, or words without blanks."""
    if not re.fullmatch(r"\w+", name) or column.ndim > 2 or not column.size:
        return False
    if column.dtype.kind in "UO":
        return column.ndim == 1 and all(isinstance(word, str) and re.fullmatch(r"\S+", word) for word in column)
    return column.dtype.kind in "biuf"


def _quoted(key: str, value: Any) -> Any:
    """The value, or its JSON if extended XYZ would read it back differently ('F' as False, '007' as 7)."""
    if isinstance(value, str):
        # A second key follows, because a value such as '=' would absorb it.
        line = key_val_dict_to_str({key: value, "next": 1})
        parsed = {} if "\n" in line else key_val_str_to_dict(line)
        if not isinstance(parsed.get(key), str) or parsed != {key: value, "next": 1}:
            # The writer escapes quotes but not backslashes; the reader unescapes both.
            return "_JSON " + json.dumps(value).replace("\\", "\\\\")
    return value


def write_sdf(candidates: Iterable[Candidate], path: str | Path, *, zwitterions: bool = False) -> int:
    """Write molecules as SDF with the bonds and stereochemistry perceived from coordinates; return their number.

    Values become tags. Candidates that failed, are periodic or have no valid bonds are omitted; `zwitterions` as in
    `structure.bonds.perceive`. The output is deterministic and written atomically. Raises UserError if the file cannot
    be written.
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
    """Replace a file atomically: after a crash it holds the complete old or the complete new content.

    Raises UserError if the file cannot be written, as in a folder that is missing or not writable.
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
