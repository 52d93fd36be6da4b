"""The last layer of a MACE: the features of every atom in which its energy is linear.

A linear readout reads the invariant features of a layer; the final readout reads the hidden activations behind its
gate. Put side by side they are the features of Bigi, Chong, Ceriotti and Grasselli (arXiv 2403.02251), and the weights
of all final linear maps are the last layer.
"""

from dataclasses import dataclass

import gendesign.imports.mace  # noqa: F401  quick and silent

import torch
from mace.modules import MACE, LinearReadoutBlock, ScaleShiftMACE
from torch import Tensor

from gendesign.errors import UserError
from gendesign.potential import mace, scalar
from gendesign.structure.graph import Batch, Edges


@dataclass(frozen=True)
class LastLayer:
    """Energy of every atom as `offset + features @ weights`.

    `blocks` hold the features of one readout each (atoms, some of n), so that the derivatives of the first layer need
    not run through the others; weights (n,); offset (atoms,) in eV: isolated atom, pair repulsion, shift and biases, in
    float64. Features and offset are differentiable with respect to the positions they were made from.
    """

    blocks: tuple[Tensor, ...]
    offset: Tensor
    weights: Tensor

    @property
    def features(self) -> Tensor:
        """All features (atoms, n), in eV per unit of weight."""
        return torch.cat(self.blocks, -1)

    @property
    def atom_energy(self) -> Tensor:
        """Energy (atoms,) in eV, float64."""
        return self.offset + (self.features @ self.weights).double()


def last_layer(net: MACE, batch: Batch, edges: Edges, head: int = 0) -> LastLayer:
    """The last layer of any MACE or ScaleShiftMACE for the atoms of `batch`."""
    if type(net) not in (MACE, ScaleShiftMACE) or hasattr(net, "joint_embedding"):
        raise UserError(
            f"a {type(net).__name__} with its own inputs or outputs has no known last layer; uncertainties need a MACE "
            "or ScaleShiftMACE: choose another potential"
        )
    layers = _layers(net, batch, edges)
    column = head if len(getattr(net, "heads", ())) > 1 else 0
    heads = torch.full_like(batch.numbers, head)
    features, weights, bias = [], [], torch.zeros((), dtype=batch.positions.dtype, device=batch.positions.device)
    for readout, values in zip(net.readouts, layers[-1:] if len(net.readouts) == 1 else layers, strict=True):
        read, weight, constant = _read(readout, values, heads, column)
        features.append(read)
        weights.append(weight)
        bias = bias + constant
    scale, shift = 1.0, 0.0
    if hasattr(net, "scale_shift"):
        scale, shift = (torch.atleast_1d(t)[head] for t in (net.scale_shift.scale, net.scale_shift.shift))
    isolated = torch.atleast_2d(net.atomic_energies_fn.atomic_energies)[head][mace.elements(net, batch.numbers)]
    offset = isolated.double() + (shift + scale * (bias + _pair_energy(net, batch, edges))).double()
    return LastLayer(tuple(scale * part for part in features), offset, torch.cat(weights))


def _layers(net: MACE, batch: Batch, edges: Edges) -> list[Tensor]:
    """Invariant features (atoms, channels) after each interaction."""
    if scalar.supports(net):
        vectors, element = scalar.vectors_of(batch.positions, edges), mace.elements(net, batch.numbers)
        lengths = vectors.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()
        features, near = scalar.layer_features(net, element, vectors, lengths, edges, len(net.interactions))
        return [part[near.place] for part in features]
    channels = [product.linear.irreps_out.count("0e") for product in net.products]
    together = mace.descriptors(net, batch.positions, batch.numbers, edges, len(channels))
    return list(together.split(channels, -1))


def _read(readout: LinearReadoutBlock, values: Tensor, heads: Tensor, column: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the final linear map of `readout` sees (atoms, n), its weights (n,) and its bias, for one output."""
    nonlinear = hasattr(readout, "linear_2")
    final = readout.linear_2 if nonlinear else readout.linear
    if nonlinear:
        # features of higher degree are no part of `values`, and no scalar comes of them by a linear map
        missing = readout.linear_1.irreps_in.dim - values.shape[-1]
        activations: list[Tensor] = []
        hook = final.register_forward_pre_hook(lambda _, arguments: activations.append(arguments[0]))
        try:
            readout(torch.nn.functional.pad(values, (0, missing)), heads)
        finally:
            hook.remove()
        values = activations[0]
    size = final.irreps_in.dim
    unit = torch.eye(size, dtype=values.dtype, device=values.device)
    bias = final(torch.zeros_like(unit[:1]))[0, column]
    return values, final(unit)[: values.shape[-1], column] - bias, bias


def _pair_energy(net: MACE, batch: Batch, edges: Edges) -> Tensor:
    """Each atom's share (atoms,) of the pair repulsion, before the network's scale."""
    if not hasattr(net, "pair_repulsion_fn"):
        return batch.positions.new_zeros(len(batch.numbers))
    lengths = scalar.vectors_of(batch.positions, edges).square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()
    close = (lengths[:, 0] < scalar.LONGEST_PAIR).nonzero()[:, 0]
    return net.pair_repulsion_fn(
        lengths[close], mace.one_hot(net, batch.numbers), edges.index.flip(0)[:, close], net.atomic_numbers
    )
