"""Proximal policy optimisation with generalised advantage estimation (arXiv 1707.06347, 1506.02438).

The names of settings and logged values are those of Stable-Baselines3 and CleanRL. An action has a discrete part (focus
and element) and a continuous part (distance and direction), whose entropies have weights of their own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from gendesign.fields import check_bounds, setting
from gendesign.generate.rl.canvas import Action, Canvas

EPSILON = 1e-8  # added to the standard deviation of advantages


class ActorCritic(Protocol):
    """A policy with a critic, as PPO needs it; `gendesign.generate.rl.policy.Policy` is one."""

    def evaluate_actions(self, canvas: Canvas, action: Action) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability (environments,), discrete and continuous entropy (environments, 2), value (environments,)."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """The trainable parameters."""


@dataclass(frozen=True)
class PPO:
    """Settings of PPO."""

    gamma: float = setting(1.0, "discount factor of later rewards", least=0, most=1)
    gae_lambda: float = setting(0.97, "lambda of generalised advantage estimation", least=0, most=1)
    clip_range: float = setting(0.2, "largest change of the probability ratio that the loss rewards", above=0)
    value_coef: float = setting(0.5, "weight of the critic's error in the loss", least=0)
    entropy_coef: float = setting(
        0.1, "weight of the entropy of focus and element; a large one finds more isomers", least=0
    )
    continuous_entropy_coef: float = setting(0.02, "weight of the entropy of distance and direction", least=0)
    learning_rate: float = setting(3e-4, "learning rate of Adam", above=0)
    decay_from: float = setting(
        0.5, "share of the training after which the learning rate falls linearly to zero; 1 keeps it", least=0, most=1
    )
    max_grad_norm: float = setting(0.5, "largest norm of the gradient; longer ones are scaled down", above=0)
    target_kl: float = setting(
        0.01, "an update ends early when the mean divergence from the old policy exceeds 1.5 times this", above=0
    )
    n_epochs: int = setting(7, "passes over the placements of an update", least=1)
    batch_size: int = setting(64, "placements per optimizer step", least=1)

    def __post_init__(self) -> None:
        check_bounds(self, "ppo")


def learning_rate(settings: PPO, progress: float) -> float:
    """The learning rate after the share `progress` (0 to 1) of the training."""
    factor = 1.0 if settings.decay_from == 1 else (1 - progress) / (1 - settings.decay_from)
    return settings.learning_rate * min(1.0, max(0.0, factor))


@dataclass(frozen=True)
class Rollout:
    """Steps of several environments, end to end.

    canvas and action of every step; log_prob, advantage and target return (steps,) under the policy that acted.
    """

    canvas: Canvas
    action: Action
    log_prob: Tensor
    advantage: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.log_prob)

    def __getitem__(self, chosen: Tensor) -> "Rollout":
        return Rollout(*(getattr(self, f.name)[chosen] for f in fields(self)))


def compute_advantages(reward: Tensor, value: Tensor, done: Tensor, last_value: Tensor, settings: PPO) -> Tensor:
    """Generalised advantages (steps, environments) of reward, value and done of the same shape.

    `done` ends the sums; `last_value` (environments,) is the value after the last step.
    delta_t = r_t + gamma V_{t+1} (1 - done_t) - V_t; A_t = delta_t + gamma lambda (1 - done_t) A_{t+1}.
    """
    out, advantage, next_value = torch.zeros_like(reward), torch.zeros_like(last_value), last_value
    for t in reversed(range(len(reward))):
        not_done = 1.0 - done[t].to(reward)
        delta = reward[t] + settings.gamma * next_value * not_done - value[t]
        advantage = delta + settings.gamma * settings.gae_lambda * not_done * advantage
        out[t], next_value = advantage, value[t]
    return out


def entropy_bonus(entropy: Tensor, settings: PPO) -> Tensor:
    """The weighted mean of entropies (steps, 2), discrete and continuous."""
    return settings.entropy_coef * entropy[:, 0].mean() + settings.continuous_entropy_coef * entropy[:, 1].mean()


def loss(policy: ActorCritic, batch: Rollout, settings: PPO) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch (clipped surrogate, value and entropy terms), and its logged parts."""
    log_prob, entropy, value = policy.evaluate_actions(batch.canvas, batch.action)
    ratio = (log_prob - batch.log_prob).exp()
    clipped = ratio.clamp(1 - settings.clip_range, 1 + settings.clip_range)
    policy_loss = -torch.minimum(ratio * batch.advantage, clipped * batch.advantage).mean()
    value_loss = (value - batch.target).square().mean()
    total = policy_loss + settings.value_coef * value_loss - entropy_bonus(entropy, settings)
    with torch.no_grad():
        log_ratio = log_prob - batch.log_prob
        logged = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "discrete_entropy": entropy[:, 0].mean(),
            "continuous_entropy": entropy[:, 1].mean(),
            "approx_kl": (log_ratio.exp() - 1 - log_ratio).mean(),  # unbiased and never negative (Schulman, 2020)
            "clip_fraction": (ratio != clipped).float().mean(),
        }
    return total, logged


def update(
    policy: ActorCritic, optimizer: torch.optim.Optimizer, rollout: Rollout, settings: PPO, generator: torch.Generator
) -> dict[str, float]:
    """Improve `policy` by a rollout; returns the means of the logged values and the number of epochs."""
    deviation = rollout.advantage.std() if len(rollout) > 1 else torch.tensor(1.0)
    rollout = replace(rollout, advantage=(rollout.advantage - rollout.advantage.mean()) / (deviation + EPSILON))
    history: list[dict[str, Tensor]] = []
    epochs = 0
    while epochs < settings.n_epochs:
        epochs += 1
        epoch = []
        for chosen in _minibatches(len(rollout), settings.batch_size, generator):
            total, logged = loss(policy, rollout[chosen], settings)
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), settings.max_grad_norm)
            optimizer.step()
            epoch.append(logged)
        history += epoch
        if torch.stack([logged["approx_kl"] for logged in epoch]).mean() > 1.5 * settings.target_kl:
            break
    means = {key: float(torch.stack([logged[key].detach() for logged in history]).mean()) for key in history[0]}
    return means | {"epochs": float(epochs)}


def _minibatches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    yield from torch.randperm(n, generator=generator).split(size)
