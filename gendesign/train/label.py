"""Label structures in parallel, shard by shard: an interrupted run restarts with the first missing shard."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import ase.io
from ase import Atoms
from tqdm import tqdm

from gendesign.structure.types import UserError

Frames = Sequence[Atoms]


def write_frames(path: Path, frames: Frames) -> None:
    """Write extxyz so that the file is either complete or absent."""
    temporary = path.with_suffix(".partial")
    with open(temporary, "w") as handle:
        ase.io.write(handle, frames, format="extxyz")
        handle.flush()
        os.fsync(handle.fileno())
    temporary.rename(path)


def _one(make: Callable[[], Frames], path: Path) -> int:
    frames = make()
    write_frames(path, frames)
    return len(frames)


def _quiet_worker() -> None:
    os.nice(5)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer; running shards still finish


def label_shards(make: Callable[[int], Frames], indices: Sequence[int], folder: Path, workers: int) -> list[Path]:
    """Run `make(index)` for every shard that `folder` lacks, `workers` at a time, and return all shard files.

    `make` must be picklable and depend on its index only, so that a shard is the same whoever makes it.
    """
    paths = {i: folder / f"shard-{i:05d}.extxyz" for i in indices}
    make_shards({path: partial(make, i) for i, path in paths.items()}, workers, folder.name)
    return list(paths.values())


def make_shards(jobs: Mapping[Path, Callable[[], Frames]], workers: int, title: str) -> None:
    """Fill every file of `jobs` that does not exist with what its picklable job returns, `workers` at a time.

    The teacher runs one thread per worker: small molecules gain nothing from more. Raises UserError when the system
    kills a worker.
    """
    for folder in {path.parent for path in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    missing = [path for path in jobs if not path.exists()]
    os.environ["OMP_NUM_THREADS"] = "1"
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_quiet_worker) as pool,
        tqdm(total=len(jobs), initial=len(jobs) - len(missing), desc=title, unit="shard") as bar,
    ):
        running = [pool.submit(_one, jobs[path], path) for path in missing]
        labels = 0
        try:
            for job in as_completed(running):
                labels += job.result()
                bar.set_postfix(labels=labels)
                bar.update()
        except BrokenProcessPool:
            raise UserError(
                f"{title}: a worker was killed, probably for memory; set workers lower than {workers} and "
                "start again, finished shards are kept"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def read_frames(paths: Sequence[Path]) -> list[Atoms]:
    """All frames of all files, in order."""
    return [frame for path in paths if path.stat().st_size for frame in ase.io.read(path, index=":")]
