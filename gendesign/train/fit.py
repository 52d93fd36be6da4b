"""Fit a MACE network to labelled structures: one loop, an exact restart, an average of the weights."""

import gc
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from tqdm import tqdm

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting, shown
from gendesign.potential import mace
from gendesign.potential.determinism import fix_order
from gendesign.structure.journal import Journal
from gendesign.train.dataset import Dataset
from gendesign.train.loss import deviations, loss
from gendesign.train.muon import Muon

ENOUGH = 1e-3  # of the lowest error held out: a smaller gain does not prolong a fit


@dataclass(frozen=True)
class Fit:
    """How to train.

    The loss is the mean length of the force error (eV/Angstrom) plus `energy_weight` times the absolute energy error
    per atom (eV) and `stress_weight` times the error of the virial per atom (eV). `energy_weight` goes linearly from
    its first to its second value. All errors are damped for structures whose forces are beyond `damping`: their few
    huge forces would otherwise dominate. With old data, `replay_energies=False` counts the energies of new data alone,
    so that all energies weigh less in the mean, by `replay_share`. Raises UserError for values out of bounds.
    """

    steps: int = setting(20_000, "batches to learn from", least=1)
    batch_size: int = setting(16, "structures per batch", least=1)
    learning_rate: float = setting(0.004, "learning rate after the warm-up", above=0)
    warmup: int = setting(200, "steps over which the learning rate rises", least=0)
    decay_from: float = setting(0.5, "share of the steps after which the learning rate falls to zero", least=0, below=1)
    energy_weight: tuple[float, float] = setting(
        (1.0, 4.0), "weight of the energy error at the start and at the end", least=0
    )
    stress_weight: float = setting(1.0, "weight of the error of the virial per atom, where there are stresses", least=0)
    damping: float = setting(5.0, "forces from which a structure counts less", unit="eV/Angstrom", above=0)
    gradient_clip: float = setting(10.0, "largest norm of the gradient", above=0)
    average: float = setting(0.999, "decay of the moving average of the weights, per step", least=0, below=1)
    patience: int = setting(0, "evaluations without improvement after which the fit ends; 0: never", least=0)
    freeze: int = setting(0, "layers of `init` that stay as they are, from the first", least=0)
    replay_share: float = setting(0.5, "share of every batch that is old data, where there is some", least=0, below=1)
    replay_energies: bool = setting(
        True, "false: forces and stresses alone of old data, whose energies are another method's"
    )
    seed: int = 0
    save_every: int = setting(500, "steps between two saved states, and between two evaluations", least=1)

    def __post_init__(self) -> None:
        check_bounds(self, "fit")
        if len(self.energy_weight) != 2:
            raise UserError(f"fit.energy_weight={shown(self.energy_weight)}: give its first and its last value")


@dataclass
class State:
    """All that a fit carries from step to step; what state.pt holds."""

    net: nn.Module
    optimizer: Muon
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    step: int = 0
    lowest: float = float("inf")
    waited: int = 0

    @classmethod
    def new(cls, net: nn.Module, settings: Fit) -> "State":
        average = {name: value.detach().clone() for name, value in net.named_parameters()}
        return cls(net, Muon(net, settings.learning_rate), average, {k: v.clone() for k, v in average.items()})

    def save(self, path: Path) -> None:
        """Write so that the file is either the old or the new state."""
        content: dict[str, Any] = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        content |= {key: getattr(self, key) for key in ("average", "best", "step", "lowest", "waited")}
        torch.save(content, path.with_suffix(".partial"))
        path.with_suffix(".partial").rename(path)

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote."""
        saved = torch.load(path, weights_only=True, map_location=next(self.net.parameters()).device)
        self.net.load_state_dict(saved["net"])
        self.optimizer.load_state_dict(saved["optimizer"])
        for key in ("average", "best", "step", "lowest", "waited"):
            setattr(self, key, saved[key])


def fit(
    architecture: dict,
    data: Dataset,
    folder: Path,
    settings: Fit,
    start: dict[str, Tensor] | None = None,
    *,
    valid: Dataset | None = None,
    replay: Dataset | None = None,
    settle: Callable[[nn.Module], None] | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Train the network of `architecture` (see `potential.mace.new_mace`); return it with its averaged weights.

    With `valid` they are the best of those judged on it. `folder` keeps state.pt (weights, average, optimizer, step: a
    killed run goes on exactly there), log.csv and settings.json. `start` gives weights to begin from, `replay` old data
    of which a share is in every batch. `settle` may change the energies of atoms, which no gradient moves: it is called
    with the network every `save_every` steps of the first third. Under `torchrun` every process takes its part of each
    batch.
    """
    if replay is not None and not settings.replay_energies:
        replay = replace(replay, energy=torch.full_like(replay.energy, torch.nan))
    rank, ranks = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    folder.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        used = {"fit": asdict(settings), "architecture": architecture}
        (folder / "settings.json").write_text(json.dumps(used, indent=1))
    torch.manual_seed(settings.seed)
    net = mace.from_plain(architecture)
    if start is not None:
        net.load_state_dict(start)
    fix_order(torch.device(device))
    freeze(net.to(device), settings.freeze)
    state = State.new(net, settings)
    if (folder / "state.pt").exists():
        state.load(folder / "state.pt")
    journal = Journal(folder, state.step) if rank == 0 else None
    began, recent = time.perf_counter(), []
    with unwalked_garbage():
        bar = tqdm(
            initial=state.step, total=settings.steps, desc="fit", mininterval=1, disable=rank > 0, dynamic_ncols=True
        )
        for both in _batches(data, replay, settings, state.step):
            if state.step >= settings.steps or (settings.patience and state.waited >= settings.patience):
                break
            recent.append(_step(state, both, settings, rank, ranks))
            bar.update()
            if state.step % settings.save_every and state.step < settings.steps:
                continue
            if settle is not None and state.step <= settings.steps / 3:
                settle(state.net)
            # every process judges, as all must stop at the same step
            judged = {} if valid is None else _judge(state, valid, settings)
            if journal is not None:
                row = {"step": state.step, "loss": float(np.mean(recent)), **judged}
                journal.write({**row, "seconds": time.perf_counter() - began})
                state.save(folder / "state.pt")
                bar.set_postfix({key: f"{row[key]:.4f}" for key in ("loss", "valid_loss") if key in row})
            recent.clear()
        bar.close()
    chosen = state.average if valid is None else state.best
    with torch.no_grad():
        for name, value in net.named_parameters():
            value.copy_(chosen[name])
    return net


@contextmanager
def unwalked_garbage() -> Iterator[None]:
    """Keep the collector away from the libraries' objects, through which each collection walks a tenth of a step."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()  # or the libraries complain of leaks when Python ends


def freeze(net: nn.Module, layers: int) -> None:
    """Keep the embedding and the first `layers` interactions, with their readouts, out of the training."""
    if layers > len(net.interactions):
        raise UserError(f"fit.freeze={layers}: the network has {len(net.interactions)} layers; give at most that")
    if layers:
        parts = [net.node_embedding, *net.interactions[:layers], *net.products[:layers], *net.readouts[: layers - 1]]
        for part in parts:
            part.requires_grad_(False)


def _step(state: State, both: list[tuple[Dataset, Tensor]], settings: Fit, rank: int, ranks: int) -> float:
    state.optimizer.param_groups[0]["lr"] = settings.learning_rate * _schedule(state.step, settings)
    low, high = settings.energy_weight
    weight = low + (high - low) * state.step / settings.steps
    total = sum(len(chosen) for _, chosen in both)
    state.optimizer.zero_grad(set_to_none=True)
    found = 0.0
    for data, chosen in both:
        own = chosen[rank::ranks]
        if len(own):
            part = loss(state.net, data, own, weight, settings.stress_weight, settings.damping) * len(chosen) / total
            if not torch.isfinite(part):
                raise UserError(
                    f"step {state.step}: the loss is {part.item()}; lower fit.learning_rate or inspect the labels"
                )
            part.backward()
            found += part.item()
    _share_gradients(state.net)
    nn.utils.clip_grad_norm_(state.net.parameters(), settings.gradient_clip)
    state.optimizer.step()
    state.step += 1
    keep = min(settings.average, state.step / (state.step + 9))
    with torch.no_grad():
        for name, value in state.net.named_parameters():
            state.average[name].lerp_(value, 1 - keep)
    return found


def _schedule(step: int, settings: Fit) -> float:
    """Linear warm-up, a plateau, then from `decay_from` (share of all steps) a straight line to zero.

    On the plateau the averaged weights are usable at any time, and data may be added without a new warm-up.
    """
    rise = (step + 1) / max(1, settings.warmup)
    fall = (settings.steps - step) / max(1, settings.steps * (1 - settings.decay_from))
    return min(1.0, rise, fall)


def _judge(state: State, valid: Dataset, settings: Fit) -> dict[str, float]:
    """Errors of the averaged weights on `valid`; remembers the best ones."""
    own = {name: value.detach().clone() for name, value in state.net.named_parameters()}
    with torch.no_grad():
        for name, value in state.net.named_parameters():
            value.copy_(state.average[name])
        found = list(deviations(state.net, valid).values())
        for name, value in state.net.named_parameters():
            value.copy_(own[name])
    energy = float(np.mean([np.abs(row["energy"]).mean() for row in found]))
    forces = float(np.abs(np.concatenate([row["forces"] for row in found])).mean())
    judged = 3**0.5 * forces + settings.energy_weight[1] * energy
    state.waited = 0 if judged < (1 - ENOUGH) * state.lowest else state.waited + 1
    if judged < state.lowest:
        state.lowest = judged
        state.best = {name: value.clone() for name, value in state.average.items()}
    return {"valid_loss": judged, "valid_energy_mev_atom": 1000 * energy, "valid_force_mev_a": 1000 * forces}


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


def _batches(
    data: Dataset, replay: Dataset | None, settings: Fit, first: int
) -> Iterator[list[tuple[Dataset, Tensor]]]:
    """Batches from step `first` on, each with its share of old data."""
    old = 0 if replay is None else round(settings.replay_share * settings.batch_size)
    streams = [(data, _indices(data, settings.batch_size - old, settings.seed, first))]
    if old:
        streams.append((replay, _indices(replay, old, settings.seed + 1, first)))
    while True:
        yield [(source, next(indices)) for source, indices in streams]


def _indices(data: Dataset, size: int, seed: int, first: int) -> Iterator[Tensor]:
    """Whole passes in a fresh order each, the incomplete last batch left out; from step `first` on."""
    per_epoch = max(1, len(data) // size)
    step = first
    while True:
        order = data.order(seed, step // per_epoch)
        for k in range(step % per_epoch, per_epoch):
            yield order[k * size : (k + 1) * size]
            step += 1
