"""What this package asks of a potential, so that any model can drive it.

A potential of your own inherits from `PotentialBase`, states five attributes and writes one method:

    class Morse(PotentialBase):
        name = "morse"
        elements = ("Ar", "Kr")
        cutoff = 8.0                     # Angstrom
        device = torch.device("cpu")
        dtype = torch.float64
        supports = frozenset({Capability.STRESS})

        def evaluate(self, structures, *, stress=False):
            batch = self.batch(structures)  # structures may be ase.Atoms or a Batch already
            energy, forces, tension = ...   # (systems,), (atoms, 3), (systems, 3, 3)
            return Prediction(energy, forces, stress=tension)

`gendesign.potential.conformance.check_potential` then says whether its numbers agree with each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from torch import Tensor

from gendesign.errors import UserError
from gendesign.structure.graph import Batch, Edges
from gendesign.structure.types import Prediction

if TYPE_CHECKING:
    from gendesign.potential.adapters import AseCalculator, TorchSimModel
    from gendesign.potential.domain import Domain

SHOWN = 20  # an error lists the elements of a potential that has fewer
ATTRIBUTES = (
    "name",
    "elements",
    "cutoff",
    "device",
    "dtype",
    "supports",
    "weights_hash",
    "licence",
    "citation",
    "domain",
    "isolated_energies",
    "chemical_potentials",
)


class Capability(StrEnum):
    """What a potential may give beside energies and forces."""

    STRESS = "stress"
    ATOM_ENERGIES = "per-atom energies"
    DESCRIPTORS = "descriptors"


@runtime_checkable
class PotentialLike(Protocol):
    """A potential: energies and forces of many structures in one call.

    Units are eV, Angstrom and eV/Angstrom^3. Everything below the line `evaluate` has a default in `PotentialBase`.
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

    def as_torchsim(self, *, stress: bool = False) -> "TorchSimModel":
        """A torch-sim model of this potential; UserError for a stress it cannot give."""

    def as_ase(self) -> "AseCalculator":
        """An ASE calculator of this potential."""


if TYPE_CHECKING:
    _Base = PotentialLike
else:  # at run time the properties of the protocol would stand in the way of the fields of dataclasses
    _Base = object


class PotentialBase(_Base):
    """Everything in `PotentialLike` that follows from five attributes and `evaluate`. Inherit from it."""

    supports: frozenset[Capability] = frozenset()
    weights_hash: str = ""
    licence: str = "unknown"
    citation: str = "unknown"
    domain: "Domain | None" = None
    isolated_energies: Mapping[str, float] = MappingProxyType({})
    chemical_potentials: Mapping[str, float] = MappingProxyType({})

    def require_elements(self, symbols: Iterable[str]) -> None:
        """Raise UserError unless every element in `symbols` is known."""
        wanted = set(symbols)
        unknown = sorted(wanted - set(self.elements), key=lambda symbol: atomic_numbers.get(symbol, 0))
        if not unknown:
            return
        from gendesign.potential.advice import knowing  # which reads what the bundled potentials know

        fits = knowing(wanted)
        few = " ".join(self.elements) if len(self.elements) < SHOWN else f"{len(self.elements)} others"
        raise UserError(
            f"potential {self.name} does not know {', '.join(unknown)}; it knows {few}; "
            f"choose other elements or another potential{f', such as potential={fits}' if fits else ''}"
        )

    def batch(self, structures: Sequence[Atoms] | Batch) -> Batch:
        """Tensors of `structures` in this potential's dtype and on its device; a Batch is returned as it is."""
        if isinstance(structures, Batch):
            return structures
        self.require_elements({symbol for atoms in structures for symbol in atoms.get_chemical_symbols()})
        return Batch.from_atoms(structures, self.dtype, self.device)

    def energies(self, structures: Sequence[Atoms] | Batch) -> Tensor:
        """Energies (systems,) in eV, float64."""
        return self.evaluate(structures).energy.double()

    def formation(self, structures: Sequence[Atoms], energies: Sequence[float]) -> np.ndarray:
        """E - sum mu (systems,) in eV: comparable between compositions; UserError without chemical potentials."""
        if not self.chemical_potentials:
            raise UserError(f"potential {self.name} has no chemical potentials; fit them with fit_chemical_potentials")
        table = np.full(120, np.nan)
        for symbol, value in self.chemical_potentials.items():
            table[atomic_numbers[symbol]] = value
        return np.asarray(energies) - np.array([table[atoms.numbers].sum() for atoms in structures])

    def descriptors(
        self,
        structures: Sequence[Atoms] | Batch,
        *,
        layers: int = 1,
        edges: Edges | None = None,
        shortest: float | None = None,
    ) -> Tensor:
        """Refused in one line; potentials that have descriptors override it and state the capability."""
        raise UserError(_missing(self, Capability.DESCRIPTORS))

    def as_torchsim(self, *, stress: bool = False) -> "TorchSimModel":
        """A torch-sim model of this potential."""
        from gendesign.potential.adapters import TorchSimModel

        if stress:
            require(self, Capability.STRESS)
        return TorchSimModel(self, stress)

    def as_ase(self) -> "AseCalculator":
        """An ASE calculator: energy, forces and what the potential supports; stress for periodic structures."""
        from gendesign.potential.adapters import AseCalculator

        return AseCalculator(self)


class PotentialWrapper(PotentialBase):
    """A potential that is another one but for the methods that a subclass overrides."""

    def __init__(self, potential: PotentialLike) -> None:
        self.potential = potential
        copy_attributes(potential, self)

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """See PotentialLike.evaluate."""
        return self.potential.evaluate(structures, stress=stress)

    def descriptors(self, structures: Sequence[Atoms] | Batch, **options: Any) -> Tensor:
        """See PotentialLike.descriptors."""
        return self.potential.descriptors(structures, **options)


def copy_attributes(source: PotentialLike, target: PotentialBase) -> None:
    """Give `target` the attributes of `source`; also where it is a frozen dataclass."""
    for attribute in ATTRIBUTES:
        object.__setattr__(target, attribute, getattr(source, attribute))


def require(potential: PotentialLike, capability: Capability, remedy: str = "choose a potential that does") -> None:
    """Raise UserError of one line unless `potential` supports `capability`; `remedy` says what to do instead."""
    if capability not in potential.supports:
        raise UserError(_missing(potential, capability, remedy))


def _missing(potential: PotentialLike, capability: Capability, remedy: str = "choose a potential that does") -> str:
    given = ", ".join(["energies", "forces", *sorted(potential.supports)])
    return f"potential {potential.name} gives no {capability}, only {given}; {remedy}"
