"""Building molecules atom by atom: one environment with gymnasium's face, and many that ask for energies together."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from gendesign.errors import UserError
from gendesign.generate.rl.canvas import Action, Canvas, placed
from gendesign.generate.rl.episode import Episode, Placement, advance, begin, check
from gendesign.generate.rl.reward import NO_ENERGY, UNLIKELY, Reward
from gendesign.generate.rl.tasks import Task

ID = "MoleculeBuilding-v0"


class MoleculeBuilding(gymnasium.Env):
    """One molecule built atom by atom, for any library that speaks gymnasium.

    Observation: positions (slots, 3) in Angstrom, numbers (slots,), bag (elements,), as in Canvas. Action: focus (a
    slot), element (an index), distance (Angstrom, within `distances`), direction (3,) of any length but zero. What the
    canvas or the bag does not have is a placement on the floor. Rewards in Hartree.
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
        span = self.slots * high + float(np.abs(task.given.positions).max(initial=0.0))
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
        """A fresh episode; a seed starts the random stream, and formulas that come by turns, from the beginning."""
        super().reset(seed=seed)
        self._started = 0 if seed is not None else self._started
        self._episode = begin(self.task, self.np_random, self._started)
        self._started += 1
        return self._observation(), {}

    def step(self, action: dict[str, Any]):
        """Place an atom; the info of a last step holds the molecule, the return and the reason of the end."""
        if self._episode is None:
            raise UserError("step was called before reset; call reset first")
        length = np.linalg.norm(action["direction"])
        chosen = Action(
            torch.tensor([int(action["focus"])]),
            torch.tensor([int(action["element"])]),
            torch.tensor([float(action["distance"])], dtype=torch.float64),
            torch.as_tensor(np.asarray(action["direction"], float)[None] / (length if length > 0 else np.nan)),
        )
        canvas = observed([self._episode], self.elements, self.slots)
        (outcome,) = advance([self._episode], placements(canvas, chosen), self.task, self.reward, self.slots)
        self._episode = outcome.episode
        return self._observation(), outcome.reward, outcome.terminated, outcome.truncated, outcome.info

    def _observation(self) -> dict[str, np.ndarray]:
        canvas = observed([self._episode], self.elements, self.slots)
        return {key: getattr(canvas, key)[0].numpy() for key in ("positions", "numbers", "bag")}


class VectorBuilding:
    """`n` environments side by side: each step asks for all its energies in one call, and what ended starts anew.

    Each environment draws from a stream of its own, of `seed` and its number; formulas that come by turns start shifted
    by that number. `failures` counts episodes that ended for want of an energy, or of one to believe. Canvas and
    rewards have `dtype` and lie on `device`; positions are kept in double precision all the same.
    """

    def __init__(
        self,
        task: Task,
        reward: Reward,
        n: int,
        seed: int = 0,
        slots: int | None = None,
        elements: tuple[int, ...] | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        if n < 1:
            raise UserError(f"environments={n}: give 1 or more")
        self.task, self.reward, self.n = task, reward, n
        self.slots, self.elements = check(task, reward, slots, elements)
        self.dtype, self.device = dtype, torch.device(device)
        self.reset(seed)

    def reset(self, seed: int = 0) -> Canvas:
        """All environments at the beginning of their streams."""
        self._rngs = [np.random.default_rng(s) for s in seeds(seed, self.n)]
        self._started, self.failures = [0] * self.n, 0
        self._episodes = [self._begin(i) for i in range(self.n)]
        return self.canvas

    @property
    def canvas(self) -> Canvas:
        """What the agent sees now."""
        return self._shown(self._episodes)

    def step(self, action: Action) -> tuple[Canvas, Tensor, Tensor, list[dict[str, Any]]]:
        """The next canvas, rewards (n,) in Hartree, done (n,) of bool, and for each environment what it tells.

        Where `done`, the canvas is that of the next episode and the info holds atoms, return (Hartree), length,
        truncated, reason ("" for a finished molecule), score and scores if there is an objective, and canvas: the last
        one, of one row, to value what a truncated episode would still have gained.
        """
        canvas = observed(self._episodes, self.elements, self.slots)
        outcomes = advance(self._episodes, placements(canvas, action), self.task, self.reward, self.slots)
        infos = [{**o.info, "canvas": self._shown([o.episode])} if o.done else {} for o in outcomes]
        self.failures += sum(outcome.reason in (NO_ENERGY, UNLIKELY) for outcome in outcomes)
        self._episodes = [self._begin(i) if o.done else o.episode for i, o in enumerate(outcomes)]
        rewards = torch.tensor([o.reward for o in outcomes], dtype=self.dtype, device=self.device)
        done = torch.tensor([o.done for o in outcomes], device=self.device)
        return self.canvas, rewards, done, infos

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which `load_state_dict` goes on exactly: episodes, random streams, counters, objective."""
        objective = self.reward.objective
        return {
            "episodes": [episode.state_dict() for episode in self._episodes],
            "random": [rng.bit_generator.state for rng in self._rngs],
            "started": list(self._started),
            "failures": self.failures,
            "objective": None if objective is None else objective.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; raises UserError for the state of other environments."""
        n, objective = len(state["episodes"]), self.reward.objective
        if n != self.n or (state["objective"] is None) != (objective is None):
            raise UserError(
                f"the state is of {n} environments with{'' if state['objective'] else 'out'} an objective; "
                "make as many, with the same reward, to go on from it"
            )
        self._episodes = [Episode.from_state(one) for one in state["episodes"]]
        for rng, one in zip(self._rngs, state["random"], strict=True):
            rng.bit_generator.state = one
        self._started, self.failures = list(state["started"]), state["failures"]
        if objective is not None:
            objective.load_state_dict(state["objective"])

    def _begin(self, i: int) -> Episode:
        episode = begin(self.task, self._rngs[i], i + self._started[i])
        self._started[i] += 1
        return episode

    def _shown(self, episodes: list[Episode]) -> Canvas:
        return observed(episodes, self.elements, self.slots).to(self.dtype).to(self.device)


def seeds(seed: int, n: int) -> list[int]:
    """The seed of each of `n` environments."""
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(n)]


def observed(episodes: list[Episode], elements: tuple[int, ...], slots: int) -> Canvas:
    """The canvas of episodes, in double precision."""
    return Canvas.build([e.atoms for e in episodes], [e.bag for e in episodes], elements, slots)


def placements(canvas: Canvas, action: Action) -> list[Placement]:
    """Where `action` puts an atom in each environment; on an empty canvas, whatever the focus, in the origin."""
    action = Action(
        action.focus.cpu().long(),
        action.element.cpu().long(),
        action.distance.double().cpu(),
        action.direction.double().cpu(),
    )
    inside = (action.focus >= 0) & (action.focus < canvas.slots)
    focus = torch.where(inside, action.focus, 0)
    there = (inside & canvas.filled.gather(1, focus[:, None])[:, 0]) | (canvas.counts == 0)
    positions = placed(canvas, Action(focus, action.element, action.distance, action.direction)).detach().numpy()
    return [
        Placement(canvas.elements[e] if good and 0 <= e < len(canvas.elements) else 0, x)
        for e, x, good in zip(action.element.tolist(), positions, there.tolist(), strict=True)
    ]


if ID not in gymnasium.registry:
    gymnasium.register(ID, entry_point="gendesign.generate.rl.environment:MoleculeBuilding")
