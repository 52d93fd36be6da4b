"""Structures from files of any common format, and candidates to extended XYZ and SDF."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict, write_xyz
from ase.io.formats import UnknownFileTypeError
from rdkit import Chem, rdBase

from gendesign.structure.bonds import perceive
from gendesign.structure.types import Candidate, UserError

SDF_SUFFIXES = {".sdf", ".sd", ".mol"}
FORMATS = "extxyz, xyz, SDF, CIF, POSCAR or another format of ASE"
CHARGE_KEYS = ("charge", "total_charge")
PROVENANCE = ("index", "generator", "seed", "parent", "history", "failure")
# extxyz keeps these words for itself; everything else may name a value.
RESERVED = {"Lattice", "Properties", "pbc", "energy", "forces", "stress"}
STEP_SEPARATOR = " | "


def read_structures(paths: Sequence[str | Path]) -> list[Candidate]:
    """Every structure of every file, `index` counting over all of them; plain values of a frame end up in `info`.

    Generator, seed, parent, history and failure are restored from files that `write_extxyz` wrote. An unreadable SDF
    record becomes a failed candidate. Raises UserError for files that are missing, empty or of no known format, and for
    structures that are charged, flat drawings, without hydrogens, or of partial occupancy.
    """
    candidates: list[Candidate] = []
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"{path} does not exist; give the path of a structure file ({FORMATS})")
        if path.is_dir():
            raise UserError(f"{path} is a folder; give the structure file in it ({FORMATS})")
        frames = _read_sdf(path) if path.suffix.lower() in SDF_SUFFIXES else _read_ase(path)
        if not frames:
            raise UserError(f"{path} holds no structure; give a file with at least one")
        for number, (atoms, failure) in enumerate(frames, start=1):
            _refuse_charge(atoms, f"{path}, structure {number}")
            candidates.append(_candidate(atoms, failure, len(candidates), path.name))
    return candidates


def _read_ase(path: Path) -> list[tuple[Atoms, str]]:
    try:
        # A file name may hold an @, which ASE would take for the start of a frame selection.
        frames = ase.io.read(path, index=":", do_not_split_by_at_sign=True)
    except UnknownFileTypeError as error:
        raise UserError(f"{path} is of no known format ({FORMATS}); rename it with the format's suffix") from error
    except Exception as error:  # readers of ASE raise whatever a malformed file makes them stumble over
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        if not path.stat().st_size:
            reason = "the file is empty"
        raise UserError(f"{path} cannot be read: {reason}; check that it is complete and what its name says") from error
    for number, atoms in enumerate(frames, start=1):
        occupancy = atoms.info.get("occupancy", {})
        if any(sum(site.values()) < 1 or len(site) > 1 for site in occupancy.values()):
            raise UserError(f"{path}, structure {number} has partly occupied sites; give an ordered structure")
        if not len(atoms) and "failure" not in atoms.info:
            raise UserError(f"{path}, structure {number} has no atoms; remove it")
    return [(atoms, "") for atoms in frames]


def _read_sdf(path: Path) -> list[tuple[Atoms, str]]:
    """Atoms of every record (bonds and stereo live on in the coordinates) and why a record could not be read."""
    frames: list[tuple[Atoms, str]] = []
    try:
        with rdBase.BlockLogs():
            # Unsanitized: a molecule with broken valences has coordinates to judge all the same.
            records = list(Chem.SDMolSupplier(str(path), sanitize=False, removeHs=False))
    except OSError as error:
        raise UserError(f"{path} cannot be read as SDF; check that it is complete") from error
    for number, mol in enumerate(records, start=1):
        if mol is None or not mol.GetNumConformers():
            frames.append((Atoms(), f"record {number} of {path.name} cannot be read"))
            continue
        _refuse_incomplete(mol, f"{path}, structure {number}")
        atoms = Atoms([atom.GetAtomicNum() for atom in mol.GetAtoms()], mol.GetConformer().GetPositions())
        atoms.info.update({key: _plain(value) for key, value in mol.GetPropsAsDict().items()})
        atoms.info["charge"] = Chem.GetFormalCharge(mol)
        frames.append((atoms, ""))
    if frames and all(failure for _, failure in frames):
        raise UserError(f"{path} holds no readable SDF record; check that it is complete and ends in $$$$")
    return frames


def _refuse_incomplete(mol: Chem.Mol, where: str) -> None:
    if mol.GetNumAtoms() == 0:
        raise UserError(f"{where} has no atoms; remove it")
    if not mol.GetConformer().Is3D() and mol.GetNumAtoms() > 3:
        raise UserError(f"{where} is a flat drawing; give three-dimensional coordinates")
    mol.UpdatePropertyCache(strict=False)
    implied = sum(atom.GetNumImplicitHs() for atom in mol.GetAtoms())
    if implied and all(atom.GetAtomicNum() != 1 for atom in mol.GetAtoms()):
        raise UserError(f"{where} implies {implied} hydrogens without coordinates; add them to the file")


def stated_charge(info: Mapping[str, Any]) -> float:
    """The charge that a structure's info states in numbers, 0 when it states none."""
    found = (info.get(key) for key in CHARGE_KEYS)
    return next((float(value) for value in found if isinstance(value, int | float | np.number) and value), 0.0)


def _refuse_charge(atoms: Atoms, where: str) -> None:
    # Partial charges are rounded in files; half an electron tells an ion from rounding.
    charge = stated_charge(atoms.info) or round(float(atoms.get_initial_charges().sum()))
    if charge:
        raise UserError(f"{where} has charge {charge:+g}, but the potential has no charges; give neutral structures")


def _candidate(atoms: Atoms, failure: str, index: int, name: str) -> Candidate:
    values = {key: _plain(value) for key, value in atoms.info.items()}
    values = {key: value for key, value in values.items() if value is not None}
    atoms.info = {key: value for key, value in atoms.info.items() if key not in values}
    ours = {key: values.pop(key) for key in PROVENANCE if key in values}
    if "generator" in ours and atoms.calc is not None and "energy" in atoms.calc.results:
        # Only of our own files is it known that the energy is the potential's.
        values["energy"] = float(atoms.calc.results["energy"])
    history = tuple(str(ours["history"]).split(STEP_SEPARATOR)) if ours.get("history") else ()
    return Candidate(
        atoms,
        index,
        generator=str(ours.get("generator", "file")),
        seed=ours["seed"] if isinstance(ours.get("seed"), int) else 0,
        parent=ours.get("parent"),
        history=(*history, f"read from {name}"),
        failure=failure or ours.get("failure"),
        info=values,
    )


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
    atoms.info = {key: _quoted(key, value) for key, value in _values(candidate).items() if key not in RESERVED}
    if source.calc is not None:
        results = source.calc.results
        kept = {key: results[key] for key in ("energy", "forces", "stress") if key in results}
        atoms.calc = SinglePointCalculator(atoms, **kept)
    elif "energy" in candidate.info:
        atoms.calc = SinglePointCalculator(atoms, energy=candidate.info["energy"])
    return atoms


def _quoted(key: str, value: Any) -> Any:
    """The value, or its JSON where extxyz would read something else from it ('F' as False, '007' as 7)."""
    if isinstance(value, str):
        line = key_val_dict_to_str({key: value})
        found = None if "\n" in line else key_val_str_to_dict(line).get(key)
        if not isinstance(found, str) or found != value:
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
