"""Judge amorphous models: finite, no atoms too close, density, energy, and the stages that made each of them."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np

from gendesign.fields import check_bounds, setting
from gendesign.screening.method import ScreeningContext, ScreeningSession
from gendesign.screening.validity import convergence, shortest_distance, unusable
from gendesign.structure.cells import CELL, cif, density
from gendesign.structure.types import Candidate, TableRow, Verdict

MEASURES = {
    "density": "g/cm3",
    "energy_per_atom": "eV/atom",
    "shortest_distance": "of the covalent radii",
    "cooling_rate": "K/ps",
    "unlikeness": "",
}
PASSED = ("finished", "converged", "valid")


@dataclass(frozen=True)
class AmorphousScreening:
    """Checks and measurements of amorphous models; raises UserError for settings out of their bounds."""

    min_ratio: float = setting(
        0.7, "shortest distance of a valid model, relative to the sum of two covalent radii", least=0
    )
    density_range: tuple[float, float] = setting(
        (0.0, 25.0), "densities of a valid model, smallest and largest", unit="g/cm3", least=0
    )
    kept: int = setting(10, "lowest models in energy that are written as CIF", least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "screening")

    @property
    def needs_potential(self) -> bool:
        """False: the energies are those of the relaxation."""
        return False

    def open(self, context: ScreeningContext) -> "AmorphousSession":
        """The screening of one run (screening/method.py)."""
        return AmorphousSession(self)


@dataclass(frozen=True)
class AmorphousSession(ScreeningSession):
    """The screening of one run."""

    settings: AmorphousScreening

    def screen_each(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """`converged`, `valid` (finite, no atoms too close, density within bounds), `formula` and MEASURES."""
        return [verdict for candidate in candidates for verdict in self._judge(candidate)]

    def _judge(self, candidate: Candidate) -> list[Verdict]:
        index = candidate.index
        if fault := unusable(candidate):
            return [*convergence(candidate), Verdict(index, "valid", False, reason=fault)]
        measured = self._measured(candidate)
        fault = self._fault(measured["shortest_distance"], measured["density"])
        formula = candidate.atoms.get_chemical_formula("hill")
        return [
            *convergence(candidate),
            Verdict(index, "formula", None, formula),
            Verdict(index, "valid", not fault, reason=fault),
            *(
                Verdict(index, check, None, value, MEASURES[check])
                for check, value in measured.items()
                if value is not None
            ),
        ]

    def _fault(self, ratio: float | None, dense: float | None) -> str:
        low, high = self.settings.density_range
        if ratio is not None and ratio < self.settings.min_ratio:
            return f"two atoms at {ratio:.2f} of the sum of their covalent radii, below {self.settings.min_ratio:g}"
        if dense is not None and not low <= dense <= high:
            return f"density {dense:.3f} g/cm3, outside {low:g} to {high:g}"
        return ""

    def _measured(self, candidate: Candidate) -> dict[str, float | None]:
        atoms, info = candidate.atoms, candidate.info
        energy = info.get("energy")
        return {
            "density": density(atoms) if all(atoms.pbc) else None,
            "energy_per_atom": None if energy is None else float(energy) / len(atoms),
            "shortest_distance": min(shortest_distance(atoms), 2.0),
            "cooling_rate": _number(info.get("cooling_rate")),
            "unlikeness": _number(info.get("unlikeness")),
        }

    def summarise(self, verdicts: Sequence[Verdict], n: int) -> list[TableRow]:
        """Shares of all attempts, then means over the valid models with the standard deviation between them."""
        rows: list[TableRow] = []
        for check in PASSED:
            of_check = [v for v in verdicts if v.check == check and v.passed is not None]
            if of_check:
                passed = sum(v.passed is True for v in of_check)
                rows.append({"name": check, "value": passed / n if n else None, "unit": "fraction", "n": n})
        valid = {v.candidate for v in verdicts if v.check == "valid" and v.passed}
        for check, unit in MEASURES.items():
            values = [float(v.value) for v in verdicts if v.check == check and v.candidate in valid and _is_number(v)]
            if values:
                name = check.replace("_", " ")
                rows.append({"name": name, "value": mean(values), "unit": unit, "n": len(values)})
                if len(values) > 1 and check != "cooling_rate":
                    spread = stdev(values)
                    rows.append({"name": f"{name}, deviation", "value": spread, "unit": unit, "n": len(values)})
        return rows

    @property
    def headlines(self) -> Sequence[str]:
        """How the models ended, and their means."""
        return (*PASSED, *(check.replace("_", " ") for check in MEASURES))

    def files(self, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> dict[str, str]:
        """models.csv, a line for each; stages.txt, the stages with their rates; CIFs of the lowest valid models."""
        table: dict[int | None, dict[str, Verdict]] = {}
        for verdict in verdicts:
            table.setdefault(verdict.candidate, {})[verdict.check] = verdict
        text = io.StringIO()
        columns = ["candidate", "valid", "failure", *MEASURES, *CELL]
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        ranked = []
        for candidate in candidates:
            rows = table.get(candidate.index, {})
            valid = "valid" in rows and rows["valid"].passed is True
            values = {check: f"{rows[check].value:.6g}" for check in MEASURES if check in rows}
            lengths = candidate.atoms.cell.cellpar() if len(candidate.atoms) else []
            cells = dict(zip(CELL, (f"{x:.4f}" for x in lengths), strict=False))
            writer.writerow({"candidate": candidate.index, "valid": valid, "failure": candidate.failure or "",
                             **values, **cells})  # fmt: skip
            if valid and "energy_per_atom" in rows:
                ranked.append((float(str(rows["energy_per_atom"].value)), candidate.index, candidate))
        made = {"models.csv": text.getvalue(), "stages.txt": _stages(candidates)}
        for _, index, candidate in sorted(ranked, key=lambda row: row[:2])[: self.settings.kept]:
            made[f"model{index:03d}.cif"] = cif(candidate.atoms, comments=candidate.history)
        return made


def _stages(candidates: Sequence[Candidate]) -> str:
    """The steps that made the models, once for each different history."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.history, []).append(candidate.index)
    parts = []
    for history, members in groups.items():
        named = ", ".join(map(str, members))
        parts.append("\n".join([f"models {named}", *(f"  {n}. {step}" for n, step in enumerate(history, 1))]))
    return "\n".join(parts) + "\n"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _is_number(verdict: Verdict) -> bool:
    return isinstance(verdict.value, int | float | np.floating)
