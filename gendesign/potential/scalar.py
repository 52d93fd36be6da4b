"""MACE networks whose messages are scalars, evaluated in closed form.

When the features that atoms send are invariant (hidden irreps `Cx0e`, and the first layer of every MACE), the tensor
product of a message is R(r) x Y(r), and the symmetric contraction to a scalar is a polynomial with few terms (MACE,
arXiv 2206.07697, equations 8 to 11). Neighbours then sum as one small matrix product per atom, and no tensor of
edges x channels x harmonics is ever made: two to six times faster than the general modules, to the same numbers.
The parameters stay where mace-torch keeps them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from weakref import WeakKeyDictionary

import gendesign.imports.mace  # noqa: F401  quick and silent

import torch
from e3nn import o3
from mace.modules import MACE, ScaleShiftMACE
from mace.modules.blocks import (
    EquivariantProductBasisBlock,
    InteractionBlock,
    RealAgnosticInteractionBlock,
    RealAgnosticResidualInteractionBlock,
)
from mace.modules.symmetric_contraction import Contraction
from torch import Tensor

from gendesign.structure.graph import Edges

LONGEST_PAIR = 5.2  # Angstrom: twice the largest covalent radius, beyond which MACE's pair repulsion is zero
INTERACTIONS = (RealAgnosticInteractionBlock, RealAgnosticResidualInteractionBlock)


def supports(net: MACE, layers: int | None = None) -> bool:
    """Whether the first `layers` interactions of `net` (all of them when None) can be evaluated here."""
    if type(net) not in (MACE, ScaleShiftMACE) or hasattr(net, "joint_embedding"):
        return False
    blocks = list(zip(net.interactions, net.products, strict=True))[:layers]
    return all(
        type(block) in INTERACTIONS
        and not getattr(product, "use_agnostic_product", False)
        and all(irrep.l == 0 for _, irrep in o3.Irreps(block.node_feats_irreps))
        and [irrep.l for _, irrep in o3.Irreps(block.target_irreps)] == list(range(block.target_irreps.lmax + 1))
        and len({mul for mul, _ in o3.Irreps(block.target_irreps)}) == 1
        and all(getattr(block, key, None) is None for key in ("cueq_config", "oeq_config"))
        for block, product in blocks
    )


@dataclass(frozen=True)
class Neighbourhood:
    """Edges grouped by receiver, atoms sorted by element.

    element (atoms,) index into the network's elements; order (atoms,) the sorted atoms; place (atoms,) where each went;
    groups the (element, atoms) counts; sender (edges,) in sorted order; slot (edges,) the cell of the padded
    table of `width` neighbours per sorted atom that an edge fills.
    """

    element: Tensor
    order: Tensor
    place: Tensor
    groups: list[tuple[int, int]]
    sender: Tensor
    slot: Tensor
    width: int

    @classmethod
    def build(cls, element: Tensor, index: Tensor, n_elements: int) -> "Neighbourhood":
        """From elements (atoms,) and directed edges (2, edges) whose first row, the receiver here, is sorted."""
        order = torch.argsort(element, stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        degree = torch.bincount(index[0], minlength=len(element))
        rank = torch.arange(index.shape[1], device=index.device) - (degree.cumsum(0) - degree)[index[0]]
        counts = torch.bincount(element, minlength=n_elements).tolist()
        width = max(1, int(degree.max()) if len(degree) else 1)
        return cls(
            element,
            order,
            place,
            [(k, count) for k, count in enumerate(counts) if count],
            place[index[1]],
            place[index[0]] * width + rank,
            width,
        )


def vectors_of(positions: Tensor, edges: Edges) -> Tensor:
    """Vectors (edges, 3) from the second atom of each edge to the first, which receives here."""
    return positions[edges.index[0]] - positions[edges.index[1]] - edges.shift


def layer_features(
    net: MACE,
    element: Tensor,
    vectors: Tensor,
    lengths: Tensor,
    edges: Edges,
    layers: int,
    shortest: float | None = None,
) -> tuple[list[Tensor], Neighbourhood]:
    """Invariant features (atoms sorted by element, channels) after each of the first `layers` interactions."""
    near = Neighbourhood.build(element, edges.index, len(net.atomic_numbers))
    clamped = lengths if shortest is None else lengths.clamp_min(shortest)
    # the embedding's element arguments serve distance transforms only, which read edge_index by element
    radial, cutoff = net.radial_embedding(clamped, _one_hot(net, element), edges.index.flip(0), net.atomic_numbers)
    harmonics = _padded(net.spherical_harmonics(vectors), near)
    harmonics = harmonics.split([2 * degree + 1 for degree in range(round(harmonics.shape[-1] ** 0.5))], -1)
    features = _linear(net.node_embedding.linear)[0][near.element[near.order]]
    out = []
    for block, product in zip(net.interactions[:layers], net.products[:layers], strict=True):
        weights = block.conv_tp_weights(radial)
        if cutoff is not None:
            weights = weights * cutoff
        features = _layer(block, product, near, features, weights, harmonics)
        out.append(features)
    return out, near


def _layer(
    block: InteractionBlock,
    product: EquivariantProductBasisBlock,
    near: Neighbourhood,
    features: Tensor,
    weights: Tensor,
    harmonics: Sequence[Tensor],
) -> Tensor:
    """Features (atoms sorted by element, channels) after one interaction."""
    degrees = block.target_irreps.lmax + 1
    sent = (features @ _linear(block.linear_up)[0])[near.sender]
    channels = sent.shape[-1]
    radial = (weights.view(-1, degrees, channels) * sent[:, None]).unbind(1)
    message = [part.transpose(1, 2) @ _padded(values, near) for part, values in zip(harmonics, radial, strict=True)]
    mix = _linear(block.linear)
    scale = 1 / block.avg_num_neighbors
    residual = type(block) is RealAgnosticResidualInteractionBlock
    # unbound at once: the gradient of one indexed element would be zeros for all elements
    skip = [matrices.unbind() for matrices in _skip(block.skip_tp)]
    terms = _polynomial(product.symmetric_contractions.contractions[0])
    parameters = [w.unbind() for w in _contraction_weights(product.symmetric_contractions.contractions[0])]
    counts = [count for _, count in near.groups]
    by_element = zip(*(part.split(counts) for part in message), strict=True)
    out = []
    for (element, _), parts in zip(near.groups, by_element, strict=True):
        matrices = [m * scale if residual else m @ skip[k][element] * scale for k, m in enumerate(mix)]
        mixed = torch.cat([part @ matrix for part, matrix in zip(parts, matrices, strict=True)], 1)
        out.append(_contract(mixed, terms, [p[element] for p in parameters]))
    new = torch.cat(out) @ _linear(product.linear)[0]
    if not (residual and product.use_sc):
        return new
    old = zip(near.groups, features.split(counts), strict=True)
    return new + torch.cat([part @ skip[0][element] for (element, _), part in old])


def _padded(values: Tensor, near: Neighbourhood) -> Tensor:
    """Per-edge values (edges, n) as a table (atoms, width, n), zero where an atom has fewer neighbours."""
    table = values.new_zeros(len(near.order) * near.width, values.shape[-1])
    return table.index_copy_(0, near.slot, values).view(len(near.order), near.width, -1)


def _linear(linear: o3.Linear) -> list[Tensor]:
    """The matrices (in, out) of an e3nn Linear, one for each irrep, normalised."""
    out, first = [], 0
    for instruction in linear.instructions:
        size = instruction.path_shape[0] * instruction.path_shape[1]
        view = linear.weight[first : first + size].view(instruction.path_shape)
        out.append(view * instruction.path_weight)
        first += size
    return out


def _skip(product: o3.FullyConnectedTensorProduct) -> list[Tensor]:
    """Matrices (elements, in, out) of a fully connected tensor product with one-hot elements, for each irrep."""
    out, first = [], 0
    for instruction in product.instructions:
        rows, elements, columns = instruction.path_shape
        size = rows * elements * columns
        view = product.weight[first : first + size].view(rows, elements, columns)
        degree = product.irreps_in1[instruction.i_in1].ir.l
        # the Wigner 3j symbol (l, 0, l) is the unit matrix over sqrt(2 l + 1)
        out.append(view.transpose(0, 1) * (instruction.path_weight / (2 * degree + 1) ** 0.5))
        first += size
    return out


def _contraction_weights(contraction: Contraction) -> list[Tensor]:
    """Weights (elements, paths, channels) by order 1, 2, ..."""
    return [*reversed(list(contraction.weights)), contraction.weights_max]


_TERMS: "WeakKeyDictionary[Contraction, list[tuple[Tensor, Tensor]]]" = WeakKeyDictionary()


def _polynomial(contraction: Contraction) -> list[tuple[Tensor, Tensor]]:
    """For each order the monomials that occur: harmonics' indices (order, terms) and coefficients (terms, paths)."""
    like = contraction.weights_max
    terms = _TERMS.get(contraction)
    if terms is None or terms[0][1].dtype != like.dtype or terms[0][1].device != like.device:
        terms = []
        for order in range(1, contraction.correlation + 1):
            coupling = contraction.U_tensors(order).double().cpu()
            total = sum(coupling.permute(*p, order) for p in permutations(range(order)))
            index = torch.combinations(torch.arange(coupling.shape[0]), order, with_replacement=True)
            coefficients = torch.stack([total[tuple(row)] for row in index])
            # the sum over all permutations counts a monomial with equal indices several times
            repeats = torch.tensor([len(set(permutations(row.tolist()))) for row in index])
            coefficients *= (repeats / len(list(permutations(range(order)))))[:, None]
            nonzero = coefficients.abs().amax(1) > 1e-9
            terms.append((index[nonzero].T.contiguous().to(like.device), coefficients[nonzero].to(like)))
        _TERMS[contraction] = terms
    return terms


def _contract(basis: Tensor, terms: list[tuple[Tensor, Tensor]], parameters: list[Tensor]) -> Tensor:
    """The polynomial (atoms, channels) of basis functions (atoms, harmonics, channels) of atoms of one element."""
    out = torch.zeros_like(basis[:, 0])
    for (index, coefficients), weight in zip(terms, parameters, strict=True):
        product = _selected(basis, index[0])
        for row in index[1:]:
            product = product * _selected(basis, row)
        out = out + (product * (coefficients @ weight)).sum(1)
    return out


def _selected(basis: Tensor, columns: Tensor) -> Tensor:
    if len(columns) == basis.shape[1]:  # all squares, in order
        return basis
    return basis.index_select(1, columns)


def atom_energies(net: MACE, element: Tensor, vectors: Tensor, edges: Edges, head: int) -> Tensor:
    """Interaction energy (atoms,) in eV above the isolated atoms; differentiable in `vectors` (edges, 3)."""
    lengths = vectors.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()
    features, near = layer_features(net, element, vectors, lengths, edges, len(net.interactions))
    heads = torch.full_like(element, head)
    read = features[-1:] if len(net.readouts) == 1 else features
    total = sum(
        readout(value, heads)[:, head if len(getattr(net, "heads", ())) > 1 else 0]
        for readout, value in zip(net.readouts, read, strict=True)
    )[near.place]
    if hasattr(net, "pair_repulsion_fn"):
        close = (lengths[:, 0] < LONGEST_PAIR).nonzero()[:, 0]
        total = total + net.pair_repulsion_fn(
            lengths[close], _one_hot(net, element), edges.index.flip(0)[:, close], net.atomic_numbers
        )
    return net.scale_shift(total, heads) if hasattr(net, "scale_shift") else total


def _one_hot(net: MACE, element: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(element, len(net.atomic_numbers)).to(next(net.parameters()).dtype)
