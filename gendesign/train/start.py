"""Start a fit from an existing network, with new elements or a larger cutoff."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import gendesign.imports.mace  # noqa: F401  quick and silent

import numpy as np
import torch
from e3nn import o3
from e3nn.nn import FullyConnectedNet
from mace.modules.blocks import EquivariantProductBasisBlock
from torch import Tensor, nn

from gendesign.errors import UserError
from gendesign.potential import Potential, mace

NOBLE = np.array([0, 2, 10, 18, 36, 54, 86, 118])
MIN_DISTANCE = 0.4  # Angstrom, from which on radial functions are reproduced
DENSITY = 2.2  # Bessel functions per length with the larger cutoff, relative to the smaller one
MAX_ERROR = 0.01  # relative, of the reproduced radial basis


def begin_from(potential: Potential, atomic_energies: Mapping[int, float]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(architecture, weights) of `potential` with the isolated atoms of `atomic_energies` (eV by atomic number).

    A new element starts as a copy of the most similar one (nearest in group, then in period), which is closer to its
    chemistry than random weights. Energies of known elements are replaced too, because another reference method has
    other energies of atoms. Raises UserError for models with several heads.
    """
    energies = torch.atleast_2d(potential.net.atomic_energies_fn.atomic_energies)[0].tolist()
    known = dict(zip(map(int, potential.net.atomic_numbers), energies, strict=True))
    return with_elements(potential, {**known, **dict(sorted(atomic_energies.items()))})


def with_elements(potential: Potential, energies: Mapping[int, float]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(architecture, weights) of `potential` with just the elements of `energies` (eV by atomic number), in order."""
    net = potential.net
    if len(getattr(net, "heads", None) or [0]) > 1:
        raise UserError(f"init={potential.name} has several heads; give a potential with one head")
    known = [int(z) for z in net.atomic_numbers]
    architecture = mace.describe(net)
    architecture |= {
        "num_elements": len(energies),
        "atomic_numbers": list(energies),
        "atomic_energies": list(energies.values()),
    }
    changed = mace.from_plain(architecture, next(net.parameters()).dtype)
    with torch.no_grad():
        _copy(net, changed, [known.index(z if z in known else most_similar(z, known)) for z in energies])
    return architecture, {
        key: value.float() if value.is_floating_point() else value for key, value in changed.state_dict().items()
    }


def with_cutoff(
    architecture: Mapping[str, Any], weights: Mapping[str, Tensor], cutoff: float
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(architecture, weights) of a network with a larger `cutoff` (Angstrom) and the same predictions.

    The old radial basis is zero beyond the old cutoff. More Bessel functions on the larger range reproduce it by least
    squares to 1e-4, so that only the first matrix of each radial network changes. Raises UserError for a cutoff that is
    not larger, and for networks with another radial basis.
    """
    old, old_cutoff = mace.from_plain(dict(architecture)), architecture["r_max"]
    if not isinstance(cutoff, int | float) or not old_cutoff < cutoff < math.inf:
        raise UserError(
            f"cutoff={cutoff}: the potential of init has {old_cutoff:g} Angstrom; give more, or null to keep it"
        )
    old.load_state_dict(dict(weights))
    n_bessel = math.ceil(DENSITY * architecture["num_bessel"] * cutoff / old_cutoff)
    extended = {**architecture, "r_max": float(cutoff), "num_bessel": n_bessel}
    new = mace.from_plain(extended)
    lengths = torch.linspace(MIN_DISTANCE, cutoff, 200 * n_bessel)[:, None]
    basis, target = _radial(new, lengths), _radial(old, lengths)
    simple = basis is not None and all(
        isinstance(block.conv_tp_weights, FullyConnectedNet) for block in (*old.interactions, *new.interactions)
    )
    mixing = torch.linalg.lstsq(basis.double(), target.double(), driver="gelsd").solution if simple else None
    if mixing is None or (basis.double() @ mixing - target).norm() > MAX_ERROR * target.norm():
        raise UserError(
            f"cutoff={cutoff:g}: the radial functions of init cannot be extended to it; start a new network (init=null)"
        )
    weights = new.state_dict()
    for key, value in old.state_dict().items():
        if key.endswith("conv_tp_weights.layer0.weight"):
            # e3nn divides by the square root of the inputs
            weights[key] = (mixing @ value.double()).float() * (n_bessel / len(value)) ** 0.5
        elif not key.startswith("radial_embedding.") and key != "r_max":
            weights[key] = value
    return extended, weights


def _radial(net: nn.Module, lengths: Tensor) -> Tensor | None:
    """The radial basis (lengths, functions); None if it depends on elements or has a separate envelope."""
    if hasattr(net.radial_embedding, "distance_transform"):
        return None
    attributes = torch.eye(len(net.atomic_numbers))[:1]
    with torch.no_grad():
        basis, envelope = net.radial_embedding(
            lengths, attributes, torch.zeros(2, len(lengths), dtype=torch.long), net.atomic_numbers
        )
    return basis if envelope is None else None


def most_similar(number: int, known: Sequence[int]) -> int:
    """The atomic number among `known` that is nearest in the periodic table: by group, then by period."""

    def place(z: int) -> tuple[int, int]:
        period = int(np.searchsorted(NOBLE, z))
        after, before = z - NOBLE[period - 1], z - NOBLE[period] - 1
        return period, int(after if after <= 2 else before)  # groups counted from the left or from the right

    period, group = place(number)
    return min(known, key=lambda z: (abs(place(z)[1] - group), abs(place(z)[0] - period)))


def _copy(old: nn.Module, new: nn.Module, source: Sequence[int]) -> None:
    """Copy every parameter; along axes of elements, row k of the new comes from row source[k] of the old.

    e3nn divides by the square root of the inputs, elements among them, so weights are compared with that factor on.
    """
    rows = torch.tensor(source)
    done = set()
    for (name, a), (_, b) in zip(old.named_modules(), new.named_modules(), strict=True):
        if isinstance(a, o3.FullyConnectedTensorProduct) or name == "node_embedding.linear":
            axis = 1 if isinstance(a, o3.FullyConnectedTensorProduct) else 0
            first = [0, 0]
            for i, j in zip(a.instructions, b.instructions, strict=True):
                sizes = [int(np.prod(i.path_shape)), int(np.prod(j.path_shape))]
                value = a.weight[first[0] : first[0] + sizes[0]].view(i.path_shape) * i.path_weight
                value = value.index_select(axis, rows.to(value.device)) / j.path_weight
                b.weight[first[1] : first[1] + sizes[1]] = value.flatten()
                first = [first[0] + sizes[0], first[1] + sizes[1]]
            done.add(f"{name}.weight")
        elif isinstance(a, EquivariantProductBasisBlock):
            for key, value in a.symmetric_contractions.named_parameters():
                dict(b.symmetric_contractions.named_parameters())[key].copy_(value[rows.to(value.device)])
                done.add(f"{name}.symmetric_contractions.{key}")
    for (name, a), (_, b) in zip(old.named_parameters(), new.named_parameters(), strict=True):
        if name not in done:
            b.copy_(a)
