"""Environments in which molecules are built atom by atom: a gymnasium adapter, and a batched one for training."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from gendesign.errors import UserError
from gendesign.generate.rl.canvas import Action, Canvas, new_positions
from gendesign.generate.rl.episode import Episode, Placement, advance, begin, check
from gendesign.generate.rl.reward import IMPLAUSIBLE, NO_ENERGY, Reward
from gendesign.generate.rl.tasks import Task
from gendesign.randomness import Purpose, seed_of

ID = "MoleculeBuilding-v0"


class MoleculeBuilding(gymnasium.Env):
    """One molecule built atom by atom, as a gymnasium environment for any library of reinforcement learning.

    Observation: positions (slots, 3) in Angstrom, numbers (slots,), bag (elements,), as in Canvas. Action: focus (a
    slot), element (an index), distance (Angstrom, within `distances`), direction (3,) of any length but zero. Rewards
    are in Hartree. A focus or element that canvas or bag lack ends the episode with the lowest reward.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(
        self,
        task: Task,
        reward: Reward,
        slots: int | None = None,
        elements: tuple[int, ...] | None = None,
        distances: tuple[float, float] = (0.8, 1.8),
    ):
        self.task, self.reward = task, reward
        self.slots, self.elements = check(task, reward, slots, elements)
        low, high = distances
        if not 0 < low < high:
            raise UserError(f"distances={distances}: give two ascending numbers above 0 Angstrom, such as (0.8, 1.8)")
        span = self.slots * high + float(np.abs(task.initial_atoms.positions).max(initial=0.0))
        self.observation_space = spaces.Dict(
            {
                "positions": spaces.Box(-span, span, (self.slots, 3), np.float64),
                "numbers": spaces.Box(0, 118, (self.slots,), np.int64),
                "bag": spaces.Box(0, self.slots, (len(self.elements),), np.int64),
            }
        )
        self.action_space = spaces.Dict(
            {
                "focus": spaces.Discrete(self.slots),
                "element": spaces.Discrete(len(self.elements)),
                "distance": spaces.Box(low, high, (), np.float64),
                "direction": spaces.Box(-1.0, 1.0, (3,), np.float64),
            }
        )
        self._episode: Episode | None = None
        self._started = 0  # episodes since the last seed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start an episode; a seed restarts the random stream and the cycle of formulas."""
        super().reset(seed=seed)
        self._started = 0 if seed is not None else self._started
        self._episode = begin(self.task, self.np_random, self._started)
        self._started += 1
        return self._observation(), {}

    def step(self, action: dict[str, Any]):
        """Place an atom; the info of the last step holds the molecule, the return and the reason for the end."""
        if self._episode is None:
            raise UserError("step was called before reset; call reset first")
        length = np.linalg.norm(action["direction"])
        batch = Action(
            torch.tensor([int(action["focus"])]),
            torch.tensor([int(action["element"])]),
            torch.tensor([float(action["distance"])], dtype=torch.float64),
            torch.as_tensor(np.asarray(action["direction"], float)[None] / (length if length > 0 else np.nan)),
        )
        canvas = observe([self._episode], self.elements, self.slots)
        (outcome,) = advance([self._episode], placements(canvas, batch), self.task, self.reward, self.slots)
        self._episode = outcome.episode
        return self._observation(), outcome.reward, outcome.terminated, outcome.truncated, outcome.info

    def _observation(self) -> dict[str, np.ndarray]:
        canvas = observe([self._episode], self.elements, self.slots)
        return {key: getattr(canvas, key)[0].numpy() for key in ("positions", "numbers", "bag")}


class VectorBuilding:
    """`n_envs` environments in parallel: a step evaluates all energies in one call and restarts ended episodes.

    Each environment has a random stream of its own, of `purpose`, `seed` and its index. A cycle of formulas starts at
    this index. `failures` counts episodes that ended for a missing or implausible energy. Canvas and rewards have
    `dtype` and are on `device`; positions are stored in double precision.
    """

    def __init__(
        self,
        task: Task,
        reward: Reward,
        n_envs: int,
        seed: int = 0,
        slots: int | None = None,
        elements: tuple[int, ...] | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        purpose: Purpose = Purpose.AGENT_ENVIRONMENT,
    ):
        if n_envs < 1:
            raise UserError(f"n_envs={n_envs}: give a whole number of 1 or more")
        self.task, self.reward, self.n_envs = task, reward, n_envs
        self.slots, self.elements = check(task, reward, slots, elements)
        self.dtype, self.device = dtype, torch.device(device)
        self.reset(seed, purpose)

    def reset(self, seed: int = 0, purpose: Purpose = Purpose.AGENT_ENVIRONMENT) -> Canvas:
        """Restart all environments and their random streams."""
        self._rngs = [np.random.default_rng(s) for s in seeds(seed, self.n_envs, purpose)]
        self._started, self.failures = [0] * self.n_envs, 0
        self._episodes = [self._begin(i) for i in range(self.n_envs)]
        return self.canvas

    @property
    def canvas(self) -> Canvas:
        """The current observation of all environments."""
        return self._to_output(self._episodes)

    def step(self, action: Action) -> tuple[Canvas, Tensor, Tensor, list[dict[str, Any]]]:
        """The next canvas, rewards (n_envs,) in Hartree, done (n_envs,) of bool, and the info of each environment.

        Where `done`, the canvas is that of the next episode and the info holds atoms, return (Hartree), length,
        truncated, reason ("" for a finished molecule), score and scores if there is an objective, and the last canvas
        (one row), from which the critic estimates the rest of a truncated episode.
        """
        canvas = observe(self._episodes, self.elements, self.slots)
        outcomes = advance(self._episodes, placements(canvas, action), self.task, self.reward, self.slots)
        infos = [{**o.info, "canvas": self._to_output([o.episode])} if o.done else {} for o in outcomes]
        self.failures += sum(outcome.reason in (NO_ENERGY, IMPLAUSIBLE) for outcome in outcomes)
        self._episodes = [self._begin(i) if o.done else o.episode for i, o in enumerate(outcomes)]
        rewards = torch.tensor([o.reward for o in outcomes], dtype=self.dtype, device=self.device)
        done = torch.tensor([o.done for o in outcomes], device=self.device)
        return self.canvas, rewards, done, infos

    def state_dict(self) -> dict[str, Any]:
        """Episodes, random streams, counters and objective as plain values, for an exact resume."""
        objective = self.reward.objective
        return {
            "episodes": [episode.state_dict() for episode in self._episodes],
            "random": [rng.bit_generator.state for rng in self._rngs],
            "started": list(self._started),
            "failures": self.failures,
            "objective": None if objective is None else objective.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`; raises UserError for the state of other environments."""
        n_envs, objective = len(state["episodes"]), self.reward.objective
        if n_envs != self.n_envs or (state["objective"] is None) != (objective is None):
            raise UserError(
                f"the state is of {n_envs} environments with{'' if state['objective'] else 'out'} an objective; "
                "give the same number of environments and the same reward to resume"
            )
        self._episodes = [Episode.from_state(episode) for episode in state["episodes"]]
        for rng, random_state in zip(self._rngs, state["random"], strict=True):
            rng.bit_generator.state = random_state
        self._started, self.failures = list(state["started"]), state["failures"]
        if objective is not None:
            objective.load_state_dict(state["objective"])

    def _begin(self, i: int) -> Episode:
        episode = begin(self.task, self._rngs[i], i + self._started[i])
        self._started[i] += 1
        return episode

    def _to_output(self, episodes: list[Episode]) -> Canvas:
        return observe(episodes, self.elements, self.slots).to(self.dtype).to(self.device)


def seeds(seed: int, n: int, purpose: Purpose = Purpose.AGENT_ENVIRONMENT) -> list[int]:
    """The seed of each of `n` environments, which `MoleculeBuilding.reset` takes too."""
    return [seed_of(purpose, seed, i) for i in range(n)]


def observe(episodes: list[Episode], elements: tuple[int, ...], slots: int) -> Canvas:
    """The observation of episodes, in double precision."""
    return Canvas.build([e.atoms for e in episodes], [e.bag for e in episodes], elements, slots)


def placements(canvas: Canvas, action: Action) -> list[Placement]:
    """The placement that `action` makes in each environment; on an empty canvas at the origin, whatever the focus."""
    action = Action(
        action.focus.cpu().long(),
        action.element.cpu().long(),
        action.distance.double().cpu(),
        action.direction.double().cpu(),
    )
    in_range = (action.focus >= 0) & (action.focus < canvas.slots)
    focus = torch.where(in_range, action.focus, 0)
    valid = (in_range & canvas.filled.gather(1, focus[:, None])[:, 0]) | (canvas.counts == 0)
    positions = new_positions(canvas, Action(focus, action.element, action.distance, action.direction)).detach().numpy()
    return [
        Placement(canvas.elements[e] if is_valid and 0 <= e < len(canvas.elements) else 0, x)
        for e, x, is_valid in zip(action.element.tolist(), positions, valid.tolist(), strict=True)
    ]


if ID not in gymnasium.registry:
    gymnasium.register(ID, entry_point="gendesign.generate.rl.environment:MoleculeBuilding")
