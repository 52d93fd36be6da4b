"""Label structures in parallel, shard by shard: an interrupted run restarts with the first missing shard."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import ase.io
from ase import Atoms
from tqdm import tqdm

Frames = Sequence[Atoms]


def write_frames(path: Path, frames: Frames) -> None:
    """Write extxyz so that the file is either complete or absent."""
    temporary = path.with_suffix(".partial")
    with open(temporary, "w") as handle:
        ase.io.write(handle, frames, format="extxyz")
        handle.flush()
        os.fsync(handle.fileno())
    temporary.rename(path)


def _one(make: Callable[[int], Frames], index: int, path: Path) -> int:
    frames = make(index)
    write_frames(path, frames)
    return len(frames)


def _quiet_worker() -> None:
    os.nice(5)


def label_shards(make: Callable[[int], Frames], indices: Sequence[int], folder: Path, workers: int) -> list[Path]:
    """Run `make(index)` for every shard that `folder` lacks, `workers` at a time, and return all shard files.

    `make` must be picklable and depend on its index only, so that a shard is the same whoever makes it.
    The teacher runs one thread per worker: small molecules gain nothing from more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {i: folder / f"shard-{i:05d}.extxyz" for i in indices}
    missing = [i for i in indices if not paths[i].exists()]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_quiet_worker) as pool:
        jobs = [pool.submit(_one, make, i, paths[i]) for i in missing]
        bar = tqdm(total=len(jobs), desc=folder.name, unit="shard")
        labels = 0
        for job in as_completed(jobs):
            labels += job.result()
            bar.set_postfix(labels=labels)
            bar.update()
    return list(paths.values())


def read_frames(paths: Sequence[Path]) -> list[Atoms]:
    """All frames of all files, in order."""
    return [frame for path in paths if path.stat().st_size for frame in ase.io.read(path, index=":")]
