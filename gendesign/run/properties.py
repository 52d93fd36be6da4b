"""Properties of a run's candidates under readable names with units, for the table and the map of the report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gendesign.run.records import FINISHED
from gendesign.run.table import condition_name
from gendesign.structure.types import Candidate, Verdict

SMILES, SMILES_STEREO = "smiles", "smiles_stereo"  # checks whose value is a text
CANDIDATE, RESULT, FORMULA = "candidate", "result", "formula"  # properties that every candidate has
SHOWN_OTHERWISE = (FINISHED, FORMULA, SMILES, SMILES_STEREO, "screened")
METHODS = {"gfn2": "GFN2-xTB", "pm6": "PM6"}
PER_METHOD = {"strain": "strain energy", "rmsd": "RMSD on relaxation"}
# (name, unit) of numbers that candidates carry in `info`
MEASURED_BEFORE_SCREENING = {
    "energy": ("energy", "eV"),
    "formation_energy": ("formation energy", "eV"),
    "steps": ("relaxation steps", ""),
    "stress_max": ("largest stress", "GPa"),
}
# Numbers of checks whose own name says something else, and names that need more than spaces.
NUMBERS = {
    "converged": "largest force",
    "distances": "shortest distance / covalent radii",
    "edm_atoms": "share of EDM-stable atoms",
    "energy_per_formula": "energy per formula unit",
    "sa_score": "synthetic accessibility score",
    "small_rings": "three- and four-membered rings",
    "uncertainty": "uncertainty of the energy",
    "uncertainty_atom": "largest uncertainty of an atom",
    "volume_per_formula": "volume per formula unit",
}
CATEGORIES = {"edm_molecule": "EDM stable", "posebusters": "PoseBusters"}
FIRST = ("rank", "energy_above_best")  # checks that are read first
DIGITS = 9  # significant ones; total energies of crystals need them


@dataclass(frozen=True)
class Property:
    """One value per candidate, in their order: numbers (None where not measured) or texts."""

    name: str
    unit: str
    values: tuple[float | None, ...] | tuple[str, ...]

    @property
    def is_number(self) -> bool:
        """Whether all values are numbers or missing."""
        return not any(isinstance(value, str) for value in self.values)

    @property
    def varies(self) -> bool:
        """Whether candidates differ in it."""
        return len({value for value in self.values if value is not None}) > 1

    @property
    def title(self) -> str:
        """The name with its unit, such as "density (g/cm3)"."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def properties_of(
    candidates: Sequence[Candidate],
    verdicts: Mapping[int, Mapping[str, Verdict]],
    results: Mapping[int, str],
) -> list[Property]:
    """Everything measured of these candidates; properties that no candidate has are left out.

    verdicts: by candidate and check; results: the heading of each candidate's section on the page.
    """
    checks = list(dict.fromkeys(check for candidate in candidates for check in verdicts.get(candidate.index, {})))
    smiles = _texts(candidates, verdicts, SMILES)
    stereo = _texts(candidates, verdicts, SMILES_STEREO)
    properties = [
        Property(CANDIDATE, "", tuple(float(candidate.index) for candidate in candidates)),
        Property(RESULT, "", tuple(results.get(candidate.index, "") for candidate in candidates)),
        Property(FORMULA, "", tuple(candidate.atoms.get_chemical_formula("hill") for candidate in candidates)),
        *([Property("SMILES", "", smiles)] if any(smiles) else []),
        *([Property("SMILES with stereochemistry", "", stereo)] if stereo != smiles and any(stereo) else []),
    ]
    for check in FIRST:
        if check in checks:
            properties += _of_check(check, [verdicts.get(candidate.index, {}).get(check) for candidate in candidates])
    properties.append(Property("atoms", "", tuple(float(len(candidate.atoms)) for candidate in candidates)))
    for key, (name, unit) in MEASURED_BEFORE_SCREENING.items():
        properties.append(Property(name, unit, tuple(_number(candidate.info.get(key)) for candidate in candidates)))
    for check in checks:
        if check not in SHOWN_OTHERWISE and check not in FIRST:
            properties += _of_check(check, [verdicts.get(candidate.index, {}).get(check) for candidate in candidates])
    unique = {one.name: one for one in reversed(properties) if any(value not in (None, "") for value in one.values)}
    return list(reversed(unique.values()))


def number_text(value: float | None, unit: str = "") -> str:
    """A number for the eye: four significant digits, three decimals of large ones and of energies in eV."""
    if value is None:
        return ""
    if value == round(value) and abs(value) < 1e6:
        return f"{value:.0f}"
    large = 10 if unit.startswith("eV") else 1000
    return f"{value:.3f}" if large <= abs(value) < 1e6 else f"{value:.4g}"


def typeset(text: str) -> str:
    """Units as they are printed: Å, Å³, g/cm³ and degrees²."""
    for plain, printed in (("Angstrom", "Å"), ("Å^3", "Å³"), ("g/cm3", "g/cm³"), ("degrees^2", "degrees²")):
        text = text.replace(plain, printed)
    return text


def check_name(check: str) -> str:
    """A readable name of a measurement: "strain_pm6" is "strain energy, PM6"."""
    quantity, _, method = check.partition("_")
    if quantity in PER_METHOD and method:
        return f"{PER_METHOD[quantity]}, {METHODS.get(method, method.replace('_', ' '))}"
    return NUMBERS.get(check, condition_name(check))


def _of_check(check: str, verdicts: Sequence[Verdict | None]) -> list[Property]:
    """Its numbers, its texts, and whether it was passed where candidates differ in that."""
    values = [None if verdict is None else verdict.value for verdict in verdicts]
    unit = next((verdict.unit for verdict in verdicts if verdict is not None and verdict.unit), "")
    properties = []
    if any(isinstance(value, str) for value in values):
        texts = tuple(value if isinstance(value, str) else "" for value in values)
        properties.append(Property(check_name(check), unit, texts))
    elif any(_number(value) is not None for value in values):
        properties.append(Property(check_name(check), unit, tuple(_number(value) for value in values)))
    passed = [None if verdict is None else verdict.passed for verdict in verdicts]
    if len({answer for answer in passed if answer is not None}) > 1:
        name = CATEGORIES.get(check, condition_name(check))
        name = f"{name}, passed" if properties and name == properties[0].name else name
        answers = {True: "yes", False: "no", None: "not judged"}
        properties.append(Property(name, "", tuple(answers[answer] for answer in passed)))
    return properties


def _texts(
    candidates: Sequence[Candidate], verdicts: Mapping[int, Mapping[str, Verdict]], check: str
) -> tuple[str, ...]:
    rows = [verdicts.get(candidate.index, {}).get(check) for candidate in candidates]
    return tuple(row.value if row is not None and isinstance(row.value, str) else "" for row in rows)


def _number(value: object) -> float | None:
    """A finite number, and None for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    return float(f"{float(value):.{DIGITS}g}") if math.isfinite(float(value)) else None
