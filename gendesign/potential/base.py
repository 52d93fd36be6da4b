"""The base class of potentials.

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
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from torch import Tensor

from gendesign.errors import UserError
from gendesign.potential.bundled import knowing
from gendesign.potential.domain import Domain
from gendesign.potential.protocol import Capability, PotentialLike, missing, require
from gendesign.structure.graph import Batch, Edges
from gendesign.structure.types import Prediction

if TYPE_CHECKING:
    from gendesign.potential.adapters import AseCalculator, TorchSimModel

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


class PotentialBase:
    """Everything in `PotentialLike` that follows from five attributes and `evaluate`. Inherit from it."""

    name: str
    elements: tuple[str, ...]
    cutoff: float
    device: torch.device
    dtype: torch.dtype
    supports: frozenset[Capability] = frozenset()
    weights_hash: str = ""
    licence: str = "unknown"
    citation: str = "unknown"
    domain: Domain | None = None
    isolated_energies: Mapping[str, float] = MappingProxyType({})
    chemical_potentials: Mapping[str, float] = MappingProxyType({})

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """Energies, forces and what `supports` says; see PotentialLike.evaluate. Every potential writes its own."""
        raise NotImplementedError(f"{type(self).__name__} has no method evaluate")

    def require_elements(self, symbols: Iterable[str]) -> None:
        """Raise UserError unless every element in `symbols` is known."""
        wanted = set(symbols)
        unknown = sorted(wanted - set(self.elements), key=lambda symbol: atomic_numbers.get(symbol, 0))
        if not unknown:
            return
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
        raise UserError(missing(self, Capability.DESCRIPTORS))

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
        value = getattr(source, attribute)
        object.__setattr__(target, attribute, dict(value) if isinstance(value, Mapping) else value)  # can be pickled
