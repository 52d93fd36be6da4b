"""Training of a diffusion model: batches, an average of the weights, evaluation on held-out molecules, exact resume."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.diffusion.data import Molecules
from gendesign.generate.diffusion.loss import NoiseLevels, Weights, level_errors, loss, noisy
from gendesign.generate.diffusion.model import Clouds, EnergyModel
from gendesign.randomness import Purpose, seed_of, stream
from gendesign.structure.journal import Journal

STATE = "state.pt"
NUMBERS = ("step", "seconds")


@dataclass(frozen=True)
class DiffusionFit:
    """How to train a diffusion model; raises UserError for values out of bounds.

    With `time_limit` the fit ends after that time or after `steps`, whichever is first, and the learning rate follows
    the larger of both shares.
    """

    steps: int = setting(100_000, "batches to learn from", least=1)
    batch_size: int = setting(64, "molecules per batch", least=1)
    learning_rate: float = setting(0.002, "learning rate after the warm-up", above=0)
    warmup: int = setting(200, "steps over which the learning rate rises", least=0)
    decay_from: float = setting(0.5, "share of the fit after which the learning rate falls to zero", least=0, below=1)
    gradient_clip: float = setting(5.0, "largest norm of the gradient", above=0)
    average: float = setting(0.999, "decay of the moving average of the weights, per step", least=0, below=1)
    n_valid: int = setting(200, "held-out molecules that are measured, at most", least=1)
    save_every: int = setting(500, "steps between two saved states, and between two evaluations", least=1)
    save_seconds: float = setting(
        0.0, "longest time between two saved states; 0: `save_every` alone", unit="s", least=0
    )
    time_limit: float = setting(0.0, "time after which the fit ends, all its runs together; 0: none", unit="s", least=0)
    seed: int = 0

    def __post_init__(self) -> None:
        check_bounds(self, "fit")


@dataclass
class State:
    """The state of a training between two steps, as state.pt holds it.

    average: moving average of the weights, with which molecules are made. seconds: time spent by all runs of the fit.
    """

    model: EnergyModel
    weights: Weights
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def new(cls, model: EnergyModel, settings: DiffusionFit) -> "State":
        """The state before the first step."""
        weights = Weights().to(next(model.parameters()))
        both = [*model.parameters(), *weights.parameters()]
        optimizer = torch.optim.Adam(both, lr=settings.learning_rate, betas=(0.9, 0.99))
        average = {name: value.detach().clone() for name, value in model.named_parameters()}
        return cls(model, weights, optimizer, average)

    def save(self, path: Path) -> None:
        """Write atomically: the file is either the old or the new state."""
        content = {key: getattr(self, key).state_dict() for key in ("model", "weights", "optimizer")}
        torch.save(content | {"average": self.average} | {key: getattr(self, key) for key in NUMBERS},
                   path.with_suffix(".partial"))  # fmt: skip
        path.with_suffix(".partial").rename(path)

    def load(self, path: Path) -> None:
        """Restore what `save` wrote; raises UserError where it is the state of another model."""
        saved = torch.load(path, weights_only=True, map_location=next(self.model.parameters()).device)
        try:
            for key in ("model", "weights", "optimizer"):
                getattr(self, key).load_state_dict(saved[key])
        except (KeyError, RuntimeError, ValueError):
            raise UserError(f"{path} is the state of another model; train into another folder (output=...)") from None
        self.average = saved["average"]
        self.step, self.seconds = saved["step"], saved["seconds"]

    def progress(self, settings: DiffusionFit) -> float:
        """The larger of the shares of steps and of time that are spent; 1 and more: the end."""
        spent = self.seconds / settings.time_limit if settings.time_limit else 0.0
        return max(self.step / settings.steps, spent)

    def averaged(self) -> EnergyModel:
        """A model of its own with the averaged weights."""
        like = next(self.model.parameters())
        model = EnergyModel(self.model.settings, self.model.statistics).to(like)
        model.load_state_dict(self.model.state_dict())
        set_weights(model, self.average)
        return model.requires_grad_(False).eval()


@torch.no_grad()
def set_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Replace the parameters that `weights` names."""
    for name, value in model.named_parameters():
        value.copy_(weights[name])


def train(
    model: EnergyModel,
    trained: Molecules,
    valid: Molecules | None,
    folder: Path,
    settings: DiffusionFit,
    noise: NoiseLevels,
    on_save: Callable[[State], None] | None = None,
) -> State:
    """Train `model` in place; writes state.pt, log.csv and TensorBoard files to `folder`.

    A folder with state.pt is resumed exactly. `on_save` is called with the state after each time it was saved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = State.new(model, settings)
    if (folder / STATE).exists():
        state.load(folder / STATE)
    device = next(model.parameters()).device
    journal = Journal(folder, state.step)
    held = None
    if valid is not None and len(valid):
        some = stream(Purpose.DIFFUSION_ORDER, settings.seed).permutation(len(valid))[: settings.n_valid]
        held = valid.chosen(some).clouds(model.elements, device)
    batches = _batches(trained, settings, state.step)
    start, losses = time.perf_counter(), []
    before = saved = state.seconds
    with tqdm(initial=state.step, total=settings.steps, desc="diffusion", mininterval=1, dynamic_ncols=True) as bar:
        while state.progress(settings) < 1:
            losses.append(_step(state, trained.chosen(next(batches)).clouds(model.elements, device), settings, noise))
            state.seconds = before + time.perf_counter() - start
            bar.update()
            waited = settings.save_seconds and state.seconds - saved >= settings.save_seconds
            if state.step % settings.save_every and state.progress(settings) < 1 and not waited:
                continue
            saved = state.seconds
            row = {"step": state.step, "loss": float(np.mean(losses)), "seconds": state.seconds}
            if held is not None:
                row |= level_errors(state.averaged(), held, settings.seed)
            journal.write(row)
            state.save(folder / STATE)
            bar.set_postfix({key: f"{row[key]:.3f}" for key in ("loss", "x@0.1", "x@0.3") if key in row})
            if on_save is not None:
                on_save(state)
            losses.clear()
    return state


def _batches(data: Molecules, settings: DiffusionFit, step: int) -> Iterator[np.ndarray]:
    """Rows of each batch from `step` on: every epoch in an order of its own."""
    size = min(settings.batch_size, len(data))
    per_epoch = len(data) // size
    while True:
        epoch, place = divmod(step, per_epoch)
        order = stream(Purpose.DIFFUSION_ORDER, settings.seed, epoch).permutation(len(data))
        for k in range(place, per_epoch):
            yield order[k * size : (k + 1) * size]
            step += 1


def _step(state: State, clean: Clouds, settings: DiffusionFit, noise: NoiseLevels) -> float:
    """One optimizer step; returns the loss. The noise depends on the seed and the step alone."""
    generator = torch.Generator().manual_seed(seed_of(Purpose.DIFFUSION_NOISE, settings.seed, state.step))
    sigma = noise.drawn(clean.n_systems, generator, clean.positions.dtype).to(clean.positions.device)
    for group in state.optimizer.param_groups:
        group["lr"] = settings.learning_rate * _schedule(state, settings)
    state.optimizer.zero_grad(set_to_none=True)
    value = loss(state.model, state.weights, noisy(clean, sigma, generator))
    value.backward()
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), settings.gradient_clip)
    if not math.isfinite(float(norm)):
        raise UserError(f"step {state.step}: the loss is {value.item()}; lower fit.learning_rate or inspect the data")
    state.optimizer.step()
    state.step += 1
    keep = min(settings.average, state.step / (state.step + 9))
    with torch.no_grad():
        for name, parameter in state.model.named_parameters():
            state.average[name].lerp_(parameter, 1 - keep)
    return value.item()


def _schedule(state: State, settings: DiffusionFit) -> float:
    """Factor of the learning rate: a warm-up, a plateau, and from `decay_from` (share of the fit) down to zero."""
    rise = (state.step + 1) / max(1, settings.warmup)
    fall = (1 - state.progress(settings)) / (1 - settings.decay_from)
    return max(0.0, min(1.0, rise, fall))
