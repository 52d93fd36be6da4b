"""Labelled structures as flat tensors from which batches are cut without a loop over atoms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from gendesign.structure.graph import Batch
from gendesign.structure.types import UserError


@dataclass(frozen=True)
class Dataset:
    """Structures end to end: positions and forces (atoms, 3), numbers (atoms,), energy (structures,), pointer.

    `pointer` (structures + 1,) says where each begins; eV and Angstrom;
    `kind` names each structure's class for the error table.
    """

    positions: Tensor
    forces: Tensor
    numbers: Tensor
    energy: Tensor
    pointer: Tensor
    kind: np.ndarray

    @classmethod
    def from_frames(cls, frames: Sequence[Atoms], dtype: torch.dtype = torch.float32) -> "Dataset":
        """From ase.Atoms with an energy and forces, stored as results of a calculator or in info and arrays."""
        energy, forces = zip(*(labels_of(frame) for frame in frames), strict=True)
        pointer = np.concatenate([[0], np.cumsum([len(f) for f in frames])])
        return cls(
            torch.tensor(np.concatenate([f.positions for f in frames]), dtype=dtype),
            torch.tensor(np.concatenate(forces), dtype=dtype),
            torch.tensor(np.concatenate([f.numbers for f in frames]), dtype=torch.long),
            torch.tensor(energy, dtype=torch.float64),
            torch.tensor(pointer),
            np.array([str(f.info.get("kind", "all")) for f in frames]),
        )

    def __len__(self) -> int:
        return len(self.energy)

    def batch(self, chosen: Tensor) -> tuple[Batch, Tensor, Tensor]:
        """(batch, energy (systems,), forces (atoms, 3)) of the structures `chosen` (systems,)."""
        start, counts = self.pointer[chosen], self.pointer[chosen + 1] - self.pointer[chosen]
        system = torch.repeat_interleave(torch.arange(len(chosen)), counts)
        first = torch.cumsum(counts, 0) - counts
        atoms = torch.arange(len(system)) - first[system] + start[system]
        return (
            Batch(self.positions[atoms], self.numbers[atoms], system, len(chosen)),
            self.energy[chosen],
            self.forces[atoms],
        )

    def order(self, seed: int, epoch: int) -> Tensor:
        """The order of one pass over the data; depends on (seed, epoch) only, so a resumed run sees the same."""
        return torch.randperm(len(self), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Indices in order, `size` at a time."""
        yield from torch.arange(len(self)).split(size)


def labels_of(frame: Atoms) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (atoms, 3) of a labelled frame, wherever its writer put them.

    Raises UserError when one is missing or not finite.
    """
    results = {} if frame.calc is None else frame.calc.results
    energy = results.get("energy", frame.info.get("energy"))
    forces = results.get("forces", frame.arrays.get("forces"))
    if energy is None or forces is None:
        formula = frame.get_chemical_formula()
        raise UserError(f"{formula} has no energy and forces; label it first: gendesign label FILE")
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise UserError(f"{frame.get_chemical_formula()} has an energy or forces that are not finite; leave it out")
    return float(energy), np.asarray(forces)
