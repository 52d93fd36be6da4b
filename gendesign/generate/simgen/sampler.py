"""Integrate a swarm along its scores, from the largest noise level to zero."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gendesign.generate.simgen.random import normal
from gendesign.generate.simgen.state import Swarm
from gendesign.structure.types import Score

LOST = 2000.0  # Angstrom from the origin, where hosts may be far away: such a molecule has exploded


@dataclass(frozen=True)
class Heun:
    """Stochastic Heun steps after Karras et al. (arXiv 2206.00364, algorithm 2).

    Before each step at a level above `churn_above` the noise grows by the factor 1 + churn/steps and random numbers of
    standard deviation max(noise * sqrt(sigma_hat^2 - sigma^2), floor) Angstrom are added.
    """

    churn: float = 1.3
    churn_above: float = 2e-3
    noise: float = 1.8
    floor: float = 0.01


def integrate(
    swarm: Swarm,
    scores: Sequence[Score],
    sigmas: Tensor,
    settings: Heun,
    between: Callable[[Swarm, int, float], Swarm] | None = None,
    watch: Callable[[Swarm, float], None] | None = None,
) -> tuple[Swarm, Tensor]:
    """Follow dx/dsigma = -sum of scores down `sigmas` (steps + 1,); returns the swarm and which molecules exploded.

    A score is an empirical force here (arXiv 2402.08708); for the exact reverse process of a density give
    sigma grad log p. `between(swarm, step, sigma)` acts after each step, `watch(swarm, sigma)` sees the start and every
    step. A molecule that is no longer finite is parked
    on a line and reported in the mask (molecules,); the others are not touched by it.
    """
    levels = sigmas.tolist()
    steps = len(levels) - 1
    exploded = torch.zeros(swarm.n_molecules, dtype=torch.bool, device=swarm.positions.device)
    if watch is not None:
        watch(swarm, levels[0])
    for step, (sigma, following) in enumerate(itertools.pairwise(levels)):
        risen = sigma
        if sigma > settings.churn_above and settings.churn > 0:
            risen = sigma * (1 + min(settings.churn / steps, 2**0.5 - 1))
            width = max(settings.noise * (risen**2 - sigma**2) ** 0.5, settings.floor)
            swarm = swarm.at(swarm.positions + width * _moving(swarm, normal(swarm.key, step + 10, 3)))
        slope = _total(scores, swarm, risen)
        ahead = swarm.at(swarm.positions + (risen - following) * slope)
        if following > 0:
            slope = (slope + _total(scores, ahead, following)) / 2
            ahead = swarm.at(swarm.positions + (risen - following) * slope)
        swarm, lost = _parked(ahead)
        exploded |= lost
        if between is not None:
            swarm = between(swarm, step, following)
        if watch is not None:
            watch(swarm, following)
    return swarm, exploded


def _total(scores: Sequence[Score], swarm: Swarm, sigma: float) -> Tensor:
    return _moving(swarm, torch.stack([score(swarm, sigma) for score in scores]).sum(0))


def _moving(swarm: Swarm, vectors: Tensor) -> Tensor:
    """`vectors` (atoms, 3) of the atoms that may move, zero for the others."""
    return vectors * swarm.free[:, None] if swarm.n_fixed else vectors


def _parked(swarm: Swarm) -> tuple[Swarm, Tensor]:
    """Put molecules with a lost atom on a line of harmless distances; no synchronisation with the host."""
    wrong = ~(swarm.positions.abs() < LOST).all(-1)
    count = torch.zeros(swarm.n_molecules, device=wrong.device).index_add_(0, swarm.molecule, wrong.float())
    lost = count > 0
    line = torch.stack(
        [1.5 * swarm.slot.double(), torch.zeros_like(wrong).double(), torch.zeros_like(wrong).double()], -1
    )
    return replace(swarm, positions=torch.where(lost[swarm.molecule][:, None], line, swarm.positions)), lost
