"""report.html and explorer.html of a campaign: the funnel with its costs, distributions, gallery, table, 3D viewer."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from gendesign.campaign.results import Results, costs, funnel
from gendesign.run.explorer import explorer_page
from gendesign.run.pictures import histogram
from gendesign.run.properties import check_name
from gendesign.run.report import write_report

MOST = 300  # finalists on the page
MOST_FIGURES = 6
HEADINGS = ("stage", "shards", "entered", "kept", "share", "core hours", "seconds per candidate", "left out because of")


def write_pages(results: Results) -> None:
    """Write both pages. Names and texts of the campaign are escaped; nothing outside the folder is loaded."""
    survey = results.survey
    folder = survey.plan.folder
    candidates, verdicts = results.best(MOST), results.verdicts(MOST)
    finished = sum(len(trail.folders) for trail in survey.trails.values())
    summary: dict[str, Any] = {
        "identity": {"verb": "campaign", "settings": {}},
        "model": {"name": str(survey.plan.content.get("potential", "organic"))},
        "shards": {"finished": finished, "total": finished + len(survey.missing())},
        "table": [],
        "ranked_by": [text.split()[-1] for text in survey.plan.ranking.by],
        "campaign": {"settings": dict(survey.plan.content), "runs": [run.name for run in survey.plan.runs]},
    }
    explorer = explorer_page(summary, candidates, verdicts)
    if explorer is not None:
        (folder / "explorer.html").write_text(explorer, "utf-8")
    timings = {"candidates": 0, "seconds": {}}
    write_report(folder / "report.html", summary, candidates, verdicts, timings, _inset(results))


def _inset(results: Results) -> Markup:
    survey = results.survey
    rows = _funnel_rows(funnel(survey), costs(survey))
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in HEADINGS)
    body = Markup("").join(_row(row) for row in rows)
    figures = Markup("").join(Markup('<div class="panel">{}</div>').format(Markup(svg)) for svg in _figures(results))
    links = Markup(" ").join(Markup('<a href="{0}">{0}</a>').format(name) for name in _files(results))
    count = len(results.finalists)
    return Markup(
        '<h2>Funnel</h2><div class="panel wide"><table id="funnel"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>'
        '</div><p class="note">{}</p><div class="figures">{}</div><h2>The best {} of {} that passed every stage</h2>'
        '<p class="note">Numbers of candidates on this page are ranks. Files: {}</p>'
    ).format(head, body, _selections(results), figures, min(count, MOST), count, links)


def _row(cells: Sequence[str]) -> Markup:
    return Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in cells))


def _funnel_rows(rows: Sequence[dict[str, Any]], seconds: dict[str, float]) -> list[tuple[str, ...]]:
    out = []
    for row in rows:
        spent, entered = seconds.get(row["stage"], 0.0), row["entered"]
        share = f"{row['kept'] / entered:.0%}" if entered else ""
        each = f"{spent / entered:.3g}" if entered else ""
        reasons = "; ".join(f"{reason} ({count})" for reason, count in row["reasons"].items())
        counts = str(row["shards"]), str(entered), str(row["kept"])
        out.append((row["stage"], *counts, share, f"{spent / 3600:.3g}", each, reasons))
    return out


def _selections(results: Results) -> str:
    parts = []
    for step in results.survey.plan.steps:
        gate = step.gate
        if gate.budget is not None:
            by = f" of {', '.join(gate.by)}" if gate.by else ""
            parts.append(f"{step.name}: at most {gate.budget} enter, chosen by {gate.acquisition}{by}")
        if gate.unique is not None:
            parts.append(f"{step.name}: copies left out ({gate.unique})")
    return "; ".join(parts)


def _figures(results: Results) -> list[str]:
    """Distributions of the columns that decide: filters and objectives, over all candidates that have them."""
    plan = results.survey.plan
    names = [one.column for step in plan.steps for one in (*step.keep, *step.by)]
    names += [text.split()[-1] for text in plan.ranking.by]
    out = []
    for name in dict.fromkeys(names):
        verdicts = [values[name] for trail in results.survey.trails.values() for values in trail.values.values()
                    if name in values]  # fmt: skip
        values = [float(v.value) for v in verdicts if v.value is not None and not isinstance(v.value, str)]
        unit = next((v.unit for v in verdicts if v.unit), "")
        if svg := histogram(values, str(escape(check_name(name))), unit):
            out.append(svg)
    return out[:MOST_FIGURES]


def _files(results: Results) -> list[str]:
    folder = results.survey.plan.folder
    names = ("best.extxyz", "best.sdf", "candidates.parquet", "verdicts.parquet", "funnel.json")
    return [name for name in names if (folder / name).is_file()]
