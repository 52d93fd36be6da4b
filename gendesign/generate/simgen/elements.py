"""Elements of the atoms: those at the start, and their evolution, in which particles mutate and the fitter survive."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gendesign.generate.simgen.kernel import KernelScore
from gendesign.generate.simgen.state import Swarm
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import pick, uniform


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
        """The swarm after swaps of elements, on the steps on which these are made."""
        if swarm.n_particles == 1 or step % self.every or step >= self.n_steps - self.rest:
            return swarm
        with torch.no_grad():
            atom = self.score.energies(swarm, swarm.positions.to(self.score.potential.dtype), sigma).double()
            atom = self.score.references.surprise(atom, swarm.numbers, sigma) * self.score.weights(swarm)
        allowed = torch.as_tensor(self.allowed, device=swarm.numbers.device)
        off = (swarm.composition(allowed) - self.wanted[:, None]).abs().sum(-1) / 2
        total = swarm.per_particle(atom) + self.off_composition * off
        survivor = pick(-total / temperature(sigma), uniform(swarm.molecule_key, Purpose.SURVIVOR, 1, step)[:, 0])
        source = swarm.atoms_of(survivor)
        swarm = replace(swarm, positions=swarm.positions[source], numbers=swarm.numbers[source])
        change = self.exchange if self.exact else self.mutate
        return change(swarm, atom[source], step)

    def mutate(self, swarm: Swarm, atom_energy: Tensor, step: int) -> Swarm:
        """Change elements of all particles but the first of each molecule; atom_energy (atoms,) weighs the sites."""
        allowed = torch.as_tensor(self.allowed, device=swarm.numbers.device)
        # Gumbel's trick: the k largest of logit + noise are a draw of k sites without replacement
        gumbel = -torch.log(-torch.log(uniform(swarm.key, Purpose.MUTATED_SITES, 1, step)[:, 0]))
        rank = _rank_within((atom_energy.clamp(-50, 50) + gumbel).masked_fill(~swarm.mutable, -torch.inf), swarm)
        # of each particle; all particles of a molecule have as many
        places = swarm.per_particle(swarm.mutable.double())[:, 0]
        count = torch.ceil(self.share * places)[swarm.molecule]
        share = self.score.references.shares(self.allowed).to(swarm.positions).log()
        logits = share.expand(len(swarm.numbers), -1).masked_fill(swarm.numbers[:, None] == allowed[None], -torch.inf)
        other = allowed[pick(logits, uniform(swarm.key, Purpose.MUTANT_ELEMENTS, 1, step)[:, 0])]
        change = (rank < count) & (swarm.particle > 0)
        if len(allowed) == 1:
            return swarm
        return replace(swarm, numbers=torch.where(change, other, swarm.numbers))

    def exchange(self, swarm: Swarm, atom_energy: Tensor, step: int) -> Swarm:
        """In all particles but the first of each molecule, let sites of different elements exchange them."""
        logit = atom_energy.clamp(-50, 50)
        may = swarm.padded((swarm.mutable & (swarm.particle > 0)).long()) > 0
        numbers, row = swarm.padded(swarm.numbers), torch.arange(swarm.n_systems, device=swarm.numbers.device)
        # the number of exchanges follows from the molecule's size, whatever else is in the batch
        rounds = torch.ceil(self.share * (swarm.sizes - swarm.n_fixed) / 2).clamp_min(1)
        rounds = rounds.repeat_interleave(swarm.n_particles)
        for k in range(int(rounds.max())):
            u = uniform(swarm.key, Purpose.EXCHANGED_SITES, 2, step, k)
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


def drawn_reference(key: Tensor, weights: Sequence[float]) -> Tensor:
    """Which reference each molecule takes its element shares and its unsaturation from (molecules,).

    key (molecules,): random keys. weights (references,): how often each is drawn.
    """
    share = torch.tensor(weights, dtype=torch.float64, device=key.device).cumsum(0)
    u = uniform(key, Purpose.REFERENCE, 1)[:, 0]
    return torch.searchsorted(share / share[-1], u).clamp_max(len(weights) - 1)


def drawn_elements(key: Tensor, sizes: Tensor, shares: Tensor, elements: Sequence[int]) -> Tensor:
    """Atomic numbers (molecules, largest) of `sizes` (molecules,) atoms, zeros behind them, near the wanted shares.

    shares (molecules, elements): wanted fractions of the atomic numbers `elements`. They are rounded at random in one
    draw (systematic sampling), so counts stray by less than one atom. Drawn atom by atom, a third of all five-atom
    molecules would be hydrocarbons, and the same few.
    """
    slots = torch.arange(int(sizes.max()), device=key.device)[None]
    shift = uniform(key, Purpose.ROUNDING, 1)
    u = ((slots + shift) / sizes[:, None]).clamp(1e-9, 1 - 1e-9)
    logits = (shares + 1e-12).log()[:, None].expand(-1, slots.shape[1], -1)
    kinds = torch.as_tensor(elements, device=key.device)
    numbers = kinds[pick(logits.flatten(0, 1), u.flatten())].view_as(u)
    return torch.where(slots < sizes[:, None], numbers, 0)


def shuffled_elements(key: Tensor, numbers: Sequence[Sequence[int]]) -> Tensor:
    """The atomic `numbers` of each molecule in random order (molecules, largest), zeros behind them."""
    largest = max(map(len, numbers))
    order = uniform(key, Purpose.ELEMENT_ORDER, largest).cpu()
    table = torch.zeros(len(numbers), largest, dtype=torch.long)
    for row, (of_molecule, u) in enumerate(zip(numbers, order, strict=True)):
        n = len(of_molecule)
        table[row, :n] = torch.as_tensor(of_molecule)[u[:n].argsort()]
    return table.to(key.device)
