"""From noise to molecules along the learned score, together with the conditions of the similarity generator."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from ase.data import atomic_numbers
from torch import Tensor

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.diffusion.checkpoint import Trained
from gendesign.generate.diffusion.cloud import Cloud
from gendesign.generate.diffusion.model import Clouds, EnergyModel, one_hot
from gendesign.generate.simgen.prior import Prior
from gendesign.generate.simgen.state import Swarm
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import derived, normal
from gendesign.structure.types import Score

LONGEST_STEP = 0.064  # Angstrom of noise: the step for which conditions are made, the largest of SimGen's schedule
ELEMENT_NOISE = 1  # counter of the random numbers of element vectors, beside 0 of positions


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Noise levels and steps of the sampler, keys of the generator (Karras et al., arXiv 2206.00364, algorithm 2).

    Levels fall as ((1-t) sigma_max^(1/rho) + t sigma_min^(1/rho))^rho and then to zero, where one call is enough.
    """

    calls: int = setting(64, "calls of the model per molecule", least=2)
    sigma_max: float = setting(10.0, "largest noise level", unit="Angstrom", above=0)
    sigma_min: float = setting(0.01, "smallest noise level", unit="Angstrom", above=0)
    rho: float = setting(7.0, "how much denser the levels are at small noise", above=0)
    churn: float = setting(20.0, "rise of the noise level before a step, as churn/steps of it; 0: no noise", least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "generator")
        if self.sigma_min >= self.sigma_max:
            raise UserError(
                f"generator.sigma_min={self.sigma_min:g} and sigma_max={self.sigma_max:g}; "
                "give 0 < sigma_min < sigma_max"
            )

    @property
    def sigmas(self) -> list[float]:
        """Noise levels in Angstrom, the last of them 0; two calls a step, one in the last."""
        n = self.calls // 2 + self.calls % 2
        t = torch.linspace(0, 1, n, dtype=torch.float64)
        ends = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return [*((1 - t) * ends[0] + t * ends[1]).pow(self.rho).tolist(), 0.0]

    @property
    def raised(self) -> float:
        """Factor by which churn raises a noise level before its step."""
        return 1 + min(self.churn / (len(self.sigmas) - 1), 2**0.5 - 1)

    def check_seen(self, trained: Trained) -> None:
        """Raise UserError for noise levels that the model never saw in its training."""
        low, high = trained.noise.seen
        if self.sigma_min < low or self.sigma_max * self.raised > high:
            raise UserError(
                f"generator.sigma_min={self.sigma_min:g} and sigma_max={self.sigma_max:g}, but {trained.name} "
                f"was trained from {low:.2g} to {high:.2g} Angstrom; stay within"
            )


@dataclass(frozen=True)
class LearnedScore:
    """The learned score of positions, as a `Score` of any sampler: sigma grad log p, for steps along sigma.

    Element vectors are those of the state where it has them (`Cloud`), else exact ones of its atomic numbers.
    """

    model: EnergyModel

    def both(self, state: Swarm, sigma: float) -> tuple[Tensor, Tensor]:
        """Scores of positions (atoms, 3) and of element vectors (atoms, elements)."""
        like = next(self.model.parameters())
        if isinstance(state, Cloud):
            vectors = state.vectors.to(like.dtype)
        else:
            vectors = one_hot(state.numbers, [atomic_numbers[e] for e in self.model.elements], like.dtype)
        cloud = Clouds(state.positions.to(like.dtype), vectors, state.system, state.pairs, state.n_systems)
        levels = torch.full((state.n_systems,), sigma, dtype=like.dtype, device=like.device)
        gradient = self.model.gradient(cloud, levels)
        return -sigma * gradient.positions.to(state.positions), -sigma * gradient.vectors.to(state.positions)

    def __call__(self, state: Swarm, sigma: float) -> Tensor:
        """The score (atoms, 3) at the noise level `sigma` in Angstrom."""
        return self.both(state, sigma)[0]


class Sampled(NamedTuple):
    """Molecules at zero noise, and which of them exploded (molecules,)."""

    cloud: Cloud
    exploded: Tensor


Callback = Callable[[Cloud, float], None]


@dataclass(frozen=True)
class DiffusionSampler:
    """Follows dx/dsigma = sigma grad E and the same for element vectors, by Heun steps from noise to molecules.

    conditions: scores of the heavy atoms in the units of SimGen, which are added as they are. A step of them is never
    longer than SimGen's longest, for which they are stable. What is known follows the noise level exactly:
    x + sigma n with a fixed n. prior: where heavy atoms start; None draws them about the origin.
    """

    score: LearnedScore
    steps: Steps
    conditions: Sequence[Score] = ()
    prior: Prior | None = None

    def __call__(self, cloud: Cloud, callback: Callback | None = None) -> Sampled:
        """Sample the molecules of `cloud`; `callback(cloud, sigma)` is called with the start and after every step."""
        sigmas = self.steps.sigmas
        cloud = self._start(cloud, sigmas[0])
        if callback is not None:
            callback(cloud, sigmas[0])
        for step, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
            cloud, sigma_hat = self._churned(cloud, sigma, step)
            d, d_z = self._direction(cloud, sigma_hat, sigma_next)
            down = sigma_hat - sigma_next
            euler = self._known(cloud.with_vectors(cloud.positions + down * d, cloud.vectors + down * d_z), sigma_next)
            following = euler
            if sigma_next > 0:
                e, e_z = self._direction(euler, sigma_next, sigma_next - down)
                following = cloud.with_vectors(
                    cloud.positions + down * (d + e) / 2, cloud.vectors + down * (d_z + e_z) / 2
                )
            cloud = self._known(following, sigma_next)
            if callback is not None:
                callback(cloud, sigma_next)
        return self._ended(cloud)

    def _start(self, cloud: Cloud, sigma: float) -> Cloud:
        """Noise of the largest level: about the centre of each molecule, or about the start of the prior."""
        shift = normal(cloud.key, Purpose.DIFFUSION_START, 3)
        vectors = sigma * normal(cloud.key, Purpose.DIFFUSION_START, len(cloud.elements), ELEMENT_NOISE)
        if self.prior is None and not bool(cloud.known_positions.any()):
            sums = shift.new_zeros(cloud.n_systems, 3).index_add(0, cloud.system, shift)
            shift = shift - (sums / cloud.sizes[:, None])[cloud.system]
        positions = sigma * shift
        heavy = cloud.heavy_swarm
        if self.prior is not None and heavy is not None and cloud.heavy_rows is not None:
            positions = positions.index_add(0, cloud.heavy_rows, self.prior.sample(heavy).to(positions))
        return self._known(cloud.with_vectors(positions, vectors), sigma)

    def _known(self, cloud: Cloud, sigma: float) -> Cloud:
        """What is known at the noise level sigma in place of what was sampled."""
        if not bool(cloud.known_vectors.any()) and not bool(cloud.known_positions.any()):
            return cloud
        noise = normal(cloud.key, Purpose.DIFFUSION_KNOWN, 3).to(cloud.positions)
        noise_z = normal(cloud.key, Purpose.DIFFUSION_KNOWN, len(cloud.elements), ELEMENT_NOISE).to(cloud.vectors)
        positions = torch.where(cloud.known_positions[:, None], cloud.clean + sigma * noise, cloud.positions)
        vectors = torch.where(cloud.known_vectors, cloud.clean_vectors + sigma * noise_z, cloud.vectors)
        return cloud.with_vectors(positions, vectors)

    def _churned(self, cloud: Cloud, sigma: float, step: int) -> tuple[Cloud, float]:
        """More noise, and its level."""
        if not self.steps.churn:
            return cloud, sigma
        sigma_hat = sigma * self.steps.raised
        width = (sigma_hat**2 - sigma**2) ** 0.5
        positions = cloud.positions + width * normal(cloud.key, Purpose.DIFFUSION_CHURN, 3, step)
        more = normal(cloud.key, Purpose.DIFFUSION_CHURN, len(cloud.elements), step, ELEMENT_NOISE)
        return self._known(cloud.with_vectors(positions, cloud.vectors + width * more), sigma_hat), sigma_hat

    def _direction(self, cloud: Cloud, sigma: float, sigma_next: float) -> tuple[Tensor, Tensor]:
        """-dx/dsigma of positions and element vectors."""
        d, d_z = self.score.both(cloud, sigma)
        if self.conditions and (heavy := cloud.heavy_swarm) is not None:
            total = torch.stack([score(heavy, sigma).to(d) for score in self.conditions]).sum(0)
            total = total * min(1.0, LONGEST_STEP / max(abs(sigma - sigma_next), 1e-9))
            d = d.index_add(0, cloud.heavy_rows, total * heavy.free[:, None])
        return d, d_z

    def _ended(self, cloud: Cloud) -> Sampled:
        wrong = ~(cloud.positions.isfinite().all(-1) & cloud.vectors.isfinite().all(-1))
        wrong = wrong | (cloud.positions.abs() > 1e4).any(-1)
        count = torch.zeros(cloud.n_molecules, device=wrong.device).index_add_(0, cloud.molecule, wrong.float())
        return Sampled(cloud, count > 0)


def keys_of_try(key: Tensor, attempt: int) -> Tensor:
    """Random keys (molecules,) of the further tries of a molecule; the first has its own."""
    return key if attempt == 0 else derived(key, Purpose.DIFFUSION_TRY, attempt)
