"""Where a campaign keeps what: paths that cannot leave the folder, and shards that appear complete or not at all.

campaign.json             settings, runs and stages; what workers read
runs/RUN/                 a results folder of each run: shards/NNNNN
stages/NAME-KEY/RUN/NNNNN-INPUT/   what a stage made of the candidates INPUT of a shard
logs/HOST-PID.jsonl       a line for each shard that a worker begins and ends
ledger.sqlite             counters, rebuilt from the folders at any time
"""

import hashlib
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gendesign.errors import SettingsError, UserError

PLAN, LEDGER, LOCK, STOP, LOGS, RUNS, STAGES = (
    "campaign.json", "ledger.sqlite", ".lock", ".stop", "logs", "runs", "stages",
)  # fmt: skip
CANDIDATES, VERDICTS, TIMINGS, DESCRIPTORS = (
    "candidates.extxyz", "verdicts.parquet", "timings.json", "descriptors.npy",
)  # fmt: skip
PARTIAL = ".partial-"
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_=,.+-]*")
DIGITS = 10  # of a key


def digest(content: Any) -> str:
    """A short key of plain content."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def safe(name: str) -> str:
    """A name that is a single part of a path; raises UserError for any other."""
    if not SAFE.fullmatch(name) or ".." in name or len(name.encode()) > 200:
        raise UserError(f"the name {name[:40]!r} cannot be part of a path; use letters, digits and _=,.+-")
    return name


def cleaned(text: str) -> str:
    """A text as part of a path: other characters become underscores."""
    return re.sub(r"[^A-Za-z0-9_=,.+-]", "_", text)[:120].replace("..", "_").lstrip("_=,.+-") or "x"


def generated(folder: Path, run: str, number: int) -> Path:
    """The folder of a generated shard, as in any results folder."""
    return folder / RUNS / safe(run) / "shards" / f"{number:05d}"


def staged(folder: Path, stage: str, run: str, number: int, indices: Sequence[int]) -> Path:
    """The folder of what a stage (NAME-KEY) made of some candidates of a shard."""
    return folder / STAGES / safe(stage) / safe(run) / f"{number:05d}-{digest(list(indices))}"


def place(final: Path, write: Callable[[Path], object]) -> bool:
    """`write(folder)` fills a folder that is fsynced and renamed to `final`; False where it was there already.

    The temporary name belongs to this process, so that two workers on one shard never meet: the first one wins, and
    both would have written the same bytes.
    """
    if final.is_dir():
        return False
    temporary = final.with_name(f".{final.name}{PARTIAL}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        for file in temporary.iterdir():
            _sync(file)
        _sync(temporary)
        try:
            temporary.rename(final)
        except OSError:
            if not final.is_dir():
                raise
            return False
        _sync(final.parent)
        return True
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Replace a file at once by indented JSON."""
    temporary = path.with_name(f".{path.name}{PARTIAL}{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    _sync(temporary)
    temporary.replace(path)


def read_json(path: Path) -> Any:
    """The content of a JSON file; raises SettingsError where there is none or it cannot be read."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path.parent} is no campaign folder ({path.name} is missing); give another") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}); give another campaign folder") from None


def sweep_partial(folder: Path) -> None:
    """Remove what killed workers have left half-written."""
    for path in _partial(folder):
        with suppress(OSError):
            shutil.rmtree(path)


def _partial(folder: Path) -> Iterable[Path]:
    yield from (folder / RUNS).glob(f"*/shards/.*{PARTIAL}*")
    yield from (folder / STAGES).glob(f"*/*/.*{PARTIAL}*")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
