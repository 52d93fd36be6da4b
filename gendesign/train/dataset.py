"""Labelled structures as flat tensors from which batches are cut without a loop over atoms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from torch import Tensor

from gendesign.structure.graph import Batch, Edges, neighbours
from gendesign.structure.types import UserError


@dataclass(frozen=True)
class Dataset:
    """Structures end to end: positions and forces (atoms, 3), numbers (atoms,), energy (structures,), pointer.

    `pointer` (structures + 1,) says where each begins; eV and Angstrom; cell (structures, 3, 3) with lattice vectors as
    rows, pbc (structures, 3); stress (structures, 3, 3) in eV/Angstrom^3, not a number where there is none;
    `kind` names each structure's class for the error table.
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
        """From ase.Atoms with an energy and forces, stored as results of a calculator or in info and arrays."""
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
            np.array([str(f.info.get("kind", f.info.get("config_type", "all"))) for f in frames]),
        )

    def __len__(self) -> int:
        return len(self.energy)

    def alike(self, chosen: Tensor) -> list[Tensor]:
        """`chosen` (systems,) divided by periodicity: one batch holds structures of one kind only."""
        code = self.pbc[chosen].long() @ torch.tensor([4, 2, 1])
        return [chosen[code == one] for one in code.unique().tolist()]

    def batch(self, chosen: Tensor) -> tuple[Batch, Tensor, Tensor]:
        """(batch, energy (systems,), forces (atoms, 3)) of structures `chosen` (systems,) of one periodicity."""
        start, counts = self.pointer[chosen], self.pointer[chosen + 1] - self.pointer[chosen]
        system = torch.repeat_interleave(torch.arange(len(chosen)), counts)
        first = torch.cumsum(counts, 0) - counts
        atoms = torch.arange(len(system)) - first[system] + start[system]
        pbc = tuple(self.pbc[chosen[0]].tolist())
        cell = self.cell[chosen] if any(pbc) else None
        return (
            Batch(self.positions[atoms], self.numbers[atoms], system, len(chosen), cell, pbc),
            self.energy[chosen],
            self.forces[atoms],
        )

    def edges(self, batch: Batch, chosen: Tensor, cutoff: float) -> Edges:
        """Neighbour list of `batch`, cut from `chosen`; those of crystals are found once and kept."""
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

    def order(self, seed: int, epoch: int) -> Tensor:
        """The order of one pass over the data; depends on (seed, epoch) only, so a resumed run sees the same."""
        return torch.randperm(len(self), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Indices, `size` at most at a time, structures of one periodicity together."""
        for chosen in self.alike(torch.arange(len(self))) if len(self) else []:
            yield from chosen.split(size)


def labels_of(frame: Atoms, need_forces: bool = True) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (atoms, 3) of a labelled frame, wherever its writer put them.

    A lone atom needs no forces, they are zero; others are not numbers where they are missing and not needed.
    Raises UserError when a label is missing or not finite.
    """
    results = {} if frame.calc is None else frame.calc.results
    energy = results.get("energy", frame.info.get("energy"))
    forces = results.get("forces", frame.arrays.get("forces"))
    formula = frame.get_chemical_formula()
    if forces is None and (len(frame) == 1 or not need_forces):
        forces = np.full((len(frame), 3), 0.0 if len(frame) == 1 else np.nan)
    elif forces is not None and not np.isfinite(forces).all():
        raise UserError(f"{formula} has forces that are not finite; leave it out")
    if energy is None or forces is None:
        raise UserError(f"{formula} has no energy and forces; label it first: gendesign label FILE")
    if not np.isfinite(energy):
        raise UserError(f"{formula} has an energy that is not finite; leave it out")
    return float(energy), np.asarray(forces)


def stress_of(frame: Atoms) -> np.ndarray:
    """Stress (3, 3) in eV/Angstrom^3, positive under tension; not numbers where the frame has none."""
    results = {} if frame.calc is None else frame.calc.results
    stress = results.get("stress", frame.info.get("stress"))
    if stress is None or not frame.pbc.all():
        return np.full((3, 3), np.nan)
    stress = np.asarray(stress, dtype=float)
    return voigt_6_to_full_3x3_stress(stress) if stress.size == 6 else stress.reshape(3, 3)
