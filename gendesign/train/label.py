"""Label structures in parallel, shard by shard: an interrupted run resumes with the missing shards."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from tqdm import tqdm

from gendesign.errors import UserError
from gendesign.processes import Failure, Pool

Frames = Sequence[Atoms]
# The job of one structure of a shard, and its replacement for a reason if it ends its worker.
Single = tuple[Callable[[], Frames], Callable[[str], Frames]]


def write_frames(path: Path, frames: Frames) -> None:
    """Write extxyz so that the file is either complete or absent."""
    temporary = path.with_suffix(".partial")
    with open(temporary, "w") as handle:
        ase.io.write(handle, frames, format="extxyz")
        handle.flush()
        os.fsync(handle.fileno())
    temporary.rename(path)


def _one(make: Callable[[], Frames], path: Path) -> tuple[int, int]:
    """Numbers of labels and of failures."""
    frames = make()
    write_frames(path, frames)
    failed = sum("failure" in frame.info for frame in frames)
    return len(frames) - failed, failed


def label_shards(make: Callable[[int], Frames], indices: Sequence[int], folder: Path, workers: int) -> list[Path]:
    """Run `make(index)` for every shard that `folder` lacks, `workers` at a time, and return all shard files.

    `make` must be picklable and depend on its index only, so that a shard is the same whoever makes it.
    """
    paths = {i: folder / f"shard-{i:05d}.extxyz" for i in indices}
    make_shards({path: partial(make, i) for i, path in paths.items()}, workers, folder.name)
    return list(paths.values())


def make_shards(
    jobs: Mapping[Path, Callable[[], Frames]],
    workers: int,
    title: str,
    sizes: Sequence[int] | None = None,
    alone: Mapping[Path, Sequence[Single]] | None = None,
) -> None:
    """Fill every file of `jobs` that does not exist with what its picklable job returns, `workers` at a time.

    Workers run one thread each: small molecules gain nothing from more. With `sizes`, the structures of each job, the
    progress counts these. Ctrl-C stops at once and keeps what is finished. A job whose workers died again and again
    is made structure by structure, as `alone` says; without it UserError is raised.
    """
    for folder in {path.parent for path in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    missing = [path for path in jobs if not path.exists()]
    size = dict(zip(jobs, sizes or [1] * len(jobs), strict=True))
    total, remaining = sum(size.values()), sum(size[path] for path in missing)
    labels = failures = 0
    with (
        _pool(jobs, workers) as pool,
        tqdm(total=total, initial=total - remaining, desc=title, unit="structure" if sizes else "shard") as bar,
    ):
        resident = pool.resident(jobs)
        tasks = [(_one, (jobs[path], path)) if resident is jobs else (_held, (resident, path)) for path in missing]
        for task, answer in pool.unordered(tasks):
            if isinstance(answer, Failure) and alone is None:
                raise UserError(
                    f"{title}: {missing[task].name}: {answer.reason}; "
                    + (f"set workers lower than {workers} and " if workers > 1 else "")
                    + "start again, finished shards are kept"
                )
            if isinstance(answer, Failure):
                answer = _one(partial(_singly, alone[missing[task]], pool), missing[task])
            labels, failures = labels + answer[0], failures + answer[1]
            bar.set_postfix({"labels": labels, **({"failures": failures} if failures else {})}, refresh=False)
            bar.update(size[missing[task]])


def _singly(parts: Sequence[Single], pool: Pool) -> list[Atoms]:
    """Each structure by itself; those that still end their worker are replaced."""
    answers = pool.map([(_done, (job,)) for job, _ in parts])
    frames: list[Atoms] = []
    for (_, lost), answer in zip(parts, answers, strict=True):
        frames += lost(answer.reason) if isinstance(answer, Failure) else answer
    return frames


def _done(job: Callable[[], Frames]) -> Frames:
    return job()


def _pool(jobs: Mapping[Path, Callable[[], Frames]], workers: int) -> Pool:
    """Workers in fresh processes; if functions of a script make the shards, they are forked from the script instead."""
    if any(_function(job).__module__ == "__main__" for job in jobs.values()):
        return Pool(workers, residents={"jobs": jobs}).start()
    return Pool(workers, preload=("gendesign.train.teacher",))


def _function(job: Any) -> Any:
    while isinstance(job, partial):
        job = job.func
    return job if hasattr(job, "__module__") else type(job)


def _held(jobs: Mapping[Path, Callable[[], Frames]], path: Path) -> tuple[int, int]:
    return _one(jobs[path], path)


def read_frames(paths: Sequence[Path]) -> list[Atoms]:
    """All frames of all files, in order."""
    return [frame for path in paths if path.stat().st_size for frame in ase.io.read(path, index=":")]
