"""The state of the sampler: whole molecules with continuous element vectors, of which some parts may be known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gendesign.generate.diffusion.model import Clouds, one_hot
from gendesign.generate.simgen.state import Swarm, new_swarm


@dataclass(frozen=True, kw_only=True)
class Cloud(Swarm):
    """A swarm of one particle a molecule, all atoms, with element vectors (atoms, elements) over `elements`.

    known_positions (atoms,) and known_vectors (atoms, elements): which of them are given and follow the noise level
    exactly, about `clean` positions and `clean_vectors`. is_heavy (atoms,): which atoms are heavy, None where the
    model decides. heavy: the swarm of those alone, in the order of SimGen, whose conditions act on it; `heavy_rows`
    are their atoms here.
    """

    vectors: Tensor
    elements: tuple[int, ...]
    known_positions: Tensor
    known_vectors: Tensor
    clean: Tensor
    clean_vectors: Tensor
    heavy: Swarm | None = None
    heavy_rows: Tensor | None = None

    @property
    def free(self) -> Tensor:
        """Which atoms (atoms,) may move."""
        return ~self.known_positions

    def with_vectors(self, positions: Tensor, vectors: Tensor) -> "Cloud":
        """The same molecules with other positions and element vectors."""
        return replace(self, positions=positions, vectors=vectors, numbers=self.decoded(vectors))

    def decoded(self, vectors: Tensor) -> Tensor:
        """Atomic numbers (atoms,): the largest component of each element vector that is not known to be zero."""
        excluded = self.known_vectors & (self.clean_vectors == 0)
        return torch.as_tensor(self.elements, device=vectors.device)[
            vectors.masked_fill(excluded, -torch.inf).argmax(-1)
        ]

    @property
    def clouds(self) -> Clouds:
        """As the model reads them."""
        return Clouds(self.positions, self.vectors, self.system, self.pairs, self.n_systems)

    @property
    def heavy_swarm(self) -> Swarm | None:
        """The heavy atoms at the present positions, with their present elements."""
        if self.heavy is None or self.heavy_rows is None:
            return None
        return replace(self.heavy, positions=self.positions[self.heavy_rows], numbers=self.numbers[self.heavy_rows])


@dataclass(frozen=True)
class Order:
    """What one molecule must be: its number of atoms, and what is known of them, in the order of its atoms.

    numbers (atoms,): 0 unknown, -1 heavy, or an atomic number. positions (atoms, 3): nan where unknown.
    """

    numbers: Tensor
    positions: Tensor


def new_cloud(
    orders: Sequence[Order],
    key: Tensor,
    elements: Sequence[int],
    allowed: Sequence[int],
    n_fixed: int = 0,
    fixed: tuple[Tensor, Tensor] | None = None,
) -> Cloud:
    """The molecules of `orders` at the origin; key (molecules,): their random keys.

    elements: of the vectors; allowed: those that atoms may have. n_fixed: heavy atoms of `fixed` (numbers, positions),
    which are the first of every molecule. Where every atom is known to be heavy or hydrogen, heavy atoms come first
    and make a swarm of their own.
    """
    device = key.device
    sizes = torch.tensor([len(order.numbers) for order in orders], device=device)
    swarm = new_swarm(sizes, key, 1)
    numbers = torch.cat([order.numbers for order in orders]).to(device)
    positions = torch.cat([order.positions for order in orders]).to(device, torch.float64)
    table = torch.as_tensor(list(elements), device=device)
    exact, split = numbers > 0, numbers != 0
    clean_vectors = one_hot(numbers, elements, torch.float64)
    forbidden = ~torch.isin(table, torch.as_tensor(list(allowed), device=device))
    known = exact[:, None] | forbidden[None] | ((numbers == -1)[:, None] & (table == 1)[None])
    heavy, rows = None, None
    if bool(split.all()):
        rows = (numbers != 1).nonzero()[:, 0]
        counts = torch.bincount(swarm.molecule[rows], minlength=len(sizes))
        heavy = new_swarm(counts, key, 1, fixed if n_fixed else None)
    known_positions = positions.isfinite().all(-1)
    fields = vars(swarm) | {"positions": positions.nan_to_num(), "numbers": numbers.clamp_min(1)}
    return Cloud(
        **fields, vectors=clean_vectors, elements=tuple(int(z) for z in elements), known_positions=known_positions,
        known_vectors=known, clean=positions.nan_to_num(), clean_vectors=clean_vectors, heavy=heavy, heavy_rows=rows,
    )  # fmt: skip
