"""A campaign of thousands of molecules as its user starts it: time and memory of all its processes together."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from gendesign.benchmark.record import SHARE, Row
from gendesign.campaign.layout import write_json
from gendesign.campaign.plan import read_plan
from gendesign.campaign.results import costs, read_funnel
from gendesign.campaign.survey import Survey
from gendesign.errors import UserError
from gendesign.run.workers import count_of

EVERY = 1.0  # seconds between two looks at the processes
METER = "meter.json"
SHARD = 50  # candidates of a shard


def large(folder: Path, n: int, potential: str) -> list[Row]:
    """`n` raw samples of the diffusion model, checked; valid ones are relaxed, and the best 200 go to GFN2-xTB."""
    settings = {"generator": "diffusion", "generator.finish": "false", "generator.n_heavy_atoms": "6-8"}
    content = {
        "output": str(folder / "campaign"), "potential": potential, "shard_size": SHARD,
        "generators": {"raw": {"n": n, "settings": settings}},
        "stages": {
            "checks": {"keep": ["valid"]}, "relaxation": {"keep": ["converged"]}, "uncertainty": {},
            "xtb": {"budget": 200, "by": ["min sa_score", "min uncertainty"], "unique": "inchikey"},
        },
        "rank": {"by": ["min strain_gfn2"], "unique": "inchikey"},
    }  # fmt: skip
    return rows_of(folder, content, metered(folder, content))


def metered(folder: Path, content: Mapping[str, Any], words: tuple[str, ...] = ()) -> dict[str, float]:
    """Run a campaign in processes of its own: `seconds` of wall time, and `memory`, their largest sum in GiB.

    Parts of an interrupted campaign are added. Memory is proportional: pages that processes share count once. Raises
    UserError where the campaign ends with an error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "campaign_settings.yaml", content)  # JSON is YAML
    path = folder / METER
    meter = json.loads(path.read_text()) if path.exists() else {"seconds": 0.0, "memory": 0.0}
    command = [sys.executable, "-m", "gendesign", "campaign", str(folder / "campaign_settings.yaml"), *words]
    process = subprocess.Popen(command)
    last = time.perf_counter()
    try:
        while process.poll() is None:
            meter["memory"] = max(meter["memory"], _memory(process.pid))
            time.sleep(EVERY)
            now = time.perf_counter()
            meter["seconds"] += now - last
            last = now
            write_json(path, meter)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode:
        raise UserError(f"the campaign in {folder} ended with the message above; the same command continues it")
    return meter


def rows_of(folder: Path, content: Mapping[str, Any], meter: Mapping[str, float]) -> list[Row]:
    """Rows of a finished campaign of one generator and of what was metered."""
    place = Path(content["output"])
    survey = Survey(read_plan(place))
    (n,) = (int(one["n"]) for one in content["generators"].values())
    stages, _ = read_funnel(place)
    work = sum(costs(survey).values())
    workers = max(1, count_of(content.get("engine", {}).get("workers", "auto")))
    beside = workers * meter["seconds"] - work
    title = f"{n} molecules in one campaign"
    return [
        Row(f"{title}: accounted for", stages[0]["entered"] / n, SHARE, n, ">= 1"),
        Row(f"{title}: memory of all its processes", meter["memory"], "GiB", n, "<= 6"),
        Row(f"{title}: wall time", meter["seconds"] / 60, "min", n),
        Row(f"{title}: time of {workers} workers beside generation, relaxation and checks, over these",
            beside / work, SHARE, n, "<= 0.03"),
        *(Row(f"{title}: {row['stage']}, entered", row["entered"] / n, SHARE, n) for row in stages[1:]),
    ]  # fmt: skip


def _memory(pid: int) -> float:
    """Proportional memory in GiB of a process and all its descendants."""
    total = 0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0.0
    for one in family:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:  # it has ended meanwhile
            continue
    return float(total) / 2**30
