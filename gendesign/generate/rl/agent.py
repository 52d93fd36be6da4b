"""A trained agent as a generator: molecules of a formula, built atom by atom."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols

from gendesign.errors import UserError
from gendesign.generate.rl.checkpoint import load_agent
from gendesign.generate.rl.energies import potential_energies
from gendesign.generate.rl.environment import VectorBuilding
from gendesign.generate.rl.policy import Policy
from gendesign.generate.rl.reward import CONTACT, Reward
from gendesign.generate.rl.tasks import SingleBag
from gendesign.potential import Potential
from gendesign.structure.generator import Generator
from gendesign.structure.types import Candidate


@dataclass(frozen=True)
class Agent(Generator):
    """Generator that plays episodes of a trained policy.

    formula: the atoms of every molecule; agent: the bundled `builder`, or a folder that `gendesign train
    generator=agent` wrote; deterministic: always the most probable placement, hence one molecule only. Raises UserError
    for elements that the agent or the potential does not know.
    """

    potential: Potential
    formula: str
    agent: str = "builder"
    deterministic: bool = False
    name: str = "agent"

    def __post_init__(self) -> None:
        self.task  # noqa: B018  what is wrong is said before anything runs
        unknown = sorted(set(self.task.elements) - set(self.policy.elements))
        if unknown:
            names = ", ".join(chemical_symbols[z] for z in unknown)
            known = " ".join(chemical_symbols[z] for z in self.policy.elements)
            raise UserError(
                f"generator.formula={self.formula}: agent {self.agent} builds with {known}, not with {names}"
            )

    @cached_property
    def task(self) -> SingleBag:
        """Where every episode begins."""
        return SingleBag(self.formula)

    @cached_property
    def policy(self) -> Policy:
        """The trained policy."""
        return load_agent(self.agent, self.potential)

    @cached_property
    def reward(self) -> Reward:
        """What ends episodes that went wrong; energies are asked at the end only."""
        return Reward(potential_energies(self.potential), at_end=True, contact=CONTACT)

    def generate(self, indices: Sequence[int], *, seed: int) -> Iterator[Candidate]:
        """A candidate for every index; one that depends on (seed, index) alone plays its episode by itself."""
        for index in indices:
            rng = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, index]).generate_state(1)[0]))
            building = VectorBuilding(self.task, self.reward, 1, seed=0, elements=tuple(self.policy.elements))
            canvas, info = building.canvas, {}
            while not info:
                with torch.no_grad():
                    action = self.policy.act(canvas, rng, deterministic=self.deterministic)[0]
                canvas, _, _, (info,) = building.step(action)
            base = Candidate(Atoms(), index, self.name, seed)
            failure = None if not info["reason"] else f"the episode ended: {info['reason']}"
            yield base.after("built", info["atoms"], failure, **{"return": float(info["return"])})
