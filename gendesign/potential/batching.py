"""What fits into memory: batches of bounded size, how to tell that one did not, and memory that is used again."""

import ctypes
from collections.abc import Iterator, Sequence

import torch
from ase import Atoms

# Parameters of glibc's mallopt: what may be free at the top before it goes back to the system, by how much more than
# asked for the heap grows, and how many blocks are mapped one by one, which each time costs a fault per page.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
KEPT, GROWN = 2**31 - 1, 2**28  # bytes


def keep_freed_memory() -> None:
    """Let the process use memory again instead of giving it back: a fifth of a call's time on a CPU otherwise.

    Where the C library is not glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    for parameter, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, KEPT), (TOP_PAD, GROWN)):
        mallopt(parameter, value)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether `error` says that memory ran out, on an accelerator or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def in_batches(structures: Sequence[Atoms], max_atoms: int) -> Iterator[list[Atoms]]:
    """Consecutive structures in lists of at most `max_atoms` atoms; a larger structure comes alone."""
    batch: list[Atoms] = []
    for atoms in structures:
        if batch and sum(map(len, batch)) + len(atoms) > max_atoms:
            yield batch
            batch = []
        batch.append(atoms)
    if batch:
        yield batch
