"""Generator of molecules of a given formula, built atom by atom by a trained agent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from ase import Atoms
from ase.data import chemical_symbols

from gendesign.errors import UserError
from gendesign.fields import setting
from gendesign.generate.rl.checkpoint import load_agent
from gendesign.generate.rl.energies import potential_energies
from gendesign.generate.rl.environment import VectorBuilding
from gendesign.generate.rl.policy import Policy
from gendesign.generate.rl.reward import Reward
from gendesign.generate.rl.tasks import SingleBag
from gendesign.potential.protocol import PotentialLike
from gendesign.randomness import Purpose, seed_of
from gendesign.structure.generator import Generator
from gendesign.structure.types import Candidate


@dataclass(frozen=True)
class Agent(Generator):
    """Generator that runs episodes of a trained policy, one for each candidate.

    Raises UserError for a formula with elements that the agent or the potential does not know.
    """

    potential: PotentialLike
    formula: str = setting("C3H8O", "formula of the molecules")
    agent: str = setting(
        "builder", "bundled agent, or the folder of one written by gendesign train generator=agent", file=True
    )
    deterministic: bool = setting(False, "true takes the most probable placements: all candidates are equal")
    name: str = "agent"

    def __post_init__(self) -> None:
        self.task  # noqa: B018  raises UserError before a run starts
        unknown = sorted(set(self.task.elements) - set(self.policy.elements))
        if unknown:
            names = ", ".join(chemical_symbols[z] for z in unknown)
            known = " ".join(chemical_symbols[z] for z in self.policy.elements)
            raise UserError(
                f"generator.formula={self.formula}: agent {self.agent} builds with {known}, not with {names}"
            )

    @cached_property
    def task(self) -> SingleBag:
        """The start of every episode."""
        return SingleBag(self.formula)

    @cached_property
    def policy(self) -> Policy:
        """The trained policy."""
        return load_agent(self.agent, self.potential)

    @cached_property
    def reward(self) -> Reward:
        """The rules that end an episode; energies are evaluated at its end only."""
        return Reward(potential_energies(self.potential), at_end=True)

    def generate(self, indices: Sequence[int], *, seed: int) -> Iterator[Candidate]:
        """A candidate for every index, which depends on (seed, index) alone."""
        for index in indices:
            rng = torch.Generator().manual_seed(seed_of(Purpose.AGENT_CANDIDATE, seed, index))
            environment = VectorBuilding(self.task, self.reward, 1, elements=tuple(self.policy.elements))
            canvas, info = environment.canvas, {}
            while not info:
                with torch.no_grad():
                    action = self.policy.act(canvas, rng, deterministic=self.deterministic)[0]
                canvas, _, _, (info,) = environment.step(action)
            base = Candidate(Atoms(), index, self.name, seed)
            failure = None if not info["reason"] else f"the episode ended: {info['reason']}"
            yield base.after("built", info["atoms"], failure, **{"return": float(info["return"])})
