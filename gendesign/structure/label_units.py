"""Units of labels and their conversion factors to eV, eV/Angstrom and eV/Angstrom^3."""

import re
from collections.abc import Callable

from ase import units

from gendesign.errors import UserError

ENERGIES = {
    "eV": 1.0,
    "meV": 1e-3,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
    "Hartree": units.Hartree,
    "Rydberg": units.Rydberg,
}
LENGTHS = {"Angstrom": 1.0, "Bohr": units.Bohr, "nm": units.nm, "pm": 0.01}
PRESSURES = {"GPa": units.GPa, "MPa": 1e-3 * units.GPa, "kB": 0.1 * units.GPa, "bar": units.bar, "Pa": units.Pascal}
ALIASES = {
    "ha": "Hartree", "eh": "Hartree", "au": "Hartree", "a.u.": "Hartree", "ry": "Rydberg", "ryd": "Rydberg",
    "a": "Angstrom", "ang": "Angstrom", "å": "Angstrom", "a0": "Bohr", "kbar": "kB",
}  # fmt: skip
EXAMPLES = {
    "energy_unit": ", ".join(ENERGIES),
    "force_unit": "an energy per length, such as kcal/mol/Angstrom, Hartree/Bohr or eV/Angstrom, with a minus sign for "
    "gradients (-Hartree/Bohr)",
    "stress_unit": "eV/Angstrom^3, GPa, kB or Hartree/Bohr^3, with a minus sign where compression is positive "
    "(-kB for VASP)",
}


def energy_factor(text: str) -> float:
    """The unit in eV. Raises UserError for an unknown unit."""
    return _unit("energy_unit", text, _named(text, ENERGIES))


def force_factor(text: str) -> float:
    """The unit in eV/Angstrom, negative for gradients. Raises UserError for an unknown unit."""
    return _unit("force_unit", text, _signed(text, lambda unit: _quotient(unit, 1)))


def stress_factor(text: str) -> float:
    """The unit in eV/Angstrom^3, negative if compression is positive. Raises UserError for an unknown unit."""
    return _unit("stress_unit", text, _signed(text, lambda unit: _named(unit, PRESSURES) or _quotient(unit, 3)))


def _unit(key: str, text: str, factor: float | None) -> float:
    if factor is None:
        raise UserError(f"labels.{key}={text}: allowed are {EXAMPLES[key]}")
    return factor


def _signed(text: str, factor: Callable[[str], float | None]) -> float | None:
    size = factor(text.strip().removeprefix("-").strip())
    return None if size is None else -size if text.strip().startswith("-") else size


def _quotient(text: str, power: int) -> float | None:
    """The factor of an energy per length to the `power`, such as eV/Angstrom^3 or kcal/mol/A; None if unknown."""
    energy, _, length = text.rpartition("/")
    if power > 1:
        match = re.fullmatch(rf"(.*?)(?:\^|\*\*)?{power}", length.strip())
        length = match[1] if match else ""
    top, bottom = _named(energy, ENERGIES), _named(length, LENGTHS)
    return None if top is None or bottom is None else top / bottom**power


def _named(text: str, known: dict[str, float]) -> float | None:
    word = text.strip().lower()
    word = ALIASES.get(word, word).lower()
    return next((value for name, value in known.items() if name.lower() == word), None)
