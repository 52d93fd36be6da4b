"""report.html: one page without outside references, with every candidate's picture, the distributions and the table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from gendesign.run import crystals
from gendesign.run.pictures import draw_atoms, draw_smiles, histogram, scatter
from gendesign.run.sections import RANK, UNIQUE, Section, by_candidate, sections
from gendesign.run.table import VALID, condition_name, readable
from gendesign.structure.types import Candidate, Verdict

TEMPLATE = Path(__file__).with_name("report.html.j2")
MOST_PICTURES = 600  # of one gallery, and rows of the table of crystals; the page stays within a few megabytes
MOST_REASONS, LONGEST_REASON = 3, 160  # on one card; characters
SMILES = "smiles"
UNITS = {"kcal/mol"}
VOLUME = "volume_per_formula"
# What is said of ranked crystals.
BEST = {
    "energy_above_best": "{:+.3f} eV",
    "energy_above_competing_phases": "{:+.3f} eV to competing phases",
    "space_group": "{}",
}
# Checks whose reasons stand elsewhere on the card, or say nothing of a single molecule.
SILENT = ("edm_molecule", "converged", UNIQUE)
BARE = ("finished", VALID)  # checks whose name adds nothing to their reason
EXPLAINED = {
    "EDM atoms stable": "EDM: valences by the published table of bond lengths (E(3) diffusion). It knows no aromatic "
    "bonds, so the atoms of sound aromatic molecules can fail.",
}


def write_report(
    path: Path,
    summary: dict[str, Any],
    candidates: Sequence[Candidate],
    verdicts: Sequence[Verdict],
    timings: dict[str, Any],
) -> None:
    """Write the page of the candidates so far.

    Of `summary` it shows the table, `warnings` (texts, at the top) and `conditions` (names of checks, on every card).
    """
    conditions = list(summary.get("conditions", ()))
    cards = _Cards(by_candidate(verdicts), conditions, _relaxation(summary))
    ranked = any(verdict.check == RANK for verdict in verdicts)
    changed = crystals.crystals_of(candidates) if summary["identity"].get("verb") == "relax" else []
    model = summary.get("model", {})
    rows = readable(summary["table"], timings)
    notes = [crystals.converged_means(_relaxation(summary))]
    notes += [text for name, text in EXPLAINED.items() if name in dict(rows)]
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = template.from_string(TEMPLATE.read_text()).render(
        verb=summary["identity"].get("verb", ""),
        shards=summary["shards"],
        model=", ".join(filter(None, [model.get("name", "none"), model.get("licence")])),
        warnings=list(summary.get("warnings", ())),
        rows=rows,
        notes=[note for note in notes if note],
        figures=_figures(candidates, verdicts, ranked),
        tables=_tables(changed) if len(changed) <= crystals.FEW else [],
        headings=crystals.HEADINGS,
        lines=[crystals.line(c) for c in changed[:MOST_PICTURES]] if len(changed) > crystals.FEW else [],
        unlisted=max(0, len(changed) - MOST_PICTURES),
        galleries=[cards.gallery(section) for section in sections(candidates, verdicts, conditions)],
        details=yaml.safe_dump({key: summary[key] for key in summary if key != "table"}, sort_keys=False),
    )
    path.write_text(page)


def _relaxation(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """The relaxation's settings; empty where nothing was relaxed."""
    return summary["identity"].get("settings", {}).get("relaxation") or {}


def _figures(candidates: Sequence[Candidate], verdicts: Sequence[Verdict], ranked: bool) -> list[str]:
    """Distributions as SVG elements; a single structure has none."""
    if len(candidates) < 2:
        return []
    # crystals of one composition are of few sizes: what differs is how densely they are packed
    figures = [_distribution(VOLUME, verdicts)] if ranked else []
    if not ranked and any(len(c.atoms) and not c.atoms.pbc.any() for c in candidates):
        figures.append(_sizes(candidates))
    if sum(bool(v.value) for v in verdicts if v.check == crystals.VOLUME_CHANGE) > crystals.FEW:
        figures.append(_distribution(crystals.VOLUME_CHANGE, verdicts))
    figures += [_distribution(check, verdicts) for check in _strains(verdicts)]
    return [*figures, *([_landscape(verdicts)] if ranked else [])]


def _tables(changed: Sequence[Candidate]) -> list[tuple[str, str, list[tuple[str, str, str, str]]]]:
    """Title, remark and rows of each crystal."""
    return [(f"{crystals.title(c)}: {crystals.status(c)}", crystals.remark(c), crystals.rows(c)) for c in changed]


def _strains(verdicts: Sequence[Verdict]) -> list[str]:
    """Checks that measure a strain energy, in the order of their first verdict."""
    return list(dict.fromkeys(v.check for v in verdicts if "strain" in v.check and v.unit in UNITS))


def _sizes(candidates: Sequence[Candidate]) -> str:
    heavy = [float(sum(z > 1 for z in candidate.atoms.numbers)) for candidate in candidates if len(candidate.atoms)]
    return histogram(heavy, "heavy atoms", "", whole=True)


def _distribution(check: str, verdicts: Sequence[Verdict]) -> str:
    values = [v.value for v in verdicts if v.check == check and isinstance(v.value, float)]
    return histogram(values, check.replace("_", " "), next((v.unit for v in verdicts if v.check == check), ""))


def _landscape(verdicts: Sequence[Verdict]) -> str:
    """Energy against density of the ranked crystals."""
    found = {(v.candidate, v.check): v.value for v in verdicts if isinstance(v.value, float)}
    ranked = [index for index, check in found if check == RANK]
    points = [(found.get((i, "density")), found.get((i, "energy_above_best"))) for i in ranked]
    return scatter([p for p in points if None not in p], "density (g/cm3)", "above the best (eV/formula)")


@dataclass(frozen=True)
class _Cards:
    """Makes galleries of cards: verdicts by candidate and check, names of conditions, settings of the relaxation."""

    of: Mapping[int, Mapping[str, Verdict]]
    conditions: Sequence[str]
    relaxation: Mapping[str, Any]

    def gallery(self, section: Section) -> dict[str, Any]:
        shown = section.candidates[:MOST_PICTURES]
        return {
            "heading": f"{section.heading} ({len(section.candidates)})",
            "note": section.note if section.candidates else "",
            "cards": [self.card(candidate) for candidate in shown],
            "hidden": len(section.candidates) - len(shown),
            "tone": "soft" if section.expected else "bad",
        }

    def card(self, candidate: Candidate) -> dict[str, Any]:
        checks = self.of.get(candidate.index, {})
        smiles = checks[SMILES].value if SMILES in checks and isinstance(checks[SMILES].value, str) else ""
        return {
            "index": candidate.index,
            "formula": candidate.atoms.get_chemical_formula(),
            "smiles": smiles,
            "notes": self.notes(candidate, checks),
            "conditions": [_condition(checks[check]) for check in self.conditions if check in checks],
            "odd": self.odd(candidate),
            "reasons": [_shortened(text) for text in self.reasons(checks)[:MOST_REASONS]],
            "picture": (smiles and draw_smiles(smiles)) or draw_atoms(candidate.atoms),
        }

    def notes(self, candidate: Candidate, checks: Mapping[str, Verdict]) -> list[str]:
        """Numbers that stand beside the formula."""
        values = {check: verdict.value for check, verdict in checks.items()}
        strains = [checks[check] for check in _strains(list(checks.values()))[:1]]
        out = [f"strain {v.value:.1f} {v.unit}" for v in strains if isinstance(v.value, float)]
        if RANK in values:
            out.append(f"rank {values[RANK]:.0f}")
            out += [text.format(values[check]) for check, text in BEST.items() if values.get(check) is not None]
        if UNIQUE in checks and checks[UNIQUE].passed is False and checks[UNIQUE].reason:
            out.append(checks[UNIQUE].reason)
        change = crystals.changes(candidate).get("volume") if crystals.VOLUME_CHANGE in checks else None
        if change is not None:
            out.append(f"{candidate.atoms.get_volume():.1f} Angstrom^3 ({change:+.1f} %)")
            out += [str(candidate.info["space_group"])] if "space_group" in candidate.info else []
        return out

    def odd(self, candidate: Candidate) -> list[str]:
        """What to look at twice in a structure that is none the less whole."""
        if candidate.failure is not None:
            return []
        out = [crystals.remark(candidate)] if crystals.BEFORE + "volume" in candidate.info else []
        if candidate.info.get("converged") is False:
            out.append(_not_converged(candidate.info, self.relaxation))
        return list(filter(None, out))

    def reasons(self, checks: Mapping[str, Verdict]) -> list[str]:
        """What was wrong, each reason once and under the first check that gave it."""
        first: dict[str, str] = {}
        for check, verdict in checks.items():
            if verdict.passed is False and verdict.reason and check not in (*SILENT, *self.conditions):
                first.setdefault(verdict.reason, check)
        return [reason if check in BARE else f"{check}: {reason}" for reason, check in first.items()]


def _not_converged(info: Mapping[str, Any], relaxation: Mapping[str, Any]) -> str:
    """Which of force and stress was still too large when the relaxation stopped."""
    parts = []
    if "fmax" in info and info["fmax"] >= relaxation.get("fmax", 0.0):
        parts.append(f"largest force {info['fmax']:.3g} eV/Angstrom")
    if relaxation.get("cell") and info.get("stress_max", 0.0) >= relaxation.get("max_stress", 0.0):
        parts.append(f"largest stress {info['stress_max']:.3g} GPa")
    steps = f" after {info['steps']} steps" if "steps" in info else ""
    return f"not converged{steps}" + (f": {', '.join(parts)}" if parts else "")


def _condition(verdict: Verdict) -> tuple[str, str]:
    """A line such as "ring size: 24 atoms", and the class that colours it."""
    value = f"{verdict.value:.3g}" if isinstance(verdict.value, float) else verdict.value
    if value is None:
        value = {True: "yes", False: "no"}.get(verdict.passed, "not measured")
    text = f"{condition_name(verdict.check)}: {value} {verdict.unit}".rstrip()
    if verdict.passed is not True and verdict.reason:
        text = f"{text} ({verdict.reason})"
    return _shortened(text), {True: "good", False: "bad"}.get(verdict.passed, "soft")


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON].rstrip()} ..."
