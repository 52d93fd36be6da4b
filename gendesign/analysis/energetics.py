"""Energy above the crystals of the same composition, by the same potential, and local energies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from ase.spacegroup import crystal

from gendesign.errors import UserError

MOST_STEPS = 500
SETTLED, LAST, PATIENCE = 0.0005, 50, 2  # eV/atom within so many steps, after so many times these steps
Evaluate = Callable[[Atoms], float]


@dataclass(frozen=True)
class Reference:
    """The crystals that a model's energy is measured from.

    name: in words. energy: of the same atoms in these crystals, eV.
    """

    name: str
    energy: float


def diamond() -> Atoms:
    """Silicon, diamond structure, 8 atoms, measured cell."""
    return bulk("Si", "diamond", a=5.431, cubic=True)


def quartz() -> Atoms:
    """Alpha quartz, 9 atoms (Levien, Prewitt, Weidner, Am. Mineral. 65, 920 (1980))."""
    return crystal(
        ["Si", "O"],
        [(0.4697, 0, 2 / 3), (0.4135, 0.2669, 0.7858)],
        spacegroup=154,
        cellpar=[4.916, 4.916, 5.4054, 90, 90, 120],
    )


def relaxed(atoms: Atoms, calculator: Calculator, fmax: float = 0.01, cell: bool = True) -> Atoms:
    """The structure relaxed to forces below `fmax` (eV/Angstrom), with its cell; UserError if that fails.

    A relaxation also ends well if its energy has settled: the forces of potentials that are not smooth need not vanish.
    """
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    copy.calc = calculator
    optimizer = FIRE(FrechetCellFilter(copy) if cell else copy, logfile=None)
    energies: list[float] = []
    optimizer.attach(lambda: energies.append(copy.get_potential_energy() / len(copy)))
    for part in range(MOST_STEPS // LAST):
        if optimizer.run(fmax=fmax, steps=LAST) or (part >= PATIENCE and np.ptp(energies[-LAST:]) < SETTLED):
            return copy
    raise UserError(
        f"{atoms.get_chemical_formula()} did not relax to {fmax:g} eV/Angstrom in {MOST_STEPS} steps; "
        "give a larger fmax or another potential"
    )


def crystal_energies(symbols: Sequence[str], calculator: Calculator, own: Sequence[Atoms] = ()) -> list[Atoms]:
    """The relaxed crystals that a model of these elements is measured from: `own`, else diamond silicon and quartz."""
    if own:
        return [relaxed(atoms, calculator) for atoms in own]
    chosen = []
    if "Si" in symbols:
        chosen.append(relaxed(diamond(), calculator))
    if set(symbols) == {"Si", "O"}:
        chosen.append(relaxed(quartz(), calculator))
    if not chosen or not set(symbols) <= {"Si", "O"}:
        raise UserError(
            f"no reference crystal for {'-'.join(symbols)}; give reference_crystals=[FILE] of these elements"
        )
    return chosen


def reference_for(atoms: Atoms, crystals: Sequence[Atoms]) -> Reference:
    """The lowest mixture of `crystals` with the composition of `atoms`; crystals have a calculator or stored energies.

    Raises UserError for a composition outside all mixtures, such as more oxygen than quartz has.
    """
    from scipy.optimize import linprog

    symbols = sorted(set(atoms.symbols))
    fitting = [one for one in crystals if set(one.symbols) <= set(symbols)]
    counts = np.array([[list(one.symbols).count(symbol) for symbol in symbols] for one in fitting], dtype=float).T
    wanted = np.array([list(atoms.symbols).count(symbol) for symbol in symbols], dtype=float)
    energies = np.array([one.get_potential_energy() for one in fitting])
    if len(fitting):
        # scaled by the atoms, so that the tolerances of the solver are relative
        found = linprog(energies / len(atoms), A_eq=counts / len(atoms), b_eq=wanted / len(atoms), method="highs")
        if found.success:
            used = [one for one, share in zip(fitting, found.x, strict=True) if share > 1e-9]
            name = " + ".join(one.get_chemical_formula(empirical=True) for one in used)
            return Reference(name, float(found.fun * len(atoms)))
    known = ", ".join(one.get_chemical_formula(empirical=True) for one in crystals)
    formula = atoms.get_chemical_formula(empirical=True)
    raise UserError(f"{formula} is no mixture of the crystals {known}; give reference_crystals=[FILE]")


def energy_above(atoms: Atoms, energy: float, crystals: Sequence[Atoms]) -> float:
    """Energy above the crystals in eV per atom, for a model with `energy` (eV)."""
    return (energy - reference_for(atoms, crystals).energy) / len(atoms)
