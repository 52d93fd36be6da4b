"""Numbers of worker processes and of threads, and which work the workers of a run share."""

import torch
from omegaconf import DictConfig

from gendesign.errors import UserError
from gendesign.potential.protocol import PotentialLike
from gendesign.processes import Pool
from gendesign.processes.cores import available_cores
from gendesign.structure.generator import Generator

PRELOADED = ("gendesign.screening.screen", "gendesign.generate.simgen.proposals")  # by workers that inherit nothing


def pool_of(config: DictConfig, potential: PotentialLike) -> Pool:
    """The run's worker processes. On a CPU they inherit model and generator; a GPU is used by this process alone."""
    if potential.device.type != "cpu":
        return Pool(count_of(config.workers), preload=PRELOADED)
    return Pool(count_of(config.workers))


def shares_shards(generator: Generator, potential: PotentialLike) -> bool:
    """Whether workers do parts of one shard after the other, and not whole shards at once.

    So it is where candidates of a shard compete, and on a GPU, which this process keeps to itself.
    """
    return potential.device.type != "cpu" or generator.competes


def threads_of(threads: int | str) -> int:
    """Number of torch threads; `auto` means the cores that this process may use. Raises UserError."""
    if str(threads) == "auto":
        return available_cores()
    if not str(threads).isdecimal() or int(threads) < 1:
        raise UserError(f"threads={threads}: give auto, or a whole number of 1 or more")
    return int(threads)


def set_threads(threads: int | str) -> None:
    """Let torch use `threads_of(threads)` threads in this process."""
    torch.set_num_threads(threads_of(threads))


def count_of(workers: int | str) -> int:
    """Number of worker processes; `auto` means the cores that this process may use. Raises UserError."""
    if str(workers) == "auto":
        return available_cores()
    if not str(workers).isdecimal():
        raise UserError(f"workers={workers}: give auto, or a number; 0 does everything in one process")
    return int(workers)
