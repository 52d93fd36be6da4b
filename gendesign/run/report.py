"""report.html: one page without outside references, with every candidate's picture, the distributions and the table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from gendesign.run.pictures import draw_atoms, draw_smiles, histogram, scatter
from gendesign.run.table import VALID, readable, valid
from gendesign.structure.types import Candidate, Verdict

TEMPLATE = Path(__file__).with_name("report.html.j2")
MOST_PICTURES = 600  # of one gallery; the page stays within a few megabytes
SMILES = "smiles"
UNITS = {"kcal/mol"}
RANK, VOLUME = "rank", "volume_per_formula"  # of crystals, and what is said of them:
BEST = {"energy_above_best": "{:+.3f} eV", "energy_above_rivals": "{:+.3f} eV to rivals", "space_group": "{}"}


def write_report(
    path: Path,
    summary: dict[str, Any],
    candidates: Sequence[Candidate],
    verdicts: Sequence[Verdict],
    timings: dict[str, Any],
) -> None:
    """Write the page of the candidates so far."""
    of: dict[int, list[Verdict]] = {candidate.index: [] for candidate in candidates}
    for verdict in verdicts:
        of[verdict.candidate].append(verdict)
    ranks = {verdict.candidate: verdict.value for verdict in verdicts if verdict.check == RANK}
    good = sorted(valid(candidates, verdicts), key=lambda candidate: ranks.get(candidate.index, float("inf")))
    numbers = {candidate.index for candidate in good}
    other = [candidate for candidate in candidates if candidate.index not in numbers]
    judged = any(verdict.check == VALID for verdict in verdicts)
    model = summary.get("model", {})
    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text())
    page = template.render(
        verb=summary["identity"].get("verb", ""),
        shards=summary["shards"],
        model=", ".join(filter(None, [model.get("name", "none"), model.get("licence")])),
        rows=readable(summary["table"], timings),
        # crystals of one composition are of few sizes: what differs is how densely they are packed
        sizes=_distribution(VOLUME, verdicts) if ranks else _sizes(candidates),
        distributions=[
            *(_distribution(check, verdicts) for check in _strains(verdicts)),
            *([_landscape(verdicts)] if ranks else []),
        ],
        galleries=[
            _gallery("Ranked structures" if ranks else "Valid molecules" if judged else "Structures", good, of),
            *([_gallery("Not valid" if judged else "Failed", other, of)] if other else []),
        ],
        details=yaml.safe_dump({key: summary[key] for key in summary if key != "table"}, sort_keys=False),
    )
    path.write_text(page)


def _strains(verdicts: Sequence[Verdict]) -> list[str]:
    """Checks that measure a strain energy, in the order of their first verdict."""
    return list(dict.fromkeys(v.check for v in verdicts if "strain" in v.check and v.unit in UNITS))


def _sizes(candidates: Sequence[Candidate]) -> str:
    heavy = [float(sum(z > 1 for z in candidate.atoms.numbers)) for candidate in candidates if len(candidate.atoms)]
    return histogram(heavy, "heavy atoms", "", whole=True)


def _distribution(check: str, verdicts: Sequence[Verdict]) -> str:
    values = [v.value for v in verdicts if v.check == check and isinstance(v.value, float)]
    return histogram(values, check.replace("_", " "), next(v.unit for v in verdicts if v.check == check))


def _landscape(verdicts: Sequence[Verdict]) -> str:
    """Energy against density of the ranked crystals."""
    found = {(v.candidate, v.check): v.value for v in verdicts if isinstance(v.value, float)}
    ranked = [index for index, check in found if check == RANK]
    points = [(found.get((i, "density")), found.get((i, "energy_above_best"))) for i in ranked]
    return scatter([p for p in points if None not in p], "density (g/cm3)", "above the best (eV/formula)")


def _gallery(
    heading: str, candidates: Sequence[Candidate], of: dict[int, list[Verdict]]
) -> tuple[str, list[dict[str, Any]], int]:
    shown = candidates[:MOST_PICTURES]
    cards = [_card(candidate, of[candidate.index]) for candidate in shown]
    return f"{heading} ({len(candidates)})", cards, len(candidates) - len(shown)


def _reasons(verdicts: Sequence[Verdict]) -> list[str]:
    """What was wrong, each reason once and under the first check that gave it."""
    first: dict[str, str] = {}
    for verdict in verdicts:
        if verdict.passed is False and verdict.reason:
            first.setdefault(verdict.reason, verdict.check)
    return [f"{check}: {reason}" for reason, check in first.items()][:3]


def _card(candidate: Candidate, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    smiles = next((v.value for v in verdicts if v.check == SMILES and isinstance(v.value, str)), "")
    strains = [v for v in verdicts if v.check in _strains(verdicts)[:1] and isinstance(v.value, float)]
    notes = [f"strain {v.value:.1f} {v.unit}" for v in strains]
    values = {v.check: v.value for v in verdicts}
    if RANK in values:
        notes.append(f"rank {values[RANK]:.0f}")
        notes += [text.format(values[check]) for check, text in BEST.items() if values.get(check) is not None]
    if candidate.info.get("converged") is False:
        notes.append("not converged")
    return {
        "index": candidate.index,
        "formula": candidate.atoms.get_chemical_formula(),
        "smiles": smiles,
        "notes": notes,
        "reasons": _reasons(verdicts),
        "picture": (smiles and draw_smiles(smiles)) or draw_atoms(candidate.atoms),
    }
