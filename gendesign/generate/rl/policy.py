"""The policy: distributions of focus, element, distance and direction of the next atom, and the critic.

The heads follow Simm et al., ICLR 2021 (arXiv 2011.12747), section 4: focus, element, distance and direction, each
conditioned on the ones before, and a critic of the invariants. Probabilities are invariant under translation, rotation
and reflection of the canvas and under permutation of its atoms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.rl.canvas import Action, Canvas
from gendesign.generate.rl.distributions import NODES, MaskedCategorical, TruncatedGaussianMixture
from gendesign.generate.rl.features import N_ELEMENTS, Features, MessagePassing, PotentialFeatures, mlp
from gendesign.generate.rl.sphere import Directions, lebedev_degree
from gendesign.potential.protocol import PotentialLike
from gendesign.randomness import Purpose, seed_of

N_DISTANCE = 8  # radial functions of the distance, an input of the direction head


@dataclass(frozen=True)
class PolicySettings:
    """Settings of the policy: the feature extractor, the heads and the distributions of distance and direction."""

    features: MessagePassing | PotentialFeatures = field(default_factory=PotentialFeatures)
    width: int = setting(64, "width of the hidden layers of the heads", least=1)
    min_distance: float = setting(0.8, "smallest distance of a new atom from its focus", unit="Angstrom", above=0)
    max_distance: float = setting(
        1.8, "largest distance of a new atom from its focus; 2.8 to place solvent molecules", unit="Angstrom", above=0
    )
    n_gaussians: int = setting(3, "Gaussians in the distribution of the distance", least=1)
    min_std: float = setting(0.02, "smallest standard deviation of a Gaussian", unit="Angstrom", above=0)
    sharpness: float = setting(10.0, "concentration of the directions, -beta of arXiv 2011.12747", above=0)
    learn_sharpness: bool = setting(False, "true trains the sharpness, from 0 to twice the value above")

    def __post_init__(self) -> None:
        check_bounds(self, "policy")
        if not self.min_distance < self.max_distance:
            raise UserError(
                f"policy.min_distance={self.min_distance}: give less than max_distance={self.max_distance}, Angstrom"
            )
        least, half = 2 * (self.max_distance - self.min_distance) / NODES, (self.max_distance - self.min_distance) / 2
        if not least <= self.min_std < half:
            raise UserError(
                f"policy.min_std={self.min_std}: give a number from {least:.3g} to below {half:.3g}, Angstrom (half of "
                "max_distance - min_distance)"
            )
        lebedev_degree(self.features.max_l, self.max_sharpness)  # raises UserError for peaks that are too narrow

    @property
    def max_sharpness(self) -> float:
        """The largest sharpness that training can reach."""
        return float(self.sharpness * (2 if self.learn_sharpness else 1))


@dataclass(frozen=True)
class Heads:
    """Outputs of the policy for canvases: distribution of the focus, value (environments,), and features."""

    focus: MaskedCategorical
    value: Tensor
    features: Features


class Policy(nn.Module):
    """An untrained policy that builds with `elements` (atomic numbers), its weights drawn from `seed`.

    PotentialFeatures need a potential, which is neither trained nor saved with the policy. All computation has the
    dtype of the parameters, whatever the dtype of the canvas. Raises UserError for a canvas of other elements.
    """

    def __init__(
        self, settings: PolicySettings, elements: Sequence[int], potential: PotentialLike | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.settings, self.elements = settings, tuple(int(z) for z in elements)
        channels, width = settings.features.channels, settings.width
        with torch.random.fork_rng():
            torch.manual_seed(seed_of(Purpose.POLICY_WEIGHTS, seed))
            self.features = settings.features.build(potential)
            self.focus = mlp(2 * channels, width, 1)
            self.query = mlp(2 * channels, width, channels)
            self.offered = nn.Embedding(N_ELEMENTS, channels)
            self.chosen = nn.Embedding(N_ELEMENTS, channels)
            self.distance = mlp(3 * channels, width, 3 * settings.n_gaussians)
            self.direction = mlp(3 * channels + N_DISTANCE, width, (settings.features.max_l + 1) * channels)
            self.worth = mlp(channels, width, width)
            self.critic = mlp(width + channels, width, 1)
        self.sharpness = nn.Parameter(torch.zeros(())) if settings.learn_sharpness else None
        # nearly uniform choices at first, for exploration
        for head in (self.focus, self.query, self.critic):
            head[-1].weight.data.mul_(0.1)

    def forward(self, canvas: Canvas) -> Heads:
        """The heads that depend on the canvas only."""
        if not set(canvas.elements) <= set(self.elements):
            raise UserError(
                f"the canvas has elements {canvas.elements}, the policy knows {self.elements} only; use these"
            )
        features = self.features(canvas)
        atoms = torch.cat([features.invariants, features.bag[:, None].expand_as(features.invariants)], -1)
        worth = (self.worth(features.invariants) * features.filled[..., None]).sum(1)
        value = self.critic(torch.cat([worth, features.bag], 1))[:, 0]
        return Heads(MaskedCategorical(self.focus(atoms)[..., 0], features.filled), value, features)

    def value(self, canvas: Canvas) -> Tensor:
        """The expected return (environments,) by the critic."""
        return self(canvas).value

    @torch.no_grad()
    def act(
        self, canvas: Canvas, generator: torch.Generator | None, *, deterministic: bool = False
    ) -> tuple[Action, Tensor, Tensor]:
        """A placement on each canvas, its log-probability (environments,) and the value (environments,).

        `deterministic` takes the mode of every distribution and needs no generator. On an empty canvas distance and
        direction are 0 and z.
        """
        if generator is None and not deterministic:
            raise ValueError("act samples: give a torch.Generator, or deterministic=True")

        def draw(distribution: MaskedCategorical | TruncatedGaussianMixture | Directions) -> Tensor:
            return distribution.mode() if deterministic else distribution.sample(generator)

        heads = self(canvas)
        focus = draw(heads.focus)
        element = draw(self.elements_at(canvas, heads, focus))
        empty = ~heads.features.filled.any(1)
        distance = draw(self.distances(canvas, heads, focus, element))
        distance = torch.where(empty, torch.zeros_like(distance), distance)
        direction = draw(self.directions(canvas, heads, focus, element, distance))
        direction = torch.where(empty[:, None], direction.new_tensor([0.0, 0.0, 1.0]), direction)
        action = Action(focus, element, distance, direction)
        return action, self._log_prob(canvas, heads, action)[0], heads.value

    def evaluate_actions(self, canvas: Canvas, action: Action) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability (environments,), entropies (environments, 2) and value (environments,) of placements.

        All are differentiable in the parameters. The first entropy is discrete: focus, plus element given the focus.
        The second is continuous, given these: distance (in Angstrom) plus direction (in steradian). Their means over
        actions add up to the entropy of the placement. Focus, distance and direction have no effect on an empty canvas
        and are not counted there.
        """
        heads = self(canvas)
        like = heads.value
        action = replace(action, distance=action.distance.to(like), direction=action.direction.to(like))
        log_prob, (element, distance, direction) = self._log_prob(canvas, heads, action)
        occupied = heads.features.filled.any(1)
        continuous = torch.where(occupied, distance.entropy() + direction.entropy(), 0.0)
        discrete = heads.focus.entropy() + element.entropy()
        return log_prob, torch.stack([discrete, continuous], 1), heads.value

    def _log_prob(
        self, canvas: Canvas, heads: Heads, action: Action
    ) -> tuple[Tensor, tuple[MaskedCategorical, TruncatedGaussianMixture, Directions]]:
        """Log-probability (environments,) of placements, and the distributions of element, distance, direction."""
        element = self.elements_at(canvas, heads, action.focus)
        distance = self.distances(canvas, heads, action.focus, action.element)
        direction = self.directions(canvas, heads, action.focus, action.element, action.distance)
        occupied = heads.features.filled.any(1)
        continuous = distance.log_prob(action.distance) + direction.log_prob(action.direction)
        discrete = heads.focus.log_prob(action.focus) + element.log_prob(action.element)
        total = discrete + torch.where(occupied, continuous, torch.zeros_like(continuous))
        return total, (element, distance, direction)

    def elements_at(self, canvas: Canvas, heads: Heads, focus: Tensor) -> MaskedCategorical:
        """Distribution over Canvas.elements given the focus (environments,)."""
        query = self.query(self._at(heads, focus))
        return MaskedCategorical(query @ self.offered(self._numbers(canvas)).T, canvas.bag > 0)

    def distances(self, canvas: Canvas, heads: Heads, focus: Tensor, element: Tensor) -> TruncatedGaussianMixture:
        """Distribution of the distance from the focus given the element (environments,)."""
        low, high, least = self.settings.min_distance, self.settings.max_distance, self.settings.min_std
        inputs = torch.cat([self._at(heads, focus), self.chosen(self._numbers(canvas)[element])], 1)
        weights, means, widths = self.distance(inputs).chunk(3, 1)
        # the Gaussians start at different means
        start = torch.linspace(-1, 1, self.settings.n_gaussians, dtype=means.dtype, device=means.device)
        means = low + (high - low) * torch.sigmoid(means + start)
        # widths from min_std to half of the range, initially a tenth of the range
        widths = least + ((high - low) / 2 - least) * torch.sigmoid(widths - 1.4)
        return TruncatedGaussianMixture(weights, means, widths, low, high)

    def directions(self, canvas: Canvas, heads: Heads, focus: Tensor, element: Tensor, distance: Tensor) -> Directions:
        """Distribution of the direction from the focus given element and distance (environments,)."""
        low, high = self.settings.min_distance, self.settings.max_distance
        at = self._at(heads, focus)
        centres = torch.linspace(low, high, N_DISTANCE, dtype=at.dtype, device=at.device)
        radial = torch.exp(-0.5 * ((distance[:, None] - centres) * (N_DISTANCE / (high - low))).square())
        inputs = torch.cat([at, self.chosen(self._numbers(canvas)[element]), radial], 1)
        mixing = self.direction(inputs).unflatten(1, (self.settings.features.max_l + 1, -1))
        rows = torch.arange(len(focus), device=focus.device)
        degrees = [2 * degree + 1 for degree in range(mixing.shape[1])]
        parts = heads.features.equivariants[:, rows, focus].split(degrees)
        coefficients = torch.cat([(part * mixing[None, :, degree]).sum(-1) for degree, part in enumerate(parts)])
        largest = self.settings.max_sharpness
        sharpness = largest if self.sharpness is None else largest * torch.sigmoid(self.sharpness)
        return Directions(coefficients.T, sharpness, largest)

    def _at(self, heads: Heads, focus: Tensor) -> Tensor:
        """Invariants of the focus (zero on an empty canvas) and of the bag (environments, 2 channels)."""
        rows = torch.arange(len(focus), device=focus.device)
        return torch.cat([heads.features.invariants[rows, focus], heads.features.bag], 1)

    def _numbers(self, canvas: Canvas) -> Tensor:
        return torch.tensor(canvas.elements, device=canvas.bag.device)
