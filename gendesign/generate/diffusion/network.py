"""A MACE network with scalar messages whose elements are continuous vectors, evaluated in closed form.

The equations are those of MACE (arXiv 2206.07697, equations 8 to 11): messages R(r) x Y(r), summed over neighbours,
mixed over channels, and contracted to invariants by polynomials of up to the third order. The weights of the
polynomials, which MACE looks up by element, are linear functions of an embedding of the element vector and the noise
level. Neighbours sum as small matrix products per atom, as in `potential/scalar.py`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting

SOFT = 0.05  # in units of the scaled coordinates: directions of atoms nearer than this fade, so that none is singular
HARMONICS = (1, 3, 5)  # components of degree 0, 1, 2
NOISE_FUNCTIONS = 16  # sines and cosines of ln sigma
SCALE = 3.0  # of the neighbour sums, about the root of the number of neighbours


@dataclass(frozen=True)
class NetworkSettings:
    """Sizes of the network of a diffusion model; raises UserError for values out of bounds."""

    cutoff: float = setting(5.0, "radius of a layer's neighbourhood without noise", unit="Angstrom", above=0)
    noise_cutoff: float = setting(
        6.0, "growth of that radius with the noise: cutoff^2 + (noise_cutoff * sigma)^2", least=3.0
    )
    channels: int = setting(64, "features per atom", least=1)
    layers: int = setting(2, "message-passing layers", least=1)
    correlation: int = setting(3, "body order of a layer, minus one", least=1, most=3)
    n_radial: int = setting(16, "radial functions", least=1)
    width: int = setting(64, "width of the hidden layers", least=1)

    def __post_init__(self) -> None:
        check_bounds(self, "architecture")


@dataclass(frozen=True)
class Graph:
    """Molecules as the network sees them, without their positions.

    system (atoms,): sorted index of the molecule of each atom; n_systems; index (2, edges): receivers and senders,
    sorted by receiver; slot (edges,): the cell of a table of `width` neighbours per atom that an edge fills.
    """

    system: Tensor
    n_systems: int
    index: Tensor
    slot: Tensor
    width: int

    @classmethod
    def within(cls, positions: Tensor, pairs: Tensor, system: Tensor, n_systems: int, cutoff: Tensor) -> "Graph":
        """The graph of the `pairs` (2, pairs) nearer than the `cutoff` (systems,) of their molecule."""
        with torch.no_grad():
            squared = (positions[pairs[0]] - positions[pairs[1]]).square().sum(-1)
            index = pairs[:, squared < cutoff.square()[system[pairs[0]]]]
            degree = torch.bincount(index[0], minlength=len(system))
            rank = torch.arange(index.shape[1], device=index.device) - (degree.cumsum(0) - degree)[index[0]]
            width = max(1, int(degree.max()) if len(degree) else 1)
        return cls(system, n_systems, index, index[0] * width + rank, width)

    def table(self, values: Tensor) -> Tensor:
        """Values of edges (edges, n) as (atoms, width, n), zero where an atom has fewer neighbours."""
        out = values.new_zeros(len(self.system) * self.width, values.shape[-1])
        return out.index_copy_(0, self.slot, values).view(len(self.system), self.width, -1)

    def total(self, values: Tensor) -> Tensor:
        """Sums (systems, ...) of values of atoms (atoms, ...)."""
        return values.new_zeros(self.n_systems, *values.shape[1:]).index_add(0, self.system, values)

    def mean(self, values: Tensor) -> Tensor:
        """Means (systems, ...) of values of atoms (atoms, ...)."""
        counts = torch.bincount(self.system, minlength=self.n_systems).to(values)
        return self.total(values) / counts.view(-1, *[1] * (values.dim() - 1))


def harmonics(vectors: Tensor) -> Tensor:
    """The polynomials of degree 1 and 2 (..., 8) of vectors (..., 3): squares of each degree sum to powers of |v|^2."""
    x, y, z = vectors.unbind(-1)
    half, root = 3**0.5 / 2, 3**0.5
    second = (root * x * y, root * y * z, z * z - 0.5 * (x * x + y * y), root * x * z, half * (x * x - y * y))
    return torch.stack([x, y, z, *second], -1)


class Interaction(nn.Module):
    """One layer: messages of the neighbours, their sum, and its invariant polynomials; scalars in, scalars out."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        c, w = settings.channels, settings.width
        self.channels, self.correlation = c, settings.correlation
        self.send = nn.Linear(c, c, bias=False)
        self.radial = nn.Sequential(nn.Linear(settings.n_radial + w, w), nn.SiLU(), nn.Linear(w, 3 * c))
        self.mix = nn.ParameterList([nn.Parameter(torch.randn(c, c) / c**0.5) for _ in range(3)])
        self.paths = (0, 1, 4, 7)[settings.correlation]
        self.weights = nn.Linear(w, self.paths * c)
        self.gain = nn.Linear(w, c)
        self.out = nn.Linear(c, c)

    def forward(self, h: Tensor, embedding: Tensor, noise: Tensor, basis: Tensor, directions: Tensor, graph: Graph):
        """New features (atoms, channels) from old ones `h`.

        embedding (atoms, width) of elements and noise; noise (systems, width) its part of the noise alone; basis
        (edges, radial) and directions (edges, 8).
        """
        receiver, sender = graph.index
        rows = self.radial[0](torch.cat([basis, noise[graph.system[receiver]]], -1))
        radial = self.radial[2](self.radial[1](rows)) * basis[:, :1]  # the first function is the envelope
        sent = self.send(h)[sender]
        parts = (radial.view(-1, 3, self.channels) * sent[:, None]).unbind(1)
        tables = graph.table(directions)
        ones = (*tables.new_ones(*tables.shape[:2], 1).split(1, -1), *tables.split(HARMONICS[1:], -1))
        a, v, t = (
            one.transpose(1, 2) @ graph.table(part) @ mix / SCALE
            for one, part, mix in zip(ones, parts, self.mix, strict=True)
        )
        weights = self.weights(embedding).view(-1, self.paths, self.channels)
        invariants = torch.stack(self._invariants(a[:, 0], v, t), 1)
        return h * (1 + self.gain(embedding)) + self.out((weights * invariants).sum(1))

    def _invariants(self, a: Tensor, v: Tensor, t: Tensor) -> list[Tensor]:
        """Invariant polynomials of a scalar (atoms, c), vectors (atoms, 3, c) and degree-2 tensors (atoms, 5, c)."""
        out = [a]
        if self.correlation > 1:
            vv, tt = v.square().sum(1), t.square().sum(1)
            out += [a * a, vv, tt]
        if self.correlation > 2:
            second = harmonics(v.transpose(1, 2))[..., 3:].transpose(1, 2)
            out += [a * vv, a * tt, (second * t).sum(1)]
        return out


class Network(nn.Module):
    """An energy without unit for every molecule, from scaled positions, scaled element vectors and the noise level.

    It is zero at the start of a training, as the last weights are. Of an atom it knows its neighbours within the
    cutoff, its distance from the centre and the mean of all atoms' features; the last two fade with the noise, so
    that the energy is local without noise, and no atom is without company with it.
    """

    def __init__(self, settings: NetworkSettings, n_elements: int) -> None:
        super().__init__()
        c, w = settings.channels, settings.width
        self.settings = settings
        self.noise = nn.Sequential(nn.Linear(2 * NOISE_FUNCTIONS, w), nn.SiLU(), nn.Linear(w, w))
        self.embed = nn.Sequential(nn.Linear(n_elements + w + 1, w), nn.SiLU(), nn.Linear(w, w), nn.SiLU())
        self.start = nn.Linear(w, c)
        self.layers = nn.ModuleList(Interaction(settings) for _ in range(settings.layers))
        self.company = nn.ModuleList(nn.Linear(c, c, bias=False) for _ in range(settings.layers))
        self.read = nn.ModuleList(
            nn.Sequential(nn.Linear(c + w, w), nn.SiLU(), nn.Linear(w, 1, bias=False)) for _ in range(settings.layers)
        )
        for readout in self.read:
            nn.init.zeros_(readout[2].weight)
        self.register_buffer("frequencies", torch.linspace(0, 2.0, NOISE_FUNCTIONS).exp() / 2)

    def forward(self, x: Tensor, z: Tensor, sigma: Tensor, cutoff: Tensor, glob: Tensor, graph: Graph) -> Tensor:
        """Energies (systems,).

        x (atoms, 3): positions about the centre of each molecule; z (atoms, elements); both of about unit variance.
        sigma (systems,): noise level in Angstrom; cutoff (systems,) in units of x; glob (systems,): from 0 without
        noise to 1, the weight of what is not local.
        """
        phase = sigma.log()[:, None] * self.frequencies
        noise = self.noise(torch.cat([phase.sin(), phase.cos()], -1))
        weight = glob[graph.system][:, None]
        distance = x.square().sum(-1, keepdim=True)
        far = weight * distance / (3 + distance)
        embedding = self.embed(torch.cat([z, noise[graph.system], far], -1))
        receiver, sender = graph.index
        vectors = x[receiver] - x[sender]
        squared = vectors.square().sum(-1, keepdim=True)
        lengths = (squared + 1e-6).sqrt()
        directions = harmonics(vectors / (squared + SOFT**2).sqrt())
        basis = radial_basis(lengths, cutoff[graph.system[receiver]][:, None], self.settings.n_radial)
        h = self.start(embedding)
        energy = h.new_zeros(len(h))
        for layer, company, read in zip(self.layers, self.company, self.read, strict=True):
            h = layer(h, embedding, noise, basis, directions, graph)
            h = h + weight * company(graph.mean(h))[graph.system]
            energy = energy + read(torch.cat([h, embedding], -1))[:, 0]
        return graph.total(energy)


def radial_basis(lengths: Tensor, cutoff: Tensor, n: int) -> Tensor:
    """Radial functions (edges, n) of `lengths` (edges, 1) that end smoothly at `cutoff` (edges, 1).

    The first is the envelope (1 - u^2)^3 with u = r / cutoff, the others are the envelope times Gaussians in r, whose
    centres do not move with the cutoff: bonds look the same at every noise level.
    """
    u = (lengths / cutoff).clamp_max(1)
    envelope = (1 - u * u) ** 3
    if n == 1:
        return envelope
    # denser where bonds and angles are: equal steps in the root of the distance
    centres = torch.linspace(0.5, 1.9, n - 1, device=lengths.device, dtype=lengths.dtype)
    width = 1.4 / max(1, n - 2)
    gaussians = torch.exp(-0.5 * ((lengths.sqrt() - centres) / width) ** 2)
    return torch.cat([envelope, envelope * gaussians], -1)


def count_of_parameters(net: nn.Module) -> int:
    """Number of weights of a network."""
    return sum(math.prod(p.shape) for p in net.parameters())


def require_elements(known: tuple[str, ...], wanted: list[str], where: str) -> None:
    """Raise UserError for elements that a model does not know."""
    if unknown := [symbol for symbol in dict.fromkeys(wanted) if symbol not in known]:
        raise UserError(f"{where} holds {', '.join(unknown)}; the diffusion model knows {' '.join(known)}")
