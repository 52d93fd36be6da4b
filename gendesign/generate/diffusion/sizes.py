"""Numbers of atoms that molecules are drawn with: those of the training data, and their share of hydrogen beyond."""

from collections.abc import Sequence

import numpy as np

from gendesign.errors import UserError

Counts = Sequence[tuple[int, int, int]]


def drawn(counts: Counts, u: np.ndarray, heavy: Sequence[int] | None = None) -> np.ndarray:
    """(heavy atoms, all atoms) of each molecule (molecules, 2) from uniform numbers `u` (molecules,).

    counts: [heavy, all, molecules] rows of the training data. With `heavy` (molecules,) the number of hydrogens is
    that of a training molecule with as many heavy atoms; beyond the training sizes it keeps the share of the largest.
    """
    table = np.asarray(counts)
    if not len(table):
        raise UserError("the diffusion model states no sizes of molecules; train it again")
    if heavy is None:
        return np.array([_row(table, value)[:2] for value in u])
    out = []
    for n, value in zip(heavy, u, strict=True):
        known = table[:, 0]
        nearest = known[np.abs(known - n).argmin()]
        row = _row(table[known == nearest], value)
        hydrogens = row[1] - row[0]
        # chains and rings keep about the hydrogens per heavy atom: 2 n + 2 less two for each ring and pi bond
        out.append((n, n + round(hydrogens * n / row[0])))
    return np.array(out)


def _row(table: np.ndarray, u: float) -> np.ndarray:
    edges = np.cumsum(table[:, 2])
    return table[min(int(np.searchsorted(edges, u * edges[-1], side="right")), len(table) - 1)]
