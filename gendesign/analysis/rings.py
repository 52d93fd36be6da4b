"""Ring statistics of a network: King's shortest-path rings and primitive rings.

King (Nature 213, 1112 (1967)): at each corner of the network, a node and two of its neighbours, the shortest closed
paths through them. Primitive rings (Marians and Hobbs, J. Non-Cryst. Solids 124, 242 (1990); Franzblau, Phys. Rev. B
44, 4925 (1991), who calls them shortest-path rings): closed paths without a shortcut.
"""

from dataclasses import dataclass

import numpy as np

from gendesign.analysis.compiled import check_compiled
from gendesign.analysis.network import Network
from gendesign.analysis.ring_search import balls, king_rings, primitive_rings, shortest_by_corner

BALL_RADIUS = 3  # edges, of the table of near nodes; farther ones are found through neighbours


@dataclass(frozen=True)
class Rings:
    """Rings of a network by size, from 0 to the longest that was searched.

    king, primitive (longest + 1,): distinct rings per node of the network. corners (longest + 1,): share of all corners
    whose shortest ring has this size; place 0 holds those without any. nodes: of the network.
    """

    king: np.ndarray
    primitive: np.ndarray
    corners: np.ndarray
    nodes: int

    @property
    def longest(self) -> int:
        """The longest size that was searched."""
        return len(self.king) - 1

    def shares(self, kind: str = "king") -> np.ndarray:
        """Share of every size among all rings of a kind."""
        counts: np.ndarray = getattr(self, kind)
        return counts / counts.sum() if counts.sum() else counts


def ring_statistics(network: Network, longest: int = 12, longest_primitive: int = 10) -> Rings:
    """Rings of up to `longest` (King) and `longest_primitive` nodes.

    The network must have been made with a reach of `longest`. Raises UserError for more nodes than plain Python can
    search where numba is missing.
    """
    check_compiled(network.roots, "rings")
    starts, neighbours, roots = network.starts, network.neighbours, network.roots
    degree = network.degree.astype(np.int64)
    corner_starts = np.concatenate([[0], np.cumsum(degree * (degree - 1) // 2)])
    size = shortest_by_corner(starts, neighbours, corner_starts, longest)
    king = king_rings(starts, neighbours, corner_starts, size, roots, longest)
    radius = max(1, min(BALL_RADIUS, longest_primitive // 2 - 1))
    first, entries, far = balls(starts, neighbours, radius)
    primitive, _ = primitive_rings(starts, neighbours, first, entries, far, radius, roots, longest_primitive)
    size = size[: corner_starts[roots]]
    corners = np.bincount(size, minlength=longest + 1) / max(1, len(size))
    out = np.zeros(longest + 1)
    out[: longest_primitive + 1] = primitive[: longest + 1]
    return Rings(king / max(1, roots), out / max(1, roots), corners, roots)
