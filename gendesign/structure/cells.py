"""Properties of a periodic cell (density, pressure, space group) and output as CIF."""

import io
from collections.abc import Sequence

import numpy as np
import spglib
from ase import Atoms, units
from ase.io import write

DENSITY = units.kg / units.m**3 * 1000  # g/cm3 in ASE's units
CELL = ("a", "b", "c", "alpha", "beta", "gamma")
VACUUM = 20.0  # Angstrom; added in a CIF along directions without a lattice vector


def density(atoms: Atoms) -> float:
    """Mass over volume of a crystal, g/cm3."""
    return float(atoms.get_masses().sum() / atoms.get_volume() / DENSITY)


def pressure(stress: np.ndarray) -> float:
    """Pressure in GPa, positive when the cell is compressed.

    stress: (3, 3), or six numbers in Voigt order (xx, yy, zz, ...), in eV/Angstrom^3, positive under tension.
    """
    stress = np.asarray(stress)
    return float(-np.mean(np.diag(stress) if stress.ndim == 2 else stress[:3]) / units.GPa)


def space_group(atoms: Atoms, symprec: float, heavy: bool = True) -> str:
    """International symbol and number, such as "Pbca (61)", within `symprec` Angstrom (spglib).

    heavy: ignore the hydrogens, because they rotate freely in molecular crystals. Returns "unknown" if spglib fails.
    """
    part = atoms[atoms.numbers > 1] if heavy else atoms
    try:
        symbol = spglib.get_spacegroup((part.cell.array, part.get_scaled_positions(), part.numbers), symprec=symprec)
    except spglib.SpglibError:
        symbol = None
    return symbol or "unknown"


def cif(atoms: Atoms, name: str = "image0", comments: Sequence[str] = ()) -> str:
    """A CIF data block in P1 called `name`, with a line `# ...` for each comment.

    CIF describes crystals only. A direction without a lattice vector gets one with VACUUM, and a comment states which
    directions are periodic.
    """
    plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    if not all(atoms.pbc):
        along = " and ".join(axis for axis, periodic in zip("abc", atoms.pbc, strict=True) if periodic)
        comments = [*comments, f"periodic along {along} only; the cell leaves room in the other directions"]
        plain.cell = _completed(atoms)
    text = io.BytesIO()
    write(text, plain, format="cif", wrap=bool(all(atoms.pbc)))
    block = text.getvalue().decode().replace("data_image0", f"data_{name}", 1)
    return "".join(f"# {comment}\n" for comment in comments) + block


def _completed(atoms: Atoms) -> np.ndarray:
    """Lattice vectors (3, 3); a missing one is perpendicular to the others and leaves VACUUM around the atoms."""
    cell = atoms.cell.complete().array.copy()
    for axis in np.flatnonzero(~atoms.cell.array.any(axis=1)):
        direction = cell[axis] / np.linalg.norm(cell[axis])
        cell[axis] = direction * (np.ptp(atoms.positions @ direction) + VACUUM)
    return cell
