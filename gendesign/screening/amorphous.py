"""Judge amorphous models: finite, no atoms too close, density, coordination, angles, energy above the crystal.

Coordination and angles are those of `gendesign analyse` at the same cutoffs, which stand in the table.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np

from gendesign.analysis.choices import ideal_of
from gendesign.fields import check_bounds, setting
from gendesign.screening import network
from gendesign.screening.method import ScreeningContext, ScreeningSession
from gendesign.screening.validity import convergence, shortest_distance, unusable
from gendesign.structure.cells import CELL, cif, density
from gendesign.structure.types import Candidate, TableRow, Verdict

ABOVE, DEFECTS = "energy_above_crystal", "defects"
MEASURES = {
    "density": "g/cm3",
    "energy_per_atom": "eV/atom",
    ABOVE: "eV/atom",
    DEFECTS: "fraction of atoms",
    "shortest_distance": "of the covalent radii",
    "cooling_rate": "K/ps",
    "unlikeness": "",
}
PASSED = ("finished", "converged", "valid", "few_defects", "low_energy")
UNSEEN = ("shortest_distance", "cooling_rate")  # on the terminal
CUTOFFS = "cutoffs"
MOST_EVALUATED = 5_000  # atoms of a model whose energy is evaluated again, which bounds the memory


@dataclass(frozen=True)
class AmorphousScreening:
    """Checks and measurements of amorphous models; raises UserError for settings out of their bounds."""

    min_ratio: float = setting(
        0.7, "shortest distance of a valid model, relative to the sum of two covalent radii", least=0
    )
    density_range: tuple[float, float] = setting(
        (0.0, 25.0), "densities of a valid model, smallest and largest", unit="g/cm3", least=0
    )
    cutoffs: tuple[str, ...] = setting(
        (), "bonds, such as [Si-O:2.0], in Angstrom; [] by composition: Si-Si 2.85, Si-O 2.0, else minima of g(r)"
    )
    ideal: tuple[str, ...] = setting((), "bonds of an atom without defect, such as [Si:4,O:2]; [] for Si 4 and O 2")
    max_defects: float | None = setting(
        None,
        "largest share of atoms with another number of bonds that passes few_defects; null: no such check",
        least=0,
        most=1,
    )
    max_above: float | None = setting(
        None, "largest energy above the crystal that passes low_energy; null: no such check", unit="eV/atom"
    )
    energy_above: bool = setting(
        True, "true evaluates models of silicon and its oxides above relaxed diamond and quartz by the same potential"
    )
    kept: int = setting(10, "lowest models in energy that are written as CIF", least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "screening")
        ideal_of(self.ideal)

    @property
    def needs_potential(self) -> bool:
        """False: where the potential lacks elements or crystals, only the energy above the crystal is left out."""
        return False

    def open(self, context: ScreeningContext) -> "AmorphousSession":
        """The screening of one run (screening/method.py)."""
        return AmorphousSession(self, context)


@dataclass(frozen=True)
class AmorphousSession(ScreeningSession):
    """The screening of one run."""

    settings: AmorphousScreening
    context: ScreeningContext

    def screen_each(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """`converged`, `valid` (finite, no atoms too close, density within bounds), `formula`, MEASURES, the network.

        Of the network: `cutoffs` in words, `defects` of all atoms, `X_defects` and `X_coordination` by element, mean
        and deviation of each angle, and `few_defects` where `max_defects` is set. Where the potential knows crystals of
        Si and O, `energy_above_crystal`, and `low_energy` where `max_above` is set.
        """
        judged = [verdict for candidate in candidates for verdict in self._judge(candidate)]
        return judged + self._energies(candidates)

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
            *network.verdicts(candidate, self.settings.cutoffs, self.settings.ideal, self.settings.max_defects),
        ]

    def _energies(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """`energy_above_crystal` of the models that can be evaluated, and `low_energy`."""
        models = [c for c in candidates if not unusable(c) and all(c.atoms.pbc) and len(c.atoms) <= MOST_EVALUATED]
        if not self.settings.energy_above or not models:
            return []
        above = network.energies_above(models, self.context)
        limit, out = self.settings.max_above, []
        for index, value in above.items():
            out.append(Verdict(index, ABOVE, None, value, MEASURES[ABOVE]))
            if limit is not None:
                reason = "" if value <= limit else f"{value:.3f} eV/atom above the crystal, more than {limit:g}"
                out.append(Verdict(index, "low_energy", not reason, reason=reason))
        return out

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
        for check, unit in _measures(verdicts).items():
            values = [float(v.value) for v in verdicts if v.check == check and v.candidate in valid and _is_number(v)]
            if values:
                name = check.replace("_", " ")
                rows.append({"name": name, "value": mean(values), "unit": unit, "n": len(values)})
                if len(values) > 1 and check != "cooling_rate":  # which is a setting
                    name += ", deviation of models"
                    rows.append({"name": name, "value": stdev(values), "unit": unit, "n": len(values)})
        return rows

    @property
    def headlines(self) -> Sequence[str]:
        """How the models ended, and their means."""
        return (*PASSED, *(check.replace("_", " ") for check in MEASURES if check not in UNSEEN))

    def files(self, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> dict[str, str]:
        """models.csv, a line for each; stages.txt, the stages with their rates; CIFs of the lowest valid models."""
        table: dict[int | None, dict[str, Verdict]] = {}
        for verdict in verdicts:
            table.setdefault(verdict.candidate, {})[verdict.check] = verdict
        text = io.StringIO()
        measures = _measures(verdicts)
        columns = ["candidate", "valid", "failure", *measures, CUTOFFS, *CELL]
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        ranked = []
        for candidate in candidates:
            rows = table.get(candidate.index, {})
            valid = "valid" in rows and rows["valid"].passed is True
            values = {check: f"{rows[check].value:.6g}" for check in measures if check in rows}
            values |= {CUTOFFS: str(rows[CUTOFFS].value)} if CUTOFFS in rows else {}
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


def _measures(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Every measured number and its unit: MEASURES, then those of the network in the order of their first model."""
    found = {v.check: v.unit for v in verdicts if v.check.endswith(network.ENDINGS) and _is_number(v)}
    return MEASURES | found


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
