"""The sampler: from random keys to a swarm of skeletons, through all noise levels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gendesign.generate.simgen import composition
from gendesign.generate.simgen.cohesion import Cohesion
from gendesign.generate.simgen.elements import ElementSwaps, drawn_elements, drawn_reference, placed_elements
from gendesign.generate.simgen.heun import Heun, integrate
from gendesign.generate.simgen.kernel import KernelScore
from gendesign.generate.simgen.problem import Problem
from gendesign.generate.simgen.random import uniform
from gendesign.generate.simgen.schedule import simgen_sigmas
from gendesign.generate.simgen.settings import SimGenSettings
from gendesign.generate.simgen.state import Swarm, new_swarm
from gendesign.structure.types import Score

Callback = Callable[[Swarm, float], None]


class Sampled(NamedTuple):
    """A sampled batch: the final swarm, whose families of one molecule are neighbours; which of its geometries exploded
    (families * molecules,); the composition drawn for each of them (families * molecules, elements)."""

    swarm: Swarm
    exploded: Tensor
    compositions: Tensor


@dataclass(frozen=True)
class Sampler:
    """Samples skeletons of the molecules of a problem: positions and elements of heavy atoms, no bonds, no hydrogen.

    `score` is the similarity to the references; the priors, walls and guidance of `problem` and `cohesion` are added to
    it. `steps`, `particles`, `families`, `swap_share`, `swap_every` are as in SimGenSettings.
    """

    problem: Problem
    score: KernelScore
    integrator: Heun
    cohesion: Cohesion
    steps: int
    particles: int
    families: int
    swap_share: float
    swap_every: int

    @classmethod
    def of(cls, problem: Problem, settings: SimGenSettings, score: KernelScore | None = None) -> "Sampler":
        """The sampler that `settings` describe. Without a `score` the references are described, which takes a while."""
        return cls(
            problem,
            problem.score if score is None else score,
            settings.integrator,
            settings.cohesion,
            settings.steps,
            settings.particles,
            settings.families,
            settings.swap_share,
            settings.swap_every,
        )

    def __call__(self, sizes: Tensor, key: Tensor, callback: Callback | None = None) -> Sampled:
        """Sample molecules of `sizes` (molecules,) atoms, fixed ones included, from their random keys (molecules,).

        `callback(swarm, sigma)` is called with the start and after every step.
        """
        swarm = self.start(sizes, key)
        problem, device = self.problem, swarm.positions.device
        wanted = swarm.composition(torch.as_tensor(problem.numbers, device=device))[:, 0]
        swaps = ElementSwaps(
            self.score, problem.numbers, self.steps, wanted, self.swap_share, self.swap_every,
            exact=problem.limits is not None,
        )  # fmt: skip
        sigmas = simgen_sigmas(self.steps)
        swarm, exploded = integrate(swarm, self.scores, sigmas, self.integrator, swaps, callback)
        return Sampled(swarm, exploded, wanted)

    @property
    def scores(self) -> Sequence[Score]:
        """Everything that moves the atoms."""
        problem = self.problem
        return [self.score, *problem.priors, self.cohesion, *problem.walls, *problem.guidance]

    def start(self, sizes: Tensor, key: Tensor) -> Swarm:
        """The swarm at the largest noise level: positions from the first prior, elements drawn."""
        problem, families = self.problem, self.families
        family_key = (key[:, None] + 15_485_863 * torch.arange(families)[None]).flatten()
        device = problem.potential.device
        fixed = None
        if problem.fragments is not None:
            atoms = problem.fragments.fixed
            fixed = torch.as_tensor(atoms.numbers), torch.as_tensor(atoms.positions)
        swarm = new_swarm(
            sizes.repeat_interleave(families).to(device), family_key.to(device), self.particles // families, fixed
        )
        swarm = swarm.at(torch.where(swarm.free[:, None], problem.priors[0].sample(swarm), swarm.positions))
        return replace(swarm, numbers=self._elements(swarm, sizes, key))

    def _elements(self, swarm: Swarm, sizes: Tensor, key: Tensor) -> Tensor:
        """An atomic number for every atom (atoms,), alike in all families and particles of a molecule."""
        problem, skeletons = self.problem, self.problem.skeletons
        own = key.repeat_interleave(self.families).to(swarm.numbers.device)
        if problem.limits is None:
            return drawn_elements(swarm, own, skeletons, problem.numbers, problem.references.weights)
        counts = np.array([[int((a.numbers == z).sum()) for z in problem.numbers] for a in skeletons])
        rows, u = drawn_reference(key, problem.references.weights).tolist(), uniform(key, 6, 1)[:, 0].tolist()
        drawn = [
            problem.limits.drawn(counts[row] / counts[row].sum(), n - problem.n_fixed, v)
            for row, n, v in zip(rows, sizes.tolist(), u, strict=True)
        ]
        numbers = [composition.numbers_of(c, problem.elements) for c in drawn for _ in range(self.families)]
        return placed_elements(swarm, own, numbers)
