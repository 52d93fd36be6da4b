"""MACE networks: build from plain settings, feed with batches, run layer by layer."""

import importlib
from collections.abc import Sequence
from typing import Any

import gendesign.imports.mace  # noqa: F401  quick and silent
from gendesign.imports import silenced

import numpy as np
import torch
from e3nn import o3
from mace.modules import MACE
from mace.modules import models as mace_models
from mace.tools.scripts_utils import extract_config_mace_model
from torch import Tensor

from gendesign.potential import scalar
from gendesign.structure.graph import Batch, Edges
from gendesign.structure.types import Prediction

IRREPS = ("hidden_irreps", "MLP_irreps", "edge_irreps")
GATES = {"silu": torch.nn.functional.silu, "tanh": torch.tanh, "abs": torch.abs, "None": None}


def to_plain(config: dict[str, Any]) -> dict[str, Any]:
    """Constructor arguments of a MACE as plain YAML values (classes and gates by name, arrays as lists)."""

    def plain(key: str, value: Any) -> Any:
        if isinstance(value, type):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, o3.Irreps):
            return str(value)
        if isinstance(value, (np.ndarray, Tensor)):
            return np.asarray(value).tolist()
        if isinstance(value, np.generic):
            return value.item()
        if key == "gate":
            return next(name for name, gate in GATES.items() if gate is value or getattr(value, "__name__", "") == name)
        if isinstance(value, (list, tuple)):
            return [plain("", v) for v in value]
        return value

    return {key: plain(key, value) for key, value in config.items()}


def from_plain(config: dict[str, Any], dtype: torch.dtype = torch.float32) -> MACE:
    """Build the network that `to_plain` described, untrained, in `dtype`."""

    def live(key: str, value: Any) -> Any:
        if value is None:
            return None
        if key in IRREPS:
            return o3.Irreps(value)
        if key == "gate":
            return GATES[value]
        if key == "atomic_energies":
            return np.asarray(value, dtype=float)
        if isinstance(value, str) and value.startswith("mace.modules."):
            module, _, name = value.rpartition(".")
            return getattr(importlib.import_module(module), name)
        return value

    config = dict(config)
    cls = live("", config.pop("class", "mace.modules.models.ScaleShiftMACE"))
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # MACE allocates its constants in the default dtype of construction
    try:
        with silenced():
            return cls(**{key: live(key, value) for key, value in config.items()})
    finally:
        torch.set_default_dtype(before)


def describe(net: MACE) -> dict[str, Any]:
    """The plain settings from which `from_plain` rebuilds `net`."""
    config = extract_config_mace_model(net)
    if "error" in config:
        raise ValueError(f"cannot describe a {type(net).__name__}: {config['error']}")
    return {"class": f"{mace_models.__name__}.{type(net).__name__}", **to_plain(config)}


def new_mace(
    *,
    atomic_energies: dict[int, float],
    cutoff: float = 4.5,
    channels: int = 64,
    max_ell: int = 2,
    max_l: int = 0,
    correlation: int = 2,
    layers: int = 2,
    n_bessel: int = 8,
    radial_mlp: Sequence[int] = (64,),
    readout: int = 16,
    average_neighbours: float = 14.0,
    scale: float = 1.0,
    pair_repulsion: bool = True,
) -> dict[str, Any]:
    """Plain settings of a compact ScaleShiftMACE.

    The first interaction has no self-connection and the shift is zero, so an isolated atom has exactly its
    `atomic_energies` (eV); the ZBL pair term keeps every pair repulsive at short range.
    """
    block = "mace.modules.blocks."
    return {
        "class": "mace.modules.models.ScaleShiftMACE",
        "r_max": cutoff,
        "num_bessel": n_bessel,
        "num_polynomial_cutoff": 5,
        "max_ell": max_ell,
        "interaction_cls": block + "RealAgnosticResidualInteractionBlock",
        "interaction_cls_first": block + "RealAgnosticInteractionBlock",
        "num_interactions": layers,
        "num_elements": len(atomic_energies),
        "hidden_irreps": "+".join(
            f"{channels}x{degree}{'e' if degree % 2 == 0 else 'o'}" for degree in range(max_l + 1)
        ),
        "MLP_irreps": f"{readout}x0e",
        "atomic_energies": list(atomic_energies.values()),
        "avg_num_neighbors": average_neighbours,
        "atomic_numbers": list(atomic_energies),
        "correlation": correlation,
        "gate": "silu",
        "pair_repulsion": pair_repulsion,
        "radial_MLP": list(radial_mlp),
        "atomic_inter_scale": scale,
        "atomic_inter_shift": 0.0,
    }


def elements(net: MACE, numbers: Tensor) -> Tensor:
    """Index (atoms,) of each atom's element among the network's, from atomic numbers (atoms,)."""
    return (numbers[:, None] == net.atomic_numbers[None]).long().argmax(-1)


def one_hot(net: MACE, numbers: Tensor) -> Tensor:
    """Node attributes (atoms, elements) from atomic numbers (atoms,)."""
    known = net.atomic_numbers
    return (numbers[:, None] == known[None]).to(next(net.parameters()).dtype)


def inputs(net: MACE, batch: Batch, edges: Edges) -> dict[str, Tensor]:
    """The dictionary that MACE's forward reads."""
    counts = torch.bincount(batch.system, minlength=batch.n_systems)
    pointer = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    cell = batch.positions.new_zeros(batch.n_systems, 3, 3) if batch.cell is None else batch.cell
    return {
        "positions": batch.positions,
        "node_attrs": one_hot(net, batch.numbers),
        "batch": batch.system,
        "ptr": pointer,
        "edge_index": edges.index,
        "shifts": edges.shift,
        "unit_shifts": edges.unit_shift,
        "cell": cell.reshape(-1, 3),
        "head": torch.zeros(batch.n_systems, dtype=torch.long, device=batch.positions.device),
    }


def predict(
    net: MACE, batch: Batch, edges: Edges, *, head: int = 0, stress: bool = False, training: bool = False
) -> Prediction:
    """Energies, forces and, on request, stress of a batch; with `training` they stay differentiable in the weights.

    Energies are float64 whatever the network's dtype: all-electron totals of thousands of eV leave float32 no digits.
    """
    if not scalar.supports(net):
        data = inputs(net, batch, edges)
        data["head"] = torch.full_like(data["head"], head)
        with torch.enable_grad():
            out = net(data, training=training, compute_force=True, compute_stress=stress)
        keep = (lambda t: t) if training else Tensor.detach
        return Prediction(
            keep(_total(net, batch, out, head)),
            keep(out["forces"]),
            keep(out["node_energy"]),
            keep(out["stress"]) if stress else None,
        )
    element = elements(net, batch.numbers)
    with torch.enable_grad():
        vectors = scalar.vectors_of(batch.positions, edges).detach().requires_grad_(True)
        interaction = scalar.atom_energies(net, element, vectors, edges, head)
        (slope,) = torch.autograd.grad(interaction.sum(), vectors, create_graph=training)
    force = torch.zeros_like(batch.positions).index_add(0, edges.index[1], slope).index_add(0, edges.index[0], -slope)
    isolated = torch.atleast_2d(net.atomic_energies_fn.atomic_energies)[head][element]
    atom = isolated.double() + (interaction if training else interaction.detach()).double()
    energy = atom.new_zeros(batch.n_systems).index_add(0, batch.system, atom)
    tension = None
    if stress:
        # strain moves every vector v by strain @ v, so the edges' gradients hold the whole virial
        virial = (vectors.detach()[:, :, None] * slope[:, None]).flatten(1)
        total = virial.new_zeros(batch.n_systems, 9).index_add(0, batch.system[edges.index[0]], virial).view(-1, 3, 3)
        tension = (total + total.transpose(1, 2)) / (2 * torch.linalg.det(batch.cell).abs()[:, None, None])
    return Prediction(energy, force, atom, tension)


@torch.no_grad()
def energies(net: MACE, batch: Batch, edges: Edges, *, head: int = 0) -> Tensor:
    """The energies (systems,) of `predict` in float64, alone: nothing is differentiated."""
    if not scalar.supports(net):
        data = inputs(net, batch, edges)
        data["head"] = torch.full_like(data["head"], head)
        return _total(net, batch, net(data, compute_force=False), head)
    element = elements(net, batch.numbers)
    interaction = scalar.atom_energies(net, element, scalar.vectors_of(batch.positions, edges), edges, head)
    isolated = torch.atleast_2d(net.atomic_energies_fn.atomic_energies)[head][element]
    atom = isolated.double() + interaction.double()
    return atom.new_zeros(batch.n_systems).index_add(0, batch.system, atom)


def _total(net: MACE, batch: Batch, out: dict[str, Tensor], head: int) -> Tensor:
    """Energies (systems,) in float64 from the answer of MACE's forward."""
    if "interaction_energy" not in out:
        return out["energy"].double()
    isolated = torch.atleast_2d(net.atomic_energies_fn.atomic_energies)[head][elements(net, batch.numbers)].double()
    return out["interaction_energy"].double().index_add(0, batch.system, isolated)


def descriptors(
    net: MACE, positions: Tensor, numbers: Tensor, edges: Edges, layers: int, shortest: float | None = None
) -> Tensor:
    """Invariant (l = 0) node features of the first `layers` interactions, (atoms, layers * channels); differentiable.

    Only those layers run. With `shortest` (Angstrom) the radial embedding sees lengths clamped from below
    (0.75 Angstrom in SiMGen, arXiv 2402.08708), while directions stay exact.
    """
    if scalar.supports(net, layers):
        vectors = scalar.vectors_of(positions, edges)
        lengths = vectors.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()
        out, near = scalar.layer_features(net, elements(net, numbers), vectors, lengths, edges, layers, shortest)
        return torch.cat(out, -1)[near.place]
    attributes = one_hot(net, numbers)
    vectors = positions[edges.index[1]] - positions[edges.index[0]] + edges.shift
    lengths = vectors.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()
    clamped = lengths if shortest is None else lengths.clamp_min(shortest)
    features = net.node_embedding(attributes)
    edge_attrs = net.spherical_harmonics(vectors)
    edge_feats, cutoff = net.radial_embedding(clamped, attributes, edges.index, net.atomic_numbers)
    out = []
    for k, (interaction, product) in enumerate(zip(net.interactions[:layers], net.products[:layers], strict=True)):
        features, skip = interaction(
            node_attrs=attributes,
            node_feats=features,
            edge_attrs=edge_attrs,
            edge_feats=edge_feats,
            edge_index=edges.index,
            cutoff=cutoff,
            first_layer=k == 0,
        )
        features = product(node_feats=features, sc=skip, node_attrs=attributes)
        channels = product.linear.irreps_out.count(o3.Irrep(0, 1))
        out.append(features[:, :channels])
    return torch.cat(out, -1)


__all__ = [
    "describe",
    "descriptors",
    "elements",
    "from_plain",
    "inputs",
    "new_mace",
    "one_hot",
    "predict",
    "to_plain",
]
