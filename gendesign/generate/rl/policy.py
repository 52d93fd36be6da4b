"""The agent: where to build, with which element, how far away and in which direction; and what to expect of it.

The heads follow Simm et al., ICLR 2021 (arXiv 2011.12747), section 4: focus, then element, then distance, then
direction, each given the ones before, and a critic that reads invariants alone. Probabilities do not change when the
canvas is moved, turned, mirrored or its atoms are renumbered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from gendesign.errors import UserError
from gendesign.generate.rl.canvas import Action, Canvas
from gendesign.generate.rl.distributions import NODES, Choice, Distances
from gendesign.generate.rl.features import N_ELEMENTS, Features, MessagePassing, PotentialFeatures, mlp
from gendesign.generate.rl.sphere import Directions, lebedev_degree
from gendesign.potential import Potential

N_DISTANCE = 8  # functions in which the direction sees the distance


@dataclass(frozen=True)
class PolicySettings:
    """What the agent is made of.

    `features` the extractor; `width` of the heads' hidden layers; distances are a mixture of `n_gaussians` within
    [`shortest`, `longest`] and no narrower than `narrowest`, in Angstrom; `sharpness` of the directions, which
    `learn_sharpness` lets move between 0 and twice that.
    """

    features: MessagePassing | PotentialFeatures = field(default_factory=PotentialFeatures)
    width: int = 64
    shortest: float = 0.8
    longest: float = 1.8
    n_gaussians: int = 3
    narrowest: float = 0.02
    sharpness: float = 10.0
    learn_sharpness: bool = False

    def __post_init__(self) -> None:
        for key in ("width", "n_gaussians"):
            if getattr(self, key) < 1:
                raise UserError(f"policy.{key}={getattr(self, key)}: give a whole number of 1 or more")
        if not 0 < self.shortest < self.longest < float("inf"):
            raise UserError(
                f"policy: shortest={self.shortest} and longest={self.longest}; give 0 < shortest < longest, in Angstrom"
            )
        least = 2 * (self.longest - self.shortest) / NODES
        if not least <= self.narrowest < (self.longest - self.shortest) / 2:
            raise UserError(
                f"policy.narrowest={self.narrowest}: give {least:.3g} Angstrom or more, and less than half of the range"
            )
        if not self.sharpness > 0:
            raise UserError(f"policy.sharpness={self.sharpness}: give a number above 0, such as 10")
        lebedev_degree(self.features.max_l, self.sharpest)  # raises where the peaks would be too narrow

    @property
    def sharpest(self) -> float:
        """The largest sharpness there can be."""
        return float(self.sharpness * (2 if self.learn_sharpness else 1))


@dataclass(frozen=True)
class Heads:
    """What the policy thinks of canvases: where to build, the value (environments,), and the features behind them."""

    focus: Choice
    value: Tensor
    features: Features


class Policy(nn.Module):
    """An agent that builds with `elements` (atomic numbers), untrained, its weights drawn from `seed`.

    Settings that use a potential need one; it is neither trained nor saved with the policy. Everything runs in the
    dtype of the parameters, whatever that of the canvas. Raises UserError for a canvas of other elements.
    """

    def __init__(
        self, settings: PolicySettings, elements: Sequence[int], potential: Potential | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.settings, self.elements = settings, tuple(int(z) for z in elements)
        channels, width = settings.features.channels, settings.width
        with torch.random.fork_rng():
            torch.manual_seed(seed)
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
        # nearly even choices at first: exploration is the agent's only teacher
        for head in (self.focus, self.query, self.critic):
            head[-1].weight.data.mul_(0.1)

    def forward(self, canvas: Canvas) -> Heads:
        """The heads that depend on the canvas alone."""
        if not set(canvas.elements) <= set(self.elements):
            raise UserError(f"the canvas counts by elements {canvas.elements}, the policy knows {self.elements} only")
        features = self.features(canvas)
        atoms = torch.cat([features.invariants, features.bag[:, None].expand_as(features.invariants)], -1)
        worth = (self.worth(features.invariants) * features.filled[..., None]).sum(1)
        value = self.critic(torch.cat([worth, features.bag], 1))[:, 0]
        return Heads(Choice(self.focus(atoms)[..., 0], features.filled), value, features)

    def value(self, canvas: Canvas) -> Tensor:
        """What the critic expects of canvases (environments,)."""
        return self(canvas).value

    @torch.no_grad()
    def act(
        self, canvas: Canvas, generator: torch.Generator | None, *, deterministic: bool = False
    ) -> tuple[Action, Tensor, Tensor]:
        """A placement on each canvas, its log-probability and the value, (environments,) each.

        `deterministic` takes the most probable option at every step, and needs no generator. On an empty canvas
        distance and direction are 0 and z.
        """
        if generator is None and not deterministic:
            raise ValueError("act draws at random: give a torch.Generator, or deterministic=True")

        def drawn(distribution: Choice | Distances | Directions) -> Tensor:
            return distribution.mode() if deterministic else distribution.sample(generator)

        heads = self(canvas)
        focus = drawn(heads.focus)
        element = drawn(self.elements_at(canvas, heads, focus))
        empty = ~heads.features.filled.any(1)
        distance = drawn(self.distances(canvas, heads, focus, element))
        distance = torch.where(empty, torch.zeros_like(distance), distance)
        direction = drawn(self.directions(canvas, heads, focus, element, distance))
        direction = torch.where(empty[:, None], direction.new_tensor([0.0, 0.0, 1.0]), direction)
        action = Action(focus, element, distance, direction)
        return action, self._judged(canvas, heads, action)[0], heads.value

    def judge(self, canvas: Canvas, action: Action) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability (environments,), entropies (environments, 2) and value (environments,) of placements.

        All are differentiable in the parameters. The first entropy is that of the choices, focus plus element given the
        focus, the second that of the place given these: distance (in Angstrom) plus direction (in steradian); their
        means over actions add up to the entropy of the placement. What has no effect on an empty canvas (focus,
        distance, direction) is not counted.
        """
        heads = self(canvas)
        like = heads.value
        action = replace(action, distance=action.distance.to(like), direction=action.direction.to(like))
        log_prob, (element, distance, direction) = self._judged(canvas, heads, action)
        placed = heads.features.filled.any(1)
        place = torch.where(placed, distance.entropy() + direction.entropy(), 0.0)
        choices = heads.focus.entropy() + element.entropy()
        return log_prob, torch.stack([choices, place], 1), heads.value

    def _judged(
        self, canvas: Canvas, heads: Heads, action: Action
    ) -> tuple[Tensor, tuple[Choice, Distances, Directions]]:
        element = self.elements_at(canvas, heads, action.focus)
        distance = self.distances(canvas, heads, action.focus, action.element)
        direction = self.directions(canvas, heads, action.focus, action.element, action.distance)
        placed = heads.features.filled.any(1)
        where = distance.log_prob(action.distance) + direction.log_prob(action.direction)
        total = heads.focus.log_prob(action.focus) + element.log_prob(action.element)
        return total + torch.where(placed, where, torch.zeros_like(where)), (element, distance, direction)

    def elements_at(self, canvas: Canvas, heads: Heads, focus: Tensor) -> Choice:
        """Which of Canvas.elements to place at the focus (environments,)."""
        query = self.query(self._at(heads, focus))
        return Choice(query @ self.offered(self._numbers(canvas)).T, canvas.bag > 0)

    def distances(self, canvas: Canvas, heads: Heads, focus: Tensor, element: Tensor) -> Distances:
        """How far from the focus to place that element (environments,)."""
        low, high, least = self.settings.shortest, self.settings.longest, self.settings.narrowest
        given = torch.cat([self._at(heads, focus), self.chosen(self._numbers(canvas)[element])], 1)
        weights, means, widths = self.distance(given).chunk(3, 1)
        # the Gaussians start side by side
        start = torch.linspace(-1, 1, self.settings.n_gaussians, dtype=means.dtype, device=means.device)
        means = low + (high - low) * torch.sigmoid(means + start)
        # widths from the narrowest to half of the range, a tenth of it at first
        widths = least + ((high - low) / 2 - least) * torch.sigmoid(widths - 1.4)
        return Distances(weights, means, widths, low, high)

    def directions(self, canvas: Canvas, heads: Heads, focus: Tensor, element: Tensor, distance: Tensor) -> Directions:
        """In which direction from the focus to place that element at that distance (environments,)."""
        low, high = self.settings.shortest, self.settings.longest
        at = self._at(heads, focus)
        centres = torch.linspace(low, high, N_DISTANCE, dtype=at.dtype, device=at.device)
        seen = torch.exp(-0.5 * ((distance[:, None] - centres) * (N_DISTANCE / (high - low))).square())
        given = torch.cat([at, self.chosen(self._numbers(canvas)[element]), seen], 1)
        mixing = self.direction(given).unflatten(1, (self.settings.features.max_l + 1, -1))
        rows = torch.arange(len(focus), device=focus.device)
        degrees = [2 * degree + 1 for degree in range(mixing.shape[1])]
        parts = heads.features.equivariants[:, rows, focus].split(degrees)
        found = [(part * mixing[None, :, degree]).sum(-1) for degree, part in enumerate(parts)]
        sharpest = self.settings.sharpest
        sharpness = sharpest if self.sharpness is None else sharpest * torch.sigmoid(self.sharpness)
        return Directions(torch.cat(found).T, sharpness, sharpest)

    def _at(self, heads: Heads, focus: Tensor) -> Tensor:
        """Invariants of the focus, zero on an empty canvas, beside those of the bag (environments, 2 channels)."""
        rows = torch.arange(len(focus), device=focus.device)
        return torch.cat([heads.features.invariants[rows, focus], heads.features.bag], 1)

    def _numbers(self, canvas: Canvas) -> Tensor:
        return torch.tensor(canvas.elements, device=canvas.bag.device)
