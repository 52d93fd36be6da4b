"""Counters of a campaign in SQLite: what `status` reads at once. The shard folders are the truth, from which a ledger
is rebuilt; workers never open it."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS shards (
  stage TEXT NOT NULL, run TEXT NOT NULL, number INTEGER NOT NULL,
  entered INTEGER NOT NULL, kept INTEGER NOT NULL, seconds REAL NOT NULL,
  PRIMARY KEY (stage, run, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (
  stage TEXT PRIMARY KEY, shards INTEGER NOT NULL, entered INTEGER NOT NULL, kept INTEGER NOT NULL,
  seconds REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deaths (
  run TEXT NOT NULL, number INTEGER NOT NULL, times INTEGER NOT NULL, PRIMARY KEY (run, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
Row = tuple[str, str, int, int, int, float]  # stage, run, number, entered, kept, seconds


@dataclass(frozen=True)
class Count:
    """Finished shards of a stage, the candidates that entered and left it, and the seconds that workers spent."""

    shards: int = 0
    entered: int = 0
    kept: int = 0
    seconds: float = 0.0


class Ledger:
    """An open ledger. One process writes it: the coordinator, which holds the lock of the campaign."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        if readonly:
            self.connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
        else:
            self.connection = sqlite3.connect(path, timeout=10)
            self.connection.execute("PRAGMA journal_mode=WAL")
            self.connection.execute("PRAGMA synchronous=NORMAL")  # rebuilt after a crash of the machine
            self.connection.executescript(SCHEMA)

    def record(self, rows: Iterable[Row]) -> int:
        """Enter finished shards; one that is there already counts no second time. Returns the number of new ones."""
        new = 0
        with self.connection as db:
            for row in rows:
                if db.execute("INSERT OR IGNORE INTO shards VALUES (?, ?, ?, ?, ?, ?)", row).rowcount:
                    new += 1
                    self._count(row[0], 1, *row[3:])
        return new

    def rebuild(self, rows: Iterable[Row]) -> None:
        """Begin anew from what the folders hold."""
        with self.connection as db:
            db.execute("DELETE FROM shards")
            db.execute("DELETE FROM counters")
            db.executemany("INSERT OR IGNORE INTO shards VALUES (?, ?, ?, ?, ?, ?)", rows)
            db.execute(
                "INSERT INTO counters SELECT stage, COUNT(*), SUM(entered), SUM(kept), SUM(seconds) "
                "FROM shards GROUP BY stage"
            )

    def _count(self, stage: str, shards: int, entered: int, kept: int, seconds: float) -> None:
        self.connection.execute(
            "INSERT INTO counters VALUES (?, ?, ?, ?, ?) ON CONFLICT (stage) DO UPDATE SET shards = shards + "
            "excluded.shards, entered = entered + excluded.entered, kept = kept + excluded.kept, "
            "seconds = seconds + excluded.seconds",
            (stage, shards, entered, kept, seconds),
        )

    def counts(self) -> dict[str, Count]:
        """The counters by stage, in constant time."""
        return {row[0]: Count(*row[1:]) for row in self.connection.execute("SELECT * FROM counters")}

    def rows(self) -> set[tuple[str, str, int, int, int]]:
        """Every finished shard without its seconds."""
        return set(self.connection.execute("SELECT stage, run, number, entered, kept FROM shards"))

    def died(self, run: str, number: int, times: int = 1) -> int:
        """Record deaths of the worker of a shard; returns how many there have been."""
        with self.connection as db:
            db.execute(
                "INSERT INTO deaths VALUES (?, ?, ?) ON CONFLICT (run, number) DO UPDATE SET times = times + ?",
                (run, number, times, times),
            )
            (total,) = db.execute("SELECT times FROM deaths WHERE run = ? AND number = ?", (run, number)).fetchone()
        return int(total)

    def deaths(self) -> dict[tuple[str, int], int]:
        """Deaths of workers by shard."""
        rows: Sequence[tuple[str, int, int]] = self.connection.execute("SELECT * FROM deaths").fetchall()
        return {(run, number): times for run, number, times in rows}

    def state(self, value: str | None = None) -> str:
        """What the campaign is doing; a value sets it."""
        if value is not None:
            with self.connection as db:
                db.execute("INSERT OR REPLACE INTO facts VALUES ('state', ?)", (value,))
            return value
        row = self.connection.execute("SELECT value FROM facts WHERE name = 'state'").fetchone()
        return str(row[0]) if row else "not started"

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


@contextmanager
def opened(path: Path, *, readonly: bool = False) -> Iterator[Ledger]:
    """A ledger that is closed in the end."""
    ledger = Ledger(path, readonly=readonly)
    try:
        yield ledger
    finally:
        ledger.close()
