"""Potentials that cost nothing."""

from collections.abc import Iterable, Sequence

import torch
import torch_sim as ts
from ase import Atoms
from torch_sim.models.interface import ModelInterface
from torch_sim.models.lennard_jones import LennardJonesModel
from torch_sim.models.morse import MorseModel

from gendesign.potential.base import PotentialBase
from gendesign.potential.protocol import Capability
from gendesign.structure.graph import Batch
from gendesign.structure.types import Prediction


class Recorded(ModelInterface):
    """Wrap a model: count the evaluations of each call, break on request.

    `poison`: structures with this atomic number get NaN forces after `after` calls. `most`: more atoms than this in
    one call raise torch.OutOfMemoryError.
    """

    def __init__(
        self, model: ModelInterface, *, poison: int | None = None, after: int = 0, most: int | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self._device, self._dtype = model.device, model.dtype
        self._compute_stress, self._compute_forces = model.compute_stress, True
        self.poison, self.after, self.most = poison, after, most
        self.systems: list[int] = []

    def forward(self, state, **kwargs) -> dict[str, torch.Tensor]:
        if self.most is not None and state.n_atoms > self.most:
            raise torch.OutOfMemoryError("toy: out of memory")
        if not torch.isfinite(state.positions).all():
            raise AssertionError("a model must never see positions that are not finite")
        self.systems.append(state.n_systems)
        output = self.model(state)
        if self.poison is not None and len(self.systems) > self.after:
            bad = torch.zeros(state.n_systems, dtype=torch.bool)
            bad[state.system_idx[state.atomic_numbers == self.poison].long()] = True
            output["forces"] = output["forces"].masked_fill(bad[state.system_idx][:, None], torch.nan)
            output["energy"] = output["energy"].masked_fill(bad, torch.nan)
        return output


class ToyPotential(PotentialBase):
    """A pair potential for all elements alike: Morse (epsilon 1 eV, 1.5 Angstrom) or argon-like Lennard-Jones."""

    name, device, dtype = "toy", torch.device("cpu"), torch.float64
    supports = frozenset({Capability.STRESS})

    def __init__(self, kind: str = "morse", elements: Iterable[str] = ("H", "C", "N", "O", "Ar"), **broken) -> None:
        self.kind, self.elements, self.broken = kind, tuple(elements), broken
        self.cutoff = 8.5 if kind == "lj" else 6.0
        self.models: list[Recorded] = []

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        batch = self.batch(structures)
        state = ts.io.atoms_to_state(batch.to_atoms(), self.device, self.dtype)
        out = self.as_torchsim(stress=stress)(state)
        return Prediction(out["energy"], out["forces"], stress=out.get("stress"))

    def as_torchsim(self, *, stress: bool = False) -> ModelInterface:
        common = dict(device=self.device, dtype=self.dtype, compute_stress=stress, cutoff=self.cutoff)
        if self.kind == "lj":
            model: ModelInterface = LennardJonesModel(sigma=3.405, epsilon=0.0104, **common)
        else:
            model = MorseModel(sigma=1.5, epsilon=1.0, alpha=2.0, **common)
        self.models.append(Recorded(model, **self.broken))
        return self.models[-1]
