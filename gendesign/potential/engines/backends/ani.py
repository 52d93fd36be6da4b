"""ANI-1x and ANI-1ccx: eight networks on symmetry functions (Smith et al., Nat. Commun. 10, 2903, 2019)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from ase.data import atomic_numbers
from ase.units import Hartree
from torch import Tensor

from gendesign.potential.engines.graph import Graph, pairs_of_edges

MODELS = {"ani-1x_8x": "ANI1x", "ani-1ccx_8x": "ANI1ccx"}


class ANI:
    """The mean of eight networks; their spread is the standard deviation of the energy."""

    def __init__(self, weights: Sequence[str], head: str | None, device: torch.device, dtype: torch.dtype) -> None:
        import torchani

        net = getattr(torchani.models, MODELS[Path(weights[0]).stem])(periodic_table_index=True)
        net = net.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.computer = net.aev_computer
        self.cutoff = float(self.computer.Rcr)
        self.numbers = [atomic_numbers[symbol] for symbol in net.species]
        self.kinds = torch.full((120,), -1, device=device)
        self.kinds[self.numbers] = torch.arange(len(self.numbers), device=device)
        self.references = net.energy_shifter.self_energies.double().to(device) * Hartree
        self.ensemble = [_together([list(member.values())[k] for member in net.neural_networks]) for k in range(4)]

    def energies(self, graph: Graph) -> Tensor:
        """Energies (networks, atoms) in eV, differentiable in the vectors."""
        features, kinds = self.features(graph, 1), self.kinds[graph.numbers]
        parts, rows = [], []
        for kind, networks in enumerate(self.ensemble):
            chosen = (kinds == kind).nonzero()[:, 0]
            if len(chosen):
                parts.append(networks(features[chosen]))
                rows.append(chosen)
        energies = torch.cat(parts, 1)
        return torch.zeros_like(energies).index_copy(1, torch.cat(rows), energies) * Hartree

    def constants(self, graph: Graph) -> Tensor:
        """Energies (atoms,) in eV that depend on the element alone, float64."""
        return self.references[self.kinds[graph.numbers]]

    def features(self, graph: Graph, layers: int) -> Tensor:
        """The atomic environment vectors (atoms, 384): radial and angular symmetry functions."""
        from torchani.aev import angular_terms, radial_terms

        c, n = self.computer, len(graph.numbers)
        n_pairs = c.num_species * (c.num_species + 1) // 2
        kinds = self.kinds[graph.numbers]
        first, second = graph.index
        lengths = graph.vectors.norm(dim=-1)
        radial = radial_terms(c.Rcr, c.EtaR, c.ShfR, lengths)
        table = radial.new_zeros(n * c.num_species, radial.shape[1])
        table = table.index_add(0, first * c.num_species + kinds[second], radial)
        short = (lengths <= c.Rca).nonzero()[:, 0]
        one, other = pairs_of_edges(first[short], n)
        one, other = short[one[one < other]], short[other[one < other]]  # each pair once
        angular = angular_terms(c.Rca, c.ShfZ, c.EtaA, c.Zeta, c.ShfA, graph.vectors[torch.stack([one, other])])
        place = first[one] * n_pairs + c.triu_index[kinds[second[one]], kinds[second[other]]]
        pairs = angular.new_zeros(n * n_pairs, angular.shape[1]).index_add(0, place, angular)
        return torch.cat([table.view(n, -1), pairs.view(n, -1)], 1)


class _Stacked(torch.nn.Module):
    """Networks of equal shape as one: (atoms, inputs) -> (networks, atoms)."""

    def __init__(self, networks: Sequence[torch.nn.Sequential]) -> None:
        super().__init__()
        self.steps = torch.nn.ModuleList()
        for layers in zip(*networks, strict=True):
            self.steps.append(_Linear(layers) if isinstance(layers[0], torch.nn.Linear) else layers[0])

    def forward(self, features: Tensor) -> Tensor:
        """Outputs (networks, atoms)."""
        values = features
        for step in self.steps:
            values = step(values)
        return values[..., 0]


class _Linear(torch.nn.Module):
    """One linear layer of several networks: (networks, atoms, outputs) from (atoms, inputs), or from those of each."""

    def __init__(self, layers: Sequence[torch.nn.Linear]) -> None:
        super().__init__()
        self.weight = torch.stack([layer.weight.T for layer in layers])
        self.bias = torch.stack([layer.bias for layer in layers])[:, None]

    def forward(self, values: Tensor) -> Tensor:
        """The outputs of all networks."""
        return values @ self.weight + self.bias


class _OneByOne(torch.nn.Module):
    """Networks of different shapes: (atoms, inputs) -> (networks, atoms)."""

    def __init__(self, networks: Sequence[torch.nn.Sequential]) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList(networks)

    def forward(self, features: Tensor) -> Tensor:
        """Outputs (networks, atoms)."""
        return torch.stack([network(features)[:, 0] for network in self.networks])


def _together(networks: Sequence[torch.nn.Sequential]) -> torch.nn.Module:
    shapes = {tuple(tuple(p.shape) for p in network.parameters()) for network in networks}
    return _Stacked(networks) if len(shapes) == 1 else _OneByOne(networks)
