"""The state of a batch in molecular dynamics. Units: Angstrom, eV, amu; time in Angstrom sqrt(amu/eV), as in ASE."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from torch import Tensor

from gendesign.potential.protocol import PotentialLike
from gendesign.randomness import Purpose
from gendesign.structure.constraints import fixed_components, set_fixed
from gendesign.structure.counter_random import derived, normal
from gendesign.structure.graph import Batch

CHAIN = 3  # thermostats of a Nose-Hoover chain
Evaluate = Callable[["State"], "State"]


@dataclass(frozen=True)
class State:
    """Structures of one periodicity, all tensors in float64 on the device of the potential.

    batch: positions and cells. momenta, forces (atoms, 3); masses (atoms,); moving (atoms, 3), 0 for fixed components;
    energy (systems,); stress (systems, 3, 3) or None; key (systems,) and atom_key (atoms,): keys of the random streams;
    chain (2, systems, CHAIN): positions and velocities of the thermostats; step: steps since the very first one, the
    counter of the random streams.
    """

    batch: Batch
    momenta: Tensor
    forces: Tensor
    masses: Tensor
    moving: Tensor
    energy: Tensor
    stress: Tensor | None
    key: Tensor
    atom_key: Tensor
    chain: Tensor
    step: int = 0

    @classmethod
    def from_atoms(cls, structures: Sequence[Atoms], key: Tensor, device: torch.device | str) -> "State":
        """The state of `structures` with the momenta that they have; forces are zero until they are evaluated."""
        batch = Batch.from_atoms(structures, torch.float64, device)
        fixed = np.concatenate([fixed_components(atoms) for atoms in structures])
        slots = torch.cat([torch.arange(len(atoms)) for atoms in structures]).to(device)
        key = key.to(device)
        zero = torch.zeros_like(batch.positions)
        return cls(
            batch,
            torch.tensor(np.concatenate([atoms.get_momenta() for atoms in structures]), device=device),
            zero,
            torch.tensor(np.concatenate([atoms.get_masses() for atoms in structures]), device=device),
            torch.tensor(~fixed, dtype=torch.float64, device=device),
            torch.zeros(batch.n_systems, dtype=torch.float64, device=device),
            None,
            key,
            atom_keys(key, batch.system, slots),
            torch.zeros(2, batch.n_systems, CHAIN, dtype=torch.float64, device=device),
        )

    @property
    def system(self) -> Tensor:
        """The structure of each atom (atoms,)."""
        return self.batch.system

    @property
    def volume(self) -> Tensor:
        """Volumes (systems,) in Angstrom^3, NaN without a cell."""
        if self.batch.cell is None:
            return torch.full_like(self.energy, torch.nan)
        return torch.linalg.det(self.batch.cell).abs()

    @property
    def degrees(self) -> Tensor:
        """Degrees of freedom (systems,): of moving components, less the three of the centre where nothing is fixed."""
        count = self.per_system(self.moving.sum(1))
        return (count - 3 * self.free).clamp_min(1)

    @property
    def free(self) -> Tensor:
        """1 for structures without fixed components (systems,), whose centre of mass stays at rest."""
        return (self.per_system((1 - self.moving).sum(1)) == 0).double()

    @property
    def kinetic(self) -> Tensor:
        """Kinetic energies (systems,) in eV."""
        return self.per_system(self.momenta.square().sum(1) / (2 * self.masses))

    @property
    def temperature(self) -> Tensor:
        """Instantaneous temperatures (systems,) in K."""
        return 2 * self.kinetic / (self.degrees * units.kB)

    @property
    def pressure(self) -> Tensor:
        """Instantaneous pressures (systems,) in eV/Angstrom^3, positive when compressed; NaN without a stress."""
        if self.stress is None:
            return torch.full_like(self.energy, torch.nan)
        virial = -self.stress.diagonal(dim1=1, dim2=2).mean(1)
        return 2 * self.kinetic / (3 * self.volume) + virial

    def per_system(self, values: Tensor) -> Tensor:
        """Sums (systems, ...) of values of atoms (atoms, ...)."""
        out = values.new_zeros(self.batch.n_systems, *values.shape[1:])
        return out.index_add_(0, self.system, values)

    def at_rest(self, momenta: Tensor) -> Tensor:
        """`momenta` (atoms, 3) of moving components, without those of the centre of mass of free structures."""
        total = self.per_system(momenta) / self.per_system(self.masses)[:, None] * self.free[:, None]
        return (momenta - total[self.system] * self.masses[:, None]) * self.moving

    def noise(self, purpose: Purpose) -> Tensor:
        """Standard normal numbers (atoms, 3) of this step, by structure and atom alone."""
        return normal(self.atom_key, purpose, 3, self.step)

    def with_velocities(self, temperature: Tensor) -> "State":
        """Momenta of the Maxwell-Boltzmann distribution at `temperature` (systems,) in K."""
        width = (self.masses * units.kB * temperature[self.system]).sqrt()
        momenta = self.at_rest(self.noise(Purpose.MD_VELOCITY) * width[:, None])
        state = replace(self, momenta=momenta)
        scale = (temperature / state.temperature.clamp_min(1e-12)).sqrt()  # small structures start at the temperature
        return replace(state, momenta=momenta * scale[self.system, None])

    def select(self, keep: Tensor) -> "State":
        """The structures of the mask `keep` (systems,)."""
        rows = keep[self.system]
        place = keep.long().cumsum(0) - 1
        batch = Batch(
            self.batch.positions[rows],
            self.batch.numbers[rows],
            place[self.system[rows]],
            int(keep.sum()),
            None if self.batch.cell is None else self.batch.cell[keep],
            self.batch.pbc,
        )
        return State(
            batch,
            self.momenta[rows],
            self.forces[rows],
            self.masses[rows],
            self.moving[rows],
            self.energy[keep],
            None if self.stress is None else self.stress[keep],
            self.key[keep],
            self.atom_key[rows],
            self.chain[:, keep],
            self.step,
        )

    def to_atoms(self) -> list[Atoms]:
        """The structures with momenta, fixed components, and a SinglePointCalculator (energy, forces)."""
        out = self.batch.to_atoms()
        counts = [len(atoms) for atoms in out]
        parts = [part.cpu().numpy() for part in (self.momenta, self.forces, self.moving, self.masses)]
        ends = np.cumsum(counts)[:-1]
        rows = zip(out, self.energy.tolist(), *(np.split(part, ends) for part in parts), strict=True)
        for atoms, energy, momenta, forces, moving, masses in rows:
            if not np.allclose(masses, atoms.get_masses()):
                atoms.set_masses(masses)
            atoms.set_momenta(momenta)
            if not moving.all():
                set_fixed(atoms, moving == 0)
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that changes in a run, exactly; see `restored`."""
        named = {"positions": self.batch.positions, "cell": self.batch.cell, "momenta": self.momenta,
                 "forces": self.forces, "energy": self.energy, "stress": self.stress, "chain": self.chain}  # fmt: skip
        kept = {name: value.cpu().numpy() for name, value in named.items() if value is not None}
        return {**kept, "step": np.array(self.step)}

    def restored(self, arrays: Mapping[str, np.ndarray]) -> "State":
        """This state with the values of `arrays`."""
        t = {name: torch.tensor(value, device=self.energy.device) for name, value in arrays.items()}
        batch = replace(self.batch, positions=t["positions"], cell=t.get("cell"))
        parts = {name: t[name] for name in ("momenta", "forces", "energy", "chain")}
        return replace(self, batch=batch, stress=t.get("stress"), step=int(arrays["step"]), **parts)


def atom_keys(key: Tensor, system: Tensor, slots: Tensor) -> Tensor:
    """A random key for each atom (atoms,) from those of the structures (systems,) and its place in its structure."""
    return derived(key[system], Purpose.MD_ATOM, slots)


def evaluator(potential: PotentialLike, stress: bool) -> Evaluate:
    """A function that gives a state the energies, forces and, on request, the stress of its positions."""

    def evaluate(state: State) -> State:
        batch, kind = state.batch, potential.dtype
        typed = replace(
            batch, positions=batch.positions.to(kind), cell=None if batch.cell is None else batch.cell.to(kind)
        )
        found = potential.evaluate(typed, stress=stress)
        tension = None if found.stress is None or not stress else found.stress.double()
        forces = found.forces.double() * state.moving
        return replace(state, forces=forces, energy=found.energy.double(), stress=tension)

    return evaluate
