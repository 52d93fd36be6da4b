"""The files at the top of a campaign, rebuilt from its shards: the same bytes for the same shards."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gendesign.campaign.filters import number
from gendesign.campaign.layout import write_json
from gendesign.campaign.select import Entry, Id
from gendesign.campaign.survey import GENERATE, Survey
from gendesign.campaign.trail import Trail
from gendesign.run.records import FINISHED
from gendesign.structure.files import write_extxyz
from gendesign.structure.types import Candidate, Verdict

TABLE, LONG, BEST, FUNNEL, COSTS = (
    "candidates.parquet", "verdicts.parquet", "best.extxyz", "funnel.json", "costs.json",
)  # fmt: skip
MERGED = (TABLE, LONG, BEST, FUNNEL)  # the same bytes after any interruption
OWN = ("run", "candidate", "last_stage", "reason", "rank", "front")  # columns of TABLE that no check may shadow
MOST_REASONS = 6
LONG_SCHEMA = pa.schema([
    ("run", pa.string()), ("candidate", pa.int64()), ("check", pa.string()), ("passed", pa.bool_()),
    ("value", pa.float64()), ("text", pa.string()), ("unit", pa.string()), ("reason", pa.string()),
])  # fmt: skip


@dataclass(frozen=True)
class Results:
    """What a survey found: the finalists, best first, with their Pareto fronts, and the funnel."""

    survey: Survey
    finalists: list[tuple[Entry, int]]

    @classmethod
    def of(cls, survey: Survey) -> "Results":
        """Rank the candidates that passed every stage."""
        return cls(survey, survey.finalists())

    @property
    def ranks(self) -> dict[Id, tuple[int, int]]:
        """Rank (1 the best) and front of the finalists."""
        return {entry.id: (k + 1, front) for k, (entry, front) in enumerate(self.finalists)}

    def best(self, count: int) -> list[Candidate]:
        """The best structures; `index` is their rank, and `info` says where they come from."""
        wanted = {entry.id: k + 1 for k, (entry, _) in enumerate(self.finalists[:count])}
        out = []
        for trail in self.survey.trails.values():
            mine = [index for index in trail.alive if (trail.run, index) in wanted]
            for candidate in trail.candidates(mine):
                about = {"run": trail.run, "candidate": candidate.index}
                info = candidate.info | about
                out.append(replace(candidate, index=wanted[trail.run, candidate.index], info=info))
        return sorted(out, key=lambda candidate: candidate.index)

    def verdicts(self, count: int) -> list[Verdict]:
        """The verdicts of the best, by rank."""
        rows = []
        for k, (entry, _) in enumerate(self.finalists[:count]):
            rows += [replace(verdict, candidate=k + 1) for verdict in entry.values.values()]
        return rows


def write_results(survey: Survey) -> Results:
    """Write the merged files of a campaign, finished or not."""
    results = Results.of(survey)
    folder = survey.plan.folder
    _write_parquet(wide_table(results), folder / TABLE)
    _write_parquet(long_table(survey), folder / LONG)
    write_extxyz(results.best(survey.plan.ranking.top), folder / BEST)
    write_json(folder / FUNNEL, funnel(survey))
    write_json(folder / COSTS, costs(survey))
    return results


def wide_table(results: Results) -> pa.Table:
    """A row per candidate: where it comes from, how far it came and why, its rank, and a column per check."""
    survey, ranks = results.survey, results.ranks
    kinds = _kinds(survey)
    rows = []
    for trail in survey.trails.values():
        varied = survey.plan.run(trail.run).varied
        for index in sorted(trail.values):
            rank, front = ranks.get((trail.run, index), (None, None))
            stage, reason = _end(survey, trail, index)
            row: dict[str, Any] = {"run": trail.run, "candidate": index, "last_stage": stage, "reason": reason,
                                   "rank": rank, "front": front}  # fmt: skip
            row |= {f"grid_{_column(key)}": value for key, value in varied.items()}
            rows.append(row | _columns(trail.values[index], kinds))
    names = dict.fromkeys([*OWN, *(key for row in rows for key in row)])
    types = {name: _type(name, rows) for name in names}
    return pa.table({name: pa.array([row.get(name) for row in rows], types[name]) for name in names})


def long_table(survey: Survey) -> pa.Table:
    """A row per candidate and check."""
    rows = []
    for trail in survey.trails.values():
        for index in sorted(trail.values):
            for verdict in trail.values[index].values():
                text = verdict.value if isinstance(verdict.value, str) else None
                value = None if text is not None or verdict.value is None else float(verdict.value)
                passed = None if verdict.passed is None else bool(verdict.passed)
                rows.append({"run": trail.run, "candidate": index, "check": verdict.check, "passed": passed,
                             "value": value, "text": text, "unit": verdict.unit, "reason": verdict.reason})  # fmt: skip
    return pa.Table.from_pylist(rows, schema=LONG_SCHEMA)


def funnel(survey: Survey) -> list[dict[str, Any]]:
    """For each stage: how many arrived, entered and left, and why the others did not."""
    names = [GENERATE, *(step.name for step in survey.plan.steps)]
    rows = [{"stage": name, "shards": 0, "entered": 0, "kept": 0, "reasons": Counter[str]()} for name in names]
    for trail in survey.trails.values():
        for k, entered in enumerate(trail.entered):
            rows[k]["shards"] += 1
            rows[k]["entered"] += len(entered)
            rows[k]["kept"] += trail.kept[k]
        for stage, reason in trail.ended.values():
            place = min(stage + 1, len(rows) - 1)
            rows[place]["reasons"][_kind(reason)] += 1
    for row in rows:
        common = sorted(row["reasons"].items(), key=lambda pair: (-pair[1], pair[0]))
        row["reasons"] = dict(common[:MOST_REASONS])
    return rows


def costs(survey: Survey) -> dict[str, float]:
    """Seconds that workers spent in each stage."""
    seconds: dict[str, float] = {}
    for name, _, _, _, _, spent in survey.all_rows():
        seconds[name] = round(seconds.get(name, 0.0) + spent, 3)
    return seconds


def read_funnel(folder: Path) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """What `write_results` wrote of the funnel and its costs."""
    return json.loads((folder / FUNNEL).read_text()), json.loads((folder / COSTS).read_text())


def _end(survey: Survey, trail: Trail, index: int) -> tuple[str, str]:
    """The stage at which a candidate is, or was left out, and the reason."""
    names = [GENERATE, *(step.name for step in survey.plan.steps)]
    if index in trail.ended:
        stage, reason = trail.ended[index]
        return names[min(stage + 1, len(names) - 1)], reason
    return names[min(trail.next, len(names) - 1)], ""


def _columns(values: Any, kinds: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for check, verdict in values.items():
        if check == FINISHED:
            continue
        name = _column(check)
        kind = kinds[check]
        if kind == "text":
            row[name] = verdict.value if isinstance(verdict.value, str) else None
        elif kind == "value":
            row[name] = None if verdict.value is None else number(verdict)
        if kind == "passed":
            row[name] = None if verdict.passed is None else bool(verdict.passed)
        elif verdict.passed is not None:
            row[f"{name}_passed"] = bool(verdict.passed)
    return row


def _kinds(survey: Survey) -> dict[str, str]:
    """Of every check, what its column holds: text, value or passed."""
    kinds: dict[str, str] = {}
    order = {"text": 2, "value": 1, "passed": 0}
    for trail in survey.trails.values():
        for values in trail.values.values():
            for check, verdict in values.items():
                kind = "passed" if verdict.value is None else "text" if isinstance(verdict.value, str) else "value"
                if order[kind] >= order[kinds.get(check, "passed")]:
                    kinds[check] = kind
    return kinds


def _type(name: str, rows: Sequence[dict[str, Any]]) -> pa.DataType:
    if name in ("candidate", "rank", "front"):
        return pa.int64()
    value = next((row[name] for row in rows if row.get(name) is not None), None)
    return pa.bool_() if isinstance(value, bool) else pa.float64() if isinstance(value, float) else pa.string()


def _column(check: str) -> str:
    name = re.sub(r"\W", "_", check)
    return f"check_{name}" if name in OWN else name


def _kind(reason: str) -> str:
    """A reason without the candidate's own numbers, so that equal ones are counted together."""
    text = reason.partition(": ")[0] if " has no value" in reason else reason
    text = re.sub(r"^copy of candidate .*", "copy of another candidate", text)
    return text[:100]


def _write_parquet(table: pa.Table, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    pq.write_table(table, temporary, compression="zstd")
    temporary.replace(path)


def rows_of(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of candidates.parquet."""
    yield from pq.read_table(folder / TABLE).to_pylist()
