"""Invariant and equivariant features of every atom on the canvas, by one of two extractors.

`MessagePassing` learns all of them; `PotentialFeatures` starts from the descriptors of the frozen potential. Both
expand the neighbourhood in radial functions and spherical harmonics (atomic cluster expansion, Drautz, PRB 99, 014104,
2019, as in MACE, arXiv 2206.07697) and multiply these densities as functions on the sphere, which couples degrees
without Clebsch-Gordan sums (Gaunt products, arXiv 2401.10216). All parities are those of the harmonics, (-1)^l, so the
features are equivariant under reflections too. Canvases are small: pairs are dense tensors and not lists of edges.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from ase.data import atomic_numbers, chemical_symbols
from scipy.integrate import lebedev_rule
from torch import Tensor, nn

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.rl.canvas import Canvas
from gendesign.generate.rl.sphere import LEBEDEV, harmonics
from gendesign.potential.protocol import PotentialLike
from gendesign.structure.graph import Batch

N_ELEMENTS = 119  # rows of tables indexed by atomic number
CHANNELS = "features per atom and degree: an even number, twice which is a multiple of n_radial"
MAX_L = "highest degree of the spherical harmonics; 4 resolves octahedra at 1.5 times the cost"


@dataclass(frozen=True)
class Features:
    """Features of canvases, with as many slots as the fullest canvas needs.

    invariants (environments, slots, channels), zero where empty. equivariants ((max_l + 1)^2, environments, slots,
    channels), in e3nn's order 0e + 1o + 2e + ... bag (environments, channels). filled (environments, slots).
    """

    invariants: Tensor
    equivariants: Tensor
    bag: Tensor
    filled: Tensor


@dataclass(frozen=True)
class MessagePassing:
    """Settings of features that are all learned."""

    layers: int = setting(2, "rounds of messages between the atoms", least=1)
    channels: int = setting(24, CHANNELS, least=1)
    max_l: int = setting(3, MAX_L, least=1)
    n_radial: int = setting(8, "radial functions", least=1)
    cutoff: float = setting(5.0, "radius of the neighbourhood of an atom", unit="Angstrom", above=0)

    def __post_init__(self) -> None:
        _check(self)

    def build(self, potential: PotentialLike | None = None) -> "Extractor":
        """The untrained network; the potential is not used."""
        return Extractor(Embedding(self.channels), self)


@dataclass(frozen=True)
class PotentialFeatures:
    """Settings of features that start from the descriptors of the potential, which is not trained."""

    descriptor_layers: int = setting(2, "layers of the potential whose descriptors are used", least=1)
    layers: int = setting(1, "rounds of messages between the described atoms", least=1)
    channels: int = setting(24, CHANNELS, least=1)
    max_l: int = setting(3, MAX_L, least=1)
    n_radial: int = setting(8, "radial functions", least=1)
    cutoff: float = setting(5.0, "radius of the neighbourhood of an atom", unit="Angstrom", above=0)

    def __post_init__(self) -> None:
        _check(self)

    def build(self, potential: PotentialLike | None = None) -> "Extractor":
        """The untrained network; raises UserError without a potential."""
        if potential is None:
            raise UserError("policy=potential needs a potential; give one, or choose policy=message_passing")
        return Extractor(DescriptorEmbedding(self.channels, potential, self.descriptor_layers), self)


def _check(settings: MessagePassing | PotentialFeatures) -> None:
    check_bounds(settings, "policy.features")
    if settings.channels % 2 or 2 * settings.channels % settings.n_radial:
        raise UserError(
            f"policy.features.channels={settings.channels}: give an even number, twice which is a multiple of "
            f"n_radial={settings.n_radial}"
        )


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """A perceptron with one hidden layer."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


class Embedding(nn.Module):
    """First invariants of atoms, from their elements and the bag.

    Tables are indexed by atomic number, so that a trained policy can be trained further with other elements.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.element = nn.Embedding(N_ELEMENTS, channels)
        self.count = nn.Embedding(N_ELEMENTS, channels)
        self.presence = nn.Embedding(N_ELEMENTS, channels)
        self.mix = mlp(channels, channels, channels)
        self.share = nn.Linear(channels, channels)

    def bag(self, canvas: Canvas) -> Tensor:
        """Bag features (environments, channels)."""
        elements = torch.tensor(canvas.elements, device=canvas.bag.device)
        counts = canvas.bag.to(self.element.weight.dtype)
        return self.mix(0.3 * counts @ self.count(elements) + (counts > 0).to(counts) @ self.presence(elements))

    def forward(self, canvas: Canvas, bag: Tensor) -> Tensor:
        """Invariants (environments, slots, channels)."""
        return self.element(canvas.numbers) + self.share(bag)[:, None]


class DescriptorEmbedding(Embedding):
    """First invariants with the descriptors of a potential, whose weights are neither trained nor saved here."""

    def __init__(self, channels: int, potential: PotentialLike, descriptor_layers: int) -> None:
        super().__init__(channels)
        # past torch, which would train and save a potential that is a module
        object.__setattr__(self, "potential", potential)
        self.descriptor_layers = descriptor_layers
        number = atomic_numbers[potential.elements[0]]
        atom = Batch(
            torch.zeros(1, 3, dtype=potential.dtype, device=potential.device),
            torch.tensor([number], device=potential.device),
            torch.zeros(1, dtype=torch.long, device=potential.device),
            1,
        )
        size = potential.descriptors(atom, layers=descriptor_layers).shape[1]
        self.read = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, channels))

    def forward(self, canvas: Canvas, bag: Tensor) -> Tensor:
        """Invariants (environments, slots, channels); UserError for elements that the potential does not know."""
        filled = canvas.filled
        with torch.no_grad():
            descriptors = self._descriptors(canvas, filled).to(bag)
        invariants = super().forward(canvas, bag)
        return invariants.index_put(filled.nonzero(as_tuple=True), self.read(descriptors), accumulate=True)

    def _descriptors(self, canvas: Canvas, filled: Tensor) -> Tensor:
        """Descriptors (atoms, features) of all filled slots."""
        potential, device = self.potential, self.potential.device
        numbers = canvas.numbers[filled].to(device)
        potential.require_elements({chemical_symbols[z] for z in numbers.unique().tolist()})
        if not len(numbers):
            return torch.zeros(0, self.read[0].normalized_shape[0])
        system = torch.arange(len(filled), device=filled.device)[:, None].expand_as(filled)[filled].to(device)
        positions = canvas.positions[filled].to(device, potential.dtype)
        batch = Batch(positions, numbers, system, len(filled))
        return potential.descriptors(batch, layers=self.descriptor_layers)


class Extractor(nn.Module):
    """Features of canvases: an embedding of the atoms, then layers of messages between them."""

    def __init__(self, embedding: Embedding, settings: MessagePassing | PotentialFeatures) -> None:
        super().__init__()
        self.settings = settings
        self.embedding = embedding
        self.layers = nn.ModuleList(
            Layer(settings.channels, settings.max_l, settings.n_radial, first=k == 0) for k in range(settings.layers)
        )

    def forward(self, canvas: Canvas) -> Features:
        """Features of every atom: invariant under translation, equivariant under rotation (Wigner matrices of e3nn)."""
        canvas = _cropped(canvas)
        positions = canvas.positions.to(self.embedding.element.weight.dtype)
        vectors = positions[:, None] - positions[:, :, None]  # [n, i, j] from i to j
        lengths = vectors.square().sum(-1).sqrt()
        filled = canvas.filled
        diagonal = torch.eye(filled.shape[1], dtype=torch.bool, device=filled.device)
        pairs = filled[:, :, None] & filled[:, None] & ~diagonal
        radial = _radial(lengths, self.settings.cutoff, self.settings.n_radial) * pairs[..., None]
        radial = radial.movedim(3, 1).contiguous()
        y = math.sqrt(4 * math.pi) * harmonics(vectors, self.settings.max_l).movedim(3, 1)
        edges = (radial[:, :, None] * y[:, None]).flatten(1, 3)
        bag = self.embedding.bag(canvas)
        invariants, equivariants = self.embedding(canvas, bag), None
        for layer in self.layers:
            invariants, equivariants = layer(invariants, equivariants, radial, edges)
        return Features(invariants * filled[..., None], equivariants, bag, filled)


def _cropped(canvas: Canvas) -> Canvas:
    """The canvas without slots that are empty in all environments; one slot at least."""
    used = canvas.filled.any(0).nonzero()
    slots = int(used.max()) + 1 if len(used) else 1
    return Canvas(canvas.positions[:, :slots], canvas.numbers[:, :slots], canvas.bag, canvas.elements)


def _radial(lengths: Tensor, cutoff: float, count: int) -> Tensor:
    """Gaussians of the length (..., count), spaced evenly from 0.5 Angstrom to the cutoff, with a cosine envelope."""
    centres = torch.linspace(0.5, cutoff, count + 1, dtype=lengths.dtype, device=lengths.device)[:-1]
    width = (cutoff - 0.5) / count
    gaussians = torch.exp(-0.5 * ((lengths[..., None] - centres) / width).square())
    return gaussians * (0.5 * (torch.cos(math.pi * (lengths / cutoff).clamp(max=1.0)) + 1))[..., None]


@cache
def _sphere_grid(max_l: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Y_lm at points (points, harmonics) and the inverse (harmonics, points), exact for products of two functions."""
    # the rule of degree 13 has negative weights, which cost accuracy
    degree = next(d for d in LEBEDEV if d >= 3 * max_l and d != 13)
    points, weights = (torch.as_tensor(part) for part in lebedev_rule(degree))
    values = harmonics(points.T, max_l)
    return values.to(device, dtype), (values * weights[:, None]).T.contiguous().to(device, dtype)


class DegreeLinear(nn.Module):
    """A linear map of the channels of ((max_l + 1)^2, ..., channels), one matrix for each degree."""

    def __init__(self, max_l: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(max_l + 1, inputs, outputs) / math.sqrt(inputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map features ((max_l + 1)^2, ..., inputs) to ((max_l + 1)^2, ..., outputs)."""
        parts = x.split([2 * degree + 1 for degree in range(len(self.weight))])
        return torch.cat([part @ matrix for part, matrix in zip(parts, self.weight, strict=True)])


class Layer(nn.Module):
    """A round of messages, and the product of the density at every atom with itself.

    A_i,gk,lm = sum_j B_g(r_ij) Y_lm(r_ij) (W x_j)_k, to which later layers add sum_j B_g(r_ij) (W' h_j)_gk,lm. The
    linear maps of channels that follow combine the fixed radial functions g into learned ones for each degree. A and
    the product of A with itself are added to h_i, gated by invariants; their part of l = 0 updates the invariants x_i.
    """

    def __init__(self, channels: int, max_l: int, n_radial: int, *, first: bool) -> None:
        super().__init__()
        self.channels, self.n_radial = channels, n_radial
        self.sizes = [2 * degree + 1 for degree in range(max_l + 1)]
        wide, narrow = 2 * channels, channels // 2
        self.send = nn.Linear(channels, wide // n_radial)
        self.carry = None if first else DegreeLinear(max_l, channels, wide)
        self.left = DegreeLinear(max_l, wide, narrow)
        self.out = DegreeLinear(max_l, wide + narrow, channels)
        self.update = mlp(channels + wide + narrow, 2 * channels, (max_l + 2) * channels)

    def forward(self, x: Tensor, h: Tensor | None, radial: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Invariants (n, slots, channels) and equivariants (harmonics, n, slots, channels), from the same, the radial
        functions B (n, n_radial, slots, slots) and B Y (n, n_radial * harmonics * slots, slots) of pairs i, j."""
        density = self._expanded(x, edges)
        if self.carry is not None:
            density = density + self._carried(h, radial)
        # an invariant factor that bounds the density of atoms with many neighbours
        density = density * torch.rsqrt(1 + density.square().mean((0, -1), keepdim=True))
        to_grid, back = _sphere_grid(len(self.sizes) - 1, x.dtype, x.device)
        left = self.left(density)
        product = (back @ (to_grid @ left.flatten(1)).square()).view_as(left)
        both = torch.cat([density, product], -1)
        change, gates = self.update(torch.cat([x, both[0]], -1)).tensor_split([self.channels], -1)
        gates = 1 + gates.unflatten(-1, (len(self.sizes), self.channels)).movedim(-2, 0)
        new = torch.cat([part * gate for part, gate in zip(self.out(both).split(self.sizes), gates, strict=True)])
        return x + change, new if h is None else h + new

    def _expanded(self, x: Tensor, edges: Tensor) -> Tensor:
        n, slots, _ = x.shape
        density = (edges @ self.send(x)).view(n, self.n_radial, sum(self.sizes), slots, -1)
        return density.permute(2, 0, 3, 1, 4).flatten(3)

    def _carried(self, h: Tensor, radial: Tensor) -> Tensor:
        size, n, slots, _ = h.shape
        sent = self.carry(h).view(size, n, slots, self.n_radial, -1).permute(1, 3, 2, 0, 4).flatten(3)
        return (radial @ sent).view(n, self.n_radial, slots, size, -1).permute(3, 0, 2, 1, 4).flatten(3)
