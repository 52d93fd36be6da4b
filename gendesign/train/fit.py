"""The training loop of MACE networks, with an average of the weights and an exact resume."""

import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping
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
from gendesign.randomness import Purpose, seed_of
from gendesign.structure.journal import Journal
from gendesign.train.dataset import Dataset
from gendesign.train.loss import deviations, loss
from gendesign.train.muon import Muon

MIN_IMPROVEMENT = 1e-3  # relative, of the validation loss: a smaller one does not prolong a fit


@dataclass(frozen=True)
class Fit:
    """How to train.

    The loss is the mean length of the force error (eV/Angstrom) plus `energy_weight` times the absolute energy error
    per atom (eV) and `stress_weight` times the error of the virial per atom (eV). `energy_weight` goes linearly from
    its first to its second value. All errors are damped for structures whose forces are beyond `damping`: their few
    huge forces would otherwise dominate. With old data, `replay_energies=False` counts the energies of new data alone,
    so that all energies weigh less in the mean, by `replay_share`. With `time_limit` the fit ends after that time or
    after `steps`, whichever is first; learning rate and energy weight follow the larger of step/steps and
    time/time_limit. Raises UserError for values out of bounds.
    """

    steps: int = setting(20_000, "batches to learn from", least=1)
    batch_size: int = setting(16, "structures per batch", least=1)
    learning_rate: float = setting(0.004, "learning rate after the warm-up", above=0)
    warmup: int = setting(200, "steps over which the learning rate rises", least=0)
    decay_from: float = setting(0.5, "share of the fit after which the learning rate falls to zero", least=0, below=1)
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
    time_limit: float = setting(0.0, "time after which the fit ends, all its runs together; 0: none", unit="s", least=0)
    save_seconds: float = setting(
        0.0, "longest time between two saved states; 0: `save_every` alone", unit="s", least=0
    )

    def __post_init__(self) -> None:
        check_bounds(self, "fit")
        if len(self.energy_weight) != 2:
            raise UserError(f"fit.energy_weight={shown(self.energy_weight)}: give its first and its last value")


STATE = "state.pt"
STATE_FIELDS = ("average", "best", "step", "best_loss", "evaluations_since_best")


@dataclass
class State:
    """The state of a fit between two steps, as state.pt holds it.

    average: moving average of the weights. best: the average at the evaluation of lowest validation loss, `best_loss`;
    evaluations_since_best: later evaluations without a clear improvement. seconds: time spent up to this step by all
    runs of the fit, which the next step's learning rate may follow.
    """

    net: nn.Module
    optimizer: Muon
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    step: int = 0
    best_loss: float = float("inf")
    evaluations_since_best: int = 0
    seconds: float = 0.0

    @classmethod
    def new(cls, net: nn.Module, settings: Fit) -> "State":
        """The state before the first step."""
        average = {name: value.detach().clone() for name, value in net.named_parameters()}
        return cls(net, Muon(net, settings.learning_rate), average, {k: v.clone() for k, v in average.items()})

    def save(self, path: Path) -> None:
        """Write atomically: the file is either the old or the new state."""
        content: dict[str, Any] = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        content |= {key: getattr(self, key) for key in (*STATE_FIELDS, "seconds")}
        torch.save(content, path.with_suffix(".partial"))
        path.with_suffix(".partial").rename(path)

    def load(self, path: Path) -> None:
        """Restore what `save` wrote; raises UserError for a file of an earlier version."""
        saved = torch.load(path, weights_only=True, map_location=next(self.net.parameters()).device)
        if not set(STATE_FIELDS) <= set(saved):
            raise UserError(f"{path} is of an earlier version of gendesign; train into another folder (output=...)")
        self.net.load_state_dict(saved["net"])
        self.optimizer.load_state_dict(saved["optimizer"])
        for key in STATE_FIELDS:
            setattr(self, key, saved[key])
        self.seconds = saved.get("seconds", 0.0)  # states of earlier versions have none

    def progress(self, settings: Fit) -> float:
        """The larger of the shares of steps and of time that are spent; 1 and more: the end."""
        spent = self.seconds / settings.time_limit if settings.time_limit else 0.0
        return max(self.step / settings.steps, spent)

    def is_finished(self, settings: Fit) -> bool:
        """Whether all steps are done or all time is spent, or patience is exhausted."""
        stale = settings.patience and self.evaluations_since_best >= settings.patience
        return self.progress(settings) >= 1 or bool(stale)


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those of a `torchrun`: `rank` of `count`."""

    rank: int = 0
    count: int = 1

    @classmethod
    def current(cls) -> "Ranks":
        """The ranks of this process."""
        if not distributed.is_initialized():
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())


def fit(
    architecture: dict,
    data: Dataset,
    folder: Path,
    settings: Fit,
    start: dict[str, Tensor] | None = None,
    *,
    valid: Dataset | None = None,
    replay: Dataset | None = None,
    refit_energies: Callable[[nn.Module], None] | None = None,
    device: torch.device | str = "cpu",
    on_save: Callable[[State], None] | None = None,
) -> nn.Module:
    """Train the network of `architecture` (see `potential.mace.new_mace`); returns it with its averaged weights.

    With `valid` they are the averages of lowest validation loss. `folder` holds state.pt, from which a killed fit
    resumes exactly, log.csv and settings.json. `start`: initial weights. `replay`: old data, of which a share is in
    every batch. `refit_energies` may change the energies of isolated atoms, which have no gradient: it is called with
    the network every `save_every` steps of the first third. `on_save` is called with the state after each time it was
    saved. Under `torchrun` every process takes its part of a batch.
    """
    if replay is not None and not settings.replay_energies:
        replay = replace(replay, energy=torch.full_like(replay.energy, torch.nan))
    ranks = Ranks.current()
    if torch.device(device).type != "cpu" and not data.pbc.any():
        data, replay = data.to(device), None if replay is None else replay.to(device)
    folder.mkdir(parents=True, exist_ok=True)
    if ranks.rank == 0:
        used = {"fit": asdict(settings), "architecture": architecture}
        (folder / "settings.json").write_text(json.dumps(used, indent=1))
    state = _initial_state(architecture, settings, start, torch.device(device))
    if (folder / STATE).exists():
        state.load(folder / STATE)
    with frozen_garbage_collection():
        batches = _batches(data, replay, settings, state.step)
        _run_steps(state, batches, folder, settings, ranks, valid, refit_energies, on_save)
    _set_weights(state.net, state.average if valid is None else state.best)
    return state.net


def _initial_state(architecture: dict, settings: Fit, start: dict[str, Tensor] | None, device: torch.device) -> State:
    """A new network on `device`, with the weights of `start` or random ones."""
    torch.manual_seed(seed_of(Purpose.FIT_WEIGHTS, settings.seed))
    net = mace.from_plain(architecture)
    if start is not None:
        net.load_state_dict(start)
    fix_order(device)
    freeze(net.to(device), settings.freeze)
    return State.new(net, settings)


def _run_steps(
    state: State,
    batches: Iterator[list[tuple[Dataset, Tensor]]],
    folder: Path,
    settings: Fit,
    ranks: Ranks,
    valid: Dataset | None,
    refit_energies: Callable[[nn.Module], None] | None,
    on_save: Callable[[State], None] | None,
) -> None:
    """Steps until the fit is finished; after `save_every` steps or `save_seconds` it is evaluated, logged and saved."""
    journal = Journal(folder, state.step) if ranks.rank == 0 else None
    start, losses = time.perf_counter(), []
    before = saved = state.seconds
    options = {"mininterval": 1, "dynamic_ncols": True} | ({"disable": True} if ranks.rank else {})  # or TQDM_DISABLE
    with tqdm(initial=state.step, total=settings.steps, desc="fit", **options) as bar:
        while not state.is_finished(settings):
            losses.append(_step(state, next(batches), settings, ranks))
            state.seconds = before + _agreed(time.perf_counter() - start, settings, ranks)
            bar.update()
            waited = settings.save_seconds and state.seconds - saved >= settings.save_seconds
            if state.step % settings.save_every and state.progress(settings) < 1 and not waited:
                continue
            saved = state.seconds
            if refit_energies is not None and state.progress(settings) <= 1 / 3:
                refit_energies(state.net)
            # every process evaluates, as all must stop at the same step
            errors = {} if valid is None else _evaluate(state, valid, settings)
            if journal is not None:
                row = {"step": state.step, "loss": float(np.mean(losses)), **errors}
                journal.write({**row, "seconds": time.perf_counter() - start})
                state.save(folder / STATE)
                bar.set_postfix({key: f"{row[key]:.4f}" for key in ("loss", "valid_loss") if key in row})
                if on_save is not None:
                    on_save(state)
            losses.clear()


def _agreed(seconds: float, settings: Fit, ranks: Ranks) -> float:
    """The time of the first process: all of them need one learning rate, and must save and stop at the same step."""
    if ranks.count == 1 or not (settings.time_limit or settings.save_seconds):
        return seconds
    shared = torch.tensor([seconds], dtype=torch.float64)
    distributed.broadcast(shared, 0)
    return shared.item()


@torch.no_grad()
def _set_weights(net: nn.Module, weights: Mapping[str, Tensor]) -> None:
    for name, value in net.named_parameters():
        value.copy_(weights[name])


@contextmanager
def frozen_garbage_collection() -> Iterator[None]:
    """Exclude existing objects from garbage collection, which would take a tenth of the time of a step."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()  # or libraries report leaks when Python ends


def freeze(net: nn.Module, layers: int) -> None:
    """Exclude the embedding and the first `layers` interactions, with their readouts, from the training."""
    if layers > len(net.interactions):
        raise UserError(f"fit.freeze={layers}: the network has {len(net.interactions)} layers; give at most that")
    if layers:
        parts = [net.node_embedding, *net.interactions[:layers], *net.products[:layers], *net.readouts[: layers - 1]]
        for part in parts:
            part.requires_grad_(False)


def _step(state: State, batch: list[tuple[Dataset, Tensor]], settings: Fit, ranks: Ranks) -> float:
    """One optimizer step on the parts of a batch (new and old data); returns the loss."""
    state.optimizer.param_groups[0]["lr"] = settings.learning_rate * _schedule(state, settings)
    low, high = settings.energy_weight
    weight = low + (high - low) * state.progress(settings)
    total = sum(len(chosen) for _, chosen in batch)
    state.optimizer.zero_grad(set_to_none=True)
    batch_loss = 0.0
    for data, chosen in batch:
        local = chosen[ranks.rank :: ranks.count]
        if len(local):
            part = loss(state.net, data, local, weight, settings.stress_weight, settings.damping) * len(chosen) / total
            if not torch.isfinite(part):
                raise UserError(
                    f"step {state.step}: the loss is {part.item()}; lower fit.learning_rate or inspect the labels"
                )
            part.backward()
            batch_loss += part.item()
    _share_gradients(state.net)
    nn.utils.clip_grad_norm_(state.net.parameters(), settings.gradient_clip)
    state.optimizer.step()
    state.step += 1
    keep = min(settings.average, state.step / (state.step + 9))
    with torch.no_grad():
        for name, value in state.net.named_parameters():
            state.average[name].lerp_(value, 1 - keep)
    return batch_loss


def _schedule(state: State, settings: Fit) -> float:
    """Factor of the learning rate: linear warm-up, a plateau, and from `decay_from` (share of the fit) down to zero."""
    rise = (state.step + 1) / max(1, settings.warmup)
    fall = (settings.steps - state.step) / max(1, settings.steps * (1 - settings.decay_from))
    if settings.time_limit:
        fall = min(fall, (1 - state.seconds / settings.time_limit) / (1 - settings.decay_from))
    return max(0.0, min(1.0, rise, fall))


def _evaluate(state: State, valid: Dataset, settings: Fit) -> dict[str, float]:
    """Errors of the averaged weights on `valid`; the state keeps the best ones."""
    weights = {name: value.detach().clone() for name, value in state.net.named_parameters()}
    _set_weights(state.net, state.average)
    errors = list(deviations(state.net, valid).values())
    _set_weights(state.net, weights)
    energy = float(np.mean([np.abs(row["energy"]).mean() for row in errors]))
    forces = float(np.abs(np.concatenate([row["forces"] for row in errors])).mean())
    valid_loss = 3**0.5 * forces + settings.energy_weight[1] * energy
    improved = valid_loss < (1 - MIN_IMPROVEMENT) * state.best_loss
    state.evaluations_since_best = 0 if improved else state.evaluations_since_best + 1
    if valid_loss < state.best_loss:
        state.best_loss = valid_loss
        state.best = {name: value.clone() for name, value in state.average.items()}
    return {"valid_loss": valid_loss, "valid_energy_mev_atom": 1000 * energy, "valid_force_mev_a": 1000 * forces}


def _share_gradients(net: nn.Module) -> None:
    """Average the gradients over the processes of a `torchrun`, each of which has seen a part of the batch."""
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
    """Batches from step `first` on, each with its share of old data, without end."""
    old = 0 if replay is None else round(settings.replay_share * settings.batch_size)
    streams = [(data, _indices(data, settings.batch_size - old, Purpose.FIT_ORDER, settings.seed, first))]
    if old:
        streams.append((replay, _indices(replay, old, Purpose.FIT_REPLAY_ORDER, settings.seed, first)))
    while True:
        yield [(source, next(indices)) for source, indices in streams]


def _indices(data: Dataset, size: int, purpose: Purpose, seed: int, first: int) -> Iterator[Tensor]:
    """Indices of the batch of every step from `first` on; a pass has a new order and omits the incomplete batch."""
    per_epoch = max(1, len(data) // size)
    step = first
    while True:
        order = data.order(purpose, seed, step // per_epoch)
        for k in range(step % per_epoch, per_epoch):
            yield order[k * size : (k + 1) * size]
            step += 1
