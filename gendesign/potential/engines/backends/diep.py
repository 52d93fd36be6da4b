"""DIEP: a graph network on maps of the electron-ion potential (Tawfik et al., Digital Discovery, 2024).

The maps are computed here, from distances and angles alone, and each triangle once; the package draws every one twice
and in three dimensions. Its networks are used as they are.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ase.data import atomic_numbers
from torch import Tensor

from gendesign.potential.engines.graph import Graph, pairs_of_edges

TIE = 1e-6  # Angstrom: lengths that differ by less are equal, and the atomic numbers decide
CHUNK = 2048  # maps at once: what a cache holds
# The edges of a triangle (neighbour, centre, neighbour): their ends, the legs at the ends, and the atom that remains.
ENDS, LEGS, OPPOSITE = ((0, 1), (1, 2), (0, 2)), ((2, 1), (0, 2), (0, 1)), (2, 0, 1)


class DIEP:
    """A DIEP model on given edges, in float32 or float64. Not smooth: where two edges of a triangle of different
    elements cross in length, the energy steps by up to some meV."""

    def __init__(self, weights: Sequence[str], head: str | None, device: torch.device, dtype: torch.dtype) -> None:
        from diep import config
        from diep.models import DIEP as Network
        from diep.utils.cutoff import polynomial_cutoff

        config.set_default_dtype("float", 64 if dtype == torch.float64 else 32)
        described, state = _files(weights)
        arguments = json.loads(described.read_text())["kwargs"]["model"]["init_args"]
        if (
            arguments["integral_mode"] != "grid"
            or arguments["triplet_frame"] != "canonical"
            or arguments["is_intensive"]
        ):
            raise ValueError("this DIEP is of another kind")
        net: Any = Network(**arguments)
        content = torch.load(state, weights_only=True, map_location="cpu")
        prefix = "model."
        net.load_state_dict({k.removeprefix(prefix): v for k, v in content.items() if k.startswith(prefix)})
        self.net = net.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.scale = float(content["data_std"])
        self.envelope = polynomial_cutoff
        self.cutoff, self.reach = float(arguments["cutoff"]), float(arguments["threebody_cutoff"])
        symbols = arguments["element_types"]
        self.numbers = [atomic_numbers[symbol] for symbol in symbols]
        self.kinds = torch.full((120,), -1, device=device)
        self.kinds[self.numbers] = torch.arange(len(symbols), device=device)
        self.references = content["element_refs.property_offset"].double().to(device)
        self.grid = _Grid(arguments, device, dtype)

    def energies(self, graph: Graph) -> Tensor:
        """Energies (atoms,) in eV, differentiable in the vectors."""
        atoms, _ = self._blocks(graph, self.net.n_blocks)
        return self.scale * self.net.final_layer.gated(atoms)[:, 0]

    def constants(self, graph: Graph) -> Tensor:
        """Energies (atoms,) in eV of isolated atoms, float64."""
        return self.references[self.kinds[graph.numbers]]

    def features(self, graph: Graph, layers: int) -> Tensor:
        """Features of the atoms after each of the first `layers` blocks (atoms, n), which see angles too."""
        return torch.cat(self._blocks(graph, layers)[1], 1)

    def _blocks(self, graph: Graph, count: int) -> tuple[Tensor, list[Tensor]]:
        """Features of the atoms after `count` blocks, and after each of them."""
        net = self.net
        first, second = graph.index
        lengths = graph.vectors.norm(dim=-1)
        charges = graph.numbers.to(lengths).sqrt()
        half, zero = lengths / 2, torch.zeros_like(lengths)
        ends = torch.stack([torch.stack([-half, half], 1), torch.stack([zero, zero], 1)], 2)
        maps = _Maps.apply(ends, torch.stack([charges[first], charges[second]], 1), self.grid)
        data = _Edges(graph.index, maps * self.envelope(lengths, self.cutoff)[:, None])
        triangles = _Triangles(graph, lengths, charges, self.reach, self.grid)
        weights = self.envelope(lengths, self.reach)
        weights = weights[triangles.one] * weights[triangles.other]
        atoms, edges, _ = net.embedding(self.kinds[graph.numbers], data.rbf, None)
        described = []
        for k in range(count):
            edges = triangles.update(net.three_body_interactions[k], atoms, edges, weights)
            edges, atoms, _ = net.graph_layers[k](data, edges, atoms, None)
            described.append(atoms)
        return atoms, described


class _Edges:
    """What the convolutions of the package read: edge_index (2, edges) and rbf (edges, points)."""

    def __init__(self, edge_index: Tensor, rbf: Tensor) -> None:
        self.edge_index, self.rbf = edge_index, rbf


class _Triangles:
    """Every two edges `one` and `other` of an atom that are shorter than `reach` (Angstrom), once, and their maps."""

    def __init__(self, graph: Graph, lengths: Tensor, charges: Tensor, reach: float, grid: "_Grid") -> None:
        self.end = graph.index[1]
        short = (lengths <= reach).nonzero()[:, 0]
        centre = graph.index[0, short]
        one, other = pairs_of_edges(centre, len(graph.numbers))
        keep = one < other
        self.one, self.other = short[one[keep]], short[other[keep]]
        atoms = torch.stack([self.end[self.one], graph.index[0, self.one], self.end[self.other]], 1)
        v, w = graph.vectors[self.one], graph.vectors[self.other]
        places, order, tied = _laid_out(v, w, graph.numbers[atoms])
        maps = _Maps.apply(places, charges[atoms].gather(1, order), grid)
        if len(tied):  # the gradient has a kink there: the mean of both sides, so that equal atoms have equal forces
            atoms = atoms[tied].flip(1)
            places, order, _ = _laid_out(w[tied], v[tied], graph.numbers[atoms])
            swapped = _Maps.apply(places, charges[atoms].gather(1, order), grid)
            maps = maps.index_add(0, tied, (swapped - maps[tied]) / 2)
        self.maps = maps

    def update(self, network: Any, atoms: Tensor, edges: Tensor, weights: Tensor) -> Tensor:
        """Features of the edges (edges, n) after the package's three-body `network`."""
        gates = network.update_network_atom(atoms)
        maps = self.maps * weights[:, None]
        sums = maps.new_zeros(len(edges), maps.shape[1])
        sums = sums.index_add(0, self.one, maps * gates[self.end[self.other]])
        sums = sums.index_add(0, self.other, maps * gates[self.end[self.one]])
        return edges + network.update_network_bond(sums)


def _laid_out(v: Tensor, w: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Triangles in a plane: positions (triangles, 3, 2), which atom is where (triangles, 3), and those with ties.

    v, w (triangles, 3) lead from the centre to its neighbours; numbers (triangles, 3) of neighbour, centre, neighbour.
    The longest edge lies along x around the origin, its end nearer to the third atom on the left, the third atom above;
    the centroid is then moved to the origin. Among equal edges the one with the higher atomic numbers is the longest,
    and of two equally near ends the one with the higher number is on the left.
    """
    squares = torch.stack([v.square().sum(1), w.square().sum(1), (v - w).square().sum(1)], 1)
    ends, legs, opposite = (torch.tensor(table, device=v.device) for table in (ENDS, LEGS, OPPOSITE))
    with torch.no_grad():
        lengths = squares.sqrt()
        pairs = numbers[:, ends]  # (triangles, 3 edges, 2)
        rank = (lengths / TIE).round().long() * 2**14 + pairs.amax(2) * 2**7 + pairs.amin(2)
        (first, second), longest = rank.topk(2, 1).values.unbind(1), rank.argmax(1)
        ends, legs, opposite = ends[longest], legs[longest], opposite[longest]
        near, far = lengths.gather(1, legs).unbind(1)
        z = numbers.gather(1, ends)
        swap = torch.where((far - near).abs() <= TIE, z[:, 1] > z[:, 0], far + TIE < near)[:, None]
        ends, legs = torch.where(swap, ends.flip(1), ends), torch.where(swap, legs.flip(1), legs)
        tied = ((first == second) | ((far - near).abs() <= TIE)).nonzero()[:, 0]
    length = squares.gather(1, longest[:, None])[:, 0].sqrt()
    left, right = squares.gather(1, legs).unbind(1)
    area = (torch.linalg.cross(v, w).square().sum(1) + TIE**4).sqrt()
    x, y, half, zero = (left - right) / (2 * length), area / length, length / 2, torch.zeros_like(length)
    places = torch.stack([torch.stack([-half, half, x], 1), torch.stack([zero, zero, y], 1)], 2)
    return places - places.mean(1, keepdim=True), torch.cat([ends, opposite[:, None]], 1), tied


class _Grid:
    """Points of a square grid: axis (points,) of both directions in Angstrom, the area of one, and the two widths."""

    def __init__(self, arguments: dict[str, Any], device: torch.device, dtype: torch.dtype) -> None:
        half, spacing = arguments["grid_half_length"], arguments["base_spacing"]
        self.axis = torch.linspace(-half, half, round(2 * half / spacing) + 1, dtype=dtype, device=device)
        self.area = spacing**2
        self.sigma, self.softening = arguments["gaussian_sigma"], arguments["softening_epsilon"]


def _chunks(count: int) -> list[slice]:
    """Parts of CHUNK rows; none where there are no rows, such as triangles of a pair of atoms."""
    return [slice(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]


class _Maps(torch.autograd.Function):
    """Maps (n, points^2) of density times potential of n sets of k atoms at `places` (n, k, 2) with `charges` (n, k).

    Both are sums over the atoms: exp(-d^2 / sigma) / (pi sigma) and charge / sqrt(d^2 + softening^2). Made in chunks,
    and once more for the gradient: the terms of single atoms are never kept.
    """

    @staticmethod
    def forward(ctx: Any, places: Tensor, charges: Tensor, grid: _Grid) -> Tensor:
        ctx.save_for_backward(places, charges)
        ctx.grid = grid
        out = places.new_empty(len(places), len(grid.axis) ** 2)
        for chunk in _chunks(len(places)):
            _, (ex, ey), inverse = _terms(places[chunk], grid)
            density = ey.transpose(1, 2) @ ex
            potential = (charges[chunk, :, None, None] * inverse).sum(1)
            out[chunk] = (density * potential).flatten(1)
        return out.mul_(grid.area / (torch.pi * grid.sigma))

    @staticmethod
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor | None, ...]:
        places, charges = ctx.saved_tensors
        grid, out, n = ctx.grid, torch.zeros_like(places), len(ctx.grid.axis)
        for chunk in _chunks(len(places)):
            (dx, dy), (ex, ey), inverse = _terms(places[chunk], grid)
            weight = weights[0][chunk].view(-1, n, n)
            q = charges[chunk, :, None, None]
            of_density = weight * (q * inverse).sum(1)
            of_potential = weight * (ey.transpose(1, 2) @ ex)
            along_y = (ey @ of_density) * ex * (2 / grid.sigma)  # (n, k, x)
            along_x = (of_density @ ex.transpose(1, 2)).transpose(1, 2) * ey * (2 / grid.sigma)
            pull = of_potential[:, None] * q * inverse**3
            along_y, along_x = along_y + pull.sum(2), along_x + pull.sum(3)
            out[chunk] = torch.stack([(along_y * dx).sum(2), (along_x * dy).sum(2)], 2)
        return out.mul_(grid.area / (torch.pi * grid.sigma)), None, None


def _terms(places: Tensor, grid: _Grid) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
    """Distances along x and y (n, k, points), their Gaussians, and 1 / softened distance (n, k, y, x)."""
    dx, dy = grid.axis - places[..., :1], grid.axis - places[..., 1:]
    sx, sy = dx.square(), dy.square()
    inverse = (sy[..., None] + (sx + grid.softening**2)[..., None, :]).rsqrt_()
    return (dx, dy), ((-sx / grid.sigma).exp(), (-sy / grid.sigma).exp()), inverse


def _files(weights: Sequence[str]) -> tuple[Path, Path]:
    """model.json and state.pt among the files."""
    by_name = {Path(path).name: Path(path) for path in weights}
    return by_name["model.json"], by_name["state.pt"]
