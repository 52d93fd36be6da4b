"""Structures as batched tensors, and neighbour lists."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from ase.geometry import complete_cell
from torch import Tensor

from gendesign.errors import UserError


@dataclass(frozen=True)
class Batch:
    """A batch of structures of one periodicity.

    positions (atoms, 3) in Angstrom; numbers (atoms,), atomic numbers; system (atoms,), sorted indices of the structure
    of each atom; cell (systems, 3, 3), lattice vectors as rows in Angstrom, None for molecules.
    """

    positions: Tensor
    numbers: Tensor
    system: Tensor
    n_systems: int
    cell: Tensor | None = None
    pbc: tuple[bool, bool, bool] = (False, False, False)

    @classmethod
    def from_atoms(cls, structures: Sequence[Atoms], dtype: torch.dtype, device: torch.device | str) -> "Batch":
        """Stack ase.Atoms of one `pbc`. Raises UserError for an empty list, ValueError for different `pbc`."""
        if not structures:
            raise UserError("no structures were given; give one or more")
        pbc = {(bool(a.pbc[0]), bool(a.pbc[1]), bool(a.pbc[2])) for a in structures}
        if len(pbc) != 1:
            raise ValueError(f"a batch needs structures of one periodicity, got {sorted(pbc)}; split them first")
        counts = [len(a) for a in structures]
        periodic = any(next(iter(pbc)))
        return cls(
            positions=torch.tensor(np.concatenate([a.positions for a in structures]), dtype=dtype, device=device),
            numbers=torch.tensor(np.concatenate([a.numbers for a in structures]), dtype=torch.long, device=device),
            system=torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)).to(device),
            n_systems=len(counts),
            cell=torch.tensor(np.stack([a.cell.array for a in structures]), dtype=dtype, device=device)
            if periodic
            else None,
            pbc=next(iter(pbc)),
        )

    def at(self, positions: Tensor) -> "Batch":
        """The same structures with other positions (atoms, 3)."""
        return replace(self, positions=positions)

    def to_atoms(self) -> list[Atoms]:
        """The structures as ase.Atoms, for potentials that need them."""
        counts = torch.bincount(self.system, minlength=self.n_systems).tolist()
        numbers = self.numbers.cpu().split(counts)
        positions = self.positions.detach().cpu().double().split(counts)
        cells = [None] * self.n_systems if self.cell is None else self.cell.detach().cpu().double().numpy()
        return [
            Atoms(z.numpy(), r.numpy(), cell=cell, pbc=self.pbc)
            for z, r, cell in zip(numbers, positions, cells, strict=True)
        ]

    def to(self, device: torch.device | str) -> "Batch":
        """The same structures on `device`."""
        cell = None if self.cell is None else self.cell.to(device)
        positions, numbers, system = self.positions.to(device), self.numbers.to(device), self.system.to(device)
        return replace(self, positions=positions, numbers=numbers, system=system, cell=cell)


@dataclass(frozen=True)
class Edges:
    """Neighbour pairs in both directions.

    index (2, edges): atoms i and j, sorted by i. shift (edges, 3) in Angstrom: added to r_j - r_i. unit_shift (edges,
    3): the same in units of the lattice vectors.
    """

    index: Tensor
    shift: Tensor
    unit_shift: Tensor

    def to(self, device: torch.device | str) -> "Edges":
        """The same pairs on `device`."""
        return Edges(self.index.to(device), self.shift.to(device), self.unit_shift.to(device))


def all_pairs(system: Tensor, n_systems: int) -> Tensor:
    """All ordered pairs (2, pairs) of different atoms of one system. They do not depend on the positions."""
    counts = torch.bincount(system, minlength=n_systems)
    first = torch.repeat_interleave(torch.arange(len(system), device=system.device), counts[system])
    start = torch.cumsum(counts, 0) - counts
    offset = torch.arange(len(first), device=system.device)
    block = torch.cumsum(counts[system], 0) - counts[system]
    second = offset - torch.repeat_interleave(block, counts[system]) + start[system][first]
    keep = first != second
    return torch.stack([first[keep], second[keep]])


def edges_within(positions: Tensor, pairs: Tensor, cutoff: float) -> Edges:
    """The `pairs` (2, pairs) closer than `cutoff` (Angstrom), without periodicity, on the device of the positions."""
    with torch.no_grad():
        squared = (positions[pairs[0]] - positions[pairs[1]]).square().sum(-1)
        index = pairs[:, squared < cutoff * cutoff]
        zero = positions.new_zeros(index.shape[1], 3)
    return Edges(index, zero, zero)


def neighbours(batch: Batch, cutoff: float) -> Edges:
    """Neighbour list of a batch within `cutoff` (Angstrom).

    Molecules use all pairs. Crystals use cell lists: matscipy's on a CPU, torch-sim's on a GPU, where all data stays.
    """
    if batch.cell is None:
        return edges_within(batch.positions, all_pairs(batch.system, batch.n_systems), cutoff)
    index, unit_shift = (_on_gpu if batch.positions.is_cuda else _on_cpu)(batch, batch.cell, cutoff)
    shift = torch.einsum("ei,eij->ej", unit_shift, batch.cell[batch.system[index[0]]])
    return Edges(index, shift, unit_shift)


def _on_cpu(batch: Batch, cell: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """(index, unit_shift) of the neighbour pairs of crystals by matscipy, one crystal after the other."""
    from matscipy.neighbours import neighbour_list

    index, unit = [], []
    for k in range(batch.n_systems):
        members = torch.nonzero(batch.system == k).flatten()
        i, j, s = neighbour_list(
            "ijS",
            cutoff=float(cutoff),
            positions=batch.positions[members].detach().cpu().double().numpy(),
            cell=_spanning(cell[k]),
            pbc=np.array(batch.pbc),
        )
        index.append(torch.as_tensor(np.stack([i, j]), dtype=torch.long, device=members.device) + members[0])
        unit.append(torch.as_tensor(s, dtype=batch.positions.dtype, device=members.device))
    return torch.cat(index, 1), torch.cat(unit)


def _on_gpu(batch: Batch, cell: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """(index, unit_shift) of all crystals at once by torch-sim, sorted by i but not by j."""
    from torch_sim.neighbors import torchsim_nl

    positions, cell = batch.positions.detach(), cell.detach()
    if not all(batch.pbc):
        cell = torch.as_tensor(np.stack([_spanning(vectors) for vectors in cell]), dtype=cell.dtype, device=cell.device)
    pbc = torch.tensor(batch.pbc, device=positions.device)
    index, _, unit = torchsim_nl(positions, cell, pbc, torch.tensor(float(cutoff)).to(positions), batch.system)  # type: ignore[arg-type]  # it wants a tensor
    order = torch.argsort(index[0], stable=True)
    return index[:, order].long(), unit[order].to(positions.dtype)


def _spanning(cell: Tensor) -> np.ndarray:
    """Lattice vectors (3, 3) with perpendicular vectors in place of missing ones, so that they span the space."""
    return complete_cell(cell.detach().cpu().double().numpy())
