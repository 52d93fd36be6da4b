"""The energy of a diffusion model: an exact restorative part plus a network that starts at zero.

Of data with spread s and noise sigma, the best Gaussian has the energy |x|^2 / (2 (s^2 + sigma^2)), whose gradient is
the whole score at large noise. The network adds what molecules are: (s / sigma) f(c x, c' z, sigma), scaled so that
the gradient of f is of order one at every noise level (Karras et al., arXiv 2206.00364, for a gradient instead of a
vector).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gendesign.generate.diffusion.network import Graph, Network, NetworkSettings


@dataclass(frozen=True)
class Statistics:
    """What the restorative part knows of the training data.

    elements: symbols, in the order of the element vectors. shares: of the atoms, by element. spread: standard deviation
    of a coordinate about the centre of its molecule (Angstrom) at `atoms` atoms; it grows as n^growth. element_spread:
    standard deviation of a component of the element vectors. size_counts: [heavy atoms, all atoms, molecules] rows.
    """

    elements: tuple[str, ...]
    shares: tuple[float, ...]
    spread: float
    atoms: float
    growth: float
    element_spread: float
    size_counts: tuple[tuple[int, int, int], ...] = ()

    def plain(self) -> dict[str, Any]:
        """As YAML holds it."""
        return asdict(self) | {
            "elements": list(self.elements),
            "shares": [float(s) for s in self.shares],
            "size_counts": [list(row) for row in self.size_counts],
        }

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> "Statistics":
        """The inverse of `plain`."""
        counts = tuple(tuple(int(v) for v in row) for row in content["size_counts"])
        return cls(**content | {"elements": tuple(content["elements"]), "shares": tuple(content["shares"]),
                                "size_counts": counts})  # fmt: skip


class Clouds(NamedTuple):
    """Molecules with noise: positions (atoms, 3) in Angstrom, element vectors (atoms, elements), system (atoms,),
    pairs (2, pairs) all ordered pairs within a molecule, n_systems."""

    positions: Tensor
    vectors: Tensor
    system: Tensor
    pairs: Tensor
    n_systems: int


class Gradient(NamedTuple):
    """The energy (systems,) and its gradients in positions (atoms, 3) and element vectors (atoms, elements)."""

    energy: Tensor
    positions: Tensor
    vectors: Tensor


class EnergyModel(nn.Module):
    """E(x, z, sigma) = -log p of molecules with noise sigma (Angstrom) on positions and element vectors, to a constant.

    Forces and element forces are its exact gradients. `statistics` and the settings make the network.
    """

    def __init__(self, settings: NetworkSettings, statistics: Statistics) -> None:
        super().__init__()
        self.settings, self.statistics = settings, statistics
        self.network = Network(settings, len(statistics.elements))
        self.register_buffer("shares", torch.tensor(statistics.shares), persistent=False)

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols, in the order of the element vectors."""
        return self.statistics.elements

    def spread_of(self, sizes: Tensor) -> Tensor:
        """Spread of a coordinate (systems,) of molecules of `sizes` (systems,) atoms."""
        s = self.statistics
        return s.spread * (sizes / s.atoms) ** s.growth

    def cutoff(self, sigma: Tensor) -> Tensor:
        """Radius of the graph in Angstrom at the noise levels `sigma`."""
        return (self.settings.cutoff**2 + (self.settings.noise_cutoff * sigma) ** 2).sqrt()

    def graph(self, clouds: Clouds, sigma: Tensor) -> Graph:
        """Neighbours at the noise levels `sigma` (systems,)."""
        return Graph.within(clouds.positions, clouds.pairs, clouds.system, clouds.n_systems, self.cutoff(sigma))

    def restorative(self, clouds: Clouds, sigma: Tensor) -> Tensor:
        """The part of the energy (systems,) that any data of this spread has."""
        s = self.statistics
        sizes = torch.bincount(clouds.system, minlength=clouds.n_systems).to(clouds.positions)
        wide = sigma.square() + self.spread_of(sizes).square()
        of_elements = (clouds.vectors - self.shares).square().sum(-1)
        squares = self._centred(clouds, sizes).square().sum(-1) / wide[clouds.system]
        squares = squares + of_elements / (sigma.square() + s.element_spread**2)[clouds.system]
        return 0.5 * squares.new_zeros(clouds.n_systems).index_add(0, clouds.system, squares)

    @staticmethod
    def _centred(clouds: Clouds, sizes: Tensor) -> Tensor:
        total = clouds.positions.new_zeros(clouds.n_systems, 3).index_add(0, clouds.system, clouds.positions)
        return clouds.positions - (total / sizes[:, None])[clouds.system]

    def forward(self, clouds: Clouds, sigma: Tensor, graph: Graph | None = None) -> Tensor:
        """Energies (systems,) at the noise levels `sigma` (systems,), without unit."""
        s = self.statistics
        graph = self.graph(clouds, sigma) if graph is None else graph
        sizes = torch.bincount(clouds.system, minlength=clouds.n_systems).to(clouds.positions)
        c = (sigma.square() + s.spread**2).rsqrt()
        c_z = (sigma.square() + s.element_spread**2).rsqrt()
        x = self._centred(clouds, sizes) * c[clouds.system][:, None]
        z = (clouds.vectors - self.shares) * c_z[clouds.system][:, None]
        glob = sigma.square() * c.square()
        added = self.network(x, z, sigma, self.cutoff(sigma) * c, glob, graph)
        return self.restorative(clouds, sigma) + (s.spread / sigma) * added

    def gradient(self, clouds: Clouds, sigma: Tensor, training: bool = False) -> Gradient:
        """Energy and gradients; with `training` they stay differentiable in the weights."""
        with torch.enable_grad():
            x = clouds.positions.detach().requires_grad_(True)
            z = clouds.vectors.detach().requires_grad_(True)
            energy = self(clouds._replace(positions=x, vectors=z), sigma)
            by_x, by_z = torch.autograd.grad(energy.sum(), (x, z), create_graph=training)
        if training:
            return Gradient(energy, by_x, by_z)
        return Gradient(energy.detach(), by_x.detach(), by_z.detach())


def one_hot(numbers: Tensor, elements: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Element vectors (atoms, elements) of atomic numbers (atoms,)."""
    return (numbers[:, None] == torch.as_tensor(elements, device=numbers.device)[None]).to(dtype)
