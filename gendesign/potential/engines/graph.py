"""What a backend is given: atoms and the vectors to their neighbours."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Graph:
    """Structures as one graph of directed edges, each pair of neighbours in both directions.

    numbers (atoms,), atomic numbers; system (atoms,), sorted indices of structures; index (2, edges), atoms i and j,
    sorted by i; vectors (edges, 3) from i to j in Angstrom; images (edges, 3), the lattice translation of j.
    """

    numbers: Tensor
    system: Tensor
    n_systems: int
    index: Tensor
    vectors: Tensor
    images: Tensor

    def reverse(self) -> Tensor:
        """For every edge (i, j, image) the number (edges,) of the edge (j, i, -image)."""
        forward = torch.cat([self.index.T, self.images], 1)
        backward = torch.cat([self.index.flip(0).T, -self.images], 1)
        out = torch.empty(len(forward), dtype=torch.long, device=forward.device)
        out[_order(backward)] = _order(forward)
        return out


def _order(rows: Tensor) -> Tensor:
    """The order (rows,) that sorts rows lexicographically."""
    order = torch.arange(len(rows), device=rows.device)
    for column in reversed(range(rows.shape[1])):
        order = order[torch.argsort(rows[order, column], stable=True)]
    return order


def pairs_of_edges(first: Tensor, n_atoms: int) -> Tensor:
    """All ordered pairs (2, pairs) of different edges that begin at one atom; `first` (edges,) is sorted."""
    degree = torch.bincount(first, minlength=n_atoms)
    start = degree.cumsum(0) - degree
    partners = degree[first]  # each edge with every edge of its atom, itself included
    edge = torch.repeat_interleave(torch.arange(len(first), device=first.device), partners)
    rank = torch.arange(len(edge), device=first.device) - (partners.cumsum(0) - partners)[edge]
    other = start[first[edge]] + rank
    different = edge != other
    return torch.stack([edge[different], other[different]])
