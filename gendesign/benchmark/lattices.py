"""Lattices of perovskites from the potential, compared with published experimental lattices."""

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

WITHIN, FOLLOWED = "<= 5", "<= 3"  # percent deviation from experiment and from the teacher


@dataclass(frozen=True)
class Lattice:
    """The lattice of a layered perovskite.

    spacing: distance of the layers (Angstrom). area: area of the plane per metal (Angstrom^2). longer, shorter:
    in-plane lengths (Angstrom) of the cell of two metals (sqrt2 x sqrt2).
    """

    spacing: float
    area: float
    longer: float
    shorter: float

    @classmethod
    def of(cls, known: KnownCell, compound: Compound) -> "Lattice":
        """The lattice of a published cell."""
        setting = possible_settings(compound, known)[0]
        area, longer, shorter = in_plane(setting.cell[:2], 2)
        return cls(float(setting.cell[2, 2]) / setting.layers, area, longer, shorter)


NAMES = {
    "spacing": ("layer spacing", "Angstrom"),
    "area": ("area per metal", "Angstrom^2"),
    "longer": ("longer in-plane length", "Angstrom"),
    "shorter": ("shorter in-plane length", "Angstrom"),
}
# Crystallographic literature. (Butylammonium)2PbI4: room temperature, and the phase that is stable below 274 K,
# measured at 223 K and closer to a relaxation at 0 K (Billing, Lemmerer, Acta Cryst. B 63, 735, 2007).
# (Phenethylammonium)2PbI4: triclinic, spacing and in-plane lengths to two digits.
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
# Names of the crystals that the teacher may have relaxed.
TAUGHT = (*MATERIALS, *(f"{name}, {phase}" for name, phases in PHASES.items() for phase in phases))
CUBIC = {"CsPbI3": 6.29, "CsPbBr3": 5.87}  # Angstrom, above 600 and 403 K
CUBIC_LIMITS = Relaxation("fire", 0.005, 500, cell=True, max_stress=0.01)  # tight, because five atoms are cheap


def in_plane(vectors: np.ndarray, metals: int) -> tuple[float, float, float]:
    """Area per metal (Angstrom^2), and longer and shorter length (Angstrom) of the most nearly square cell of two
    metals.

    vectors: (2, 3) in Angstrom, a planar cell with `metals` metals. The result does not depend on the choice of this
    cell, because the metals form a nearly square lattice.
    """
    cell = np.vstack([vectors, np.cross(*vectors) / np.linalg.norm(np.cross(*vectors))])
    cell = minkowski_reduce(cell, pbc=(True, True, False))[0][:2]
    # In a cell with more than one metal, halves of the vectors are translations between metals.
    steps = np.arange(-2, 2.1, 1.0 if metals == 1 else 0.5)
    choices = np.array(list(product(steps, repeat=4))).reshape(-1, 2, 2)
    choices = choices[np.isclose(np.abs(np.linalg.det(choices)), 2 / metals)]
    cells = choices @ cell
    lengths = np.linalg.norm(cells, axis=-1)
    cosines = (cells[:, 0] * cells[:, 1]).sum(-1) / lengths.prod(-1)
    best = int(np.argmin(np.log(lengths[:, 0] / lengths[:, 1]) ** 2 + cosines**2))
    area = float(np.linalg.norm(np.cross(*cell))) / metals
    return area, float(lengths[best].max()), float(lengths[best].min())


def lattice_of(atoms: Atoms, layers: int) -> Lattice:
    """The lattice of a crystal with `layers` layers, which are parallel to its first two vectors."""
    return Lattice(layer_spacing(atoms, layers), *in_plane(atoms.cell.array[:2], len(metals_of(atoms)) // layers))


def deviation(value: float, reference: float) -> float:
    """Absolute relative deviation from the reference, in percent."""
    return 100 * abs(value / reference - 1)


def lattice_rows(
    title: str, lattice: Lattice | None, phases: Mapping[str, Lattice], target: str | None = WITHIN
) -> list[Row]:
    """Every length and its deviation from that of each experimental phase; no values without a lattice."""
    rows, n = [], int(lattice is not None)
    for key, (name, unit) in NAMES.items():
        value = None if lattice is None else asdict(lattice)[key]
        rows.append(Row(f"{title}: {name}", value, unit, n))
        for phase, measured in phases.items():
            expected = asdict(measured)[key]
            error = None if value is None else deviation(value, expected)
            rows.append(Row(f"{title}: {name}, off the {phase} ({expected:.4g})", error, "%", n, target))
    return rows


def nearest_rows(title: str, ranked: Sequence[tuple[Lattice, float]], phase: str, measured: Lattice) -> list[Row]:
    """Rank and energy above the best (eV per formula unit) of the first crystal with all lengths within WITHIN.

    ranked: lattices and energies (eV per formula unit) in ascending order of energy.
    """
    least = float(WITHIN.split()[1])
    for rank, (lattice, energy) in enumerate(ranked, 1):
        if all(deviation(asdict(lattice)[key], asdict(measured)[key]) <= least for key in NAMES):
            values, n = (float(rank), energy - ranked[0][1]), 1
            break
    else:
        values, n = (None, None), 0
    title = f"{title}, first converged one with all lengths within {least:g} % of the {phase}"
    names = (("rank", "rank"), ("above the best", "eV per formula unit"))
    return [Row(f"{title}: {name}", value, unit, n) for (name, unit), value in zip(names, values, strict=True)]


def followed_rows(name: str, taught: Lattice, relaxed: Lattice | None) -> list[Row]:
    """Deviations of the lengths after relaxing the teacher's crystal with the potential (None: not converged)."""
    rows = []
    for key, (what, _) in NAMES.items():
        error = None if relaxed is None else deviation(asdict(relaxed)[key], asdict(taught)[key])
        title = f"{name}, the teacher's crystal relaxed: {what}, off teacher ({asdict(taught)[key]:.4g})"
        rows.append(Row(title, error, "%", int(relaxed is not None), FOLLOWED))
    return rows


def cubic_start(formula: str) -> Atoms:
    """A cubic perovskite AMX3 of five atoms with the metal-halide distance of the builder."""
    a_site, metal, halide = parse_formula(formula)
    scaled = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    numbers = [atomic_numbers[symbol] for symbol in (a_site, metal, halide, halide, halide)]
    return Atoms(numbers, scaled_positions=scaled, cell=[2 * BOND[metal][halide]] * 3, pbc=True)


def cubic_length(atoms: Atoms) -> float:
    """The cube root of the volume per metal in Angstrom: the lattice constant of a cubic cell or a multiple."""
    return float(np.cbrt(atoms.get_volume() / len(metals_of(atoms))))


def cubic_rows(formula: str, candidate: Candidate, taught: Atoms | None) -> list[Row]:
    """Lattice constants of a relaxed cubic cell and of the teacher's cell. Symmetry keeps the cell cubic."""
    done = candidate.failure is None and candidate.info["converged"]
    rows, measured = [], CUBIC[formula]
    for kind, atoms in (("cubic", candidate.atoms if done else None), ("cubic, teacher", taught)):
        value = None if atoms is None else cubic_length(atoms)
        title, n = f"{formula}, {kind}: lattice constant", 0 if value is None else 1
        rows.append(Row(title, value, "Angstrom", n))
        rows.append(Row(f"{title}, off experiment ({measured:.4g})", value and deviation(value, measured), "%", n))
    if taught is not None:
        predicted, teacher = rows[0].value, cubic_length(taught)
        title = f"{formula}, cubic: lattice constant, off teacher ({teacher:.4g})"
        rows.append(Row(title, predicted and deviation(predicted, teacher), "%", int(done), FOLLOWED))
    return rows


def teacher_cells(file: str | None) -> dict[str, Candidate]:
    """The crystals relaxed by the teacher, by name; empty without a file. Raises UserError for unknown names.

    The info of each structure holds its name as `material` and, for a layered crystal, its number of layers as `layers`
    (default 1). Layers are parallel to the first two vectors.
    """
    crystals = {}
    for candidate in [] if file is None else read_structures([file]):
        name, allowed = candidate.info.get("material"), (*TAUGHT, *CUBIC)
        if name not in allowed:
            raise UserError(
                f"perovskites.teacher_cells={file}, structure {candidate.index + 1} has material={name}; allowed are "
                f"{'; '.join(allowed)}"
            )
        crystals[name] = candidate
    return crystals
