"""SLURM job arrays through sbatch, squeue and scancel. No accounting database is needed, and nothing is pickled.

Jobs outlive their coordinator. The next one finds them by their records in the campaign's folder and waits for them
instead of asking for the same shards again.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gendesign.campaign.engines.base import End, ShardEngine
from gendesign.campaign.layout import LOGS, read_json, write_json
from gendesign.errors import SettingsError, UserError
from gendesign.fields import check_bounds, setting

if TYPE_CHECKING:
    from gendesign.campaign.site import Site, Task

JOBS, PREFIX = "jobs", "gendesign-"
PROGRAMS = ("sbatch", "squeue", "scancel")
ACTIVE = {"PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED", "RESIZING",
          "STOPPED", "SIGNALING", "STAGE_OUT", "REQUEUE_FED"}  # fmt: skip
PATIENCE = 300.0  # seconds for which squeue may fail, as while slurmctld restarts


@dataclass
class Slurm(ShardEngine):
    """engine=slurm"""

    partition: str | None = setting(None, "partition; null: the cluster's default")
    time: str = setting("04:00:00", "time limit of a job, as sbatch takes it")
    cpus: int = setting(1, "cores of a job", least=1)
    memory: str | None = setting(None, "memory of a job, such as 8G; null: the cluster's default")
    gpus: int = setting(0, "GPUs of a job", least=0)
    shards_per_job: int = setting(10, "shards that one job makes, one after the other", least=1)
    most_jobs: int = setting(200, "jobs of one array", least=1)
    signal_before: int = setting(120, "time before the limit at which a job leaves after its present stage", unit="s",
                                 least=1)  # fmt: skip
    poll: float = setting(5.0, "time between two looks at the queue", unit="s", above=0)
    setup: str = setting("", "shell commands before the worker, such as module load python")
    python: str | None = setting(None, "interpreter on the nodes; null: the coordinator's")
    options: tuple[str, ...] = setting((), "further options of sbatch, such as --account=name")

    def __post_init__(self) -> None:
        self.options = tuple(self.options)
        check_bounds(self, "engine")
        self._folder: Path | None = None
        self._allow: Sequence[str] = ()

    def check(self) -> None:
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing:
            raise SettingsError(f"engine=slurm: {', '.join(missing)} not found; run this where SLURM's commands are, "
                                "or choose engine=local")  # fmt: skip
        done = subprocess.run(["squeue", "--noheader", "--me"], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise SettingsError(f"engine=slurm: squeue does not answer ({_line(done.stderr)}); is the cluster up?")

    def start(self, site: "Site", allow: Sequence[str]) -> None:
        self._folder, self._allow = site.plan.folder.absolute(), allow

    @property
    def folder(self) -> Path:
        """The campaign's folder, once started."""
        if self._folder is None:
            raise TypeError("the engine was not started")
        return self._folder

    def run(self, tasks: Sequence["Task"]) -> Iterator[End]:
        by_name = {(task.run, task.number): k for k, task in enumerate(tasks)}
        open_tasks = set(by_name)
        jobs = self._records()
        for job in jobs.values():  # of a coordinator that died
            open_tasks -= {(row["run"], row["number"]) for row in job["tasks"]}
        jobs |= self._submit([tasks[by_name[name]] for name in by_name if name in open_tasks])
        unseen = time.monotonic()
        while jobs:
            active = self._active()
            if active is None:
                if time.monotonic() - unseen > PATIENCE:
                    raise UserError("engine=slurm: squeue has not answered for minutes; the same command continues")
            else:
                unseen = time.monotonic()
                for name in [name for name in jobs if name not in active]:
                    yield from self._ended(jobs.pop(name), by_name)
            if jobs:
                time.sleep(self.poll)

    def _ended(self, job: dict[str, Any], by_name: dict[tuple[str, int], int]) -> Iterator[End]:
        """The ends of a job's tasks; the shard that its worker had begun counts as the one that it died of."""
        path = Path(job["path"])
        error = path.with_suffix(".error")
        reason = error.read_text() if error.is_file() else ""
        begun = None if reason else _begun(self.folder, job)
        error.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        if reason:
            raise UserError(f"a worker ended: {reason}")
        for row in job["tasks"]:
            name = row["run"], int(row["number"])
            if name in by_name:
                yield End(by_name[name], int(name == begun), "its job ended" if name == begun else "")

    def _submit(self, tasks: Sequence["Task"]) -> dict[str, dict[str, Any]]:
        """Submit tasks as arrays; the jobs by their names in the queue."""
        jobs: dict[str, dict[str, Any]] = {}
        parts = [tasks[k : k + self.shards_per_job] for k in range(0, len(tasks), self.shards_per_job)]
        for first in range(0, len(parts), self.most_jobs):
            jobs |= self._submit_array(parts[first : first + self.most_jobs])
        return jobs

    def _submit_array(self, parts: Sequence[Sequence["Task"]]) -> dict[str, dict[str, Any]]:
        """One array. The files of its jobs come first, so that a coordinator that dies meanwhile forgets no job."""
        folder = self.folder / JOBS / uuid.uuid4().hex[:12]
        folder.mkdir(parents=True)
        (self.folder / LOGS).mkdir(exist_ok=True)
        script = folder / "job.sh"
        script.write_text(self._script(folder, len(parts)))
        for k, part in enumerate(parts):
            write_json(folder / f"{k}.json", [task.to_json() for task in part])
        done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder)
            raise UserError(
                f"engine=slurm: sbatch refused the jobs ({_line(done.stderr)}); change the engine's settings"
            )
        return {name: job for name, job in self._records().items() if job["path"].startswith(str(folder))}

    def _script(self, folder: Path, count: int) -> str:
        options = [
            f"--array=0-{count - 1}", f"--job-name={PREFIX}{folder.name}", f"--time={self.time}",
            f"--cpus-per-task={self.cpus}", "--open-mode=append", "--requeue",
            f"--signal=USR1@{self.signal_before}", f"--output={self.folder / LOGS}/slurm-%A_%a.out",
            *([f"--partition={self.partition}"] if self.partition else []),
            *([f"--mem={self.memory}"] if self.memory else []),
            *([f"--gpus={self.gpus}"] if self.gpus else []), *self.options,
        ]  # fmt: skip
        lines = [f"#SBATCH {shlex.quote(option)}" for option in options]
        python = self.python or sys.executable
        command = [python, "-m", "gendesign.campaign.worker", str(self.folder)]
        allow = f"--allow={','.join(self._allow)}"
        words = " ".join(map(shlex.quote, command))
        name = shlex.quote(str(folder)) + "/$SLURM_ARRAY_TASK_ID.json"
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path if path and os.path.isdir(path))
        from gendesign.campaign.site import JOB

        return "\n".join([
            "#!/bin/sh", *lines, f"cd {shlex.quote(os.getcwd())} || exit 1", f"export PYTHONPATH={shlex.quote(paths)}",
            f"export {JOB}={PREFIX}{folder.name}_${{SLURM_ARRAY_TASK_ID}}-",
            self.setup, f"exec srun --ntasks=1 {words} {name} {shlex.quote(allow)}", "",
        ])  # fmt: skip

    def _records(self) -> dict[str, dict[str, Any]]:
        """Jobs that were submitted, by this coordinator or an earlier one, and that nobody has seen end."""
        jobs = {}
        for path in sorted((self.folder / JOBS).glob("*/*.json")):
            if path.stem.isdecimal():
                name = f"{PREFIX}{path.parent.name}_{path.stem}"
                jobs[name] = {"path": str(path), "tasks": read_json(path), "name": name}
        return jobs

    def _active(self) -> dict[str, str] | None:
        """Jobs of this user that wait or run, as NAME_INDEX, with their numbers; None where squeue does not answer."""
        words = ["squeue", "--noheader", "--me", "--array", "--format=%j_%K %F_%K %T"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            return None
        rows = [line.split() for line in done.stdout.splitlines()]
        return {row[0]: row[1] for row in rows if len(row) == 3 and row[2] in ACTIVE}

    def close(self, *, cancel: bool) -> None:
        if self._folder is None:
            return
        records = self._records()
        if cancel:
            active = self._active() or {}
            numbers = [active[name] for name in records if name in active]
            for first in range(0, len(numbers), 100):
                subprocess.run(["scancel", *numbers[first : first + 100]], capture_output=True, check=False)
        if cancel or not records:
            shutil.rmtree(self.folder / JOBS, ignore_errors=True)


def _begun(folder: Path, job: dict[str, Any]) -> tuple[str, int] | None:
    """The shard of a job that a worker has begun last and not ended."""
    mine = {(row["run"], int(row["number"])) for row in job["tasks"]}
    last: dict[tuple[str, int], tuple[float, str]] = {}
    for path in (folder / LOGS).glob(f"{job['name']}-*.jsonl"):
        for line in path.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # a line that a killed worker did not finish
                continue
            name = row["run"], row["number"]
            if name in mine:
                last[name] = max(last.get(name, (0.0, "")), (row["time"], row["event"]))
    begun = {name: when for name, (when, event) in last.items() if event == "begin"}
    return max(begun, key=lambda name: begun[name]) if begun else None


def _line(text: str) -> str:
    return " ".join(text.split())[:160]
