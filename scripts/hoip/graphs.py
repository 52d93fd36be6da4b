"""Batched evaluation of crystals by SevenNet, on a GPU if there is one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
VOIGT = [0, 1, 2, 4, 5, 3]  # SevenNet's order is xx yy zz xy yz zx, with the opposite sign


@dataclass(frozen=True)
class Graph:
    """The input of SevenNet: atomic numbers, pairs (2, n), their vectors (n, 3) in Angstrom, volume in Angstrom^3."""

    numbers: np.ndarray
    pairs: np.ndarray
    vectors: np.ndarray
    volume: float


def graph(atoms: Atoms, cutoff: float) -> Graph:
    """The graph of periodic atoms; cutoff in Angstrom."""
    from matscipy.neighbours import neighbour_list

    first, second, vectors = neighbour_list(
        "ijD", cutoff=float(cutoff), positions=atoms.positions, cell=atoms.cell.array, pbc=[True] * 3
    )
    return Graph(atoms.numbers.copy(), np.stack([first, second]), vectors.astype(np.float32), atoms.get_volume())


def predicted(model, graphs: Sequence[Graph]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energies (crystals,), forces (atoms, 3) and stresses (crystals, 6) in eV and Angstrom, on the model's device.

    model: a SevenNet model after set_is_batch_data(True).
    """
    import sevenn._keys as key
    from sevenn.atom_graph_data import AtomGraphData

    device = next(model.parameters()).device
    sizes = torch.tensor([len(item.numbers) for item in graphs])
    first = (torch.cumsum(sizes, 0) - sizes).tolist()
    numbers = torch.tensor(np.concatenate([item.numbers for item in graphs])).to(device)
    pairs = np.concatenate([item.pairs + start for item, start in zip(graphs, first, strict=True)], axis=1)
    out = model(AtomGraphData(**{
        key.NODE_FEATURE: numbers,
        key.ATOMIC_NUMBERS: numbers,
        key.POS: torch.zeros(len(numbers), 3, device=device),
        key.EDGE_IDX: torch.tensor(pairs, dtype=torch.long).to(device),
        key.EDGE_VEC: torch.tensor(np.concatenate([item.vectors for item in graphs])).to(device),
        key.CELL_VOLUME: torch.tensor([item.volume for item in graphs], dtype=torch.float32).to(device),
        key.NUM_ATOMS: sizes.to(device),
        key.BATCH: torch.repeat_interleave(torch.arange(len(sizes)), sizes).to(device),
        key.INFO: {},
    }))  # fmt: skip
    return (
        out[key.PRED_TOTAL_ENERGY].reshape(-1),
        out[key.PRED_FORCE],
        -out[key.PRED_STRESS].reshape(-1, 6)[:, VOIGT],
    )
