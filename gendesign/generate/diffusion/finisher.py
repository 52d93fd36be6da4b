"""Finish sampled molecules as SimGen does: hydrogens by geometry, rough relaxation, choice, sweeps of elements."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from ase import Atoms
from torch import Tensor

from gendesign.generate.diffusion.sampler import Sampled as SampledMolecules
from gendesign.generate.simgen.choice import Goal, unsaturation
from gendesign.generate.simgen.finisher import Finisher
from gendesign.generate.simgen.sampler import Sampled
from gendesign.generate.simgen.state import new_swarm
from gendesign.processes import Spread
from gendesign.structure.types import Candidate


@dataclass(frozen=True)
class GoalFinisher(Finisher):
    """A finisher whose molecules aim at what the model sampled: its composition and its unsaturation."""

    goals: tuple[Goal, ...] = ()

    def _goals(self, sampled: Sampled, sizes: Tensor) -> list[Goal]:
        return list(self.goals)


def finished(
    finisher: GoalFinisher,
    sampled: SampledMolecules,
    index: Sequence[int],
    key: Tensor,
    seed: int,
    spread: Spread,
) -> Iterator[Candidate]:
    """A finished candidate for every molecule of `sampled`; those without heavy atoms are failures."""
    cloud, problem = sampled.cloud, finisher.problem
    heavy = (cloud.numbers != 1).nonzero()[:, 0]
    counts = torch.bincount(cloud.molecule[heavy], minlength=cloud.n_molecules)
    present = counts > 0
    if not bool(present.any()):
        yield from (_without_heavy_atoms(finisher, i, seed) for i in index)
        return
    swarm = new_swarm(counts[present], key[present], 1)
    elements = torch.as_tensor(problem.numbers, device=heavy.device)
    swarm = replace(swarm, positions=cloud.positions[heavy].to(swarm.positions), numbers=cloud.numbers[heavy])
    compositions = swarm.composition(elements)[:, 0]
    numbers = [cloud.numbers[cloud.molecule == m].cpu().numpy() for m in present.nonzero()[:, 0].tolist()]
    limits = problem.limits
    goals = tuple(
        Goal(row, float(unsaturation(z)), limits is not None, None if limits is None else limits.hydrogens)
        for row, z in zip(compositions.cpu().numpy(), numbers, strict=True)
    )
    as_simgen = Sampled(swarm, sampled.exploded[present], compositions, torch.zeros_like(counts[present]))
    made = replace(finisher, goals=goals)(
        as_simgen, [i for i, ok in zip(index, present.tolist(), strict=True) if ok], counts[present], key[present],
        seed, None, spread,
    )  # fmt: skip
    done = {candidate.index: candidate for candidate in made}
    for i in index:
        yield done.get(i) or _without_heavy_atoms(finisher, i, seed)


def _without_heavy_atoms(finisher: GoalFinisher, index: int, seed: int) -> Candidate:
    return Candidate(Atoms(), index, finisher.name, seed).after("sampled", failure="no molecule: no heavy atoms")
