"""The sampler's state: M molecules, each in P copies (particles) that differ in their elements, as flat tensors."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gendesign.randomness import Purpose
from gendesign.structure.counter_random import derived
from gendesign.structure.graph import all_pairs


@dataclass(frozen=True)
class Swarm:
    """Atoms sorted by molecule, then particle, then slot.

    positions (atoms, 3) in Angstrom; numbers (atoms,) atomic numbers; system (atoms,) the particle's number in the
    batch; molecule (atoms,), particle (atoms,), slot (atoms,); pairs (2, pairs) all ordered pairs within a particle;
    key (atoms,) random keys of the atoms, molecule_key (molecules,) those of the molecules; sizes (molecules,), the
    largest of them `largest`. The first `n_fixed` slots of every particle hold fixed atoms, which neither move nor
    change. `rigid` (atoms,) says which atoms belong to blocks (assembly.py) and keep their elements; None for none. A
    family of geometries (sampler.py) counts as a molecule.
    """

    positions: Tensor
    numbers: Tensor
    system: Tensor
    molecule: Tensor
    particle: Tensor
    slot: Tensor
    pairs: Tensor
    key: Tensor
    molecule_key: Tensor
    sizes: Tensor
    n_particles: int
    largest: int
    n_fixed: int = 0
    rigid: Tensor | None = None

    @property
    def free(self) -> Tensor:
        """Which atoms (atoms,) may move."""
        return self.slot >= self.n_fixed

    @property
    def mutable(self) -> Tensor:
        """Which atoms (atoms,) may change their element."""
        return self.free if self.rigid is None else self.free & ~self.rigid

    @property
    def slot_keys(self) -> Tensor:
        """Random keys (molecules, largest) that all particles of a molecule share, slot by slot."""
        slots = torch.arange(self.largest, device=self.molecule_key.device)
        return derived(self.molecule_key[:, None], Purpose.SLOT_KEY, slots)

    def of_slots(self, values: Tensor) -> Tensor:
        """Values (molecules, largest, ...) of the slots as values of the atoms (atoms, ...)."""
        return values[self.molecule, self.slot]

    @property
    def n_molecules(self) -> int:
        """Number of molecules."""
        return len(self.sizes)

    @property
    def n_systems(self) -> int:
        """Number of systems: molecules times particles."""
        return len(self.sizes) * self.n_particles

    def at(self, positions: Tensor) -> "Swarm":
        """The same swarm with other positions (atoms, 3)."""
        return replace(self, positions=positions)

    def padded(self, values: Tensor) -> Tensor:
        """Per-atom values (atoms, ...) as (systems, largest, ...), zero where a particle has fewer atoms."""
        out = values.new_zeros(self.n_systems, self.largest, *values.shape[1:])
        out[self.system, self.slot] = values
        return out

    def composition(self, elements: Tensor) -> Tensor:
        """How often each of `elements` (elements,) occurs: (molecules, particles, elements)."""
        hits = (self.numbers[:, None] == elements[None]).double()
        counts = hits.new_zeros(self.n_systems, len(elements)).index_add_(0, self.system, hits)
        return counts.view(self.n_molecules, self.n_particles, len(elements))

    def per_particle(self, values: Tensor) -> Tensor:
        """Sum a per-atom quantity (atoms,) over each particle: (molecules, particles)."""
        total = values.new_zeros(self.n_systems).index_add_(0, self.system, values)
        return total.view(self.n_molecules, self.n_particles)

    def atoms_of(self, chosen: Tensor) -> Tensor:
        """For every atom the atom of the same slot in particle chosen[m] of its molecule m; chosen (molecules,)."""
        base = (torch.cumsum(self.sizes, 0) - self.sizes) * self.n_particles
        return (base + chosen * self.sizes)[self.molecule] + self.slot


def new_swarm(
    sizes: Tensor, molecule_key: Tensor, n_particles: int, fixed: tuple[Tensor, Tensor] | None = None
) -> Swarm:
    """A swarm of carbon atoms at the origin, `sizes` (molecules,) each.

    fixed: (numbers (n,), positions (n, 3)) of the fixed atoms, which take the first slots of every particle.
    """
    device = sizes.device
    per_system = sizes.repeat_interleave(n_particles)
    system = torch.repeat_interleave(torch.arange(len(per_system), device=device), per_system)
    slot = torch.arange(len(system), device=device) - (per_system.cumsum(0) - per_system)[system]
    molecule, particle = system // n_particles, system % n_particles
    positions, numbers = torch.zeros(len(system), 3, device=device, dtype=torch.float64), torch.full_like(system, 6)
    if fixed is not None:
        is_fixed = slot < len(fixed[0])
        numbers[is_fixed] = fixed[0].to(numbers)[slot[is_fixed]]
        positions[is_fixed] = fixed[1].to(positions)[slot[is_fixed]]
    return Swarm(
        positions=positions,
        numbers=numbers,
        system=system,
        molecule=molecule,
        particle=particle,
        slot=slot,
        pairs=all_pairs(system, len(per_system)),
        key=derived(molecule_key[molecule], Purpose.ATOM_KEY, particle, slot),
        molecule_key=molecule_key,
        sizes=sizes,
        n_particles=n_particles,
        largest=int(sizes.max()),
        n_fixed=0 if fixed is None else len(fixed[0]),
    )
