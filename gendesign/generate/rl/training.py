"""Training of an agent: rollouts in parallel environments, PPO updates, evaluation, and an exact resume."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.rl.archive import Archive, Relax
from gendesign.generate.rl.canvas import Action, Canvas
from gendesign.generate.rl.environment import VectorBuilding
from gendesign.generate.rl.expert_iteration import ExpertIteration, imitate, is_buildable
from gendesign.generate.rl.policy import Policy
from gendesign.generate.rl.ppo import PPO, Rollout, compute_advantages, learning_rate, update
from gendesign.randomness import Purpose, seed_of
from gendesign.structure.journal import Journal

STATE = "state.pt"
PHASES = ("policy", "energy", "update", "expert_iteration")  # of an update, which are timed


@dataclass(frozen=True)
class Training:
    """Settings of the training loop; a step is one placement in one environment."""

    steps: int = setting(40_000, "placements in all", least=1)
    n_envs: int = setting(32, "environments that run in parallel", least=1)
    horizon: int = setting(8, "placements in each environment between two updates", least=1)
    eval_freq: int = setting(4_000, "placements between two evaluations", least=1)
    n_eval_episodes: int = setting(16, "episodes of an evaluation, with the most probable placements", least=1)
    target_return: float | None = setting(
        None, "mean return of an evaluation that ends the training; null: none", unit="Hartree"
    )
    seed: int = setting(0, "random seed of weights, environments and actions", least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "training")


@dataclass
class State:
    """The state of a training run between two updates."""

    policy: Policy
    optimizer: torch.optim.Optimizer
    environments: VectorBuilding
    generator: torch.Generator
    archive: Archive
    step: int = 0
    updates: int = 0
    target_reached: bool = False

    def save(self, path: Path) -> None:
        """Write atomically: the file is either the old or the new state."""
        content = {
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "environments": self.environments.state_dict(),
            "generator": self.generator.get_state(),
            "archive": self.archive.state_dict(),
            "step": self.step,
            "updates": self.updates,
            "target_reached": self.target_reached,
        }
        torch.save(content, path.with_suffix(".partial"))
        path.with_suffix(".partial").rename(path)

    def load(self, path: Path) -> None:
        """Restore what `save` wrote; raises UserError for a file of an earlier version."""
        saved = torch.load(path, weights_only=True, map_location=next(self.policy.parameters()).device)
        if "target_reached" not in saved:
            raise UserError(f"{path} is of an earlier version of gendesign; train into another folder (output=...)")
        self.policy.load_state_dict(saved["policy"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.environments.load_state_dict(saved["environments"])
        self.generator.set_state(saved["generator"].cpu())
        self.archive = Archive.from_state(saved["archive"])
        self.step, self.updates, self.target_reached = saved["step"], saved["updates"], saved["target_reached"]


def train(
    policy: Policy,
    environments: VectorBuilding,
    eval_environments: VectorBuilding,
    folder: Path,
    settings: Training,
    ppo: PPO,
    expert_iteration: ExpertIteration | None = None,
    archive_size: int = 200,
    relax: Relax | None = None,
) -> State:
    """Train `policy` in place; writes state.pt, log.csv and TensorBoard files to `folder` after every update.

    The archive of the state holds the best `archive_size` molecules of every formula. With `expert_iteration` the
    policy imitates them, relaxed by `relax` if it is given. A folder with state.pt is resumed exactly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.Adam([p for p in policy.parameters() if p.requires_grad], lr=ppo.learning_rate)
    generator = torch.Generator().manual_seed(seed_of(Purpose.AGENT_TRAINING, settings.seed))
    state = State(policy, optimizer, environments, generator, Archive(archive_size, environments.task.n_molecules))
    if (folder / STATE).exists():
        state.load(folder / STATE)
    journal = Journal(folder, state.step)
    per_update = settings.n_envs * settings.horizon
    with tqdm(initial=state.step, total=settings.steps, desc="agent", unit="step", dynamic_ncols=True) as bar:
        while state.step < settings.steps and not state.target_reached:
            evaluations = state.step // settings.eval_freq
            optimizer.param_groups[0]["lr"] = learning_rate(ppo, state.step / settings.steps)
            row = improve(state, settings, ppo, expert_iteration, relax)
            state.step += per_update
            if state.step // settings.eval_freq > evaluations or state.step >= settings.steps:
                row |= evaluate(policy, eval_environments, settings.n_eval_episodes)
                target = settings.target_return
                state.target_reached = target is not None and row["eval_return"] >= target
            journal.write({"step": state.step, **row})
            state.save(folder / STATE)
            bar.update(per_update)
            shown = {"return": f"{row['return']:.3f}", "isomers": int(row["isomers"])}
            failures = {"no energy": environments.failures} if environments.failures else {}
            bar.set_postfix(shown | failures, refresh=False)
    return state


@dataclass
class Clock:
    """Seconds spent in each phase of an update."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Add the time of the block to a phase."""
        start = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - start

    def shares(self) -> dict[str, float]:
        """The share of every phase in the total time."""
        total = sum(self.seconds.values())
        return {f"{phase}_share": spent / total for phase, spent in self.seconds.items()}


def improve(
    state: State,
    settings: Training,
    ppo: PPO,
    expert_iteration: ExpertIteration | None = None,
    relax: Relax | None = None,
) -> dict[str, float]:
    """One update: a rollout, PPO, and expert iteration; returns the row of the log."""
    clock = Clock()
    rollout, ended = collect_rollout(state, settings.horizon, ppo, clock)
    with clock.measure("update"):
        logged = update(state.policy, state.optimizer, rollout, ppo, state.generator)
    state.updates += 1
    finished = [info for info in ended if not info["reason"]]
    with clock.measure("expert_iteration"):
        state.archive.add([info["atoms"] for info in finished], [info["return"] for info in finished])
        if expert_iteration is not None:
            logged["demonstration_log_prob"] = _iterate_expert(state, expert_iteration, ppo, relax)
    returns = [info["return"] for info in ended]
    return {
        "return": float(np.mean(returns)) if returns else 0.0,
        "finished": len(finished) / max(1, len(ended)),
        "isomers": sum(map(len, state.archive.best.values())),
        "valid": state.archive.n_valid / max(1, state.archive.n_finished),
        "no_energy": state.environments.failures,
        "steps_per_second": len(rollout) / sum(clock.seconds.values()),
        **clock.shares(),
        **logged,
    }


def collect_rollout(state: State, horizon: int, ppo: PPO, clock: Clock) -> tuple[Rollout, list[dict[str, Any]]]:
    """`horizon` placements in every environment with their advantages, and the infos of the episodes that ended."""
    canvases: list[Canvas] = []
    actions: list[Action] = []
    columns: dict[str, list[Tensor]] = {"log_prob": [], "value": [], "reward": [], "done": []}
    ended: list[dict[str, Any]] = []
    canvas = state.environments.canvas
    for _ in range(horizon):
        with clock.measure("policy"), torch.no_grad():
            action, log_prob, value = state.policy.act(canvas, state.generator)
        with clock.measure("energy"):
            next_canvas, reward, done, infos = state.environments.step(action)
        reward = reward + _truncation_values(state.policy, infos, ppo.gamma, reward)
        canvases.append(canvas)
        actions.append(action)
        for key, part in (("log_prob", log_prob), ("value", value), ("reward", reward), ("done", done)):
            columns[key].append(part)
        ended += [info for info in infos if info]
        canvas = next_canvas
    with clock.measure("update"), torch.no_grad():
        last_value = state.policy.value(canvas)
        log_prob, value, reward, done = (torch.stack(columns[key]) for key in ("log_prob", "value", "reward", "done"))
        advantage = compute_advantages(reward, value, done, last_value, ppo)
    target = advantage + value
    batch = Canvas.cat(canvases), Action.cat(actions)
    return Rollout(*batch, log_prob.flatten(), advantage.flatten(), target.flatten()), ended


def _iterate_expert(state: State, settings: ExpertIteration, ppo: PPO, relax: Relax | None) -> float:
    """Relax new molecules when it is time, and imitate the demonstrations; their mean log-probability."""
    environments, policy = state.environments, state.policy
    initial_atoms, distances = (
        environments.task.initial_atoms,
        (policy.settings.min_distance, policy.settings.max_distance),
    )
    if state.updates % settings.relax_every == 0:
        n_initial = len(initial_atoms)
        state.archive.add_demonstrations(relax, lambda entry: is_buildable(entry, n_initial, *distances))
    canvas = environments.canvas
    return imitate(policy, state.optimizer, state.archive, initial_atoms, canvas, settings, ppo, state.generator)


def _truncation_values(policy: Policy, infos: list[dict[str, Any]], gamma: float, like: Tensor) -> Tensor:
    """Discounted value (environments,) of the last canvas of truncated episodes, zero for all others."""
    out = torch.zeros_like(like)
    for k, info in enumerate(infos):
        if info and info["truncated"]:
            with torch.no_grad():
                out[k] = gamma * policy.value(info["canvas"])[0]
    return out


def evaluate(policy: Policy, environments: VectorBuilding, n_episodes: int) -> dict[str, float]:
    """Mean, best and worst return (Hartree) of episodes with the most probable placements."""
    canvas, returns = environments.reset(0, Purpose.AGENT_EVALUATION), []
    while len(returns) < n_episodes:
        with torch.no_grad():
            action = policy.act(canvas, None, deterministic=True)[0]
        canvas, _, _, infos = environments.step(action)
        returns += [info["return"] for info in infos if info]
    returns = returns[:n_episodes]
    return {
        "eval_return": float(np.mean(returns)),
        "eval_best": float(np.max(returns)),
        "eval_worst": float(np.min(returns)),
    }
