"""Models from files: anything ASE reads, and LAMMPS data files."""

import bz2
import gzip
import lzma
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import IO, Any

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from gendesign.analysis.neighbours import check_periodic
from gendesign.errors import UserError
from gendesign.structure.formats import read_records

OPENERS: dict[str, Callable[..., IO[Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
STYLES = ("atomic", "charge", "molecular", "full", "sphere")
HEAD = 4000  # characters in which a LAMMPS data file names its numbers of types
MASS_TOLERANCE = 0.1  # u, within which a mass names an element


@dataclass(frozen=True)
class Model:
    """One structure to analyse; `frames`: the trajectory that ends in it, of this structure alone where there is none.

    note: what was assumed in reading.
    """

    name: str
    atoms: Atoms
    frames: tuple[Atoms, ...] = ()
    note: str = ""


def read_models(files: Sequence[str | Path], species: Sequence[str] = (), trajectory: bool = False) -> list[Model]:
    """Every structure of every file as a model; with `trajectory` the frames of a file are one model, the last one.

    species: elements of the types of LAMMPS data files, in their order.
    Raises UserError for a file that cannot be read or is not periodic in three directions.
    """
    unknown = [symbol for symbol in species if symbol not in atomic_numbers]
    if unknown:
        raise UserError(f"species={unknown[0]} is no element; give one symbol per type, such as species=[O,Si]")
    models, paths = [], [Path(path) for path in files]
    same_names = len({path.name for path in paths}) < len({str(path) for path in paths})
    for path in paths:
        name = str(path) if same_names else path.name
        frames, note = _frames(path, species)
        for number, atoms in enumerate(frames, start=1):
            check_periodic(atoms, name if len(frames) == 1 else f"{name}, structure {number}")
        if trajectory:
            models.append(Model(name, frames[-1], tuple(frames), note))
            continue
        several = len(frames) > 1
        models += [Model(f"{name}:{i}" if several else name, a, (), note) for i, a in enumerate(frames)]
    return models


def _frames(path: Path, species: Sequence[str]) -> tuple[list[Atoms], str]:
    if (head := _lammps_head(path)) is not None:
        atoms, note = _read_lammps(path, head, species)
        return [atoms], note
    records = read_records(path, hydrogens_needed=False)
    for number, record in enumerate(records, start=1):
        if record.failure:
            raise UserError(f"{path.name}, structure {number} cannot be used: {record.failure}")
    return [record.atoms for record in records], ""


def _lammps_head(path: Path) -> str | None:
    """The beginning of a LAMMPS data file; None for all other files."""
    try:
        with OPENERS.get(path.suffix.lower(), open)(path, "rt", errors="replace") as file:
            head = file.read(HEAD)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise UserError(f"{path} cannot be read ({error}); check that it is complete") from None
    return head if re.search(r"(?m)^\s*\d+\s+atom types", head) and "xlo xhi" in head else None


def _read_lammps(path: Path, head: str, species: Sequence[str]) -> tuple[Atoms, str]:
    match = re.search(r"(?m)^\s*(\d+)\s+atom types", head)
    types = int(match[1]) if match else 0
    note = ""
    symbols = list(species)
    if not symbols:
        symbols = _by_mass(head, types)
        if not symbols:
            raise UserError(
                f"{path.name} is a LAMMPS data file without elements; give species=[...] with {types} names"
            )
        note = f"elements from the masses of {path.name}: {', '.join(symbols)}"
    if len(symbols) != types:
        raise UserError(f"species=[{','.join(symbols)}] names {len(symbols)} types, but {path.name} has {types}")
    with OPENERS.get(path.suffix.lower(), open)(path, "rt") as file:
        text = file.read()
    style = re.search(r"(?m)^Atoms\s*#\s*(\w+)", text)
    try:
        atoms = ase.io.read(
            StringIO(text),
            format="lammps-data",
            atom_style=style[1] if style and style[1] in STYLES else "atomic",
            Z_of_type={k + 1: atomic_numbers[symbol] for k, symbol in enumerate(symbols)},
            units="metal",  # positions are in Angstrom in both real and metal units
        )
    except Exception as error:  # the reader raises errors of many types for malformed files
        raise UserError(f"{path.name} cannot be read as LAMMPS data ({' '.join(str(error).split())[:100]})") from error
    plain = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    return plain, note


def _by_mass(head: str, types: int) -> list[str]:
    """Elements of the section Masses; empty where a mass is of none or of several."""
    section = re.search(r"(?ms)^Masses\b[^\n]*\n\s*\n(.*?)\n\s*\n", head)
    masses = dict(re.findall(r"(?m)^\s*(\d+)\s+([\d.eE+-]+)", section[1])) if section else {}
    symbols = []
    for kind in range(1, types + 1):
        near = np.abs(atomic_masses[1:] - float(masses.get(str(kind), "nan"))) < MASS_TOLERANCE
        if near.sum() != 1:
            return []
        symbols.append(chemical_symbols[int(np.argmax(near)) + 1])
    return symbols
