"""`Campaign`: run a campaign, look at it, and query its results, from Python."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gendesign.campaign.layout import LEDGER, LOCK, STOP
from gendesign.campaign.ledger import opened
from gendesign.campaign.plan import read_plan
from gendesign.campaign.results import LONG, TABLE, Results, write_results
from gendesign.campaign.survey import GENERATE, Survey
from gendesign.errors import SettingsError, UserError

if TYPE_CHECKING:  # these take seconds to import
    import pandas as pd
    import pyarrow as pa

    from gendesign.potential.protocol import PotentialLike

EXTRA = "pip install 'gendesign[campaign]'"


class Campaign:
    """A campaign of a config: a YAML file, or its content.

    allow: modules of the user's own whose classes `_target_` may name. Raises SettingsError of one line.

    >>> campaign = Campaign("results/campaign")  # doctest: +SKIP
    >>> campaign.table("SELECT run, count(*) FROM candidates GROUP BY run")  # doctest: +SKIP
    """

    def __init__(
        self, config: str | Path | Mapping[str, Any], words: Sequence[str] = (), *, allow: Sequence[str] = ()
    ) -> None:
        from gendesign.campaign.config import read

        if isinstance(config, str | Path) and Path(config).is_dir():
            plan = read_plan(Path(config))
            self.content: dict[str, Any] = {**plan.content, "output": str(config)}
        else:
            self.content = read(config, words)
        self.allow = tuple(allow)
        self.folder = Path(self.content.get("output", "results/campaign"))

    def run(self, potential: "PotentialLike | None" = None) -> Results:
        """Run it to its end, or continue it; the merged files and the report are written. Raises UserError."""
        from gendesign.campaign.coordinator import run_campaign
        from gendesign.campaign.report import write_pages

        survey = run_campaign(self.content, allow=self.allow, potential=potential)
        results = write_results(survey)
        write_pages(results)
        return results

    def status(self) -> list[dict[str, Any]]:
        """For each stage: finished shards, candidates entered and kept, seconds; from the ledger, in constant time."""
        return status(self.folder)

    def results(self) -> "pd.DataFrame":
        """A row per candidate (candidates.parquet)."""
        return _read(self.folder / TABLE).to_pandas()

    def table(self, sql: str, parameters: Sequence[Any] = ()) -> "pd.DataFrame":
        """The answer to a query over `candidates` (a row each) and `verdicts` (a row per check). See `query`."""
        return query(self.folder, sql, parameters)


def query(folder: Path, sql: str, parameters: Sequence[Any] = ()) -> "pd.DataFrame":
    """Run SQL over a campaign's tables, in memory: it can neither read nor write any file.

    Values belong into `parameters`, for which ? stands. Raises UserError for wrong SQL and without DuckDB.
    """
    try:
        import duckdb
    except ImportError:
        raise UserError(f"queries need DuckDB; install it by {EXTRA}, or read candidates.parquet") from None
    tables = {"candidates": _read(folder / TABLE), "verdicts": _read(folder / LONG)}
    connection = duckdb.connect(":memory:")
    try:
        for name, content in tables.items():
            connection.register(name, content)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return connection.execute(sql, list(parameters)).df()
    except duckdb.Error as error:
        raise UserError(f"the query cannot be run ({' '.join(str(error).split())[:200]}); correct the SQL") from None
    finally:
        connection.close()


def _read(path: Path) -> "pa.Table":
    """A merged table; raises SettingsError where it is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    again = f"gendesign campaign report {path.parent}"
    if not path.is_file():
        raise SettingsError(f"{path} does not exist yet; run the campaign, or {again}")
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:120]
        raise SettingsError(f"{path} cannot be read ({reason}); {again} makes it anew") from None


def status(folder: Path) -> list[dict[str, Any]]:
    """The counters of a campaign, a row per stage. Raises SettingsError where there is none."""
    plan = read_plan(folder)
    if not (folder / LEDGER).is_file():
        raise SettingsError(f"{folder} has no {LEDGER}; the campaign's command makes it, from what is finished too")
    with opened(folder / LEDGER, readonly=True) as ledger:
        counts, state = ledger.counts(), ledger.state()
    if state == "running" and not running(folder):
        state = "interrupted"
    rows: list[dict[str, Any]] = []
    total = len(plan.items)
    for name in (GENERATE, *(step.name for step in plan.steps)):
        count = counts.get(name)
        row = {"stage": name, "shards": 0, "entered": 0, "kept": 0, "seconds": 0.0}
        row |= vars(count) if count else {}
        rows.append({**row, "of": total, "state": state})
    return rows


def running(folder: Path) -> bool:
    """Whether a coordinator holds the lock of the campaign."""
    import fcntl

    try:
        with open(folder / LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def stop(folder: Path) -> bool:
    """Ask the coordinator to end its workers and leave; False where none runs."""
    read_plan(folder)
    if not running(folder):
        return False
    (folder / STOP).touch()
    return True


def verify(folder: Path) -> Iterator[str]:
    """What is wrong in a campaign folder, a line each: unreadable shards, and a ledger that differs."""
    from gendesign.campaign.trail import DamagedShardError, follow

    plan = read_plan(folder)
    damaged = finished = False
    for run, number in plan.items:
        try:
            trail = follow(plan, run, number)
            finished |= bool(trail.folders)
            trail.candidates(trail.alive)
            trail.descriptors()
        except DamagedShardError as error:
            damaged = True
            yield str(error)
        except Exception as error:  # a structure file may break anything
            damaged = True
            yield f"shard {number} of {run}: {' '.join(str(error).split())[:120]}; remove it and run again"
    if damaged:
        return
    if not (folder / LEDGER).is_file():
        if finished:
            yield f"{LEDGER} is missing; the campaign's command makes it from the shards"
        return
    survey = Survey(plan)
    expected = {row[:5] for row in survey.all_rows()}
    with opened(folder / LEDGER, readonly=True) as ledger:
        found = ledger.rows()
    if expected != found:
        yield (f"{LEDGER} differs from the shards in {len(expected ^ found)} rows; "
               "the campaign's command rebuilds it")  # fmt: skip
