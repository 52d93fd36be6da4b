"""A Lennard-Jones model that stands in for another package's: copied into an engine's folder, run in its process.

Three elements misbehave: He ends the process, Ne ends it once, Kr has no finite energy.
"""

import json
import os
from pathlib import Path

import torch

CUTOFF, SMOOTH = 6.0, 5.0  # Angstrom


class Double:
    def __init__(self, weights, head, device, dtype):
        self.path = Path(weights[0])
        content = json.loads(self.path.read_text())
        if "broken" in content:
            raise ValueError(content["broken"])
        print("loaded", flush=True)
        self.depth, self.width = content[head or "depth"], content["width"]
        self.cutoff, self.numbers = CUTOFF, [1, 2, 6, 8, 10, 18, 36]

    def energies(self, graph):
        numbers = set(graph.numbers.tolist())
        if 2 in numbers:
            print("helium is too much\nfor me", flush=True)
            os._exit(3)
        marker = self.path.with_suffix(".died")
        if 10 in numbers and not marker.exists():
            marker.touch()
            os._exit(4)
        lengths = graph.vectors.norm(dim=-1)
        power = (self.width / lengths) ** 6
        pairs = 2 * self.depth * (power**2 - power) * self._smooth(lengths)
        out = pairs.new_zeros(len(graph.numbers)).index_add(0, graph.index[0], pairs)
        return torch.where(graph.numbers == 36, torch.nan, out)

    def constants(self, graph):
        return graph.numbers.double()

    def features(self, graph, layers):
        lengths = graph.vectors.norm(dim=-1)
        columns = [torch.exp(-((lengths - k) ** 2)) * self._smooth(lengths) for k in range(1, 1 + 3 * layers)]
        rows = torch.stack(columns, 1)
        return rows.new_zeros(len(graph.numbers), rows.shape[1]).index_add(0, graph.index[0], rows)

    def _smooth(self, lengths):
        x = ((lengths - SMOOTH) / (CUTOFF - SMOOTH)).clamp(0, 1)
        return 1 - x**3 * (10 - 15 * x + 6 * x**2)
