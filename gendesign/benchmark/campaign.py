"""`gendesign benchmark campaign`: what a campaign costs beside its work, and what a budget misses."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from omegaconf import DictConfig

from gendesign.benchmark.large_campaign import large
from gendesign.benchmark.record import SHARE, Row, check_record, table, write
from gendesign.benchmark.stubs import Simulated, SimulatedSurvey
from gendesign.campaign import coordinator, site
from gendesign.campaign.filters import Objective
from gendesign.campaign.ledger import opened
from gendesign.campaign.plan import read_plan
from gendesign.campaign.report import write_pages
from gendesign.campaign.results import write_results
from gendesign.campaign.select import chosen, regret
from gendesign.campaign.survey import Survey
from gendesign.errors import UserError
from gendesign.run.build import load

STUBS = "gendesign.benchmark.stubs"
STAGES = 3  # of the campaign of stubs
SHARD = 5  # candidates of a shard
ACQUISITIONS = ("rank", "uncertainty", "diversity", "first")


def run(config: DictConfig) -> None:
    """Print the table and write record/campaign.json. Raises UserError for a campaign that is not finished."""
    folder = check_record(config.record)
    settings = config.campaigns
    survey = _finished(Path(settings.finished)) if settings.finished else None
    rows: list[Row] = []
    with TemporaryDirectory() as place:
        rows += simulation(Path(place), int(settings.workers), int(settings.shards), int(config.seed))
        rows += ledger(Path(place), int(settings.rows))
        rows += stub_campaign(Path(place), int(settings.stubs))
        if settings.molecules:
            rows += overhead(Path(place), int(settings.molecules), config)
    if settings.large:
        rows += large(Path(config.output), int(settings.large), str(config.potential))
    if survey is not None:
        rows += regrets(survey, tuple(settings.by), tuple(settings.budgets), int(settings.top))
    print(table(rows))
    write(rows, folder / "campaign.json", "cpu")


def simulation(place: Path, workers: int, shards: int, seed: int) -> list[Row]:
    """The coordinator's loop with the ledger on disk, before workers that need no time."""
    engine = Simulated(workers, seed)
    tasks = [site.Task("run", number, 0) for number in range(shards)]
    with opened(place / "simulation.sqlite") as book:
        start = time.process_time()
        coordinator._execute(tasks, SimulatedSurvey(engine), engine, book)  # type: ignore[arg-type]
        spent = time.process_time() - start
        entered = book.counts()["generate"].shards
    excess = sum(max(0, times - 1) for times in engine.runs.values()) - engine.killed
    ideal = len(engine.runs) / workers
    return [
        Row(f"simulation, {workers} workers: shards per CPU second of the coordinator", shards / spent, "1/s", shards),
        Row("simulation: shards entered in the ledger", entered / shards, SHARE, shards, ">= 1"),
        Row("simulation: workers killed", engine.killed, "", shards),
        Row("simulation: shards made once too often beyond the kills", excess, "", shards, "<= 0"),
        Row("simulation: time of the workers over the least possible", engine.clock / ideal, "", shards),
        Row("memory of the process after the simulation", _peak(), "GiB", shards),
    ]  # fmt: skip


def ledger(place: Path, rows: int) -> list[Row]:
    """Rebuild a ledger of so many shards, and read its counters."""
    content = ((f"stage{k % 5}", f"run{k % 50}", k, 5, 3, 1.5) for k in range(rows))
    with opened(place / "ledger.sqlite") as book:
        start = time.process_time()
        book.rebuild(content)
        rebuilt = time.process_time() - start
    with opened(place / "ledger.sqlite", readonly=True) as book:
        start = time.process_time()
        for _ in range(100):
            book.counts()
        status = (time.process_time() - start) / 100
    return [
        Row("ledger: rebuild", rebuilt, "CPU s", rows, "<= 60"),
        Row("ledger: status", 1000 * status, "ms", rows, "<= 100"),
    ]


def stub_campaign(place: Path, candidates: int) -> list[Row]:
    """A whole campaign whose generator and stages need no time: folders, selection, ledger and files at the top."""
    steps: dict[str, Any] = {f"stage{k}": {"_target_": f"{STUBS}.Stub"} for k in range(STAGES)}
    steps[f"stage{STAGES - 1}"] |= {"budget": candidates, "by": ["min number_1"]}
    content = {
        "output": str(place / "stubs"), "potential": f"{STUBS}:potential", "shard_size": SHARD, "stages": steps,
        "generators": {"lines": {"_target_": f"{STUBS}.Lines", "n": candidates}}, "rank": {"by": ["min number_1"]},
        "engine": {"use": "local", "workers": 0},
    }  # fmt: skip
    start, before = time.process_time(), _peak()
    survey = coordinator.run_campaign(content, allow=[STUBS])
    made = time.process_time() - start
    write_results(survey)
    merged = time.process_time() - start - made
    shards = -(-candidates // SHARD)
    return [
        Row(f"stubs: a shard of {SHARD}, generation and {STAGES} stages", 1000 * made / shards, "CPU ms", shards),
        Row("stubs: files at the top, a candidate", 1000 * merged / candidates, "CPU ms", candidates),
        Row("stubs: memory that the campaign added", max(0.0, _peak() - before), "GiB", candidates),
    ]


def overhead(place: Path, n: int, config: DictConfig) -> list[Row]:
    """The share of a campaign of small molecules that is spent outside generation, relaxation and checks."""
    potential = load(config)
    content = {
        "output": str(place / "molecules"), "potential": str(config.potential), "shard_size": SHARD,
        "generators": {"small": {"n": n, "settings": {"generator.n_heavy_atoms": "9", "seed": str(config.seed)}}},
        "stages": {
            "checks": {"keep": ["valid"]}, "relaxation": {}, "uncertainty": {},
            "xtb": {"budget": n, "by": ["min sa_score"], "screening": {"workers": 0}},
        },
        "rank": {"by": ["min strain_gfn2"], "unique": "inchikey"}, "engine": {"use": "local", "workers": 0},
    }  # fmt: skip
    with _metered() as work:
        start = time.process_time()
        survey = coordinator.run_campaign(content, potential=potential)
        results = write_results(survey)
        beside = time.process_time() - start - sum(work)
        write_pages(results)
        pages = time.process_time() - start - sum(work) - beside
    return [
        Row("molecules of 9 heavy atoms: work", sum(work) / n, "CPU s", n),
        Row("molecules: overhead of the campaign over its work", beside / sum(work), SHARE, n, "<= 0.03"),
        Row("molecules: both pages", pages, "CPU s", n),
    ]


def regrets(survey: Survey, by: tuple[str, ...], budgets: tuple[float, ...], top: int) -> list[Row]:
    """What budgets before the last stage would have missed of the best `top`, which are known because all were made."""
    last = len(survey.plan.steps)
    entries = survey.entries(lambda trail: trail.alive if trail.next == last else ())
    aim = Objective.parse(survey.plan.ranking.by[0])
    costs = [aim.cost(entry.values) for entry in entries]
    places = {entry.id: k for k, entry in enumerate(entries)}
    objectives = tuple(Objective.parse(text) for text in by)
    rows, title = [], f"{len(entries)} candidates: missed of the best {top}"
    for share in budgets:
        budget = max(1, round(share * len(entries)))
        for acquisition in ACQUISITIONS:
            if acquisition == "diversity" and any(entry.descriptor is None for entry in entries):
                continue
            how = dict(budget=budget, acquisition=acquisition, unique=None, distance=0.0)
            taken = chosen(entries, by=() if acquisition == "uncertainty" else objectives, **how)
            missed = regret(costs, [places[entry.id] for entry in taken], top)
            rows.append(Row(f"{title}, budget {share:.0%}, {acquisition}", missed, SHARE, top))
        rows.append(Row(f"{title}, budget {share:.0%}, random", 1 - share, SHARE, top))
    return rows


def _finished(folder: Path) -> Survey:
    survey = Survey(read_plan(folder))
    if not survey.complete or not survey.plan.ranking.by:
        raise UserError(f"campaigns.finished={folder} is not finished or has no rank.by; run it to its end")
    return survey


@contextmanager
def _metered() -> Iterator[list[float]]:
    """CPU seconds of every call that generates or measures candidates."""
    seconds: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            start = time.process_time()
            try:
                return function(*given)
            finally:
                seconds.append(time.process_time() - start)

        return call

    measure = site.Site.measure
    with (
        patch.object(site, "judged", timed(site.judged)),
        patch.object(site.Site, "measure", lambda self, *which: timed(measure(self, *which))),
        patch.object(site.Site, "generator", timed(site.Site.generator)),
    ):
        yield seconds


def _peak() -> float:
    """The largest memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


__all__ = ["ledger", "overhead", "regrets", "run", "simulation", "stub_campaign"]
