"""The files at the top of a results folder, rebuilt from its finished shards."""

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gendesign import __version__
from gendesign.run.explorer import explorer_page
from gendesign.run.folder import SUMMARY, Folder, to_json
from gendesign.run.records import read_candidates, read_verdicts, write_verdicts
from gendesign.run.report import write_report
from gendesign.run.stages import Stages
from gendesign.run.table import count, failures, valid
from gendesign.structure.files import write_sdf
from gendesign.structure.generator import PhaseReport, no_report
from gendesign.structure.types import Candidate

CANDIDATES, VERDICTS, TIMINGS, MOLECULES, REPORT, EXPLORER = (
    "candidates.extxyz", "verdicts.parquet", "timings.json", "molecules.sdf", "report.html", "explorer.html",
)  # fmt: skip
WRITING = "writing"  # the phase in the progress bar
LIBRARIES = ("torch", "mace-torch", "torch-sim-atomistic", "ase", "rdkit", "posebusters", "tblite")


def rebuild(stages: Stages, folder: Folder, total: int, phase: PhaseReport = no_report) -> dict[str, Any]:
    """Merge the finished shards; returns summary.json's content, and what else the terminal shows."""
    finished = [number for number in range(total) if folder.finished(number)]
    frames = [folder.shard(number) / CANDIDATES for number in finished]
    verdicts_of = [read_verdicts(folder.shard(number) / VERDICTS) for number in finished]
    candidates = [c for path, rows in zip(frames, verdicts_of, strict=True) for c in read_candidates(path, rows)]
    verdicts = [verdict for rows in verdicts_of for verdict in rows]
    if stages.screen_set is not None:
        verdicts = verdicts + stages.screen_set(candidates, verdicts, phase)
    phase(WRITING)
    verdicts.sort(key=lambda verdict: verdict.candidate)  # stable: checks keep their order within a candidate
    timings = read_timings(folder, finished)
    table = stages.summarise(verdicts, len(candidates)) if stages.summarise else count(candidates, verdicts)
    summary = {
        "identity": folder.identity,
        **stages.about,
        "versions": versions(),
        "shards": {"finished": len(finished), "total": total},
        **({"grown": folder.grown} if folder.grown else {}),
        "table": table,
    }
    folder.replace(CANDIDATES, lambda path: path.write_bytes(b"".join(frame.read_bytes() for frame in frames)))
    folder.replace(VERDICTS, lambda path: write_verdicts(path, verdicts))
    if may_hold_molecules(candidates):
        folder.replace(MOLECULES, lambda path: write_sdf(valid(candidates, verdicts), path, zwitterions=True))
    else:
        (folder.path / MOLECULES).unlink(missing_ok=True)  # of a time when all attempts had failed
    folder.replace(TIMINGS, lambda path: path.write_text(to_json(timings)))
    folder.replace(REPORT, lambda path: write_report(path, summary, candidates, verdicts, timings))
    explorer = explorer_page(summary, candidates, verdicts)
    if explorer is None:
        (folder.path / EXPLORER).unlink(missing_ok=True)
    else:
        folder.replace(EXPLORER, lambda path: path.write_text(explorer, "utf-8"))
    for name, text in (stages.files(candidates, verdicts) if stages.files else {}).items():
        folder.replace(name, partial(_write_text, text))
    folder.replace(SUMMARY, lambda path: path.write_text(to_json(summary)))
    remarks = failures(candidates) + (stages.remarks(candidates, verdicts) if stages.remarks else [])
    shown = {"asked": asked(folder.identity, stages, len(candidates)), "headlines": stages.headlines}
    return {**summary, "timings": timings, "remarks": remarks, **shown}


def asked(identity: dict[str, Any], stages: Stages, n: int) -> str:
    """What the run was asked for, in one line for the terminal."""
    verb, model = identity.get("verb", "run"), stages.about.get("model", {}).get("name")
    source = f"{n} structures" if verb in ("relax", "screen") else f"{n} candidates of {stages.generator.name}"
    seed = identity.get("settings", {}).get("seed")
    details = [f"potential {model}" if model else "", "" if seed is None else f"seed {seed}"]
    return ", ".join(filter(None, [f"{verb}: {source}", *details]))


def _write_text(text: str, path: Path) -> None:
    path.write_text(text)


def may_hold_molecules(candidates: Sequence[Candidate]) -> bool:
    """False where there are structures and all of them are periodic: their molecules.sdf would be empty."""
    structures = [candidate.atoms for candidate in candidates if len(candidate.atoms)]
    return not structures or not all(atoms.pbc.any() for atoms in structures)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape the numbers."""
    installed = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"gendesign": __version__, "python": platform.python_version(), **installed}


def read_timings(folder: Folder, finished: Sequence[int]) -> dict[str, Any]:
    """Candidates and seconds per stage over these shards."""
    seconds: dict[str, float] = {}
    candidates = 0
    for number in finished:
        shard = json.loads((folder.shard(number) / TIMINGS).read_text())
        candidates += shard["candidates"]
        for stage, spent in shard["seconds"].items():
            seconds[stage] = round(seconds.get(stage, 0.0) + spent, 3)
    return {"candidates": candidates, "seconds": seconds}
