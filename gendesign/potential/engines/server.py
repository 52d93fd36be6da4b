"""The process of an engine: it loads one model, then answers requests until the other end closes.

Started by process.py as `python -m gendesign.potential.engines.server SETTINGS`. It runs with the folder of the foreign
package first on its path, and imports neither mace-torch nor torch-sim.
"""

import ctypes
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gendesign.potential.engines.graph import Graph
from gendesign.potential.engines.wire import Arrays, Fields, receive, send

PR_SET_PDEATHSIG = 1  # of Linux's prctl
LONGEST_MESSAGE = 300  # characters of an error


class Backend(Protocol):
    """A model in this process: what a module in backends/ defines.

    Called with the files of its weights, the head, the device and the floating-point type. cutoff: in Angstrom;
    numbers: the atomic numbers it knows. An optional method `constants` gives energies (atoms,) in float64 that depend
    on the element alone.
    """

    cutoff: float
    numbers: Sequence[int]

    def energies(self, graph: Graph) -> Tensor:
        """Energies (atoms,), or (members, atoms) of a committee, in eV; differentiable in the vectors."""

    def features(self, graph: Graph, layers: int) -> Tensor:
        """Invariants (atoms, n) after `layers` interactions; differentiable in the vectors."""


class Engine:
    """Answers requests with a backend; keeps the graph of the last features for their gradient."""

    def __init__(self, backend: Backend, device: torch.device) -> None:
        self.backend, self.device = backend, device
        self.kept: tuple[int, Tensor, Tensor] | None = None  # ticket, vectors, features

    def answer(self, fields: Fields, arrays: Arrays) -> tuple[Fields, dict[str, Tensor]]:
        """The answer to one request: `evaluate`, `features` or `gradient`."""
        if fields["do"] == "evaluate":
            return {}, self._evaluate(self._graph(fields, arrays), fields["forces"])
        if fields["do"] == "features":
            self.kept = None  # frees its memory first
            graph = self._graph(fields, arrays)
            with torch.set_grad_enabled(fields["gradient"]):
                vectors = graph.vectors.requires_grad_(fields["gradient"])
                features = self.backend.features(graph, fields["layers"])
            if fields["gradient"]:
                self.kept = (fields["ticket"], vectors, features)
            return {}, {"features": features.detach()}
        if self.kept is None or self.kept[0] != fields["ticket"]:
            return {"gone": True}, {}
        _, vectors, features = self.kept
        weights = self._tensor(arrays["weights"]).to(features)
        return {}, {"gradient": _gradient(features, vectors, weights)}

    def _evaluate(self, graph: Graph, forces: bool) -> dict[str, Tensor]:
        """Energies (systems,) and (atoms,) in float64; forces (atoms, 3) and virials (systems, 3, 3)."""
        with torch.set_grad_enabled(forces):
            vectors = graph.vectors.requires_grad_(forces)
            members = self.backend.energies(graph)
            members = members if members.dim() == 2 else members[None]
        constants = getattr(self.backend, "constants", None)
        atoms = members.detach().double().mean(0) + (0.0 if constants is None else constants(graph))
        total = atoms.new_zeros(graph.n_systems)
        out = {"energy": total.index_add(0, graph.system, atoms), "atom_energy": atoms}
        if len(members) > 1:
            each = atoms.new_zeros(len(members), graph.n_systems).index_add(1, graph.system, members.detach().double())
            out["deviation"] = each.std(0)
        if forces:
            slope = _gradient(members.mean(0), vectors, torch.ones_like(members[0]))
            zero = slope.new_zeros(len(graph.numbers), 3)
            out["forces"] = zero.index_add(0, graph.index[0], slope).index_add(0, graph.index[1], -slope)
            # strain moves every vector v by strain @ v, so the gradients of the edges hold the whole virial
            virial = (vectors.detach()[:, :, None] * slope[:, None]).flatten(1)
            sums = slope.new_zeros(graph.n_systems, 9).index_add(0, graph.system[graph.index[0]], virial)
            out["virial"] = (sums.view(-1, 3, 3) + sums.view(-1, 3, 3).transpose(1, 2)) / 2
        return out

    def _graph(self, fields: Fields, arrays: Arrays) -> Graph:
        tensors = {name: self._tensor(array) for name, array in arrays.items()}
        return Graph(
            tensors["numbers"].long(),
            tensors["system"].long(),
            fields["n_systems"],
            tensors["index"].long(),
            tensors["vectors"],
            tensors["images"].long(),
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def _gradient(values: Tensor, vectors: Tensor, weights: Tensor) -> Tensor:
    """Gradient (edges, 3) of sum(weights * values); zero where the values depend on no vector, as of lone atoms."""
    if not values.requires_grad:
        return torch.zeros_like(vectors)
    (gradient,) = torch.autograd.grad(values, vectors, weights, retain_graph=True, allow_unused=True)
    return torch.zeros_like(vectors) if gradient is None else gradient


def load(settings: Fields) -> Engine:
    """The model that the settings name."""
    module, _, name = settings["backend"].partition(":")
    device, dtype = torch.device(settings["device"]), getattr(torch, settings["dtype"])
    backend = getattr(importlib.import_module(module), name)(settings["weights"], settings["head"], device, dtype)
    return Engine(backend, device)


def serve(connection: socket.socket, settings: Fields) -> None:
    """Load the model, say so, and answer requests until the connection closes."""
    try:
        engine = load(settings)
    except Exception as error:
        send(connection, _error(error), {})
        return
    about = {"cutoff": engine.backend.cutoff, "numbers": [int(z) for z in engine.backend.numbers]}
    send(connection, {"ready": about}, {})
    while True:
        try:
            fields, arrays = receive(connection)
        except (EOFError, OSError):
            return
        try:
            answer, tensors = engine.answer(fields, arrays)
            out = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        except Exception as error:
            answer, out = _error(error), {}
        try:
            send(connection, {**answer, "cpu_seconds": time.process_time()}, out)
        except OSError:
            return


def _error(error: Exception) -> Fields:
    memory = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
    text = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_MESSAGE]
    return {"error": text, "memory": memory}


def main(arguments: Sequence[str]) -> None:
    """Entry point; `arguments` hold the settings as JSON."""
    settings: dict[str, Any] = json.loads(arguments[0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    if settings["parent"] is not None and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != settings["parent"]:
            return  # it ended before the kernel watched it
    torch.set_num_threads(1)
    with socket.socket(fileno=settings["descriptor"]) as connection:
        serve(connection, settings)


if __name__ == "__main__":
    main(sys.argv[1:])
