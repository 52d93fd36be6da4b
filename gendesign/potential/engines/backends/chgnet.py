"""CHGNet: a graph network of atoms, bonds and angles (Deng et al., Nat. Mach. Intell. 5, 1031, 2023)."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gendesign.potential.engines.graph import Graph, pairs_of_edges


class CHGNet:
    """A CHGNet, layer by layer on given edges; so it needs no cell, and a whole batch is one graph."""

    def __init__(self, weights: Sequence[str], head: str | None, device: torch.device, dtype: torch.dtype) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            from chgnet.model.model import CHGNet as Network

            net = Network.from_file(weights[0], mlp_out_bias=False)
        if not net.mlp_first or net.read_out_type != "sum":
            raise ValueError("this CHGNet has no energies of sites")
        self.net = net.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.references = self.net.composition_model.fc.weight[0].double()
        self.cutoff = float(net.graph_converter.atom_graph_cutoff)
        self.reach = float(net.graph_converter.bond_graph_cutoff)  # of bonds with angles
        self.numbers = list(range(1, len(self.references) + 1))

    def energies(self, graph: Graph) -> Tensor:
        """Energies (atoms,) in eV, differentiable in the vectors."""
        net = self.net
        atoms, *_ = self._blocks(graph, net.n_conv - 1)
        if net.readout_norm is not None:
            atoms = net.readout_norm(atoms)
        return net.mlp(atoms).view(-1)

    def constants(self, graph: Graph) -> Tensor:
        """Energies (atoms,) in eV that depend on the element alone, float64."""
        return self.references[graph.numbers - 1]

    def features(self, graph: Graph, layers: int) -> Tensor:
        """After each of the first `layers` blocks: features of the atoms and sums of those of their bonds (atoms, n).

        A block is a convolution of atoms, which sees distances, and one of bonds, which sees angles.
        """
        return torch.cat(self._blocks(graph, layers, last=False)[1], 1)

    def _blocks(self, graph: Graph, count: int, *, last: bool = True) -> tuple[Tensor, list[Tensor]]:
        """Features of the atoms after `count` blocks (and the last convolution), and those of `features`."""
        net, bonds = self.net, _Bonds(graph, self.net, self.reach)
        atoms = net.atom_embedding(graph.numbers - 1)
        bond, angle = net.bond_embedding(bonds.basis), None
        weights, weights_angles = net.bond_weights_ag(bonds.basis), net.bond_weights_bg(bonds.basis_angles)
        if len(bonds.angles):
            angle = net.angle_embedding(bonds.angle_basis)
        described = []
        edges, owner = graph.index.T, bonds.of_edge
        for k in range(count):
            atoms = net.atom_conv_layers[k](
                atom_feas=atoms, bond_feas=bond, bond_weights=weights, atom_graph=edges, directed2undirected=owner
            )
            if angle is not None and net.bond_conv_layers[k] is not None:
                bond = net.bond_conv_layers[k](
                    atom_feas=atoms, bond_feas=bond, bond_weights=weights_angles, angle_feas=angle,
                    bond_graph=bonds.angles,
                )  # fmt: skip
                # the last angles change neither the features nor the energy
                if k + 1 < count and net.angle_layers[k] is not None:
                    angle = net.angle_layers[k](
                        atom_feas=atoms, bond_feas=bond, angle_feas=angle, bond_graph=bonds.angles
                    )
            if not last:
                near = torch.zeros_like(atoms).index_add(0, graph.index[0], (bond * weights)[owner])
                described.append(torch.cat([atoms, near], 1))
        if last:
            atoms = net.atom_conv_layers[-1](
                atom_feas=atoms, bond_feas=bond, bond_weights=weights, atom_graph=edges, directed2undirected=owner
            )
        return atoms, described


class _Bonds:
    """Undirected bonds and the angles between them.

    of_edge (edges,): bond of every directed edge. basis, basis_angles (bonds, radial). angles (angles, 3): the atom and
    two of its bonds shorter than `reach` (Angstrom), in both orders; angle_basis (angles, angular).
    """

    def __init__(self, graph: Graph, net: Any, reach: float) -> None:
        count = graph.index.shape[1]
        edge, reverse = torch.arange(count, device=graph.index.device), graph.reverse()
        chosen = edge < reverse  # one direction of each
        number = torch.cumsum(chosen, 0) - 1
        self.of_edge = torch.where(chosen, number, number[reverse])
        lengths = graph.vectors.norm(dim=-1)
        self.basis = net.bond_basis_expansion.rbf_expansion_ag(lengths[chosen])
        self.basis_angles = net.bond_basis_expansion.rbf_expansion_bg(lengths[chosen])
        short = (lengths < reach).nonzero()[:, 0]
        first = graph.index[0, short]
        one, other = short[pairs_of_edges(first, len(graph.numbers))]
        self.angles = torch.stack([graph.index[0, one], self.of_edge[one], self.of_edge[other]], 1)
        directions = graph.vectors / lengths[:, None]
        self.angle_basis = net.angle_basis_expansion(directions[one], directions[other])
