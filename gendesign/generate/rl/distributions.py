"""Distributions of focus and element (masked categorical) and of the distance (truncated Gaussian mixture)."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

NEVER = -1e9  # a logit with probability zero in any float; minus infinity would make 0 log 0 a NaN
NODES = 256


@dataclass(frozen=True)
class MaskedCategorical:
    """Categorical distribution over the allowed options of each row: logits and allowed (batch, options).

    A row without an allowed option gives option 0, with log-probability and entropy zero.
    """

    logits: Tensor
    allowed: Tensor

    @cached_property
    def log_probs(self) -> Tensor:
        """(batch, options)."""
        forced = ~self.allowed.any(1, keepdim=True) & (torch.arange(self.allowed.shape[1]) == 0).to(self.allowed.device)
        return torch.log_softmax(self.logits.masked_fill(~self.allowed, NEVER).masked_fill(forced, 0.0), 1)

    def log_prob(self, option: Tensor) -> Tensor:
        """(batch,) of the options (batch,)."""
        return self.log_probs.gather(1, option[:, None])[:, 0]

    def entropy(self) -> Tensor:
        """(batch,)."""
        return -(self.log_probs.exp() * self.log_probs).sum(1)

    def sample(self, generator: torch.Generator) -> Tensor:
        """One option (batch,) of each row."""
        return torch.multinomial(self.log_probs.exp(), 1, generator=generator)[:, 0]

    def mode(self) -> Tensor:
        """The most probable option (batch,)."""
        return self.log_probs.argmax(1)


@dataclass(frozen=True)
class TruncatedGaussianMixture:
    """Mixture of Gaussians truncated to [low, high] Angstrom: log_weights, means and widths (batch, Gaussians).

    Means lie within the range and widths are at least PolicySettings.min_std, so that no normalisation vanishes and the
    quadrature of the entropy resolves every peak. Densities are per Angstrom.
    """

    log_weights: Tensor
    means: Tensor
    widths: Tensor
    low: float
    high: float

    def _cdf(self, x: float | Tensor) -> Tensor:
        return torch.special.ndtr((x - self.means) / self.widths)

    def _log_density(self, distance: Tensor) -> Tensor:
        """(batch, n) at distances (batch, n)."""
        z = (distance[..., None] - self.means[:, None]) / self.widths[:, None]
        norm = self.widths.log() + (self._cdf(self.high) - self._cdf(self.low)).log() + 0.5 * math.log(2 * math.pi)
        return torch.logsumexp((torch.log_softmax(self.log_weights, 1) - norm)[:, None] - 0.5 * z.square(), -1)

    def log_prob(self, distance: Tensor) -> Tensor:
        """Log-density (batch,) at distances (batch,); minus infinity outside the range (to 1e-5 Angstrom)."""
        inside = (distance >= self.low - 1e-5) & (distance <= self.high + 1e-5)
        log_density = self._log_density(distance.clamp(self.low, self.high)[:, None])[:, 0]
        return torch.where(inside, log_density, torch.full_like(log_density, -torch.inf))

    @cached_property
    def _nodes(self) -> Tensor:
        step = (self.high - self.low) / NODES
        middle = self.low + step * (torch.arange(NODES, dtype=self.means.dtype, device=self.means.device) + 0.5)
        return middle.expand(len(self.means), -1)

    def entropy(self) -> Tensor:
        """Differential entropy (batch,), by the midpoint rule."""
        log_density = self._log_density(self._nodes)
        return -(log_density.exp() * log_density).sum(1) * (self.high - self.low) / NODES

    @torch.no_grad()
    def sample(self, generator: torch.Generator) -> Tensor:
        """One distance (batch,) of each: a Gaussian drawn by weight, then its inverse cumulative distribution."""
        which = torch.multinomial(torch.softmax(self.log_weights, 1), 1, generator=generator)
        u = torch.rand(len(which), 1, generator=generator, dtype=self.means.dtype, device=self.means.device)
        low, high = (self._cdf(edge).gather(1, which) for edge in (self.low, self.high))
        z = torch.special.ndtri(low + u * (high - low))
        drawn = self.means.gather(1, which) + self.widths.gather(1, which) * z
        return drawn.clamp(self.low, self.high)[:, 0]

    @torch.no_grad()
    def mode(self) -> Tensor:
        """The distance (batch,) of highest density, to the spacing of the nodes."""
        return self._nodes.gather(1, self._log_density(self._nodes).argmax(1, keepdim=True))[:, 0]
