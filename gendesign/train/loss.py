"""The training loss, and the errors of a network against labels."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from gendesign.potential import mace
from gendesign.structure.types import Prediction
from gendesign.train.dataset import Dataset


def predicted(net: nn.Module, data: Dataset, chosen: Tensor, training: bool) -> Iterator[tuple[Prediction, tuple]]:
    """Prediction and labels (indices, batch, energy, forces, stress) of each part of `chosen` with one periodicity."""
    device = next(net.parameters()).device
    for part in data.alike(chosen):
        batch, energy, forces = data.batch(part)
        edges = data.edges(batch, part, float(net.r_max))
        batch, energy, forces = batch.to(device), energy.to(device), forces.to(device)
        stress = data.stress[part].to(device) if batch.cell is not None else None
        wanted = stress is not None and bool(torch.isfinite(stress).any())
        out = mace.predict(net, batch, edges.to(device), training=training, stress=wanted)
        yield out, (part, batch, energy, forces, stress)


def loss(
    net: nn.Module, data: Dataset, chosen: Tensor, energy_weight: float, stress_weight: float, damping: float
) -> Tensor:
    """Mean length of the force errors (eV/Angstrom) plus the weighted absolute errors of energy and stress (eV/atom).

    The error of a stress is that of the virial per atom. Missing energies and stresses (NaN) count as zero errors, so
    that few labels have a small weight. Structures with forces beyond `damping` (eV/Angstrom) count less.
    """
    force_sum, energy_sum, stress_sum, atoms = 0.0, 0.0, 0.0, 0
    for out, (_, batch, energy, forces, stress) in predicted(net, data, chosen, training=True):
        length = forces.norm(dim=-1)
        counts = torch.bincount(batch.system, minlength=batch.n_systems)
        typical = torch.zeros_like(energy, dtype=length.dtype).index_add_(0, batch.system, length) / counts
        force_sum = force_sum + ((out.forces - forces).norm(dim=-1) / (1 + length / damping)).sum()
        # missing labels are masked before the difference, because gradients of NaN are NaN
        known = ~torch.isnan(energy)
        off = (out.energy - energy)[known].abs() / counts[known]
        energy_sum = energy_sum + (off / (1 + typical[known] / damping)).sum().float()
        atoms += len(batch.numbers)
        if out.stress is not None:
            known = ~torch.isnan(stress).flatten(1).any(1)
            volume = torch.linalg.det(batch.cell).abs() / counts
            virial = (out.stress - stress)[known] * volume[known, None, None]
            stress_sum = stress_sum + virial.flatten(1).norm(dim=-1).sum()
    return force_sum / atoms + (energy_weight * energy_sum + stress_weight * stress_sum) / len(chosen)


def errors(net: nn.Module, data: Dataset, batch_size: int = 64) -> dict[str, dict[str, float]]:
    """Errors by class: count, MAE and RMSE of energies, forces per component and stresses, and RMS of labelled forces.

    Energies in meV/atom, forces in meV/Angstrom, stresses in meV/Angstrom^3; quantities without labels are left out.
    """
    return summary(data, deviations(net, data, batch_size))


def summary(data: Dataset, by_structure: dict[int, dict[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    """The table of `errors` from `deviations`."""
    rows: dict[str, list] = {}
    for index, row in by_structure.items():
        rows.setdefault(str(data.kind[index]), []).append(row)
    return {kind: _row(rows) for kind, rows in sorted(rows.items())}


def deviations(net: nn.Module, data: Dataset, batch_size: int = 64) -> dict[int, dict[str, np.ndarray]]:
    """By structure: energy error per atom (eV), force and stress errors per component, and the labelled forces."""
    out = {}
    for chosen in data.chunks(batch_size):
        for answer, (part, batch, energy, forces, stress) in predicted(net, data, chosen, training=False):
            counts = torch.bincount(batch.system, minlength=batch.n_systems)
            energy_error = ((answer.energy - energy) / counts).cpu().numpy()
            split_forces = [torch.split(t.detach().cpu(), counts.tolist()) for t in ((answer.forces - forces), forces)]
            stress_error = None if answer.stress is None else (answer.stress - stress).detach().cpu().numpy()
            for k, index in enumerate(part.tolist()):
                out[index] = {
                    "energy": energy_error[k : k + 1],
                    "forces": split_forces[0][k].numpy().ravel(),
                    "label": split_forces[1][k].numpy().ravel(),
                    "stress": np.zeros(0) if stress_error is None else stress_error[k].ravel(),
                }
    return dict(sorted(out.items()))


def _row(rows: list[dict[str, np.ndarray]]) -> dict[str, float]:
    table: dict[str, float] = {"n": len(rows)}
    for key, unit in (("energy", "mev_atom"), ("forces", "mev_a"), ("stress", "mev_a3")):
        error = 1000 * np.concatenate([row[key] for row in rows])
        error = error[np.isfinite(error)]
        if len(error):
            name = key.removesuffix("s") if key == "forces" else key
            table[f"{name}_mae_{unit}"] = float(np.abs(error).mean())
            table[f"{name}_rmse_{unit}"] = float(np.sqrt(np.square(error).mean()))
    label = np.concatenate([row["label"] for row in rows])
    if np.isfinite(label).any():
        table["force_rms_mev_a"] = 1000 * float(np.sqrt(np.nanmean(np.square(label))))
    return table
