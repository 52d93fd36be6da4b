"""The sampler: from random keys to a swarm of skeletons, through all noise levels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gendesign.generate.simgen import composition
from gendesign.generate.simgen.assembly import Joints, Layout, RigidBlocks
from gendesign.generate.simgen.cohesion import Cohesion
from gendesign.generate.simgen.elements import ElementSwaps, drawn_elements, drawn_reference, shuffled_elements
from gendesign.generate.simgen.heun import Heun, integrate
from gendesign.generate.simgen.kernel import KernelScore
from gendesign.generate.simgen.polar_pull import PolarPull
from gendesign.generate.simgen.prior import Drawn, Prior
from gendesign.generate.simgen.problem import Problem
from gendesign.generate.simgen.schedule import simgen_sigmas
from gendesign.generate.simgen.settings import SimGenSettings
from gendesign.generate.simgen.state import Swarm, new_swarm
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import derived, uniform
from gendesign.structure.types import Score

Callback = Callable[[Swarm, float], None]


class Sampled(NamedTuple):
    """A sampled batch of molecules.

    swarm: at the end, the families of a molecule one after the other. exploded (molecules * families,): which of these
    geometries did. compositions (molecules, elements): numbers of atoms that were drawn, fixed ones included.
    references (molecules,): from which reference they were drawn. layout: the parts that were drawn, None without.
    """

    swarm: Swarm
    exploded: Tensor
    compositions: Tensor
    references: Tensor
    layout: Layout | None = None


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
            *problem.effort,
            settings.swap_share,
            settings.swap_every,
        )

    def __call__(self, sizes: Tensor, key: Tensor, callback: Callback | None = None) -> Sampled:
        """Sample molecules of `sizes` (molecules,) atoms, fixed ones included, from their random keys (molecules,).

        `callback(swarm, sigma)` is called with the start and after every step.
        """
        problem, families = self.problem, self.families
        key, sizes = key.to(problem.potential.device), sizes.to(problem.potential.device)
        layout = None if problem.assembly is None else problem.assembly.drawn(key, sizes)
        if layout is None:
            references = drawn_reference(key, problem.references.weights)
            numbers = self._elements(key, sizes - problem.n_fixed, references)
        else:
            references, numbers = layout.references, layout.numbers
        family_key = derived(key[:, None], Purpose.FAMILY_KEY, torch.arange(families, device=key.device)).flatten()
        of_families = sizes.repeat_interleave(families)
        priors = [p.drawn(family_key, of_families) if isinstance(p, Drawn) else p for p in problem.priors]
        swarm = self._start(of_families, family_key, priors[0], numbers)
        joining: Score = self.cohesion
        blocks = None
        if layout is not None:
            rigid = layout.rigid[swarm.molecule // families, swarm.slot]
            blocks = RigidBlocks.of(swarm, layout)
            swarm, joining = (
                blocks(replace(swarm, rigid=rigid)),
                Joints.of(swarm, layout, self.cohesion, problem.assembly.joins),
            )
        wanted = swarm.composition(torch.as_tensor(problem.numbers, device=key.device))[:, 0]
        swaps = ElementSwaps(
            self.score, problem.numbers, self.steps, wanted, self.swap_share, self.swap_every,
            exact=problem.limits is not None,
        )  # fmt: skip
        walls = [wall.of_layout(layout) if isinstance(wall, PolarPull) else wall for wall in problem.walls]
        scores = [self.score, *priors, joining, *walls, *problem.guidance]
        sigmas = simgen_sigmas(self.steps)
        swarm, exploded = integrate(swarm, scores, sigmas, self.integrator, swaps, callback, blocks)
        return Sampled(swarm, exploded, wanted[::families], references, layout)

    def _start(self, sizes: Tensor, key: Tensor, prior: Prior, numbers: Tensor) -> Swarm:
        """The swarm at the largest noise level; sizes and key (molecules * families,), numbers (molecules, largest)."""
        fixed = None
        if self.problem.fragments is not None:
            atoms = self.problem.fragments.fixed
            fixed = torch.as_tensor(atoms.numbers), torch.as_tensor(atoms.positions)
        swarm = new_swarm(sizes, key, self.particles // self.families, fixed)
        swarm = swarm.at(torch.where(swarm.free[:, None], prior.sample(swarm), swarm.positions))
        new = numbers[swarm.molecule // self.families, (swarm.slot - swarm.n_fixed).clamp_min(0)]
        return replace(swarm, numbers=torch.where(swarm.free, new, swarm.numbers))

    def _elements(self, key: Tensor, sizes: Tensor, references: Tensor) -> Tensor:
        """Atomic numbers (molecules, largest) of the new atoms, near the shares of the references (molecules,)."""
        problem = self.problem
        counts = np.array([[int((a.numbers == z).sum()) for z in problem.numbers] for a in problem.skeletons])
        shares = (counts / counts.sum(1, keepdims=True))[references.cpu().numpy()]
        if problem.limits is None:
            return drawn_elements(key, sizes, torch.as_tensor(shares, device=key.device), problem.numbers)
        u = uniform(key, Purpose.ROUNDING, 1)[:, 0].tolist()
        drawn = [problem.limits.drawn(*row) for row in zip(shares, sizes.tolist(), u, strict=True)]
        return shuffled_elements(key, [composition.numbers_of(row, problem.elements) for row in drawn])
