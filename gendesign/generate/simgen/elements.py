"""Which element sits where: particles mutate, the fitter survive (the evolutionary part of SiMGen)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from ase import Atoms
from torch import Tensor

from gendesign.generate.simgen.kernel import KernelScore
from gendesign.generate.simgen.random import pick, uniform
from gendesign.generate.simgen.state import SLOTS_APART, Swarm


def temperature(sigma: float) -> float:
    """Selection temperature in units of the similarity energy (arXiv 2402.08708)."""
    return 10.0 ** (7 * sigma - 1)


@dataclass(frozen=True)
class ElementSwaps:
    """Every `every` steps one particle of each molecule survives, and the others become mutants of it.

    A mutant has ceil(share * atoms) sites changed: sites drawn by their dissimilarity, elements by their share among
    the reference environments. `allowed` holds atomic numbers; `wanted` (molecules, elements) is the composition each
    molecule should have, and every atom off it costs `off_composition` in the survival of the fittest. Where the
    composition is `exact`, mutants exchange the elements of their sites. Swaps stop `rest` steps before the end so that
    the last mutants still settle.
    """

    score: KernelScore
    allowed: Sequence[int]
    n_steps: int
    wanted: Tensor
    share: float = 0.2
    every: int = 3
    off_composition: float = 3.0
    rest: int = 4
    exact: bool = False

    def __call__(self, swarm: Swarm, step: int, sigma: float) -> Swarm:
        if swarm.n_particles == 1 or step % self.every or step >= self.n_steps - self.rest:
            return swarm
        with torch.no_grad():
            atom = self.score.energies(swarm, swarm.positions.to(self.score.potential.dtype), sigma).double()
            atom = self.score.references.surprise(atom, swarm.numbers, sigma) * self.score.weights(swarm)
        draw = 1000 + 4 * step
        allowed = torch.as_tensor(self.allowed, device=swarm.numbers.device)
        off = (swarm.composition(allowed) - self.wanted[:, None]).abs().sum(-1) / 2
        total = swarm.per_particle(atom) + self.off_composition * off
        survivor = pick(-total / temperature(sigma), uniform(swarm.molecule_key, draw, 1)[:, 0])
        source = swarm.atoms_of(survivor)
        swarm = replace(swarm, positions=swarm.positions[source], numbers=swarm.numbers[source])
        change = self.exchange if self.exact else self.mutate
        return change(swarm, atom[source], draw + 1)

    def mutate(self, swarm: Swarm, atom_energy: Tensor, draw: int) -> Swarm:
        """Change elements of all particles but the first of each molecule; atom_energy (atoms,) weighs the sites."""
        allowed = torch.as_tensor(self.allowed, device=swarm.numbers.device)
        # Gumbel's trick: the k largest of logit + noise are a draw of k sites without replacement
        gumbel = -torch.log(-torch.log(uniform(swarm.key, draw, 1)[:, 0]))
        rank = _rank_within((atom_energy.clamp(-50, 50) + gumbel).masked_fill(~swarm.free, -torch.inf), swarm)
        count = torch.ceil(self.share * (swarm.sizes - swarm.n_fixed))[swarm.molecule]
        share = self.score.references.shares(self.allowed).to(swarm.positions).log()
        logits = share.expand(len(swarm.numbers), -1).masked_fill(swarm.numbers[:, None] == allowed[None], -torch.inf)
        other = allowed[pick(logits, uniform(swarm.key, draw + 1, 1)[:, 0])]
        change = (rank < count) & (swarm.particle > 0)
        if len(allowed) == 1:
            return swarm
        return replace(swarm, numbers=torch.where(change, other, swarm.numbers))

    def exchange(self, swarm: Swarm, atom_energy: Tensor, draw: int) -> Swarm:
        """Let sites of all particles but the first of each molecule change elements with unlike sites of the same."""
        logit = atom_energy.clamp(-50, 50)
        may = swarm.padded((swarm.free & (swarm.particle > 0)).long()) > 0
        numbers, row = swarm.padded(swarm.numbers), torch.arange(swarm.n_systems, device=swarm.numbers.device)
        # as many exchanges as the molecule's own size asks for, whatever else is in the batch
        rounds = torch.ceil(self.share * (swarm.sizes - swarm.n_fixed) / 2).clamp_min(1)
        rounds = rounds.repeat_interleave(swarm.n_particles)
        for k in range(int(rounds.max())):
            u = uniform(swarm.key, draw + 1000 * k, 2)
            noisy = swarm.padded(logit[:, None] - torch.log(-torch.log(u)))
            first = noisy[..., 0].masked_fill(~may, -torch.inf).argmax(-1)
            unlike = may & (numbers != numbers[row, first][:, None]) & (k < rounds)[:, None]
            second = noisy[..., 1].masked_fill(~unlike, -torch.inf).argmax(-1)
            second = torch.where(unlike.any(-1), second, first)
            numbers[row, first], numbers[row, second] = numbers[row, second], numbers[row, first]
        return replace(swarm, numbers=numbers[swarm.system, swarm.slot])


def _rank_within(values: Tensor, swarm: Swarm) -> Tensor:
    """Rank (atoms,) of each value among those of its particle, 0 for the largest."""
    by_value = torch.argsort(values, descending=True, stable=True)
    order = by_value[torch.argsort(swarm.system[by_value], stable=True)]
    rank = torch.empty_like(order)
    rank[order] = swarm.slot  # sorted by system, the k-th place within a system is its k-th slot
    return rank


def drawn_elements(
    swarm: Swarm,
    molecule_key: Tensor,
    skeletons: Sequence[Atoms],
    elements: Sequence[int],
    weights: Sequence[float] | None = None,
) -> Tensor:
    """An atomic number for every atom (atoms,): the composition of a random skeleton per molecule, scaled to its size.

    Fractions are rounded at random in one draw (systematic sampling), so counts stray by less than one atom; drawn
    atom by atom, a third of all five-atom molecules would be hydrocarbons, and the same few.
    `molecule_key` (molecules,) decides; particles, and molecules of one key, get the same.
    """
    kinds = torch.tensor(elements, device=swarm.numbers.device)
    counts = torch.stack(
        [(torch.as_tensor(a.numbers)[:, None] == kinds.cpu()[None]).sum(0) for a in skeletons]
    ).double()
    share = (counts / counts.sum(-1, keepdim=True)).to(kinds.device)
    row = drawn_reference(molecule_key, weights or [1.0] * len(share))
    new, count = swarm.slot - swarm.n_fixed, (swarm.sizes - swarm.n_fixed)[swarm.molecule]
    u = ((new + uniform(molecule_key, 6, 1)[swarm.molecule, 0]) / count).clamp(1e-9, 1 - 1e-9)
    drawn = kinds[pick((share[row] + 1e-12).log()[swarm.molecule], u)]
    return torch.where(swarm.free, drawn, swarm.numbers)


def placed_elements(swarm: Swarm, molecule_key: Tensor, numbers: Sequence[Sequence[int]]) -> Tensor:
    """An atomic number for every atom (atoms,): `numbers` of each molecule's free atoms, shuffled by its key."""
    key = molecule_key[swarm.molecule] + swarm.slot * SLOTS_APART
    order = _rank_within(uniform(key, 7, 1)[:, 0].masked_fill(~swarm.free, torch.inf), swarm)
    table = swarm.numbers.new_zeros(swarm.n_molecules, swarm.largest)
    for k, own in enumerate(numbers):
        table[k, swarm.n_fixed : swarm.n_fixed + len(own)] = torch.as_tensor(own)
    return torch.where(swarm.free, table[swarm.molecule, order], swarm.numbers)


def drawn_reference(molecule_key: Tensor, weights: Sequence[float]) -> Tensor:
    """Which reference, drawn by `weights` (references,), each molecule takes its element shares and its unsaturation
    from (molecules,)."""
    share = torch.tensor(weights, dtype=torch.float64, device=molecule_key.device).cumsum(0)
    return torch.searchsorted(share / share[-1], uniform(molecule_key, 5, 1)[:, 0]).clamp_max(len(weights) - 1)
