"""Label structures in parallel, shard by shard: an interrupted run restarts with the first missing shard."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

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


def _one(make: Callable[[], Frames], path: Path) -> tuple[int, int]:
    """Numbers of labels and of failures."""
    frames = make()
    write_frames(path, frames)
    failed = sum("failure" in frame.info for frame in frames)
    return len(frames) - failed, failed


def _start_worker(lifeline: Connection) -> None:
    """Let the worker and the programs it starts live as long as the parent holds the other end of `lifeline`.

    They form a group of their own: Ctrl-C reaches the parent alone, and a parent that stops or is killed takes all.
    """
    os.setsid()
    os.nice(5)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_follow, args=(lifeline,), daemon=True).start()


def _follow(lifeline: Connection) -> None:
    with suppress(EOFError, OSError):
        lifeline.recv()
    os.killpg(0, signal.SIGKILL)


def label_shards(make: Callable[[int], Frames], indices: Sequence[int], folder: Path, workers: int) -> list[Path]:
    """Run `make(index)` for every shard that `folder` lacks, `workers` at a time, and return all shard files.

    `make` must be picklable and depend on its index only, so that a shard is the same whoever makes it.
    """
    paths = {i: folder / f"shard-{i:05d}.extxyz" for i in indices}
    make_shards({path: partial(make, i) for i, path in paths.items()}, workers, folder.name)
    return list(paths.values())


def make_shards(
    jobs: Mapping[Path, Callable[[], Frames]], workers: int, title: str, sizes: Sequence[int] | None = None
) -> None:
    """Fill every file of `jobs` that does not exist with what its picklable job returns, `workers` at a time.

    Workers run one thread each: small molecules gain nothing from more. With `sizes`, the structures of each job, the
    progress counts these. Ctrl-C stops at once and keeps what is finished. Raises UserError when the system kills a
    worker.
    """
    for folder in {path.parent for path in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    missing = [path for path in jobs if not path.exists()]
    size = dict(zip(jobs, sizes or [1] * len(jobs), strict=True))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    total, left = sum(size.values()), sum(size[path] for path in missing)
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    with (
        ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(reader,)) as pool,
        tqdm(total=total, initial=total - left, desc=title, unit="structure" if sizes else "shard") as bar,
    ):
        running = {pool.submit(_one, jobs[path], path): path for path in missing}
        labels = failures = 0
        try:
            for job in as_completed(running):
                made, failed = job.result()
                labels, failures = labels + made, failures + failed
                bar.set_postfix({"labels": labels, **({"failures": failures} if failures else {})}, refresh=False)
                bar.update(size[running[job]])
        except BrokenProcessPool:
            writer.close()
            raise UserError(
                f"{title}: a worker was killed, probably for memory; set workers lower than {workers} and "
                "start again, finished shards are kept"
            ) from None
        except BaseException:
            writer.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    reader.close()
    writer.close()


def read_frames(paths: Sequence[Path]) -> list[Atoms]:
    """All frames of all files, in order."""
    return [frame for path in paths if path.stat().st_size for frame in ase.io.read(path, index=":")]
