"""How many processes a run uses, how many threads a fit uses, and what workers hold."""

import torch
from hydra.utils import get_object
from omegaconf import DictConfig

from gendesign.errors import UserError
from gendesign.potential import Potential
from gendesign.processes import Pool
from gendesign.processes.cores import available_cores
from gendesign.structure.memory import remembers

PRELOADED = ("gendesign.screening.screen", "gendesign.generate.simgen.proposals")  # by workers that inherit nothing


def pool_of(config: DictConfig, potential: Potential) -> Pool:
    """The run's worker processes. On a CPU they inherit model and generator; a GPU stays with this process alone."""
    if potential.device.type != "cpu":
        return Pool(count_of(config.workers), preload=PRELOADED)
    return Pool(count_of(config.workers))


def threads_of(threads: int | str | None) -> int:
    """Torch threads that are asked for: a number, or `auto` for the cores that are there for us."""
    if str(threads) == "auto":
        return available_cores()
    if not str(threads).isdecimal() or int(threads) < 1:
        raise UserError(f"threads={threads}: give auto, or a whole number of 1 or more")
    return int(threads)


def set_threads(threads: int | str | None) -> None:
    """Let torch use as many threads in this process as `threads_of` says."""
    torch.set_num_threads(threads_of(threads))


def competes(config: DictConfig) -> bool:
    """Whether the candidates of a shard compete, so that shards are made one after the other."""
    section = config.get("generator") or {}
    return "_target_" in section and remembers(get_object(section._target_))


def count_of(workers: int | str) -> int:
    """Worker processes that are asked for: a number, or `auto` for the cores that are there for us."""
    if str(workers) == "auto":
        return available_cores()
    if not str(workers).isdecimal():
        raise UserError(f"workers={workers}: give auto, or a number; with 0 all is done in one process")
    return int(workers)
