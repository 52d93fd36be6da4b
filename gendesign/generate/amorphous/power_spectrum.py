"""Descriptors of the first shells of neighbours, without a potential: the power spectrum of the density of neighbours.

The density of each element around an atom is expanded in Gaussians of the distance and spherical harmonics of the
direction; products of the coefficients, summed over m, do not change under rotation (Bartok, Kondor, Csanyi, Phys. Rev.
B 87, 184115, 2013). The reach ends between the first and the second shell, so that dihedral angles do not count: a
crystal then has the same environments as a glass of the same bonds and angles.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from torch import Tensor

from gendesign.structure.graph import Batch, Edges, neighbours

ORDER = 3  # largest l of the spherical harmonics
SPACING = 0.4  # Angstrom between the Gaussians of the distance, and their width
INNERMOST = 0.75  # of the shortest distance of a bond: centre of the first Gaussian


@dataclass(frozen=True)
class PowerSpectrum:
    """Descriptors of the elements `symbols` from neighbours within `cutoff`; `nearest`: the shortest bond, Angstrom.

    For every atom the coefficients c[s n, l m] = sum_j g_n(r_j) Y_lm(r_j) over the neighbours j of element s, and as
    features c[s n, 00] and sum_m c[s n, l m] c[s' n', l m].
    """

    symbols: tuple[str, ...]
    cutoff: float
    nearest: float
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32

    @cached_property
    def centres(self) -> Tensor:
        """Centres of the Gaussians of the distance, Angstrom."""
        first, last = INNERMOST * self.nearest, self.cutoff - SPACING
        count = max(2, round((last - first) / SPACING) + 1)
        return torch.linspace(first, last, count, dtype=self.dtype, device=self.device)

    def descriptors(
        self, structures: Sequence[Atoms] | Batch, *, edges: Edges | None = None, shortest: float | None = None
    ) -> Tensor:
        """Features (atoms, n), differentiable in the positions of a batch; `edges` within `cutoff`.

        `shortest`: distances below count as this one.
        """
        if isinstance(structures, Batch):
            batch = structures
        else:
            parts = [Batch.from_atoms([atoms], self.dtype, self.device) for atoms in structures]
            return torch.cat([self.descriptors(part, shortest=shortest) for part in parts])
        if edges is None:
            edges = neighbours(replace(batch, positions=batch.positions.detach()), self.cutoff)
        return self._spectrum(self._coefficients(batch, edges, shortest or 1e-3))

    def _coefficients(self, batch: Batch, edges: Edges, shortest: float) -> Tensor:
        """c (atoms, elements n, (ORDER + 1)^2)."""
        i, j = edges.index
        apart = batch.positions[j] - batch.positions[i] + edges.shift
        r = apart.norm(dim=1).clamp_min(1e-6)
        harmonics = spherical_harmonics(apart / r[:, None])
        r = r.clamp_min(shortest)
        fade = 0.5 * (1 + torch.cos(np.pi * r / self.cutoff))
        radial = torch.exp(-(((r[:, None] - self.centres) / SPACING) ** 2)) * fade[:, None]
        each = (radial[:, :, None] * harmonics[:, None, :]).flatten(1)
        kinds = len(self.symbols)
        rows = i * kinds + self._kind(batch.numbers)[j]
        summed = each.new_zeros(len(batch.numbers) * kinds, each.shape[1]).index_add(0, rows, each)
        return summed.view(len(batch.numbers), kinds * radial.shape[1], harmonics.shape[1])

    def _spectrum(self, c: Tensor) -> Tensor:
        first, second = torch.triu_indices(c.shape[1], c.shape[1], device=c.device)
        out = [c[:, :, 0]]
        for order in range(ORDER + 1):
            block = c[:, :, order**2 : (order + 1) ** 2]
            out.append(torch.bmm(block, block.transpose(1, 2))[:, first, second])
        return torch.cat(out, 1)

    def _kind(self, numbers: Tensor) -> Tensor:
        table = torch.zeros(119, dtype=torch.long, device=numbers.device)
        for place, symbol in enumerate(self.symbols):
            table[atomic_numbers[symbol]] = place
        return table[numbers]


def spherical_harmonics(u: Tensor) -> Tensor:
    """Real spherical harmonics of unit vectors (n, 3) up to l = 3, (n, 16), with sum_m Y_lm^2 = 1 for every l."""
    x, y, z = u.unbind(1)
    third, fifteen = 3**0.5, 15**0.5
    return torch.stack([
        torch.ones_like(x),
        x, y, z,
        third * x * y, third * y * z, (3 * z * z - 1) / 2, third * x * z, third / 2 * (x * x - y * y),
        0.625**0.5 * y * (3 * x * x - y * y), fifteen * x * y * z, 0.375**0.5 * y * (5 * z * z - 1),
        z * (5 * z * z - 3) / 2, 0.375**0.5 * x * (5 * z * z - 1), fifteen / 2 * z * (x * x - y * y),
        0.625**0.5 * x * (x * x - 3 * y * y),
    ], 1)  # fmt: skip
