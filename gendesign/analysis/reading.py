"""Models from files: anything ASE reads, and LAMMPS data files."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ase import Atoms
from ase.data import atomic_numbers

from gendesign.analysis.neighbours import check_periodic
from gendesign.errors import UserError
from gendesign.structure.formats import read_records
from gendesign.structure.lammps_data import HEAD, is_lammps_data, read_lammps_data

OPENERS: dict[str, Callable[..., IO[Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


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
    if _is_lammps(path):
        with OPENERS.get(path.suffix.lower(), open)(path, "rt") as file:
            atoms, note = read_lammps_data(file.read(), path.name, species)
        return [atoms], note
    records = read_records(path, hydrogens_needed=False)
    for number, record in enumerate(records, start=1):
        if record.failure:
            raise UserError(f"{path.name}, structure {number} cannot be used: {record.failure}")
    return [record.atoms for record in records], ""


def _is_lammps(path: Path) -> bool:
    """Whether a file is a LAMMPS data file; raises UserError for one that cannot be read."""
    try:
        with OPENERS.get(path.suffix.lower(), open)(path, "rt", errors="replace") as file:
            return is_lammps_data(file.read(HEAD))
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise UserError(f"{path} cannot be read ({error}); check that it is complete") from None
