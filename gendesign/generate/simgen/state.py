"""The sampler's state: M molecules, each in P copies (particles) that differ in their elements, as flat tensors."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gendesign.structure.graph import all_pairs

PARTICLES_APART, SLOTS_APART = 1_000_003, 7_368_787  # primes, so that no two atoms of a run share a random stream


@dataclass(frozen=True)
class Swarm:
    """Atoms sorted by molecule, then particle, then slot.

    positions (atoms, 3) in Angstrom; numbers (atoms,) atomic numbers; system (atoms,) the particle's number in the
    batch; molecule (atoms,), particle (atoms,), slot (atoms,); pairs (2, pairs) all ordered pairs within a particle;
    key (atoms,) the molecule's random key mixed with particle and slot; sizes (molecules,), the largest of them
    `largest`. The first `n_fixed` slots of every particle hold given atoms, which neither move nor change.
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

    @property
    def free(self) -> Tensor:
        """Which atoms (atoms,) may move."""
        return self.slot >= self.n_fixed

    @property
    def slot_key(self) -> Tensor:
        """Keys of random streams (atoms,) that all particles of a molecule share, slot by slot."""
        return self.molecule_key[self.molecule] + self.slot * SLOTS_APART

    @property
    def n_molecules(self) -> int:
        return len(self.sizes)

    @property
    def n_systems(self) -> int:
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
    """A swarm of carbon atoms at the origin, `sizes` (molecules,) each; the first of them may be given.

    fixed: (numbers (n,), positions (n, 3)) of the atoms that take the first slots of every particle.
    """
    device = sizes.device
    per_system = sizes.repeat_interleave(n_particles)
    system = torch.repeat_interleave(torch.arange(len(per_system), device=device), per_system)
    slot = torch.arange(len(system), device=device) - (per_system.cumsum(0) - per_system)[system]
    molecule, particle = system // n_particles, system % n_particles
    positions, numbers = torch.zeros(len(system), 3, device=device, dtype=torch.float64), torch.full_like(system, 6)
    if fixed is not None:
        given = slot < len(fixed[0])
        numbers[given] = fixed[0].to(numbers)[slot[given]]
        positions[given] = fixed[1].to(positions)[slot[given]]
    return Swarm(
        positions=positions,
        numbers=numbers,
        system=system,
        molecule=molecule,
        particle=particle,
        slot=slot,
        pairs=all_pairs(system, len(per_system)),
        key=molecule_key[molecule] + particle * PARTICLES_APART + slot * SLOTS_APART,
        molecule_key=molecule_key,
        sizes=sizes,
        n_particles=n_particles,
        largest=int(sizes.max()),
        n_fixed=0 if fixed is None else len(fixed[0]),
    )
