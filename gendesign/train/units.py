"""Checks that labels are in eV and Angstrom, by their consistency and by their size.

Consistency: between two neighbouring geometries the energy changes by the work of the forces, and between two cells by
the work of the stress as well. Size: energies and forces in the same wrong unit are consistent, but the stiffness of
bonds is some tens of eV/Angstrom^2, a hydrogen atom has -13.6 eV, and no molecule has a lower energy than all of its
electrons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units

from gendesign.errors import UserError
from gendesign.structure.label_units import ENERGIES, PRESSURES
from gendesign.structure.labels import isolated_energies, labels_of, stress_of
from gendesign.train.pairs import Pair, other_cell, same_cell

MIN_PAIRS = 5  # pairs that a check needs
MIN_CELL_PAIRS = 8  # pairs of cells that separate the work of forces from that of stress
CORRELATED = 0.9  # correlation of work and change above which the nearest pairs resolve factors of two
WORK, CORRELATED_WORK = (0.4, 2.5), (0.68, 1.47)  # ratios of change and work that pass
STIFF, STIFFNESS = (
    1.4,
    (0.25, 6.0),
)  # stiffness of real bonds relative to `pairs.bond_springs`, and the range that passes
STRESS_WORK = 8.0  # largest factor between the change of the energy and the work of the stress
STRESS = 1.0  # eV/Angstrom^3 (160 GPa), the largest plausible median stress
FORCE = 20.0  # eV/Angstrom, the largest plausible median of root mean square forces
CHANGE = 1e-3  # eV between two geometries, which forces must explain
BINDING = 4.0  # eV, approximate binding energy of an atom in a molecule
HYDROGEN = (-0.7, -0.35)  # an isolated hydrogen atom in Hartree, whatever the method
HYDROGEN_UNITS = {"kcal/mol": (-345.0, -220.0), "kJ/mol": (-1450.0, -950.0), "meV": (-15000.0, -9000.0)}
FORCE_UNITS = {
    **{f"{unit}/Angstrom": value for unit, value in ENERGIES.items()},
    "Hartree/Bohr": units.Hartree / units.Bohr,
    "eV/Bohr": 1 / units.Bohr,
    "Rydberg/Bohr": units.Rydberg / units.Bohr,
    "kJ/mol/nm": ENERGIES["kJ/mol"] / units.nm,
}
STRESS_UNITS = {"eV/Angstrom^3": 1.0, **PRESSURES, "Hartree/Bohr^3": units.Hartree / units.Bohr**3}
PER_ATOM = "per atom"
# Pairs of units of energies and forces, the most common first: both in the same system, or one of them not converted.
SYSTEMS = [
    *((unit, f"{unit}/Angstrom") for unit in ENERGIES if unit != "eV"),
    ("Hartree", "Hartree/Bohr"), ("Rydberg", "Rydberg/Bohr"), ("kJ/mol", "kJ/mol/nm"),
    *((unit, "eV/Angstrom") for unit in (*ENERGIES, PER_ATOM) if unit != "eV"),
    *(("eV", unit) for unit in FORCE_UNITS if unit != "eV/Angstrom"),
]  # fmt: skip
SYSTEMS += [(energy, f"-{force}") for energy, force in [("eV", "eV/Angstrom"), *SYSTEMS]]
ADVICE = "or set check_units=false if they are right"


@dataclass(frozen=True)
class Evidence:
    """Measurements on pairs of neighbouring geometries; NaN if there are too few pairs.

    ratio: change of the energy over the work of the forces, negative if they have opposite signs. precise: whether it
    resolves factors of two. stiffness: of bonds relative to usual ones, negative likewise. pairs: their number. atoms:
    mean number of atoms.
    """

    ratio: float = float("nan")
    precise: bool = False
    stiffness: float = float("nan")
    pairs: int = 0
    atoms: float = float("nan")

    @property
    def consistent(self) -> bool:
        """Whether energies and forces are consistent, as far as the pairs can show."""
        low, high = CORRELATED_WORK if self.precise else WORK
        return not np.isfinite(self.ratio) or low < self.ratio < high

    @property
    def usual(self) -> bool:
        """Whether the stiffness of bonds is usual, as far as the pairs can show."""
        return not np.isfinite(self.stiffness) or STIFFNESS[0] < self.stiffness < STIFFNESS[1]

    @property
    def confirmed(self) -> bool:
        """Whether the pairs confirm that the labels are in eV and Angstrom."""
        return bool(np.isfinite(self.ratio) and np.isfinite(self.stiffness) and self.consistent and self.usual)


def evidence(frames: Sequence[Atoms]) -> Evidence:
    """The work of the forces and the stiffness of bonds between neighbouring geometries among `frames`."""
    every = same_cell(frames)
    pairs = [pair for pair in every if pair.keeps_bonds]
    pairs = pairs if len(pairs) >= MIN_PAIRS else every
    ratio, precise, atoms = float("nan"), False, float("nan")
    if len(pairs) >= MIN_PAIRS:
        atoms = float(np.mean([len(pair.atoms) for pair in pairs]))
        ratio, agreement = _compared(pairs)
        near = sorted(pairs, key=lambda pair: float(np.square(pair.step).sum(1).mean()))[
            : max(MIN_CELL_PAIRS, len(pairs) // 3)
        ]
        if len(near) >= MIN_CELL_PAIRS and abs((nearest := _compared(near))[1]) > CORRELATED:
            ratio, agreement, precise = *nearest, True
        ratio = -ratio if agreement < -0.3 else ratio
    cells = other_cell(frames)
    if not np.isfinite(ratio) and np.isfinite(share := _shares(cells)[0]):
        ratio, atoms = share, float(np.mean([len(pair.atoms) for pair in cells]))
    return Evidence(ratio, precise, _stiffness([*pairs, *cells]), len(pairs) + len(cells), atoms)


def _shares(cells: Sequence[Pair]) -> tuple[float, float]:
    """Least-squares shares of the work of forces and of stress in the change of the energy between cells.

    NaN for too few pairs, or if the two works do not explain the change.
    """
    rows = np.array([(pair.work, pair.strain_work, pair.change) for pair in cells]).reshape(-1, 3)
    if len(rows) < MIN_CELL_PAIRS or not rows.any(0).all():
        return float("nan"), float("nan")
    scale = np.linalg.norm(rows, axis=0)
    shares, *_ = np.linalg.lstsq(rows[:, :2] / scale[:2], rows[:, 2] / scale[2], rcond=None)
    residual = np.linalg.norm(rows[:, :2] / scale[:2] @ shares - rows[:, 2] / scale[2])
    if residual > 0.5 or abs(shares[0]) < 0.2:  # a share of small weight is not determined
        return float("nan"), float("nan")
    forces, stress = shares / scale[:2] * scale[2]
    return float(forces), float(stress)


def _compared(pairs: Sequence[Pair]) -> tuple[float, float]:
    """(root mean square change over that of the work, their correlation)."""
    changes, works = np.array([(pair.change, pair.work) for pair in pairs]).T
    if not works.any():
        return float("nan"), 0.0
    agreement = works @ changes / max(np.linalg.norm(works) * np.linalg.norm(changes), 1e-300)
    return float(np.linalg.norm(changes) / np.linalg.norm(works)), float(agreement)


def _stiffness(pairs: Sequence[Pair]) -> float:
    """Slope of the tension of bonds against that of springs; NaN for too few pairs or without correlation."""
    if len(pairs) < MIN_PAIRS:
        return float("nan")
    labelled, expected = (np.concatenate(parts) for parts in zip(*(pair.bond_forces() for pair in pairs), strict=True))
    norm = np.linalg.norm(labelled) * np.linalg.norm(expected)
    if norm == 0 or abs(labelled @ expected) < 0.5 * norm:
        return float("nan")
    return float(labelled @ expected / (expected @ expected))


def check_units(frames: Sequence[Atoms], atomic_energies: Mapping[int, float], cutoff: float = 6.0) -> None:
    """Raise UserError for labels that are not in eV and Angstrom; it names the likely unit and the conversion.

    `atomic_energies` (eV by atomic number) are those of isolated atoms, or the least-squares share of each element;
    `cutoff` (Angstrom) is where an isolated atom has no neighbour.
    """
    _check_zeros(frames)
    measured = evidence(frames)
    if not (measured.consistent and measured.usual):
        raise UserError(_wrong_pair(measured))
    _check_hydrogen(atomic_energies, isolated_energies(frames, cutoff), measured)
    _check_size(frames, measured)
    _check_stress(frames)


def _check_zeros(frames: Sequence[Atoms]) -> None:
    """Refuse forces and stresses that are exactly zero, except for forces of symmetric crystals."""
    for name, some in (
        ("molecules", [frame for frame in frames if len(frame) > 1 and not frame.pbc.any()]),
        ("crystals", [frame for frame in frames if len(frame) > 1 and frame.pbc.any()]),
    ):
        zero = sum(not labels_of(frame)[1].any() for frame in some)
        if zero < MIN_PAIRS or zero <= len(some) / 2 or (name == "crystals" and not _energy_changes(some)):
            continue
        raise UserError(
            f"forces are exactly zero in {zero} of {len(some)} {name}, as where they were never computed; "
            f"leave these structures out or name the forces by labels.forces, {ADVICE}"
        )
    tensions = [tension for frame in frames if np.isfinite(tension := stress_of(frame)).all()]
    zero = sum(not tension.any() for tension in tensions)
    if zero >= MIN_PAIRS and zero > len(tensions) / 2:
        raise UserError(
            f"stresses are exactly zero in {zero} of {len(tensions)} crystals, as where they were never computed; "
            f"leave them unused by labels.stress=none, {ADVICE}"
        )


def _energy_changes(crystals: Sequence[Atoms]) -> bool:
    """Whether the energy changes between geometries of one cell although all of their forces are zero."""
    without_forces = [frame for frame in crystals if not labels_of(frame)[1].any()]
    changes = [abs(pair.change) for pair in same_cell(without_forces)]
    return len(changes) >= MIN_PAIRS and float(np.median(changes)) > CHANGE


def _check_hydrogen(energies: Mapping[int, float], isolated: Mapping[int, float], measured: Evidence) -> None:
    energy, is_isolated = energies.get(1, isolated.get(1, 0.0)), 1 in isolated
    unit = "Hartree" if HYDROGEN[0] < energy < HYDROGEN[1] and (is_isolated or not measured.confirmed) else None
    if is_isolated:
        unit = next((name for name, (low, high) in HYDROGEN_UNITS.items() if low < energy < high), unit)
    if unit:
        raise UserError(
            f"a hydrogen atom has {energy:.4g} eV, which looks like its energy in {unit}; "
            f"convert by labels.energy_unit={unit} (and labels.force_unit={unit}/Angstrom, or what it is), {ADVICE}"
        )


def _wrong_pair(measured: Evidence) -> str:
    reasons = []
    if not measured.consistent:
        reasons.append(
            f"over {measured.pairs} pairs of neighbouring geometries energies change by {measured.ratio:.3g} of the "
            "forces' work"
        )
    if not measured.usual:
        reasons.append(f"bonds come out {measured.stiffness / STIFF:.3g} times as stiff as bonds are")
    guesses = _guesses(measured)
    if not guesses:
        return (
            f"{' and '.join(reasons)}, so energies and forces are not consistent in eV and eV/Angstrom; give "
            f"their units by labels.energy_unit and labels.force_unit, {ADVICE}"
        )
    names = " or ".join(dict.fromkeys(name for name, _ in guesses))
    advice = guesses[0][1]
    return f"{' and '.join(reasons)}, as with {names}; {advice}, {ADVICE}"


def _guesses(measured: Evidence) -> list[tuple[str, str]]:
    """(likely units, conversion), the most likely first."""
    guesses = []
    for energy, force in SYSTEMS:
        e = 1 / (measured.atoms if energy == PER_ATOM else ENERGIES[energy])
        f = 1 / FORCE_UNITS[force.removeprefix("-")] * (-1 if force.startswith("-") else 1)
        off = []
        if np.isfinite(measured.ratio):
            off.append(_off(measured.ratio, e / f, 0.35 if measured.precise else 0.9))
        if np.isfinite(measured.stiffness):
            off.append(_off(measured.stiffness / STIFF, f, 1.1))
        if off and max(off) < 1:
            guesses.append((max(off) + 0.3 * force.startswith("-"), energy, force))
    guesses.sort(key=lambda guess: guess[0])
    near = [guess for guess in guesses if guess[0] < guesses[0][0] + 0.4]
    return [(_described(energy, force), _conversion(energy, force)) for _, energy, force in near[:3]]


def _off(value: float, wanted: float, width: float) -> float:
    """Deviation of the logarithm of a value from that of `wanted`, in widths; infinite for opposite signs."""
    return abs(float(np.log(value / wanted))) / width if value * wanted > 0 else float("inf")


def _described(energy: str, force: str) -> str:
    parts = []
    if energy == PER_ATOM:
        parts.append("energies per atom")
    elif energy != "eV":
        parts.append(f"energies in {energy}")
    if force.startswith("-"):
        parts.append("gradients in place of forces")
    if (unit := force.removeprefix("-")) != "eV/Angstrom":
        parts.append(f"forces in {unit}")
    return " and ".join(parts)


def _conversion(energy: str, force: str) -> str:
    if energy == PER_ATOM:
        return "give total energies in eV and forces in eV/Angstrom"
    keys = [f"labels.energy_unit={energy}"] if energy != "eV" else []
    keys += [f"labels.force_unit={force}"] if force != "eV/Angstrom" else []
    return f"convert by {' '.join(keys)}"


def _check_size(frames: Sequence[Atoms], measured: Evidence) -> None:
    """Refuse energies below those of all electrons, and implausibly large forces."""
    some = [frame for frame in frames[:: max(1, len(frames) // 500)] if len(frame) > 1]
    if not some:
        return
    energies, forces = zip(*(labels_of(frame) for frame in some), strict=True)
    wholes = [sum(map(all_electrons, frame.numbers)) - BINDING * len(frame) for frame in some]
    shares = np.array(energies) / wholes
    share = float(np.median(shares))
    unit = None
    if share > 1.5:  # the unit nearest to all-electron or valence-electron energies
        unit = min(("kcal/mol", "kJ/mol", "meV"), key=lambda name: _distance(share * ENERGIES[name]))
    elif not measured.confirmed and np.abs(shares * units.Hartree - 1).max() < 0.01:
        unit = "Hartree"
    if unit:
        raise UserError(
            f"energies are {share:.3g} of what all electrons of these atoms have in eV, as with {unit}; convert by "
            f"labels.energy_unit={unit} (and labels.force_unit={unit}/Angstrom, or what it is), {ADVICE}"
        )
    typical = float(np.median([np.sqrt(np.square(one).sum(1).mean()) for one in forces]))
    if typical > FORCE and not measured.confirmed:
        raise UserError(
            f"half of the structures have forces beyond {typical:.3g} eV/Angstrom, as with kcal/mol/Angstrom or "
            f"kJ/mol/Angstrom; convert by labels.energy_unit=kcal/mol labels.force_unit=kcal/mol/Angstrom, {ADVICE}"
        )


def _distance(share: float) -> float:
    """Distance of a share of the all-electron energy from that of methods with all, or with valence electrons only."""
    return 0.0 if 0.05 < share < 0.25 or 0.95 < share < 1.05 else min(abs(np.log(share)), abs(np.log(share / 0.1)))


def all_electrons(number: int) -> float:
    """Energy (eV) of an atom with all its electrons, to a per cent or two: the Thomas-Fermi series."""
    z = float(number)
    return -units.Hartree * (0.5 if number == 1 else 0.7687 * z ** (7 / 3) - 0.5 * z**2 + 0.2699 * z ** (5 / 3))


def _check_stress(frames: Sequence[Atoms]) -> None:
    tensions = [tension for frame in frames if np.isfinite(tension := stress_of(frame)).all()]
    if not tensions:
        return
    factor, negative, pairs = _stress_factor(frames)
    largest = float(np.median([np.abs(tension).max() for tension in tensions]))
    if factor is None and not negative and largest < STRESS:
        return
    sign = "-" if negative else ""
    if factor is None and largest >= STRESS:
        near = ["kB", "GPa"] if largest > 30 else ["GPa", "kB"]
        reason = f"stresses reach {largest:.3g} eV/Angstrom^3 ({largest / units.GPa:.3g} GPa) in half of the crystals"
    elif factor is None:
        near = ["eV/Angstrom^3"]
        reason = f"over {pairs} pairs of neighbouring cells the energy changes against the stress, as with VASP's sign"
    else:
        near = sorted(STRESS_UNITS, key=lambda name: abs(np.log(STRESS_UNITS[name] / factor)))[:1]
        reason = f"over {pairs} pairs of neighbouring cells the energy changes by {factor:.3g} of the stress's work"
        reason += ", and against it, as with VASP's sign" if negative else ""
    names = " or ".join(near)
    raise UserError(
        f"{reason}{f', as with {names}' if near[0] != 'eV/Angstrom^3' else ''}; "
        f"convert by labels.stress_unit={sign}{near[0]}, {ADVICE}"
    )


def _stress_factor(frames: Sequence[Atoms]) -> tuple[float | None, bool, int]:
    """(change of the energy over the work of the stress, None if plausible; whether signs are opposite; pairs)."""
    pairs = other_cell(frames)
    rest, works = np.array([(pair.change - pair.work, pair.strain_work) for pair in pairs]).reshape(-1, 2).T
    if len(pairs) < MIN_PAIRS or not works.any() or not rest.any():
        return None, False, len(pairs)
    agreement = works @ rest / (np.linalg.norm(works) * np.linalg.norm(rest))
    ratio = float(np.linalg.norm(rest) / np.linalg.norm(works))
    # errors of the work of the forces grow with displacements and can only raise the apparent ratio
    wrong = ratio < 1 / STRESS_WORK or (ratio > STRESS_WORK and abs(agreement) > 0.7)
    return ratio if wrong else None, bool(agreement < -0.5), len(pairs)
