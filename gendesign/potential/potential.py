"""A loaded MACE potential: energies, forces, stress, descriptors and the last layer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import gendesign.imports.mace  # noqa: F401  quick and silent

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from mace.modules import MACE
from torch import Tensor

from gendesign.errors import UserError
from gendesign.potential import mace
from gendesign.potential.base import PotentialBase
from gendesign.potential.domain import Domain
from gendesign.potential.lastlayer import LastLayer, last_layer
from gendesign.potential.protocol import Capability
from gendesign.structure.graph import Batch, Edges, neighbours
from gendesign.structure.types import Prediction


@dataclass(frozen=True)
class Potential(PotentialBase):
    """A MACE network with what one must know to use it. Make one with `load_potential`.

    `cutoff` in Angstrom, `isolated_energies` and `chemical_potentials` in eV by element; a chemical potential is the
    element's share of the energy in hydrogen-saturated molecules, so that E - sum mu compares compositions.
    `domain`: the structures it was made for, None where that is not stated.
    """

    net: MACE
    name: str
    weights_hash: str
    licence: str
    citation: str
    head: int = 0
    chemical_potentials: dict[str, float] = field(default_factory=dict)
    domain: Domain | None = None
    supports = frozenset(Capability)

    @property
    def elements(self) -> tuple[str, ...]:  # type: ignore[override]  # these follow from the network
        """Symbols the network was made for."""
        return tuple(chemical_symbols[int(z)] for z in self.net.atomic_numbers)

    @property
    def cutoff(self) -> float:  # type: ignore[override]
        """Radius of one layer's neighbourhood in Angstrom."""
        return float(self.net.r_max)

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        """Floating-point type of the weights."""
        return next(self.net.parameters()).dtype

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where the weights lie."""
        return next(self.net.parameters()).device

    @property
    def isolated_energies(self) -> dict[str, float]:  # type: ignore[override]
        """Energy of every isolated atom in eV."""
        table = torch.atleast_2d(self.net.atomic_energies_fn.atomic_energies)[self.head]
        return dict(zip(self.elements, table.tolist(), strict=True))

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """Energy (systems,), forces (atoms, 3), per-atom energy (atoms,) and, on request, stress (systems, 3, 3).

        eV, Angstrom, eV/Angstrom^3 (positive under tension, as in ASE). All tensors are detached.
        """
        batch = self.batch(structures)
        if stress and batch.cell is None:
            raise UserError("stress was asked for a structure without a cell; give one with periodic boundaries")
        return mace.predict(self.net, batch, neighbours(batch, self.cutoff), head=self.head, stress=stress)

    def energies(self, structures: Sequence[Atoms] | Batch) -> Tensor:
        """Energies (systems,) in eV, float64, without the forces that `evaluate` spends most of its time on."""
        batch = self.batch(structures)
        return mace.energies(self.net, batch, neighbours(batch, self.cutoff), head=self.head)

    def descriptors(
        self,
        structures: Sequence[Atoms] | Batch,
        *,
        layers: int = 1,
        edges: Edges | None = None,
        shortest: float | None = None,
    ) -> Tensor:
        """Invariant node features (atoms, layers * channels), differentiable with respect to the batch's positions.

        Runs no more than `layers` interactions; `shortest` clamps the lengths that the radial basis sees (Angstrom).
        """
        batch = self.batch(structures)
        if not 1 <= layers <= len(self.net.interactions):
            most = len(self.net.interactions)
            raise UserError(f"layers={layers}: potential {self.name} has {most}; choose 1 to that")
        edges = neighbours(batch, self.cutoff) if edges is None else edges
        return mace.descriptors(self.net, batch.positions, batch.numbers, edges, layers, shortest)

    def last_layer(self, structures: Sequence[Atoms] | Batch, *, edges: Edges | None = None) -> LastLayer:
        """The features in which the energy is linear, differentiable with respect to the batch's positions."""
        batch = self.batch(structures)
        return last_layer(self.net, batch, neighbours(batch, self.cutoff) if edges is None else edges, self.head)


def fit_chemical_potentials(structures: Sequence[Atoms], energies: Sequence[float]) -> dict[str, float]:
    """Least-squares share of each element (eV) in the energies of hydrogen-saturated reference structures."""
    symbols = sorted({s for a in structures for s in a.get_chemical_symbols()})
    counts = np.array([[a.get_chemical_symbols().count(s) for s in symbols] for a in structures], dtype=float)
    if np.linalg.matrix_rank(counts) < len(symbols):
        raise UserError(f"{len(structures)} references cannot separate the elements {' '.join(symbols)}; give more")
    return dict(zip(symbols, np.linalg.lstsq(counts, np.asarray(energies), rcond=None)[0].tolist(), strict=True))
