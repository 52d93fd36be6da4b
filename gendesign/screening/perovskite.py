"""Judge relaxed hybrid perovskites: intact or not, copies, order in energy, and what the crystals look like."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from gendesign.fields import check_bounds, setting
from gendesign.screening.method import ScreeningContext, ScreeningSession
from gendesign.screening.validity import convergence, distances, unusable
from gendesign.structure.cells import CELL, cif, density, space_group
from gendesign.structure.crystals import duplicates
from gendesign.structure.generator import PhaseReport, no_report
from gendesign.structure.perovskite import cation_fault, hydrogen_bonds, layer_spacing, network_fault, octahedra
from gendesign.structure.types import Candidate, TableRow, Verdict

NEEDED = ("thickness", "cations", "formula_units")  # what a candidate must state of itself
MEASURES = {
    "energy_per_formula": "eV",
    "density": "g/cm3",
    "volume_per_formula": "Angstrom^3",
    "layer_spacing": "Angstrom",
    "tilt": "degrees",
    "bond_length_distortion": "",
    "angle_variance": "degrees^2",
    "hydrogen_bonds": "per formula unit",
    "space_group": "",
}
# Energies relative to other crystals, by the setting that says how many random starts these are sought with.
COMPARED = {"decomposition": "decomposition_energy", "competing_phases": "energy_above_competing_phases"}
RELATIVE = ("energy_above_best", *COMPARED.values())
PER_FORMULA = "eV per formula unit"
# How the generator's reasons begin, and what the table calls them.
STOPPED, COPY, BROKEN = "stopped at", "merged at", "broken at"
ENDED = {
    STOPPED: "stopped early, others were lower in energy",
    COPY: "merged with a copy during the search",
    BROKEN: "broken during the search",
}


@dataclass(frozen=True)
class PerovskiteScreening:
    """Checks and measurements of hybrid perovskites; raises UserError for settings out of their bounds."""

    symprec: float = setting(
        0.2, "distance within which atoms count as symmetric (spglib)", unit="Angstrom", above=0, most=2
    )
    heavy_symmetry: bool = setting(
        True, "space group of the heavy atoms; false counts the hydrogens, which rotate freely"
    )
    decomposition: int = setting(
        4,
        "random crystals tried for each salt of the precursors (2 AX + MX2 of A2MX4); 0 leaves the decomposition "
        "energy out",
        least=0,
    )
    competing_phases: int = setting(
        4, "random starts of competing phases, chains and single units; 0 leaves the energy above them out", least=0
    )
    kept: int = setting(10, "lowest structures that are written as CIF", least=0)
    window: float | None = setting(
        None, "energy per formula unit above the lowest that the ranked table reaches; null for all", unit="eV", least=0
    )

    def __post_init__(self) -> None:
        check_bounds(self, "screening")

    @property
    def needs_potential(self) -> bool:
        """True: energies decide."""
        return True

    def open(self, context: ScreeningContext) -> "PerovskiteSession":
        """The screening of one run (screening/method.py)."""
        return PerovskiteSession(self, context)

    def screen_each(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """`network`, `cations`, `valid` (both, and finished), and measurements of the valid ones (MEASURES)."""
        return [verdict for candidate in candidates for verdict in self._judge(candidate)]

    def screen_set(
        self,
        candidates: Sequence[Candidate],
        verdicts: Sequence[Verdict],
        *,
        comparisons: Mapping[str, Callable[[int], float | None]] | None = None,
    ) -> list[Verdict]:
        """`unique`: no copy of one that is lower in energy (heavy atoms, pymatgen's StructureMatcher), `rank` among the
        unique valid ones, 1 the lowest, `energy_above_best`, `decomposition_energy` and `energy_above_competing_phases`
        (eV per formula unit).

        comparisons: by the name of the setting that holds `starts`, what gives the energy of a formula unit of other
        crystals (COMPARED) from so many starts, or None where there are none. Negative: the perovskite is lower.
        """
        table = _table(verdicts)
        sound = [
            c for c in candidates
            if _passed(table, c, "valid") and isinstance(_value(table, c, "energy_per_formula"), float)
        ]  # fmt: skip
        energies = [float(_value(table, c, "energy_per_formula")) for c in sound]
        first = duplicates([c.atoms for c in sound], energies, [int(c.info["formula_units"]) for c in sound])
        out = [
            Verdict(c.index, "unique", k is None, reason="" if k is None else f"same as candidate {sound[k].index}")
            for c, k in zip(sound, first, strict=True)
        ]
        others = self.others(comparisons or {}) if sound else {}
        order = sorted((energy, c.index) for energy, c, k in zip(energies, sound, first, strict=True) if k is None)
        for rank, (energy, index) in enumerate(order, start=1):
            out.append(Verdict(index, "rank", None, float(rank)))
            relative = {"energy_above_best": order[0][0], **others}
            out += [Verdict(index, check, None, energy - other, PER_FORMULA) for check, other in relative.items()]
        return out

    def others(self, comparisons: Mapping[str, Callable[[int], float | None]]) -> dict[str, float]:
        """Energies (eV per formula unit) to compare with, by check: those asked for that could be found."""
        asked = {check: (comparisons[key], getattr(self, key)) for key, check in COMPARED.items() if key in comparisons}
        energies = {check: energy(starts) for check, (energy, starts) in asked.items() if starts}
        return {check: energy for check, energy in energies.items() if energy is not None}

    def summarise(self, verdicts: Sequence[Verdict], n: int) -> list[TableRow]:
        """Rows of the run's table: shares of all starts, then the best one's measurements."""
        table = _table(verdicts)
        ended = [v.reason for v in verdicts if v.check == "finished" and v.passed is False]
        counted = {"relaxed to the end": sum(v.check == "finished" and v.passed is True for v in verdicts)}
        for start, name in ENDED.items():
            counted[name] = sum(reason.startswith(start) for reason in ended)
        counted["failed otherwise"] = len(ended) - sum(counted[name] for name in ENDED.values())
        for name in ("converged", "valid", "unique"):
            counted[name] = sum(v.check == name and v.passed is True for v in verdicts)
        rows = [{"name": k, "value": v / n if n else None, "unit": "fraction", "n": n} for k, v in counted.items()]
        best = next((v.candidate for v in verdicts if v.check == "rank" and v.value == 1.0), None)
        for check, unit in {**MEASURES, **dict.fromkeys(COMPARED.values(), PER_FORMULA)}.items():
            verdict = table.get(best, {}).get(check)
            if verdict is not None and verdict.value is not None:
                rows.append({"name": f"best: {check.replace('_', ' ')}", "value": verdict.value, "unit": unit, "n": 1})
        return rows

    def files(self, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> dict[str, str]:
        """ranked.csv, a line for each unique intact structure from the lowest up, and CIFs of the `kept` best."""
        table, by_index = _table(verdicts), {candidate.index: candidate for candidate in candidates}
        order = sorted(
            (float(rows["rank"].value), index)
            for index, rows in table.items()
            if "rank" in rows and (self.window is None or rows["energy_above_best"].value <= self.window)
        )
        text = io.StringIO()
        columns = ["rank", "candidate", *RELATIVE, *MEASURES, "converged", *CELL, "cif"]
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        made = {}
        for rank, index in order:
            name = f"rank{int(rank):03d}.cif" if rank <= self.kept else ""
            row = {
                check: _plain(table[index][check].value) for check in (*RELATIVE, *MEASURES) if check in table[index]
            }
            lengths = dict(zip(CELL, (f"{x:.3f}" for x in by_index[index].atoms.cell.cellpar()), strict=True))
            converged = by_index[index].info.get("converged", "")
            writer.writerow(
                {"rank": int(rank), "candidate": index, "converged": converged, "cif": name, **lengths, **row}
            )
            if name:
                made[name] = cif(by_index[index].atoms)
        return {"ranked.csv": text.getvalue(), **made}

    def _judge(self, candidate: Candidate) -> list[Verdict]:
        index = candidate.index
        fault = unusable(candidate)
        missing = [key for key in NEEDED if key not in candidate.info]
        if not fault and (missing or not candidate.atoms.pbc.all()):
            fault = f"the structure does not state {', '.join(missing) or 'a cell'}; generator=perovskite writes it"
        if fault:
            return [Verdict(index, name, False, reason=fault) for name in ("converged", "valid")]
        thickness = candidate.info["thickness"]
        network = network_fault(candidate.atoms, None if thickness == "3d" else int(thickness))
        cations = cation_fault(candidate.atoms, str(candidate.info["cations"]))
        out = [
            *distances(candidate),
            *convergence(candidate),
            Verdict(index, "formula", None, candidate.atoms.get_chemical_formula("hill")),
            Verdict(index, "network", not network, reason=network),
            Verdict(index, "cations", not cations, reason=cations),
            Verdict(index, "valid", not network and not cations, reason=network or cations),
        ]
        return out + (self._measured(candidate) if not network and not cations else [])

    def _measured(self, candidate: Candidate) -> list[Verdict]:
        atoms, count = candidate.atoms, int(candidate.info["formula_units"])
        shape = octahedra(atoms)
        energy, layered = candidate.info.get("energy"), candidate.info["thickness"] != "3d"
        values = {
            "energy_per_formula": None if energy is None else float(energy) / count,
            "density": density(atoms),
            "volume_per_formula": float(atoms.get_volume() / count),
            "layer_spacing": layer_spacing(atoms, int(candidate.info.get("layers", 1))) if layered else None,
            "tilt": shape.tilt,
            "bond_length_distortion": shape.lengths,
            "angle_variance": shape.angles,
            "hydrogen_bonds": hydrogen_bonds(atoms) / count,
            "space_group": space_group(atoms, self.symprec, self.heavy_symmetry),
        }
        return [Verdict(candidate.index, check, None, values[check], unit) for check, unit in MEASURES.items()]


HEADLINES = (
    "relaxed to the end",
    ENDED[STOPPED],
    "valid",
    "unique",
    *(f"best: {check.replace('_', ' ')}" for check in ("energy_per_formula", "space_group", *COMPARED.values())),
)
COMPARISON_PHASES = {"decomposition": "precursors", "competing_phases": "competing phases"}


@dataclass(frozen=True)
class PerovskiteSession(ScreeningSession):
    """The screening of one run: what crystals are compared with is searched once and kept in the results folder."""

    settings: PerovskiteScreening
    context: ScreeningContext

    def screen_each(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """See PerovskiteScreening."""
        return self.settings.screen_each(candidates)

    def screen_set(
        self, candidates: Sequence[Candidate], verdicts: Sequence[Verdict], phase: PhaseReport = no_report
    ) -> list[Verdict]:
        """See PerovskiteScreening; searches the comparisons that the settings ask for."""
        return self.settings.screen_set(candidates, verdicts, comparisons=self._comparisons(phase))

    def compare_each(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """The energies of COMPARED that the settings ask for, of every candidate with a formula's energy."""
        energies = {v.candidate: v.value for v in verdicts if v.check == "energy_per_formula" and v.value is not None}
        others = self.settings.others(self._comparisons(no_report)) if energies else {}
        return [
            Verdict(index, check, None, float(energy) - other, PER_FORMULA)
            for index, energy in energies.items()
            for check, other in others.items()
        ]

    def _comparisons(self, phase: PhaseReport) -> dict[str, Callable[[int], float | None]]:
        def search(key: str, starts: int) -> float | None:
            phase(COMPARISON_PHASES[key])
            return self.context.generator.comparisons[key](starts, self.context.spread)

        return {
            key: lambda starts, key=key: self.context.once(f"{key} {starts}", partial(search, key, starts))
            for key in self.context.generator.comparisons
        }

    def summarise(self, verdicts: Sequence[Verdict], n: int) -> list[TableRow]:
        """See PerovskiteScreening."""
        return self.settings.summarise(verdicts, n)

    @property
    def headlines(self) -> Sequence[str]:
        """How the candidates ended, and the energies and the symmetry of the best."""
        return HEADLINES

    def files(self, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> dict[str, str]:
        """See PerovskiteScreening."""
        return self.settings.files(candidates, verdicts)


def _table(verdicts: Sequence[Verdict]) -> dict[int | None, dict[str, Verdict]]:
    table: dict[int | None, dict[str, Verdict]] = {}
    for verdict in verdicts:
        table.setdefault(verdict.candidate, {})[verdict.check] = verdict
    return table


def _passed(table: Mapping, candidate: Candidate, check: str) -> bool:
    verdict = table.get(candidate.index, {}).get(check)
    return verdict is not None and verdict.passed is True


def _value(table: Mapping, candidate: Candidate, check: str) -> float | str | None:
    verdict = table.get(candidate.index, {}).get(check)
    return None if verdict is None else verdict.value


def _plain(value: float | str | None) -> str:
    """Six digits, and of large numbers four decimals: energies per formula unit of two runs are compared."""
    if isinstance(value, float | np.floating):
        return f"{value:.6g}" if abs(value) < 100 else f"{value:.4f}"
    return str(value or "")
