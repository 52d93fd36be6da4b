"""Lattices of perovskites that were measured long ago, beside those that the potential gives."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.geometry import minkowski_reduce

from gendesign.benchmark.record import Row
from gendesign.benchmark.search import Material
from gendesign.errors import UserError
from gendesign.generate.perovskite.compound import BOND, Compound
from gendesign.generate.perovskite.known_cell import KnownCell, possible_settings
from gendesign.relaxation import Relaxation
from gendesign.structure.files import read_structures
from gendesign.structure.formula import parse_formula
from gendesign.structure.perovskite import layer_spacing, metals_of
from gendesign.structure.types import Candidate

WITHIN, FOLLOWED = "<= 5", "<= 3"  # percent of experiment, and of the teacher


@dataclass(frozen=True)
class Lattice:
    """Of a layered perovskite, Angstrom and Angstrom^2: distance of its layers, area of the plane per metal, and both
    in-plane lengths of the cell of two metals (sqrt2 x sqrt2)."""

    spacing: float
    area: float
    longer: float
    shorter: float

    @classmethod
    def of(cls, known: KnownCell, compound: Compound) -> "Lattice":
        """That of a published cell."""
        setting = possible_settings(compound, known)[0]
        area, longer, shorter = in_plane(setting.cell[:2], 2)
        return cls(float(setting.cell[2, 2]) / setting.layers, area, longer, shorter)


NAMES = {
    "spacing": ("layer spacing", "Angstrom"),
    "area": ("area per metal", "Angstrom^2"),
    "longer": ("longer in-plane length", "Angstrom"),
    "shorter": ("shorter in-plane length", "Angstrom"),
}
# Crystallographic literature: (butylammonium)2PbI4 at room temperature; (phenethylammonium)2PbI4, spacing and in-plane
# lengths to two digits, triclinic. Of the former another phase is the stable one below 274 K, nearer to a relaxation at
# 0 K: at 223 K (Billing, Lemmerer, Acta Cryst. B 63, 735, 2007).
PHASES = {
    "BA2PbI4": {
        "room-temperature phase": KnownCell((8.88, 8.69, 27.60), "Pbca"),
        "cold phase": KnownCell((8.428, 8.986, 26.233), "Pbca"),
    },
    "PEA2PbI4": {"published phase": KnownCell((8.7, 8.7, 16.4), "P-1")},
}
MATERIALS = {
    "BA2PbI4": Material("CCCC[NH3+]", "Pb", "I"),
    "PEA2PbI4": Material("c1ccccc1CC[NH3+]", "Pb", "I"),
}
TAUGHT = (*MATERIALS, *(f"{name}, {phase}" for name, phases in PHASES.items() for phase in phases))  # by the teacher
CUBIC = {"CsPbI3": 6.29, "CsPbBr3": 5.87}  # Angstrom, above 600 and 403 K
CUBIC_LIMITS = Relaxation("fire", 0.005, 500, cell=True, max_stress=0.01)  # tight, as five atoms cost nothing


def in_plane(vectors: np.ndarray, metals: int) -> tuple[float, float, float]:
    """Area per metal and both lengths, the longer one first, of the cell of two metals nearest to a square.

    vectors (2, 3) of a planar cell with so many metals (Angstrom): any cell of the same plane, whichever vectors and
    however many metals, gives the same numbers, as those sit on a lattice that is nearly square.
    """
    cell = np.vstack([vectors, np.cross(*vectors) / np.linalg.norm(np.cross(*vectors))])
    cell = minkowski_reduce(cell, pbc=(True, True, False))[0][:2]
    # Translations from metal to metal are halves of the vectors where a cell holds more than one.
    steps = np.arange(-2, 2.1, 1.0 if metals == 1 else 0.5)
    choices = np.array(list(product(steps, repeat=4))).reshape(-1, 2, 2)
    choices = choices[np.isclose(np.abs(np.linalg.det(choices)), 2 / metals)]
    made = choices @ cell
    lengths = np.linalg.norm(made, axis=-1)
    cosines = (made[:, 0] * made[:, 1]).sum(-1) / lengths.prod(-1)
    best = int(np.argmin(np.log(lengths[:, 0] / lengths[:, 1]) ** 2 + cosines**2))
    area = float(np.linalg.norm(np.cross(*cell))) / metals
    return area, float(lengths[best].max()), float(lengths[best].min())


def lattice_of(atoms: Atoms, layers: int) -> Lattice:
    """Of a layered crystal whose layers, so many of them, are parallel to its first two vectors."""
    return Lattice(layer_spacing(atoms, layers), *in_plane(atoms.cell.array[:2], len(metals_of(atoms)) // layers))


def deviation(value: float, true: float) -> float:
    """How far the value is from the true one, in percent, without its sign."""
    return 100 * abs(value / true - 1)


def lattice_rows(
    title: str, found: Lattice | None, phases: Mapping[str, Lattice], target: str | None = WITHIN
) -> list[Row]:
    """Every length and its deviation from the measured ones of each phase; None for what was not found."""
    rows, n = [], int(found is not None)
    for key, (name, unit) in NAMES.items():
        value = None if found is None else asdict(found)[key]
        rows.append(Row(f"{title}: {name}", value, unit, n))
        for phase, lattice in phases.items():
            wanted = asdict(lattice)[key]
            apart = None if value is None else deviation(value, wanted)
            rows.append(Row(f"{title}: {name}, off the {phase} ({wanted:.4g})", apart, "%", n, target))
    return rows


def nearest_rows(title: str, ranked: Sequence[tuple[Lattice, float]], phase: str, true: Lattice) -> list[Row]:
    """Rank and energy above the first (eV per formula unit) of the lowest crystal with all lengths within WITHIN."""
    least = float(WITHIN.split()[1])
    for rank, (found, energy) in enumerate(ranked, 1):
        if all(deviation(asdict(found)[key], asdict(true)[key]) <= least for key in NAMES):
            values, n = (float(rank), energy - ranked[0][1]), 1
            break
    else:
        values, n = (None, None), 0
    title = f"{title}, first converged one with all lengths within {least:g} % of the {phase}"
    names = (("rank", "rank"), ("above the best", "eV per formula unit"))
    return [Row(f"{title}: {name}", value, unit, n) for (name, unit), value in zip(names, values, strict=True)]


def followed_rows(name: str, taught: Lattice, found: Lattice | None) -> list[Row]:
    """How far the potential's own minimum (None: not converged) has moved from the teacher's crystal, each length."""
    rows = []
    for key, (what, _) in NAMES.items():
        apart = None if found is None else deviation(asdict(found)[key], asdict(taught)[key])
        title = f"{name}, the teacher's crystal relaxed: {what}, off teacher ({asdict(taught)[key]:.4g})"
        rows.append(Row(title, apart, "%", int(found is not None), FOLLOWED))
    return rows


def cubic_start(formula: str) -> Atoms:
    """The cubic perovskite AMX3 of five atoms with the builder's metal-halide distance."""
    a_site, metal, halide = parse_formula(formula)
    scaled = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    numbers = [atomic_numbers[symbol] for symbol in (a_site, metal, halide, halide, halide)]
    return Atoms(numbers, scaled_positions=scaled, cell=[2 * BOND[metal][halide]] * 3, pbc=True)


def cubic_length(atoms: Atoms) -> float:
    """The cube root of the volume per metal in Angstrom: the lattice constant of a cubic cell or a multiple."""
    return float(np.cbrt(atoms.get_volume() / len(metals_of(atoms))))


def cubic_rows(formula: str, candidate: Candidate, taught: Atoms | None) -> list[Row]:
    """The lattice constant of a relaxed cubic cell, which its symmetry keeps cubic, and the teacher's."""
    done = candidate.failure is None and candidate.info["converged"]
    rows, true = [], CUBIC[formula]
    for way, atoms in (("cubic", candidate.atoms if done else None), ("cubic, teacher", taught)):
        value = None if atoms is None else cubic_length(atoms)
        title, n = f"{formula}, {way}: lattice constant", 0 if value is None else 1
        rows.append(Row(title, value, "Angstrom", n))
        rows.append(Row(f"{title}, off experiment ({true:.4g})", value and deviation(value, true), "%", n))
    if taught is not None:
        own, teacher = rows[0].value, cubic_length(taught)
        title = f"{formula}, cubic: lattice constant, off teacher ({teacher:.4g})"
        rows.append(Row(title, own and deviation(own, teacher), "%", int(done), FOLLOWED))
    return rows


def teacher_cells(file: str | None) -> dict[str, Candidate]:
    """The teacher's relaxed crystals by name, of which a file may hold some; raises UserError.

    Each structure states its name as `material`; a layered one its number of layers, 1 if not said, as `layers`, and
    these are parallel to its first two vectors.
    """
    found = {}
    for candidate in [] if file is None else read_structures([file]):
        name, allowed = candidate.info.get("material"), (*TAUGHT, *CUBIC)
        if name not in allowed:
            raise UserError(
                f"perovskites.teacher_cells={file}, structure {candidate.index + 1} has material={name}; allowed are "
                f"{'; '.join(allowed)}"
            )
        found[name] = candidate
    return found
