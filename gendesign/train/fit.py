"""Fit a MACE network to labelled structures: one loop, an exact restart, an average of the weights."""

import csv
import gc
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed, nn
from tqdm import tqdm

from gendesign.potential import mace
from gendesign.structure.graph import neighbours
from gendesign.structure.types import UserError
from gendesign.train.dataset import Dataset
from gendesign.train.muon import Muon


@dataclass(frozen=True)
class Fit:
    """How to train. The loss is the mean length of the force error (eV/Angstrom) plus `energy_weight` times the
    absolute energy error per atom (eV); both are damped for violent structures beyond `damping` eV/Angstrom,
    whose few huge forces would otherwise lead. `energy_weight` rises linearly from its first to its second value.
    """

    steps: int = 20_000
    batch_size: int = 16
    learning_rate: float = 0.005
    warmup: int = 200
    decay_from: float = 0.5
    energy_weight: tuple[float, float] = (5.0, 20.0)
    damping: float = 5.0
    gradient_clip: float = 10.0
    average: float = 0.999
    seed: int = 0
    save_every: int = 500

    def __post_init__(self) -> None:
        for key in ("steps", "batch_size", "save_every"):
            if getattr(self, key) < 1:
                raise UserError(f"fit.{key}={getattr(self, key)}: give a whole number of 1 or more")
        for key in ("learning_rate", "damping", "gradient_clip"):
            if not getattr(self, key) > 0:
                raise UserError(f"fit.{key}={getattr(self, key)}: give a number above 0")
        if len(self.energy_weight) != 2:
            raise UserError(f"fit.energy_weight={list(self.energy_weight)}: give its first and its last value")


@torch.no_grad()
def _blend(average: dict[str, Tensor], net: nn.Module, keep: float) -> None:
    for name, value in net.named_parameters():
        average[name].lerp_(value, 1 - keep)


def _loss(net: nn.Module, data: Dataset, chosen: Tensor, energy_weight: float, damping: float) -> Tensor:
    batch, energy, forces = data.batch(chosen)
    out = mace.predict(net, batch, neighbours(batch, float(net.r_max)), training=True)
    length = forces.norm(dim=-1)
    force_error = (out.forces - forces).norm(dim=-1) / (1 + length / damping)
    counts = torch.bincount(batch.system, minlength=batch.n_systems)
    typical = torch.zeros(batch.n_systems).index_add_(0, batch.system, length) / counts
    energy_error = (out.energy - energy).abs() / counts / (1 + typical / damping)
    return force_error.mean() + energy_weight * energy_error.mean().float()


def _schedule(step: int, settings: Fit) -> float:
    """Linear warm-up, a plateau, then from `decay_from` (share of all steps) a straight line to zero.

    On the plateau the averaged weights are usable at any time, and data may be added without a new warm-up.
    """
    rise = (step + 1) / max(1, settings.warmup)
    fall = (settings.steps - step) / max(1, settings.steps * (1 - settings.decay_from))
    return min(1.0, rise, fall)


def fit(
    architecture: dict, data: Dataset, folder: Path, settings: Fit, start: dict[str, Tensor] | None = None
) -> nn.Module:
    """Train the network of `architecture` (see `potential.mace.new_mace`) and return it with its averaged weights.

    `folder` keeps state.pt (weights, average, optimizer, step: a killed run goes on exactly there), log.csv and
    settings.json. `start` gives weights to begin from. Under `torchrun` every process takes its part of each batch.
    """
    rank, ranks = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    folder.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        used = {"fit": asdict(settings), "architecture": architecture}
        (folder / "settings.json").write_text(json.dumps(used, indent=1))
    torch.manual_seed(settings.seed)
    net = mace.from_plain(architecture)
    if start is not None:
        net.load_state_dict(start)
    optimizer = (
        Muon(net, settings.learning_rate)
        if settings.muon
        else torch.optim.Adam(net.parameters(), lr=settings.learning_rate, amsgrad=True)
    )
    average = {name: value.detach().clone() for name, value in net.named_parameters()}
    first = 0
    if (folder / "state.pt").exists():
        saved = torch.load(folder / "state.pt", weights_only=True)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        average, first = saved["average"], saved["step"]
    log, began = [], time.perf_counter()
    gc.collect()
    gc.freeze()  # or every collection walks through the libraries' objects again, a tenth of a step
    bar = tqdm(
        range(first, settings.steps), initial=first, total=settings.steps, desc="fit", mininterval=5, disable=rank > 0
    )
    for step, chosen in zip(bar, _indices(data, settings, first), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings)
        low, high = settings.energy_weight
        loss = _loss(net, data, chosen[rank::ranks], low + (high - low) * step / settings.steps, settings.damping)
        if not torch.isfinite(loss):
            raise UserError(f"step {step}: the loss is {loss.item()}; lower fit.learning_rate or inspect the labels")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        _share_gradients(net)
        nn.utils.clip_grad_norm_(net.parameters(), settings.gradient_clip)
        optimizer.step()
        _blend(average, net, min(settings.average, (step + 1) / (step + 10)))
        log.append(loss.item())
        if rank == 0 and ((step + 1) % settings.save_every == 0 or step + 1 == settings.steps):
            bar.set_postfix(loss=f"{np.mean(log):.4f}")
            _append(folder / "log.csv", step + 1, float(np.mean(log)), time.perf_counter() - began)
            log.clear()
            partial = folder / "state.partial"
            state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "average": average, "step": step + 1}
            torch.save(state, partial)
            partial.rename(folder / "state.pt")
    with torch.no_grad():
        for name, value in net.named_parameters():
            value.copy_(average[name])
    return net


def _share_gradients(net: nn.Module) -> None:
    """Average the gradients over the processes of a `torchrun`; each has seen its part of the batch."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    means = (flat / distributed.get_world_size()).split([g.numel() for g in gradients])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))


def _indices(data: Dataset, settings: Fit, first: int) -> Iterator[Tensor]:
    """Batches from step `first` on; whole passes in a fresh order each, the incomplete last batch left out."""
    per_epoch = max(1, len(data) // settings.batch_size)
    step = first
    while True:
        order = data.order(settings.seed, step // per_epoch)
        for k in range(step % per_epoch, per_epoch):
            yield order[k * settings.batch_size : (k + 1) * settings.batch_size]
            step += 1


def _append(path: Path, step: int, loss: float, seconds: float) -> None:
    new = not path.exists()
    with open(path, "a", newline="") as handle:
        rows = csv.writer(handle)
        if new:
            rows.writerow(["step", "loss", "seconds"])
        rows.writerow([step, f"{loss:.6f}", f"{seconds:.1f}"])


def errors(net: nn.Module, data: Dataset, batch_size: int = 64) -> dict[str, dict[str, float]]:
    """Error table by class: count, energy MAE, force MAE and RMSE per component and the labels' own force RMS.

    Energies in meV/atom, forces in meV/Angstrom.
    """
    rows: dict[str, list] = {}
    for chosen in data.chunks(batch_size):
        batch, energy, forces = data.batch(chosen)
        out = mace.predict(net, batch, neighbours(batch, float(net.r_max)))
        counts = torch.bincount(batch.system, minlength=batch.n_systems)
        wrong = (out.energy - energy).abs() / counts
        for k, index in enumerate(chosen.tolist()):
            own = batch.system == k
            rows.setdefault(str(data.kind[index]), []).append(
                (wrong[k].item(), (out.forces[own] - forces[own]).numpy().ravel(), forces[own].numpy().ravel())
            )
    table = {}
    for kind, found in sorted(rows.items()):
        error, true = np.concatenate([f[1] for f in found]), np.concatenate([f[2] for f in found])
        table[kind] = {
            "n": len(found),
            "energy_mae_mev_atom": 1000 * float(np.mean([f[0] for f in found])),
            "force_mae_mev_a": 1000 * float(np.abs(error).mean()),
            "force_rmse_mev_a": 1000 * float(np.sqrt(np.square(error).mean())),
            "force_rms_mev_a": 1000 * float(np.sqrt(np.square(true).mean())),
        }
    return table
