"""Train a diffusion model into a folder: checkpoint, log, curves and card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from gendesign.generate.diffusion import checkpoint, data
from gendesign.generate.diffusion.card import card, learning_curves
from gendesign.generate.diffusion.loss import LEVELS, NoiseLevels
from gendesign.generate.diffusion.model import EnergyModel
from gendesign.generate.diffusion.network import NetworkSettings
from gendesign.generate.diffusion.training import DiffusionFit, State, train
from gendesign.potential.determinism import fix_order
from gendesign.potential.zoo import hash_of, target_device
from gendesign.randomness import Purpose, seed_of
from gendesign.structure.files import write_atomically
from gendesign.structure.journal import read_log

Errors = list[tuple[float, tuple[str, str]]]


def train_diffusion(
    folder: Path,
    *,
    data: str | Sequence[str] = data.QM9,
    elements: Sequence[str] | None = None,
    name: str = "mine",
    licence: str = "not stated",
    init: str | None = None,
    device: str = "auto",
    seed: int = 0,
    split: str = "random",
    valid_share: float = 0.1,
    architecture: Mapping[str, Any] | None = None,
    fit: Mapping[str, Any] | None = None,
    noise: Mapping[str, Any] | None = None,
) -> Errors:
    """Train on `data` into `folder`; the keywords are those of `gendesign train generator=diffusion`.

    Returns the held-out errors at every noise level as texts. Whenever the state is saved, the checkpoint, the card
    and the curves are written anew, so that an interrupted training leaves a usable model. Raises UserError.
    """
    return Run(folder, name, licence, init, device, seed, architecture, fit, noise).on(
        data, elements, split, valid_share
    )


class Run:
    """One training with its settings."""

    def __init__(
        self,
        folder: Path,
        name: str,
        licence: str,
        init: str | None,
        device: str,
        seed: int,
        architecture: Mapping[str, Any] | None,
        fit: Mapping[str, Any] | None,
        noise: Mapping[str, Any] | None,
    ) -> None:
        self.folder, self.name, self.licence, self.init, self.seed = folder, name, licence, init, seed
        self.device = target_device(None if device == "auto" else device)
        self.settings = NetworkSettings(**(architecture or {}))
        self.fit = DiffusionFit(**(fit or {}), seed=seed)
        self.noise = NoiseLevels(**(noise or {}))

    def on(self, names: str | Sequence[str], elements: Sequence[str] | None, by: str, share: float) -> Errors:
        """Train on the molecules of `names`."""
        molecules = data.read(names, elements)
        known = tuple(elements or molecules.elements)
        trained, held = data.split(molecules, share, by)
        model = self._model(data.statistics(molecules.chosen(trained), known))
        facts = {
            "data": ", ".join([names] if isinstance(names, str) else names),
            "molecules": len(trained),
            "held_out": len(held),
            "split": by,
            "valid_share": share,
            "seed": self.seed,
        }
        fix_order(self.device)
        train(
            model, molecules.chosen(trained), molecules.chosen(held) if len(held) else None, self.folder, self.fit,
            self.noise, lambda state: self._keep(state, facts),
        )  # fmt: skip
        return self._errors()

    def _model(self, statistics: data.Statistics) -> EnergyModel:
        torch.manual_seed(seed_of(Purpose.DIFFUSION_WEIGHTS, self.seed))
        if self.init is None:
            return EnergyModel(self.settings, statistics).to(self.device)
        return checkpoint.begin_from(self.init, self.settings, statistics.elements, self.device)

    def _keep(self, state: State, facts: Mapping[str, Any]) -> None:
        """Write checkpoint, card and curves of a state."""
        model = state.averaged()
        about = {
            "name": self.name,
            "licence": self.licence,
            **facts,
            **({"began_from": Path(self.init).name} if self.init else {}),
            "steps": state.step,
            "batch_size": self.fit.batch_size,
            "hours": round(state.seconds / 3600, 3),
        }
        checkpoint.save(model, self.noise, self.folder, **about)
        about["weights_sha256"] = hash_of(self.folder / checkpoint.WEIGHTS)
        log = self.folder / "log.csv"
        write_atomically(self.folder / "card.md", card(self.name, self.licence, model, self.noise, about, log))
        learning_curves(log, self.folder / "curves.png")

    def _errors(self) -> Errors:
        rows = [row for row in read_log(self.folder / "log.csv") if f"x@{LEVELS[0]:g}" in row]
        if not rows:
            return []
        return [(level, (f"{rows[-1][f'x@{level:g}']:.3f}", f"{rows[-1][f'z@{level:g}']:.3f}")) for level in LEVELS]
