"""Train an agent: act in many environments, improve by PPO, judge, save; an interrupted run goes on exactly."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from gendesign.errors import UserError
from gendesign.generate.rl.archive import Archive, Relax
from gendesign.generate.rl.canvas import Action, Canvas
from gendesign.generate.rl.environment import VectorBuilding
from gendesign.generate.rl.policy import Policy
from gendesign.generate.rl.ppo import PPO, Rollout, advantages, learning_rate, update
from gendesign.generate.rl.practice import Practice, buildable, practise
from gendesign.structure.journal import Journal

STATE = "state.pt"
JUDGED_SEED = 7_654_321  # of the episodes that judge, the same at every judgement


@dataclass(frozen=True)
class Training:
    """How long to train and on what.

    `steps` placements in all, of `environments` side by side, `horizon` of each between updates; after every
    `judge_every` placements `judged` episodes of the most probable actions are played, and a mean return of `target`
    (Hartree) ends the stage.
    """

    steps: int = 40_000
    environments: int = 32
    horizon: int = 8
    judge_every: int = 4_000
    judged: int = 16
    target: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("steps", "environments", "horizon", "judge_every", "judged"):
            if getattr(self, key) < 1:
                raise UserError(f"training.{key}={getattr(self, key)}: give a whole number of 1 or more")


@dataclass
class State:
    """All that a run carries from update to update."""

    policy: Policy
    optimizer: torch.optim.Optimizer
    environments: VectorBuilding
    generator: torch.Generator
    archive: Archive
    step: int = 0
    updates: int = 0
    reached: bool = False

    def save(self, path: Path) -> None:
        """Write so that the file is either the old or the new state."""
        content = {
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "environments": self.environments.state_dict(),
            "generator": self.generator.get_state(),
            "archive": self.archive.state_dict(),
            "step": self.step,
            "updates": self.updates,
            "reached": self.reached,
        }
        torch.save(content, path.with_suffix(".partial"))
        path.with_suffix(".partial").rename(path)

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote."""
        saved = torch.load(path, weights_only=True, map_location=next(self.policy.parameters()).device)
        self.policy.load_state_dict(saved["policy"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.environments.load_state_dict(saved["environments"])
        self.generator.set_state(saved["generator"].cpu())
        self.archive = Archive.from_state(saved["archive"])
        self.step, self.updates, self.reached = saved["step"], saved["updates"], saved["reached"]


def train(
    policy: Policy,
    environments: VectorBuilding,
    judging: VectorBuilding,
    folder: Path,
    settings: Training,
    ppo: PPO,
    practice: Practice | None = None,
    kept: int = 200,
    relax: Relax | None = None,
) -> State:
    """Train `policy` in place; `folder` gets state.pt, log.csv and TensorBoard's files after every update.

    The best `kept` molecules of every formula stay in the state's archive; with `practice` they are learned, too, as
    `relax` leaves them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.Adam([p for p in policy.parameters() if p.requires_grad], lr=ppo.learning_rate)
    generator = torch.Generator().manual_seed(settings.seed)
    state = State(policy, optimizer, environments, generator, Archive(kept, environments.task.molecules))
    if (folder / STATE).exists():
        state.load(folder / STATE)
    journal = Journal(folder, state.step)
    per_update = settings.environments * settings.horizon
    with tqdm(initial=state.step, total=settings.steps, desc="agent", unit="step", dynamic_ncols=True) as bar:
        while state.step < settings.steps and not state.reached:
            before = state.step // settings.judge_every
            optimizer.param_groups[0]["lr"] = learning_rate(ppo, state.step / settings.steps)
            row = improve(state, settings, ppo, practice, relax)
            state.step += per_update
            if state.step // settings.judge_every > before or state.step >= settings.steps:
                row |= judge(policy, judging, settings.judged)
                state.reached = settings.target is not None and row["judged_return"] >= settings.target
            journal.write({"step": state.step, **row})
            state.save(folder / STATE)
            bar.update(per_update)
            shown = {"return": f"{row['return']:.3f}", "isomers": int(row["kept"])}
            bar.set_postfix(
                shown | ({"no energy": environments.failures} if environments.failures else {}), refresh=False
            )
    return state


def improve(
    state: State, settings: Training, ppo: PPO, practice: Practice | None = None, relax: Relax | None = None
) -> dict[str, float]:
    """One update: what it was fed, what it learned, and where the time went."""
    clocks = {"policy": 0.0, "energy": 0.0, "update": 0.0, "practice": 0.0}
    canvases: list[Canvas] = []
    actions: list[Action] = []
    columns: dict[str, list[torch.Tensor]] = {"log_prob": [], "value": [], "reward": [], "done": []}
    ended: list[dict[str, Any]] = []
    canvas = state.environments.canvas
    for _ in range(settings.horizon):
        start = time.perf_counter()
        with torch.no_grad():
            action, log_prob, value = state.policy.act(canvas, state.generator)
        clocks["policy"] += time.perf_counter() - start
        start = time.perf_counter()
        following, reward, done, infos = state.environments.step(action)
        clocks["energy"] += time.perf_counter() - start
        reward = reward + _cut_short(state.policy, infos, ppo.gamma, reward)
        canvases.append(canvas)
        actions.append(action)
        for key, part in (("log_prob", log_prob), ("value", value), ("reward", reward), ("done", done)):
            columns[key].append(part)
        ended += [info for info in infos if info]
        canvas = following
    start = time.perf_counter()
    with torch.no_grad():
        last = state.policy.value(canvas)
    log_prob, value, reward, done = (torch.stack(columns[key]) for key in ("log_prob", "value", "reward", "done"))
    gain = advantages(reward, value, done, last, ppo)
    rollout = Rollout(Canvas.cat(canvases), Action.cat(actions), log_prob.flatten(), gain.flatten(),
                      (gain + value).flatten())  # fmt: skip
    learned = update(state.policy, state.optimizer, rollout, ppo, state.generator)
    clocks["update"] = time.perf_counter() - start
    state.updates += 1
    start = time.perf_counter()
    finished = [info for info in ended if not info["reason"]]
    state.archive.add([info["atoms"] for info in finished], [info["return"] for info in finished])
    if practice is not None:
        given, reach = state.environments.task.given, state.policy.settings
        if state.updates % practice.every == 0:
            state.archive.learn(relax, lambda row: buildable(row, len(given), reach.shortest, reach.longest))
        learned["practised"] = practise(state.policy, state.optimizer, state.archive, given, canvas, practice,
                                        ppo, state.generator)  # fmt: skip
    clocks["practice"] = time.perf_counter() - start
    returns = [info["return"] for info in ended]
    return {
        "return": float(np.mean(returns)) if returns else 0.0,
        "finished": len(finished) / max(1, len(ended)),
        "kept": sum(map(len, state.archive.kept.values())),
        "valid": state.archive.valid / max(1, state.archive.seen),
        "no_energy": state.environments.failures,
        "steps_per_second": len(rollout) / sum(clocks.values()),
        **{f"{key}_share": spent / sum(clocks.values()) for key, spent in clocks.items()},
        **learned,
    }


def _cut_short(policy: Policy, infos: list[dict], gamma: float, like: torch.Tensor) -> torch.Tensor:
    """What episodes that a full canvas cut short would still have gained, by the critic (environments,)."""
    out = torch.zeros_like(like)
    for k, info in enumerate(infos):
        if info and info["truncated"]:
            with torch.no_grad():
                out[k] = gamma * policy.value(info["canvas"])[0]
    return out


def judge(policy: Policy, judging: VectorBuilding, episodes: int) -> dict[str, float]:
    """Mean and extremes of the returns (Hartree) of `episodes` played by the most probable actions."""
    canvas, returns = judging.reset(JUDGED_SEED), []
    while len(returns) < episodes:
        with torch.no_grad():
            action = policy.act(canvas, None, deterministic=True)[0]
        canvas, _, _, infos = judging.step(action)
        returns += [info["return"] for info in infos if info]
    returns = returns[:episodes]
    return {
        "judged_return": float(np.mean(returns)),
        "judged_best": float(np.max(returns)),
        "judged_worst": float(np.min(returns)),
    }
