"""report.html: one page without outside references, with every candidate's picture, the distributions and tables."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup, escape

from gendesign.relaxation.change import BEFORE
from gendesign.run import crystals
from gendesign.run.explorer import INSTALL, explorable, installed
from gendesign.run.pictures import draw_atoms, draw_smiles, histogram, scatter
from gendesign.run.properties import FORMULA, SMILES, Property, check_name, number_text, properties_of, typeset
from gendesign.run.sections import RANK, UNIQUE, Section, by_candidate, sections
from gendesign.run.table import VALID, condition_name, readable
from gendesign.structure.types import Candidate, Verdict

TEMPLATE = Path(__file__).with_name("report.html.j2")
MOST_PICTURES = 600  # of one gallery, and rows of a table; the page stays within a few megabytes
NOT_BROKEN = 32  # characters of a text in the table of candidates
MOST_REASONS, LONGEST_REASON = 3, 160  # on one card; characters
UNITS = {"kcal/mol"}
VOLUME = "volume_per_formula"
# Notes on ranked crystals.
BEST = {
    "energy_above_best": "{:+.3f} eV",
    "energy_above_competing_phases": "{:+.3f} eV to competing phases",
    "space_group": "{}",
}
# Checks whose reasons are elsewhere on the card or mean nothing for a single molecule.
SILENT = ("edm_molecule", "converged", UNIQUE)
BARE = ("finished", VALID)  # checks whose name adds nothing to their reason
PASSED = {True: ("yes", "good"), False: ("no", "bad"), None: ("not measured", "soft")}  # text, class on the page
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
    inset: Markup | None = None,
) -> None:
    """Write the page of the candidates so far. inset: HTML below the heading, such as the funnel of a campaign.

    Of `summary` it shows the table, `warnings` (texts, at the top) and `conditions` (names of checks, on every card).
    Where it has `ranked_by`, names of checks, candidates are in order of rank and their cards have these numbers.
    Cards and rows lead to their structures in explorer.html where chemiscope is installed.
    """
    conditions, ranked_by = list(summary.get("conditions", ())), list(summary.get("ranked_by", ()))
    relaxation = _relaxation(summary)
    placed = sections(candidates, verdicts, conditions, ranked_by)
    library = installed()
    cards = _Cards(by_candidate(verdicts), conditions, relaxation, ranked_by)
    ranked = any(verdict.check == RANK for verdict in verdicts)
    changed = crystals.crystals_of(candidates) if summary["identity"].get("verb") == "relax" else []
    few, many = (changed, []) if len(changed) <= crystals.FEW else ([], changed)
    rows = readable(summary["table"], timings) if summary["table"] or inset is None else []
    notes = [crystals.converged_means(relaxation)]
    notes += [text for name, text in EXPLAINED.items() if name in dict(rows)]
    page = _template().render(
        verb=summary["identity"].get("verb", ""),
        shards=summary["shards"],
        model=_model(summary.get("model", {})),
        warnings=list(summary.get("warnings", ())),
        rows=rows,
        inset=inset,
        notes=[note for note in notes if note],
        figures=_figures(candidates, verdicts, ranked),
        tables=_tables(few),
        headings=crystals.HEADINGS,
        lines=[(c.index, crystals.line(c)) for c in many[:MOST_PICTURES]],
        unlisted=max(0, len(many) - MOST_PICTURES),
        overview=None if changed else _overview(placed, verdicts),
        galleries=[cards.gallery(section) for section in placed],
        details=yaml.safe_dump({key: summary[key] for key in summary if key != "table"}, sort_keys=False),
        library=library,
        install=INSTALL,
        explorable={c.index for c in explorable(placed)[0]} if library else set(),
    )
    path.write_text(page, "utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"typeset": typeset, "subscripts": _subscripts}
    return environment.from_string(TEMPLATE.read_text("utf-8"))


def _subscripts(formula: str) -> Markup:
    """A chemical formula with its numbers as subscripts."""
    return Markup(re.sub(r"(\d+)", r"<sub>\1</sub>", str(escape(formula))))


def _model(model: Mapping[str, Any]) -> str:
    """The potential and its licence."""
    licence = f" (licence {model['licence']})" if model.get("licence") else ""
    return f"{model.get('name', 'none')}{licence}"


def _overview(placed: Sequence[Section], verdicts: Sequence[Verdict]) -> dict[str, Any] | None:
    """A table with a row per candidate, in the order of the page; its columns are what differs between candidates."""
    candidates = [candidate for section in placed for candidate in section.candidates]
    if len(candidates) < 2:
        return None
    results = {c.index: section.heading for section in placed for c in section.candidates}
    properties = properties_of(candidates, by_candidate(verdicts), results)
    columns = [one for one in properties if one.varies and not one.name.startswith("SMILES ")]
    shown = candidates[:MOST_PICTURES]
    cells = [
        [value if isinstance(value, str) else number_text(value, one.unit) for value in one.values[: len(shown)]]
        for one in columns
    ]
    return {
        "columns": [{"title": one.title, "formula": one.name == FORMULA, "kind": _kind(one, shown)} for one in columns],
        "rows": [(c.index, row) for c, row in zip(shown, zip(*cells, strict=True), strict=True)],
        "hidden": len(candidates) - len(shown),
    }


def _kind(column: Property, shown: Sequence[Candidate]) -> str:
    """The class of a column's cells: numbers stand to the right, long texts may break."""
    if column.is_number:
        return "number"
    return "long" if any(len(str(value)) > NOT_BROKEN for value in column.values[: len(shown)]) else ""


def _relaxation(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """The relaxation's settings; empty where nothing was relaxed."""
    return summary["identity"].get("settings", {}).get("relaxation") or {}


def _figures(candidates: Sequence[Candidate], verdicts: Sequence[Verdict], ranked: bool) -> list[str]:
    """Distributions as SVG elements; a quantity with a single value has none."""
    if len(candidates) < 2:
        return []
    # Crystals of one composition have few sizes: they differ in how densely they are packed.
    figures = [_distribution(VOLUME, verdicts)] if ranked else []
    if not ranked and any(len(c.atoms) and not c.atoms.pbc.any() for c in candidates):
        figures.append(_sizes(candidates))
    if sum(bool(v.value) for v in verdicts if v.check == crystals.VOLUME_CHANGE) > crystals.FEW:
        figures.append(_distribution(crystals.VOLUME_CHANGE, verdicts))
    figures += [_distribution(check, verdicts) for check in _strains(verdicts)]
    return [figure for figure in (*figures, _landscape(verdicts) if ranked else "") if figure]


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
    unit = next((v.unit for v in verdicts if v.check == check), "")
    return histogram(values, check_name(check), typeset(unit))


def _landscape(verdicts: Sequence[Verdict]) -> str:
    """Energy against density of the ranked crystals."""
    values = {(v.candidate, v.check): v.value for v in verdicts if isinstance(v.value, float)}
    ranked = [index for index, check in values if check == RANK]
    points = [(values.get((i, "density")), values.get((i, "energy_above_best"))) for i in ranked]
    known = [(density, energy) for density, energy in points if density is not None and energy is not None]
    return scatter(known, "density (g/cm³)", "energy above best\n(eV per formula unit)")


@dataclass(frozen=True)
class _Cards:
    """Makes galleries of cards: verdicts by candidate and check, names of conditions, settings of the relaxation."""

    of: Mapping[int, Mapping[str, Verdict]]
    conditions: Sequence[str]
    relaxation: Mapping[str, Any]
    ranked_by: Sequence[str] = ()

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
        written = checks[SMILES].value if SMILES in checks else None
        smiles = written if isinstance(written, str) else ""
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
        ranks = [checks[name] for name in self.ranked_by if name in checks and checks[name] not in strains]
        out += [f"{check_name(v.check)} {v.value:.3g} {v.unit}".strip() for v in ranks if isinstance(v.value, float)]
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
        """Remarks on a structure that finished: a large change, a relaxation that did not converge."""
        if candidate.failure is not None:
            return []
        out = [crystals.remark(candidate)] if BEFORE + "volume" in candidate.info else []
        if candidate.info.get("converged") is False:
            out.append(_not_converged(candidate.info, self.relaxation))
        return list(filter(None, out))

    def reasons(self, checks: Mapping[str, Verdict]) -> list[str]:
        """Reasons of failed checks, each once and under the first check that gave it."""
        first: dict[str, str] = {}
        for check, verdict in checks.items():
            if verdict.passed is False and verdict.reason and check not in (*SILENT, *self.conditions):
                first.setdefault(verdict.reason, check)
        return [reason if check in BARE else f"{check}: {reason}" for reason, check in first.items()]


def _not_converged(info: Mapping[str, Any], relaxation: Mapping[str, Any]) -> str:
    """The force or stress that was too large when the relaxation stopped."""
    parts = []
    if "fmax" in info and info["fmax"] >= relaxation.get("fmax", 0.0):
        parts.append(f"largest force {info['fmax']:.3g} eV/Angstrom")
    if relaxation.get("cell") and info.get("stress_max", 0.0) >= relaxation.get("max_stress", 0.0):
        parts.append(f"largest stress {info['stress_max']:.3g} GPa")
    steps = f" after {info['steps']} steps" if "steps" in info else ""
    return f"not converged{steps}" + (f": {', '.join(parts)}" if parts else "")


def _condition(verdict: Verdict) -> tuple[str, str]:
    """A line such as "ring size: 24 atoms", and the class that colours it."""
    answer, tone = PASSED[verdict.passed]
    value = f"{verdict.value:.3g}" if isinstance(verdict.value, float) else verdict.value or answer
    text = f"{condition_name(verdict.check)}: {value} {verdict.unit}".rstrip()
    if verdict.passed is not True and verdict.reason:
        text = f"{text} ({verdict.reason})"
    return _shortened(text), tone


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON].rstrip()} ..."
