"""Labelled structures as flat tensors, from which batches are cut without loops over atoms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from gendesign.randomness import Purpose, seed_of
from gendesign.structure.graph import Batch, Edges, neighbours
from gendesign.structure.labels import kind_of, labels_of, stress_of


@dataclass(frozen=True)
class Dataset:
    """Structures end to end, in eV and Angstrom.

    positions and forces (atoms, 3); numbers (atoms,); energy (structures,); pointer (structures + 1,): first atom of
    each structure; cell (structures, 3, 3), lattice vectors as rows; pbc (structures, 3); stress (structures, 3, 3) in
    eV/Angstrom^3, NaN without a label; kind (structures,): class in the table of errors.
    """

    positions: Tensor
    forces: Tensor
    numbers: Tensor
    energy: Tensor
    pointer: Tensor
    cell: Tensor
    pbc: Tensor
    stress: Tensor
    kind: np.ndarray
    _crystal_edges: dict = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_frames(
        cls, frames: Sequence[Atoms], dtype: torch.dtype = torch.float32, need_forces: bool = True
    ) -> "Dataset":
        """From ase.Atoms with energy and forces as results of a calculator or in info and arrays."""
        energy, forces = zip(*(labels_of(frame, need_forces) for frame in frames), strict=True)
        pointer = np.concatenate([[0], np.cumsum([len(f) for f in frames])])
        return cls(
            torch.tensor(np.concatenate([f.positions for f in frames]), dtype=dtype),
            torch.tensor(np.concatenate(forces), dtype=dtype),
            torch.tensor(np.concatenate([f.numbers for f in frames]), dtype=torch.long),
            torch.tensor(energy, dtype=torch.float64),
            torch.tensor(pointer),
            torch.tensor(np.stack([f.cell.array for f in frames]), dtype=dtype),
            torch.tensor(np.stack([f.pbc for f in frames])),
            torch.tensor(np.stack([stress_of(f) for f in frames]), dtype=dtype),
            np.array([kind_of(f) for f in frames]),
        )

    def __len__(self) -> int:
        return len(self.energy)

    def to(self, device: torch.device | str) -> "Dataset":
        """The same structures on `device`, where batches are cut then."""
        moved = {key: value.to(device) for key, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved, _crystal_edges={})

    def alike(self, chosen: Tensor) -> list[Tensor]:
        """`chosen` (systems,) divided by periodicity, which all structures of a batch share."""
        chosen = chosen.to(self.pointer.device)
        code = (self.pbc[chosen].long() * self.pointer.new_tensor([4, 2, 1])).sum(-1)
        return [chosen[code == one] for one in code.unique().tolist()]

    def batch(self, chosen: Tensor) -> tuple[Batch, Tensor, Tensor]:
        """(batch, energy (systems,), forces (atoms, 3)) of structures `chosen` (systems,) of one periodicity."""
        device = self.pointer.device
        chosen = chosen.to(device)
        start, counts = self.pointer[chosen], self.pointer[chosen + 1] - self.pointer[chosen]
        system = torch.repeat_interleave(torch.arange(len(chosen), device=device), counts)
        first = torch.cumsum(counts, 0) - counts
        atoms = torch.arange(len(system), device=device) - first[system] + start[system]
        pbc = tuple(self.pbc[chosen[0]].tolist())
        cell = self.cell[chosen] if any(pbc) else None
        return (
            Batch(self.positions[atoms], self.numbers[atoms], system, len(chosen), cell, pbc),
            self.energy[chosen],
            self.forces[atoms],
        )

    def edges(self, batch: Batch, chosen: Tensor, cutoff: float) -> Edges:
        """Neighbour list of `batch`, the structures `chosen`; those of crystals are computed once and cached."""
        if batch.cell is None:
            return neighbours(batch, cutoff)
        parts = [self._edges_of(k, cutoff) for k in chosen.tolist()]
        counts = self.pointer[chosen + 1] - self.pointer[chosen]
        first = torch.cumsum(counts, 0) - counts
        shifted = [part.index + offset for part, offset in zip(parts, first.tolist(), strict=True)]
        return Edges(
            torch.cat(shifted, 1), torch.cat([p.shift for p in parts]), torch.cat([p.unit_shift for p in parts])
        )

    def _edges_of(self, index: int, cutoff: float) -> Edges:
        if (index, cutoff) not in self._crystal_edges:
            self._crystal_edges[index, cutoff] = neighbours(self.batch(torch.tensor([index]))[0], cutoff)
        return self._crystal_edges[index, cutoff]

    def order(self, purpose: Purpose, seed: int, epoch: int) -> Tensor:
        """The order (structures,) of one pass over the data; the same in a resumed run."""
        return torch.randperm(len(self), generator=torch.Generator().manual_seed(seed_of(purpose, seed, epoch)))

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Indices of all structures in batches of at most `size`, each of one periodicity."""
        for chosen in self.alike(torch.arange(len(self))) if len(self) else []:
            yield from chosen.split(size)
