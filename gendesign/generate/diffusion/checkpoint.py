"""Diffusion models as folders: weights.safetensors and config.yaml."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml

from gendesign.errors import UserError
from gendesign.generate.diffusion.loss import NoiseLevels
from gendesign.generate.diffusion.model import EnergyModel, Statistics
from gendesign.generate.diffusion.network import NetworkSettings
from gendesign.potential.bundled import checkpoints_folder
from gendesign.potential.zoo import hash_of

KIND, WEIGHTS, CONFIG = "diffusion", "weights.safetensors", "config.yaml"


@dataclass(frozen=True)
class Trained:
    """A diffusion model as loaded: its network, the noise levels it saw, and what its config.yaml says."""

    model: EnergyModel
    noise: NoiseLevels
    config: dict[str, Any]
    weights_hash: str

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.config.get("name", KIND))


def save(model: EnergyModel, noise: NoiseLevels, folder: Path, **facts: Any) -> None:
    """Write `model` so that `load` restores it exactly; `facts` on its training are added to config.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().clone().contiguous() for key, value in model.state_dict().items()}
    (folder / "weights.partial").write_bytes(safetensors.torch.save(state))
    os.replace(folder / "weights.partial", folder / WEIGHTS)
    config = {
        "kind": KIND,
        **facts,
        "weights_sha256": hash_of(folder / WEIGHTS),
        "noise": asdict(noise),
        "architecture": asdict(model.settings),
        "statistics": model.statistics.plain(),
    }
    text = yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=120)
    (folder / "config.partial").write_text(text)
    os.replace(folder / "config.partial", folder / CONFIG)


def load(name: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Trained:
    """The model of a bundled name or a folder; raises UserError for a folder without one and for damaged weights."""
    folder = Path(name) if Path(name).is_dir() else checkpoints_folder() / name
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise UserError(
            f"diffusion model {name!r} is neither bundled nor the folder of one; train one: "
            "gendesign train generator=diffusion data=qm9"
        )
    config = yaml.safe_load((folder / CONFIG).read_text())
    if config.get("kind") != KIND:
        other = "an agent" if config.get("kind") == "agent" else "a potential"
        raise UserError(f"{folder} holds {other}, not a diffusion model; give the folder that its training wrote")
    weights_hash = hash_of(folder / WEIGHTS)
    if weights_hash != config["weights_sha256"]:
        raise UserError(f"{folder}: the weights do not match their hash; copy the folder again")
    try:
        settings = NetworkSettings(**config["architecture"])
        model = EnergyModel(settings, Statistics.from_plain(config["statistics"]))
        model.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS))
    except (TypeError, KeyError, RuntimeError):
        raise UserError(f"{folder} is of another architecture than this version has; train the model again") from None
    model = model.to(device=device, dtype=dtype).requires_grad_(False).eval()
    return Trained(model, NoiseLevels(**config["noise"]), config, weights_hash)


def begin_from(name: str, settings: NetworkSettings, elements: tuple[str, ...], device: torch.device) -> EnergyModel:
    """The model `name` to train further; raises UserError where its architecture or its elements are others."""
    trained = load(name, device)
    if trained.model.elements != elements:
        raise UserError(
            f"init={name} knows {' '.join(trained.model.elements)}, but the data holds {' '.join(elements)}; "
            "give data of these elements, or init=null"
        )
    if trained.model.settings != settings:
        old, new = asdict(trained.model.settings), asdict(settings)
        key = next(key for key in old if old[key] != new[key])
        raise UserError(
            f"init={name} has architecture.{key}={old[key]}, not {new[key]}; leave it out, or start anew (init=null)"
        )
    return trained.model.requires_grad_(True).train()
