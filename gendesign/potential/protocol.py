"""What this package asks of a potential, so that any model can drive it.

`PotentialBase` (base.py) supplies all that follows from a potential's attributes and `evaluate`; its page shows how to
write one. `check_potential` (conformance.py) says whether the numbers of a potential agree with each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from gendesign.errors import UserError
from gendesign.structure.graph import Batch, Edges
from gendesign.structure.types import Prediction

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from torch_sim.models.interface import ModelInterface

    from gendesign.potential.domain import Domain


class Capability(StrEnum):
    """What a potential may give beside energies and forces."""

    STRESS = "stress"
    ATOM_ENERGIES = "per-atom energies"
    DESCRIPTORS = "descriptors"


@runtime_checkable
class PotentialLike(Protocol):
    """A potential: energies and forces of many structures in one call.

    Units are eV, Angstrom and eV/Angstrom^3. What stands below `evaluate` has a default in `PotentialBase`.
    """

    @property
    def name(self) -> str:
        """Name in messages and in the records of a run."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols of the elements it knows."""

    @property
    def cutoff(self) -> float:
        """Radius in Angstrom within which atoms are neighbours."""

    @property
    def device(self) -> torch.device:
        """Where it computes, and where its tensors lie."""

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of positions, forces and stress; energies are float64."""

    @property
    def supports(self) -> frozenset[Capability]:
        """What it gives beside energies and forces."""

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """Energies (systems,), forces (atoms, 3) and what `supports` says, detached from any graph.

        Stress (systems, 3, 3) is positive under tension, as in ASE, and is None unless `stress` asks for it.
        Raises UserError for unknown elements, and for a stress it cannot give.
        """

    @property
    def weights_hash(self) -> str:
        """Changes with the model: results of runs with different hashes are not mixed. Empty if there is none."""

    @property
    def licence(self) -> str:
        """Licence of the weights."""

    @property
    def citation(self) -> str:
        """What users of the weights cite."""

    @property
    def domain(self) -> "Domain | None":
        """The structures it was fitted to; None where that is not stated."""

    @property
    def isolated_energies(self) -> Mapping[str, float]:
        """Energy of isolated atoms in eV by element; may be empty."""

    @property
    def chemical_potentials(self) -> Mapping[str, float]:
        """Share of each element in eV in the energies of reference molecules; may be empty."""

    def require_elements(self, symbols: Iterable[str]) -> None:
        """Raise UserError unless every element in `symbols` is known."""

    def batch(self, structures: Sequence[Atoms] | Batch) -> Batch:
        """Tensors of `structures` in its dtype and on its device; UserError for unknown elements."""

    def energies(self, structures: Sequence[Atoms] | Batch) -> Tensor:
        """Energies (systems,) in eV, float64, without the forces where these take extra time."""

    def formation(self, structures: Sequence[Atoms], energies: Sequence[float]) -> np.ndarray:
        """E - sum mu (systems,) in eV, comparable between compositions; UserError without chemical potentials."""

    def descriptors(
        self,
        structures: Sequence[Atoms] | Batch,
        *,
        layers: int = 1,
        edges: Edges | None = None,
        shortest: float | None = None,
    ) -> Tensor:
        """Invariant features (atoms, n), differentiable in the positions of a batch; UserError if not supported.

        `edges`: neighbours of the batch, if the caller has them already. `shortest`: clamps distances from below
        (Angstrom), so that overlapping atoms stay in the range of the features.
        """

    def as_torchsim(self, *, stress: bool = False) -> "ModelInterface":
        """A torch-sim model of this potential; UserError for a stress it cannot give."""

    def as_ase(self) -> "Calculator":
        """An ASE calculator of this potential."""


def require(potential: PotentialLike, capability: Capability, remedy: str = "choose a potential that does") -> None:
    """Raise UserError of one line unless `potential` supports `capability`; `remedy` says what to do instead."""
    if capability not in potential.supports:
        raise UserError(missing(potential, capability, remedy))


def missing(potential: PotentialLike, capability: Capability, remedy: str = "choose a potential that does") -> str:
    """The one line of an error: what `potential` lacks, what it gives, what to do."""
    supported = ", ".join(["energies", "forces", *sorted(potential.supports)])
    return f"potential {potential.name} gives no {capability}, only {supported}; {remedy}"
