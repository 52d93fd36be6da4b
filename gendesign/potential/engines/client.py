"""A pretrained model of another package as a potential: it computes in a process of its own."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from gendesign.errors import UserError
from gendesign.potential.base import PotentialBase
from gendesign.potential.engines.process import EngineProcess
from gendesign.potential.engines.registry import EngineModel
from gendesign.potential.engines.wire import Arrays
from gendesign.potential.protocol import Capability, require
from gendesign.structure.graph import Batch, Edges, neighbours
from gendesign.structure.types import Prediction

_TICKETS = itertools.count(1)
NO_LENGTH = 1e-6  # Angstrom: the length of the vector between two atoms at one place


class EnginePotential(PotentialBase):
    """A model in an engine process. Make one with `load_potential`.

    The potential finds the neighbours; the process gets the vectors between them and returns energies and forces of a
    whole batch in one exchange. It computes with one thread. `close` ends the process; the next call starts it again.
    """

    def __init__(
        self,
        model: EngineModel,
        process: EngineProcess,
        *,
        weights_hash: str,
        device: torch.device,
        dtype: torch.dtype,
        head: str | None = None,
    ) -> None:
        self.model, self.process, self.head = model, process, head
        self.name, self.elements, self.cutoff = model.name, model.elements, model.cutoff
        self.device, self.dtype, self.supports = device, dtype, model.supports
        self.weights_hash, self.licence, self.citation = weights_hash, model.licence, model.citation
        self.domain = model.domain

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """Energies, forces and what the model gives beside them; see PotentialLike.evaluate."""
        batch = self.batch(structures)
        if stress:
            require(self, Capability.STRESS)
            if batch.cell is None:
                raise UserError("stress was asked for a structure without a cell; give one with periodic boundaries")
        out = self._call({"do": "evaluate", "forces": True}, batch, *self._neighbourhood(batch))
        tension = None
        if stress and batch.cell is not None:
            tension = out["virial"] / torch.linalg.det(batch.cell).abs()[:, None, None]
        atoms = out["atom_energy"] if Capability.ATOM_ENERGIES in self.supports else None
        return Prediction(out["energy"], out["forces"], atoms, tension, standard_deviation=out.get("deviation"))

    def energies(self, structures: Sequence[Atoms] | Batch) -> Tensor:
        """Energies (systems,) in eV, float64, without the forces."""
        batch = self.batch(structures)
        return self._call({"do": "evaluate", "forces": False}, batch, *self._neighbourhood(batch))["energy"]

    def descriptors(
        self,
        structures: Sequence[Atoms] | Batch,
        *,
        layers: int = 1,
        edges: Edges | None = None,
        shortest: float | None = None,
    ) -> Tensor:
        """Invariant features (atoms, n) of the first `layers` interactions; see PotentialLike.descriptors.

        Vectors shorter than `shortest` are lengthened to it, directions stay.
        """
        require(self, Capability.DESCRIPTORS)
        if not 1 <= layers <= self.model.layers:
            raise UserError(f"layers={layers}: potential {self.name} has {self.model.layers}; choose 1 to that")
        batch = self.batch(structures)
        edges, vectors = self._neighbourhood(batch, edges)
        if shortest is not None:
            vectors = _lengthened(vectors, shortest)
        features: Tensor = _Features.apply(vectors, self, batch, edges, layers)
        return features

    def close(self) -> None:
        """End the process of the engine."""
        self.process.close()

    def _neighbourhood(self, batch: Batch, edges: Edges | None = None) -> tuple[Edges, Tensor]:
        """Neighbours, and the vectors (edges, 3) to them, differentiable in the positions of the batch."""
        edges = neighbours(batch, self.cutoff) if edges is None else edges
        first, second = edges.index
        return edges, batch.positions[second] - batch.positions[first] + edges.shift

    def _call(self, fields: dict[str, Any], batch: Batch, edges: Edges, vectors: Tensor) -> dict[str, Tensor]:
        _, arrays = self.process.call({**fields, "n_systems": batch.n_systems}, _packed(batch, edges, vectors))
        return {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}


class _Features(torch.autograd.Function):
    """Features in the process of the engine; their gradient is computed there too."""

    @staticmethod
    def forward(
        ctx: Any, vectors: Tensor, potential: EnginePotential, batch: Batch, edges: Edges, layers: int
    ) -> Tensor:
        gradient = bool(ctx.needs_input_grad[0])
        ctx.potential, ctx.request = potential, (batch, edges, vectors.detach())
        ctx.fields = {"do": "features", "gradient": gradient, "layers": layers, "ticket": next(_TICKETS)}
        return potential._call(ctx.fields, *ctx.request)["features"]

    @staticmethod
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor | None, ...]:
        potential: EnginePotential = ctx.potential
        arrays = {"weights": weights[0].detach().cpu().numpy()}
        wanted = {"do": "gradient", "ticket": ctx.fields["ticket"]}
        answer, results = potential.process.call(wanted, arrays)
        if answer.get("gone"):  # another call came between, or the process is a new one
            potential._call(ctx.fields, *ctx.request)
            answer, results = potential.process.call(wanted, arrays)
        if answer.get("gone"):
            raise RuntimeError(f"potential {potential.name}: its process lost the graph of the features")
        return torch.from_numpy(results["gradient"]).to(potential.device), None, None, None, None


def _packed(batch: Batch, edges: Edges, vectors: Tensor) -> Arrays:
    """What the process needs, as small integers."""

    def small(tensor: Tensor) -> np.ndarray:
        return tensor.to(torch.int32).cpu().numpy()

    return {
        "numbers": small(batch.numbers),
        "system": small(batch.system),
        "index": small(edges.index),
        "images": small(edges.unit_shift.round()),
        "vectors": vectors.detach().cpu().numpy(),
    }


def _lengthened(vectors: Tensor, shortest: float) -> Tensor:
    """Vectors (edges, 3) at least `shortest` Angstrom long, in their directions; between atoms at one place along x."""
    lengths = vectors.square().sum(-1, keepdim=True)
    apart = lengths > NO_LENGTH**2
    along = vectors.new_tensor([1.0, 0.0, 0.0]).expand_as(vectors)
    vectors = torch.where(apart, vectors, along * NO_LENGTH)
    lengths = torch.where(apart, lengths, NO_LENGTH**2).sqrt()
    return vectors * (shortest / lengths).clamp_min(1.0)
