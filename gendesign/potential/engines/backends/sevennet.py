"""SevenNet: NequIP-like networks for 89 elements (Park et al., J. Chem. Theory Comput. 20, 4857, 2024)."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gendesign.potential.engines.graph import Graph

GATE = "_equivariant_gate"  # ends an interaction


class SevenNet:
    """A SevenNet checkpoint, module by module on given edges."""

    def __init__(self, weights: Sequence[str], head: str | None, device: torch.device, dtype: torch.dtype) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from sevenn import _keys
            from sevenn.checkpoint import SevenNetCheckpoint

            net = SevenNetCheckpoint(weights[0]).build_model()
        self.keys: Any = _keys
        net.set_is_batch_data(True)
        self.net = net.to(device=device, dtype=dtype).eval().requires_grad_(False)
        # Bessel frequencies and the like that are neither parameters nor buffers
        basis = net._modules["edge_embedding"].basis_function
        if not isinstance(basis.coeffs, torch.nn.Parameter):
            basis.coeffs = basis.coeffs.to(device=device, dtype=dtype)
        self.dtype, self.cutoff = dtype, float(net.cutoff)
        self.numbers = sorted(int(z) for z in net.type_map)
        self.index = net.z_to_onehot_tensor.to(device)
        self.modal = None if head is None else int(net.modal_map[head])

    def energies(self, graph: Graph) -> Tensor:
        """Energies (atoms,) in eV, differentiable in the vectors."""
        data = self._data(graph)
        for name, module in self.net._modules.items():
            if name == "force_output":
                break
            data = self._step(name, module, data)
        return data[self.keys.ATOMIC_ENERGY].view(-1)

    def features(self, graph: Graph, layers: int) -> Tensor:
        """Invariants (atoms, n) of the features after each of the first `layers` interactions.

        These are the scalars, and the squared length of every equivariant feature: scalars of the first interaction see
        distances alone, lengths see angles too.
        """
        data, out, done = self._data(graph), [], 0
        for name, module in self.net._modules.items():
            data = self._step(name, module, data)
            if name.endswith(GATE):
                out.append(_invariants(data[self.keys.NODE_FEATURE], module.gate.irreps_out))
                done += 1
                if done == layers:
                    break
        return torch.cat(out, 1)

    def _data(self, graph: Graph) -> dict[str, Any]:
        kinds = self.index[graph.numbers]
        counts = torch.bincount(graph.system, minlength=graph.n_systems)
        data: dict[str, Any] = {
            self.keys.ATOMIC_NUMBERS: graph.numbers,
            self.keys.NODE_FEATURE: kinds,
            self.keys.EDGE_IDX: graph.index,
            self.keys.EDGE_VEC: graph.vectors,
            self.keys.BATCH: graph.system,
            self.keys.NUM_ATOMS: counts,
        }
        if self.modal is not None:
            data[self.keys.MODAL_TYPE] = torch.full_like(counts, self.modal)
        return data

    def _step(self, name: str, module: Any, data: dict[str, Any]) -> dict[str, Any]:
        data = module(data)
        if "one" in name and "hot" in name:  # one-hot codes are made in float32
            data = {key: value.to(self.dtype) if value.is_floating_point() else value for key, value in data.items()}
        return data


def _invariants(features: Tensor, irreps: Any) -> Tensor:
    """Scalars, and mean squares of the components of each other feature, (atoms, n)."""
    out, first = [], 0
    for count, irrep in irreps:
        part = features[:, first : first + count * irrep.dim]
        first += count * irrep.dim
        out.append(part if irrep.l == 0 else part.view(-1, count, irrep.dim).square().mean(-1))
    return torch.cat(out, 1)
