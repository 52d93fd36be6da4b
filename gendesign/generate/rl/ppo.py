"""Proximal policy optimisation with generalised advantages (arXiv 1707.06347, 1506.02438) over vector environments."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from gendesign.errors import UserError
from gendesign.generate.rl.canvas import Action, Canvas

TINY = 1e-8


@dataclass(frozen=True)
class PPO:
    """How a policy learns from what it did.

    `gamma` discount; `trace` lambda of the advantages; `clip` of the probability ratio; weights of the `value`, of the
    `entropy` of distances and directions, and of the `choice` entropy of focus and element, which keeps isomers apart;
    the `learning_rate` falls linearly to zero after the share `decay_from` of the training;
    `epochs` passes over the steps of an update, in batches of `batch_size`, ended early once the mean divergence from
    the old policy passes 1.5 times `target_kl`.
    """

    gamma: float = 1.0
    trace: float = 0.97
    clip: float = 0.2
    value: float = 0.5
    entropy: float = 0.02
    choice: float = 0.1
    learning_rate: float = 3e-4
    decay_from: float = 0.5
    gradient_clip: float = 0.5
    target_kl: float = 0.01
    epochs: int = 7
    batch_size: int = 64

    def __post_init__(self) -> None:
        for key in ("gamma", "trace", "decay_from"):
            if not 0 <= getattr(self, key) <= 1:
                raise UserError(f"ppo.{key}={getattr(self, key)}: give a number from 0 to 1")
        for key in ("clip", "learning_rate", "gradient_clip", "target_kl"):
            if not getattr(self, key) > 0:
                raise UserError(f"ppo.{key}={getattr(self, key)}: give a number above 0")
        for key in ("epochs", "batch_size"):
            if getattr(self, key) < 1:
                raise UserError(f"ppo.{key}={getattr(self, key)}: give 1 or more")


def learning_rate(settings: PPO, done: float) -> float:
    """What Adam takes after the share `done` of the training."""
    left = 1.0 if settings.decay_from == 1 else (1 - done) / (1 - settings.decay_from)
    return settings.learning_rate * min(1.0, max(0.0, left))


@dataclass(frozen=True)
class Rollout:
    """Steps of several environments, end to end: a canvas and an action each; log-probabilities, advantages and returns
    (steps,) under the policy that acted."""

    canvas: Canvas
    action: Action
    log_prob: Tensor
    advantage: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.log_prob)

    def __getitem__(self, chosen: Tensor) -> "Rollout":
        return Rollout(*(getattr(self, f.name)[chosen] for f in fields(self)))


def advantages(reward: Tensor, value: Tensor, done: Tensor, last: Tensor, settings: PPO) -> Tensor:
    """Generalised advantages (steps, environments); `done` cuts the sums, `last` (environments,) values what follows.

    delta_t = r_t + gamma V_{t+1} (1 - done_t) - V_t; A_t = delta_t + gamma lambda (1 - done_t) A_{t+1}.
    """
    out, ahead, following = torch.zeros_like(reward), torch.zeros_like(last), last
    for t in reversed(range(len(reward))):
        goes_on = 1.0 - done[t].to(reward)
        delta = reward[t] + settings.gamma * following * goes_on - value[t]
        ahead = delta + settings.gamma * settings.trace * goes_on * ahead
        out[t], following = ahead, value[t]
    return out


def bonus(entropy: Tensor, settings: PPO) -> Tensor:
    """What entropies (steps, 2) of choices and places are worth."""
    return settings.choice * entropy[:, 0].mean() + settings.entropy * entropy[:, 1].mean()


def loss(policy: nn.Module, part: Rollout, settings: PPO) -> tuple[Tensor, dict[str, Tensor]]:
    """Clipped surrogate, value and entropy terms of a batch, and what is logged of them."""
    log_prob, entropy, value = policy.judge(part.canvas, part.action)
    ratio = (log_prob - part.log_prob).exp()
    gain = part.advantage
    bounded = ratio.clamp(1 - settings.clip, 1 + settings.clip)
    surrogate = -torch.minimum(ratio * gain, bounded * gain).mean()
    error = (value - part.target).square().mean()
    total = surrogate + settings.value * error - bonus(entropy, settings)
    with torch.no_grad():
        change = log_prob - part.log_prob
        logged = {
            "policy_loss": surrogate,
            "value_loss": error,
            "choice_entropy": entropy[:, 0].mean(),
            "entropy": entropy[:, 1].mean(),
            "kl": (change.exp() - 1 - change).mean(),  # unbiased and never negative (Schulman, 2020)
            "clipped": (ratio != bounded).float().mean(),
        }
    return total, logged


def update(
    policy: nn.Module, optimizer: torch.optim.Optimizer, rollout: Rollout, settings: PPO, generator: torch.Generator
) -> dict[str, float]:
    """Improve `policy` by a rollout; means of what is logged, and the epochs that were gone through."""
    spread = rollout.advantage.std() if len(rollout) > 1 else torch.tensor(1.0)
    rollout = replace(rollout, advantage=(rollout.advantage - rollout.advantage.mean()) / (spread + TINY))
    seen: list[dict[str, Tensor]] = []
    epochs = 0
    while epochs < settings.epochs:
        epochs += 1
        recent = []
        for chosen in _batches(len(rollout), settings.batch_size, generator):
            total, logged = loss(policy, rollout[chosen], settings)
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), settings.gradient_clip)
            optimizer.step()
            recent.append(logged)
        seen += recent
        if torch.stack([one["kl"] for one in recent]).mean() > 1.5 * settings.target_kl:
            break
    return {key: float(torch.stack([one[key].detach() for one in seen]).mean()) for key in seen[0]} | {
        "epochs": float(epochs)
    }


def _batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    yield from torch.randperm(n, generator=generator).split(size)
