"""LAMMPS data files: recognised by their head, elements from species that are given or from the masses."""

import re
from collections.abc import Sequence
from io import StringIO
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from gendesign.errors import UserError

STYLES = ("atomic", "charge", "molecular", "full", "sphere")
HEAD = 4000  # characters in which a data file names its numbers of types
MASS_TOLERANCE = 0.1  # u, within which a mass names an element
TYPES = re.compile(r"(?m)^\s*(\d+)\s+atom types")


def is_lammps_data(head: str) -> bool:
    """Whether the beginning of a file is that of a LAMMPS data file."""
    return bool(TYPES.search(head[:HEAD])) and "xlo xhi" in head[:HEAD]


def read_lammps_data(text: str, name: str, species: Sequence[str] = ()) -> tuple[Atoms, str]:
    """The structure of a data file called `name`, periodic in all directions, and a note on its elements.

    species: elements of the types in their order; without them the masses decide. Raises UserError of one line.
    """
    match = TYPES.search(text[:HEAD])
    types, note, symbols = int(match[1]) if match else 0, "", list(species)
    if not symbols:
        symbols = _by_mass(text[:HEAD], types)
        if not symbols:
            raise UserError(
                f"{name} is a LAMMPS data file whose masses name no elements; add a section Masses, or give "
                f"gendesign analyse species=[...] with {types} names"
            )
        note = f"elements from the masses of {name}: {', '.join(symbols)}"
    if len(symbols) != types:
        raise UserError(f"species=[{','.join(symbols)}] names {len(symbols)} types, but {name} has {types}")
    style = re.search(r"(?m)^Atoms\s*#\s*(\w+)", text)
    atoms: Any
    try:
        atoms = ase.io.read(
            StringIO(text),
            format="lammps-data",
            atom_style=style[1] if style and style[1] in STYLES else "atomic",
            Z_of_type={k + 1: atomic_numbers[symbol] for k, symbol in enumerate(symbols)},
            units="metal",  # positions are in Angstrom in both real and metal units
        )
    except Exception as error:  # the reader raises errors of many types for malformed files
        raise UserError(f"{name} cannot be read as LAMMPS data ({' '.join(str(error).split())[:100]})") from error
    return Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True), note


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
