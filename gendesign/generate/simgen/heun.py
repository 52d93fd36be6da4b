"""Integrate a swarm along its scores by stochastic Heun steps, from the largest noise level to zero."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gendesign.fields import check_bounds, setting
from gendesign.generate.simgen.state import Swarm
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import normal
from gendesign.structure.types import Score

LOST = 2000.0  # Angstrom from the origin, beyond which a molecule has exploded; hosts may be far away


@dataclass(frozen=True)
class Heun:
    """Stochastic Heun steps, algorithm 2 of Karras et al. (arXiv 2206.00364).

    Before each step at a level sigma above `churn_above` the noise rises to sigma_hat = sigma (1 + churn/steps), and
    random numbers of standard deviation max(noise * sqrt(sigma_hat^2 - sigma^2), floor) are added to the positions.
    """

    churn: float = setting(1.3, "rise of the noise level before a step, as churn/steps of it", least=0)
    churn_above: float = setting(2e-3, "noise level below which no noise is added", unit="Angstrom", least=0)
    noise: float = setting(1.8, "factor of the added noise; 1 keeps to the noise level", least=0)
    floor: float = setting(0.01, "least standard deviation of the added noise", unit="Angstrom", least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "generator.integrator")


def integrate(
    swarm: Swarm,
    scores: Sequence[Score],
    sigmas: Tensor,
    settings: Heun,
    between: Callable[[Swarm, int, float], Swarm] | None = None,
    callback: Callable[[Swarm, float], None] | None = None,
    project: Callable[[Swarm], Swarm] | None = None,
) -> tuple[Swarm, Tensor]:
    """Follow dx/dsigma = -(sum of scores) down `sigmas` (steps + 1,); returns the swarm and which molecules exploded.

    A score is an empirical force here (arXiv 2402.08708); for the exact reverse process of a density give
    sigma grad log p. `between(swarm, step, sigma)` returns the swarm to continue with after each step;
    `callback(swarm, sigma)` is called with the start and after every step. `project` returns the swarm with constraints
    satisfied, after every displacement. A molecule that is no longer finite is put
    on a line and reported in the mask (molecules,); it does not disturb the others.
    """
    project = project or (lambda swarm: swarm)
    levels = sigmas.tolist()
    steps = len(levels) - 1
    exploded = torch.zeros(swarm.n_molecules, dtype=torch.bool, device=swarm.positions.device)
    if callback is not None:
        callback(swarm, levels[0])
    for step, (sigma, sigma_next) in enumerate(itertools.pairwise(levels)):
        sigma_hat = sigma
        if sigma > settings.churn_above and settings.churn > 0:
            sigma_hat = sigma * (1 + min(settings.churn / steps, 2**0.5 - 1))
            width = max(settings.noise * (sigma_hat**2 - sigma**2) ** 0.5, settings.floor)
            swarm = project(
                swarm.at(swarm.positions + width * _of_free(swarm, normal(swarm.key, Purpose.CHURN, 3, step)))
            )
        # scores point against dx/dsigma, and sigma falls, hence the sign of both steps
        d = _total(scores, swarm, sigma_hat)
        x_next = x_euler = project(swarm.at(swarm.positions + (sigma_hat - sigma_next) * d))
        if sigma_next > 0:
            d_next = _total(scores, x_euler, sigma_next)
            x_next = project(swarm.at(swarm.positions + (sigma_hat - sigma_next) * (d + d_next) / 2))
        swarm, lost = _parked(x_next)
        exploded |= lost
        if between is not None:
            swarm = between(swarm, step, sigma_next)
        if callback is not None:
            callback(swarm, sigma_next)
    return swarm, exploded


def _total(scores: Sequence[Score], swarm: Swarm, sigma: float) -> Tensor:
    return _of_free(swarm, torch.stack([score(swarm, sigma) for score in scores]).sum(0))


def _of_free(swarm: Swarm, vectors: Tensor) -> Tensor:
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
