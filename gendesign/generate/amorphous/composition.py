"""Formulas and ratios of amorphous models, numbers of atoms, and densities."""

import re
from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from gendesign.errors import UserError
from gendesign.structure.cells import DENSITY
from gendesign.structure.formula import parse_formula

RATIO = re.compile(r"\s*([A-Za-z:]+)\s*=\s*([0-9.:]+)\s*")
MEASURED = {"Si": 2.28, "SiO2": 2.20}  # g/cm3, of the glass or the evaporated film
TYPICAL = 216  # atoms of a model, unless stated


def ratios(formula: str) -> dict[str, float]:
    """Shares of the elements of SiO2, Si2O3 or Si:O=1:1.5, not normalised; raises UserError for anything else."""
    match = RATIO.fullmatch(formula)
    if match is None:
        return {symbol: float(count) for symbol, count in parse_formula(formula).items()}
    symbols, numbers = match[1].split(":"), match[2].split(":")
    known = all(symbol in atomic_numbers and symbol != "X" for symbol in symbols)
    numeric = all(re.fullmatch(r"\d+\.?\d*|\.\d+", number) for number in numbers)
    if not known or not numeric or len(symbols) != len(numbers) or len(set(symbols)) < len(symbols):
        raise UserError(f"generator.formula={formula}: write a formula such as Si2O3, or a ratio such as Si:O=1:1.5")
    shares = dict(zip(symbols, map(float, numbers), strict=True))
    if not all(share > 0 for share in shares.values()):
        raise UserError(f"generator.formula={formula}: every number of a ratio must be above 0")
    return shares


def counts(formula: str, n_atoms: int | None) -> dict[str, int]:
    """Atoms of each element in a model of `n_atoms`, None for about TYPICAL.

    A formula is kept exactly, and raises UserError for a number of atoms that is no multiple of its own; a ratio is
    kept to the nearest whole atoms.
    """
    shares = ratios(formula)
    total = sum(shares.values())
    if RATIO.fullmatch(formula) is None:
        divisor = np.gcd.reduce([round(share) for share in shares.values()])
        unit = {symbol: round(share) // int(divisor) for symbol, share in shares.items()}
        size = sum(unit.values())
        units = max(1, round((TYPICAL if n_atoms is None else n_atoms) / size))
        if n_atoms is not None and units * size != n_atoms:
            low = max(1, n_atoms // size) * size
            raise UserError(
                f"generator.n_atoms={n_atoms}: {formula} has {size} atoms per formula unit; give {low} or {low + size}"
            )
        return {symbol: units * count for symbol, count in unit.items()}
    n = TYPICAL if n_atoms is None else n_atoms
    exact = {symbol: n * share / total for symbol, share in shares.items()}
    whole = {symbol: int(value) for symbol, value in exact.items()}
    rest = sorted(exact, key=lambda symbol: whole[symbol] - exact[symbol])
    for symbol in rest[: n - sum(whole.values())]:
        whole[symbol] += 1
    if not all(whole.values()):
        raise UserError(f"generator.n_atoms={n}: too few for {formula}; give more atoms")
    return whole


def usual_density(composition: Mapping[str, int], formula: str) -> float:
    """Density in g/cm3 where none was given: measured for Si and SiO2, between them by the share of O."""
    silicon, oxygen = composition.get("Si", 0), composition.get("O", 0)
    if set(composition) <= {"Si", "O"} and silicon and oxygen <= 2 * silicon:
        share = oxygen / (2 * silicon)
        return MEASURED["Si"] + share * (MEASURED["SiO2"] - MEASURED["Si"])
    raise UserError(f"generator.density is missing, and none is known for {formula}; give it in g/cm3")


def mass(composition: Mapping[str, int]) -> float:
    """Mass in amu."""
    return float(sum(atomic_masses[atomic_numbers[symbol]] * count for symbol, count in composition.items()))


def cubic_edge(composition: Mapping[str, int], density: float) -> float:
    """Edge in Angstrom of the cube with this density (g/cm3)."""
    return float((mass(composition) / (density * DENSITY)) ** (1 / 3))


def scaled_to(atoms: Atoms, density: float) -> Atoms:
    """A copy with the same fractional coordinates and this density (g/cm3)."""
    out = atoms.copy()
    factor = (out.get_masses().sum() / out.get_volume() / (density * DENSITY)) ** (1 / 3)
    out.set_cell(out.cell * factor, scale_atoms=True)
    return out


def composition_of(atoms: Atoms) -> dict[str, int]:
    """Atoms of each element, in alphabetic order."""
    symbols = atoms.get_chemical_symbols()
    return {symbol: symbols.count(symbol) for symbol in sorted(set(symbols))}
