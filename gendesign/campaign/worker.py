"""A worker that a scheduler starts: `python -m gendesign.campaign.worker FOLDER TASKS.json`. It loads the model once
and takes several shards; a signal before the time limit makes it leave after the present stage."""

import argparse
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from gendesign.campaign.config import configure
from gendesign.campaign.plan import read_plan
from gendesign.campaign.site import Site, Task, advance
from gendesign.errors import UserError
from gendesign.processes import compute_with_one_thread


def work(folder: Path, tasks: Sequence[Task], allow: Sequence[str] = (), limit: float | None = None) -> None:
    """Do tasks one after the other. limit: seconds after which no further stage is begun. Raises UserError."""
    compute_with_one_thread()
    leaving: list[int] = []
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda caught, frame: leaving.append(caught))
    end = None if limit is None else time.monotonic() + limit
    site = open_site(folder, allow)
    for task in tasks:
        if leaving or (end is not None and time.monotonic() > end):
            break
        advance(site, task, lambda: bool(leaving) or (end is not None and time.monotonic() > end))


def open_site(folder: Path, allow: Sequence[str] = ()) -> Site:
    """The site of a campaign folder, with its potential. Raises UserError for other weights than the coordinator's."""
    plan = read_plan(folder)
    site = Site(configure(plan.content, allow), plan)
    if site.potential.weights_hash != plan.weights:
        raise UserError(f"{socket.gethostname()}: the potential has other weights here than where the campaign began")
    return site


_SITES: dict[str, Site] = {}  # of this process, which takes many shards


def do(folder: str, row: dict, allow: Sequence[str], token: str) -> None:
    """One task in a process of Parsl, which loads the model once. Tasks of a coordinator that is gone are dropped."""
    owner = Path(folder) / ".parsl" / "owner"
    if not owner.is_file() or owner.read_text() != token:
        return
    if token not in _SITES:
        compute_with_one_thread()
        _SITES[token] = open_site(Path(folder), allow)
    advance(_SITES[token], Task.from_json(row))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit status is 0, or 1 with the reason beside the tasks."""
    parser = argparse.ArgumentParser(prog="python -m gendesign.campaign.worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("tasks", type=Path)
    parser.add_argument("--allow", default="")
    given = parser.parse_args(arguments)
    allow = [name for name in given.allow.split(",") if name]
    try:
        rows = json.loads(given.tasks.read_text())
        work(given.folder, [Task.from_json(row) for row in rows], allow)
    except Exception as error:
        said = str(error) if isinstance(error, UserError) else "".join(traceback.format_exception(error))
        print(said, file=sys.stderr)
        temporary = given.tasks.with_name(f".{given.tasks.name}-{os.getpid()}")
        temporary.write_text(" ".join(str(error).split()) or type(error).__name__)
        temporary.replace(given.tasks.with_suffix(".error"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
