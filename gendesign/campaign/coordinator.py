"""The coordinator of a campaign: asks an engine for the shards that are missing, until none is."""

import errno
import fcntl
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from gendesign.campaign.config import Config, configure, identity_of
from gendesign.campaign.engines.base import End, ShardEngine, make_engine
from gendesign.campaign.layout import LEDGER, LOCK, PLAN, RUNS, STOP, sweep_partial
from gendesign.campaign.ledger import Ledger, opened
from gendesign.campaign.plan import Plan, grown_of, planned
from gendesign.campaign.settings import Gate
from gendesign.campaign.site import Site, load_potential_of, make_generator, run_config
from gendesign.campaign.survey import Survey
from gendesign.errors import SettingsError, UserError
from gendesign.processes import compute_with_one_thread
from gendesign.processes.children import PRIVATE
from gendesign.run.domain import judge_generator, say
from gendesign.run.folder import open_folder
from gendesign.run.identity import identify
from gendesign.run.records import FINISHED

if TYPE_CHECKING:
    from gendesign.campaign.site import Task
    from gendesign.potential.protocol import PotentialLike

DEATHS = 3  # of a shard's workers, after which its candidates are made one by one
MOST_DEATHS = 12  # after which the campaign ends with a message
FULL = (errno.ENOSPC, errno.EDQUOT)  # errors of a disk without room
MOST_ROUNDS = 5  # in which an engine ends tasks without making a shard


class StoppedError(Exception):
    """`gendesign campaign stop` was given."""


def run_campaign(
    content: Mapping[str, Any], *, allow: Sequence[str] = (), potential: "PotentialLike | None" = None
) -> Survey:
    """Run a campaign to its end, or continue it; raises UserError before any work starts for what cannot be done.

    potential: in place of the one that the settings name, which workers on other machines load by themselves.
    """
    config = configure(content, allow)
    engine = make_engine(config.engine)
    engine.check()
    for one in config.stages:
        with _named(f"stages.{one.name}"):
            one.stage.check()
    missing = _unknown_columns(config)
    compute_with_one_thread()
    folder = Path(config.settings.output)
    _refuse_other_files(folder)
    model = potential or load_potential_of(config)
    _judge(config, model, missing)
    with locked(folder):
        plan = _plan(config, folder, model.weights_hash)
        plan.write()
        sweep_partial(folder)
        site = Site(config, plan, model)
        survey = Survey(plan)
        with opened(folder / LEDGER) as ledger:
            _work(survey, engine, site, ledger, allow)
    return survey


def _work(survey: Survey, engine: ShardEngine, site: Site, ledger: Ledger, allow: Sequence[str]) -> None:
    cancel = False
    (survey.plan.folder / STOP).unlink(missing_ok=True)
    try:
        ledger.rebuild(survey.all_rows())
        if not survey.complete:
            ledger.state("running")
            engine.start(site, allow)
        with _stopping(survey.plan.folder / STOP):
            while tasks := survey.missing():
                _execute(tasks, survey, engine, ledger)
                before = {item: len(trail.folders) for item, trail in survey.trails.items()}
                survey.progress()
                for item, count in before.items():
                    if len(survey.trails[item].folders) > count:  # made before, for a selection that is the same again
                        ledger.record(survey.rows(item))
        ledger.state("finished")
    except StoppedError:
        cancel = True
        ledger.state("stopped")
        raise UserError(
            f"{survey.plan.folder} was stopped; finished shards are kept; the same command continues"
        ) from None
    except sqlite3.Error as error:
        raise UserError(f"{LEDGER} cannot be written ({error}); make room for it; the same command continues") from None
    except BaseException as error:
        with suppress(sqlite3.Error):  # of a full disk
            ledger.state("interrupted")
        if isinstance(error, OSError) and error.errno in FULL:
            raise UserError(
                f"{survey.plan.folder} cannot be written ({error.strerror}); make room; the same command continues"
            ) from None
        raise
    finally:
        engine.close(cancel=cancel)


def _execute(tasks: "list[Task]", survey: Survey, engine: ShardEngine, ledger: Ledger) -> None:
    """Have tasks done, again where a worker died; raises UserError where an engine makes nothing."""
    idle = 0
    deaths = ledger.deaths()
    tasks = [_careful(task, deaths.get((task.run, task.number), 0)) for task in tasks]
    tqdm.monitor_interval = 0  # its thread must not be forked
    with tqdm(total=len(tasks), desc="campaign", unit="shard", file=sys.stderr, leave=False, disable=None) as bar:
        while tasks:
            again, made = [], 0
            for end in engine.run(tasks):
                task = tasks[end.task]
                trail = survey.read((task.run, task.number))
                made += ledger.record(survey.rows((task.run, task.number)))
                if trail.next > task.last or trail.waits:
                    bar.update()
                else:
                    again.append(_again(task, end, ledger))
            idle = 0 if made else idle + 1
            if again and idle >= MOST_ROUNDS:
                raise UserError("the engine ends its tasks without making shards; see logs in the campaign's folder")
            tasks = again


def _again(task: "Task", end: End, ledger: Ledger) -> "Task":
    """A task that was not finished, once more."""
    if not end.died:
        return task
    times = ledger.died(task.run, task.number, end.died)
    if times >= MOST_DEATHS:
        raise UserError(f"shard {task.number} of {task.run}: its workers died {times} times ({end.reason}); "
                        "give workers more memory, or smaller shards")  # fmt: skip
    return _careful(task, times)


def _careful(task: "Task", deaths: int) -> "Task":
    from dataclasses import replace

    return replace(task, alone=deaths >= DEATHS)


def _plan(config: Config, folder: Path, weights: str) -> Plan:
    """The plan, and the folders of the runs with their identities."""
    from dataclasses import replace

    identities: dict[str, Any] = {}
    for settings in config.runs:
        words = run_config(settings)
        if words is not None:
            identities[settings.name] = identify([], words)
        else:
            about = {"n": settings.n, "seed": settings.seed, "shard_size": settings.shard_size}
            content = {**about, "target": settings.target, "arguments": identity_of(dict(settings.arguments))}
            identities[settings.name] = {"settings": content, "files": {}}
    without_n = {
        name: {**about, "settings": {key: value for key, value in about["settings"].items() if key != "n"}}
        for name, about in identities.items()
    }
    plan = planned(config, folder, weights, without_n)
    runs = []
    for run, settings in zip(plan.runs, config.runs, strict=True):
        identity = {"verb": "generate", **identities[settings.name], "weights": weights}
        with open_folder(folder / RUNS / run.name, identity):
            pass
        runs.append(replace(run, grown=grown_of(folder, run.name)))
    return replace(plan, runs=tuple(runs))


def _unknown_columns(config: Config) -> list[tuple[str, str]]:
    """(key, column) of filters and objectives that no stage before makes; a generator's conditions may."""
    known = {FINISHED}
    missing = []
    for one in config.stages:
        place = f"stages.{one.name}"
        missing += [(f"{place}.by", objective.column) for objective in one.by if objective.column not in known]
        if one.gate.acquisition == "uncertainty" and not one.by and "uncertainty" not in known:
            missing.append((f"{place}.acquisition", "uncertainty"))
        if _needs_descriptors(one.gate) and "described" not in known:
            raise SettingsError(f"{place}: diversity and unique=descriptor need descriptors; "
                                "put a stage of kind descriptors before")  # fmt: skip
        known |= one.stage.columns
        missing += [(f"{place}.keep", one_filter.column) for one_filter in one.keep if one_filter.column not in known]
    missing += [("rank.by", objective.column) for objective in config.by if objective.column not in known]
    if config.ranking.unique == "descriptor" and "described" not in known:
        raise SettingsError("rank.unique=descriptor needs descriptors; add a stage of kind descriptors")
    return missing


def _needs_descriptors(gate: Gate) -> bool:
    return gate.unique == "descriptor" or (gate.budget is not None and gate.acquisition == "diversity")


def _judge(config: Config, potential: "PotentialLike", missing: Sequence[tuple[str, str]]) -> None:
    """Compare the generators with the potential's domain, and unknown columns with their conditions.

    Of a grid so many runs are made that every value occurs once: all combinations could take longer than the campaign.
    """
    conditions: set[str] = set()
    judged: set[tuple[str, str, str]] = set()
    warnings: list[str] = []
    for settings in config.runs:
        entry = settings.name.partition(",")[0]
        values = {(entry, key, str(value)) for key, value in settings.varied.items() if key != "seed"}
        values.add((entry, "", ""))
        if values <= judged:
            continue
        judged |= values
        with _named(f"generators.{settings.name}"):
            words = run_config(settings)
            generator = make_generator(settings, potential)
            conditions |= {condition.name for condition in generator.requested}
            if words is not None:
                warnings += judge_generator(generator, potential, words)
    say(list(dict.fromkeys(warnings)))
    for key, column in missing:
        if column not in conditions:
            known = sorted({name for one in config.stages for name in one.stage.columns} | conditions)
            raise SettingsError(f"{key}: no stage before makes {column}; there are {', '.join(known) or 'none'}")


def _refuse_other_files(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"output={folder} is a file; give the name of a folder")
    if folder.is_dir() and not (folder / PLAN).is_file() and any(not p.name.startswith(".") for p in folder.iterdir()
                                                                 if p.name != RUNS):  # fmt: skip
        raise SettingsError(f"output={folder} holds other files and no {PLAN}; give a new or empty folder")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the campaign's lock; raises SettingsError where another coordinator holds it, or it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "w")  # noqa: SIM115 - held open, and so locked, until the campaign ends
    except OSError as error:
        raise SettingsError(f"output={folder} cannot be created ({error.strerror}); give another folder") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"output={folder} is run by another coordinator; watch it by `gendesign campaign watch {folder}`, "
                f"or stop it by `gendesign campaign stop {folder}`"
            ) from None
        PRIVATE.add(lock)
        try:
            yield
        finally:
            PRIVATE.discard(lock)


@contextmanager
def _stopping(path: Path) -> Iterator[None]:
    """Raise StoppedError as soon as the file appears; only the main thread of a process can be interrupted so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def look(*_: object) -> None:
        if os.getpid() == owner and path.exists():
            signal.setitimer(signal.ITIMER_REAL, 0)
            with suppress(OSError):
                path.unlink()
            raise StoppedError

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _named(place: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise SettingsError(f"{place}: {error}") from None
