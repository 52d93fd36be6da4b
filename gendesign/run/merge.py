"""The files at the top of a results folder, rebuilt from its finished shards."""

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from typing import Any

from gendesign.run.folder import SUMMARY, Folder, to_json
from gendesign.run.records import read_candidates, read_verdicts, write_candidates, write_verdicts
from gendesign.run.report import write_report
from gendesign.run.stages import Stages
from gendesign.run.table import count

CANDIDATES, VERDICTS, TIMINGS, MOLECULES, REPORT = (
    "candidates.extxyz", "verdicts.parquet", "timings.json", "molecules.sdf", "report.html",
)  # fmt: skip
LIBRARIES = ("gendesign", "torch", "mace-torch", "torch-sim-atomistic", "ase", "rdkit", "posebusters", "tblite")


def rebuild(stages: Stages, folder: Folder, total: int) -> dict[str, Any]:
    """Merge the finished shards; returns the content of summary.json, with `seconds` (per stage) beside it."""
    finished = [number for number in range(total) if folder.finished(number)]
    candidates = [c for number in finished for c in read_candidates(folder.shard(number) / CANDIDATES)]
    verdicts = [v for number in finished for v in read_verdicts(folder.shard(number) / VERDICTS)]
    if stages.screen_set is not None:
        verdicts = verdicts + stages.screen_set(candidates, verdicts)
    verdicts.sort(key=lambda verdict: verdict.candidate)  # stable: checks keep their order within a candidate
    timings = read_timings(folder, finished)
    summary = {
        "identity": folder.identity,
        **stages.about,
        "versions": versions(),
        "shards": {"finished": len(finished), "total": total},
        "table": stages.summarise(candidates, verdicts) if stages.summarise else count(candidates, verdicts),
    }
    folder.replace(CANDIDATES, lambda path: write_candidates(path, candidates))
    folder.replace(VERDICTS, lambda path: write_verdicts(path, verdicts))
    if stages.write_molecules is not None:
        folder.replace(MOLECULES, lambda path: stages.write_molecules(path, candidates, verdicts))
    folder.replace(TIMINGS, lambda path: path.write_text(to_json(timings)))
    folder.replace(REPORT, lambda path: write_report(path, summary, candidates, verdicts, timings))
    folder.replace(SUMMARY, lambda path: path.write_text(to_json(summary)))
    return {**summary, "timings": timings}


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape the numbers."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def read_timings(folder: Folder, finished: Sequence[int]) -> dict[str, Any]:
    """Candidates and seconds per stage over these shards."""
    seconds: dict[str, float] = {}
    made = 0
    for number in finished:
        shard = json.loads((folder.shard(number) / TIMINGS).read_text())
        made += shard["candidates"]
        for stage, spent in shard["seconds"].items():
            seconds[stage] = round(seconds.get(stage, 0.0) + spent, 3)
    return {"candidates": made, "seconds": seconds}
