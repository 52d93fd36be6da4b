"""What fits into memory: batches of bounded size, and how to tell that one did not."""

from collections.abc import Iterator, Sequence

import torch
from ase import Atoms


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
