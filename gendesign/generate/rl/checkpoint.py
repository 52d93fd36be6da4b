"""Trained agents as folders: weights.safetensors and config.yaml."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import yaml
from ase.data import chemical_symbols

from gendesign.errors import UserError
from gendesign.generate.rl.features import MessagePassing, PotentialFeatures
from gendesign.generate.rl.policy import Policy, PolicySettings
from gendesign.potential.protocol import PotentialLike
from gendesign.potential.zoo import checkpoints_folder, hash_of

RENAMED = {
    "shortest": "min_distance",
    "longest": "max_distance",
    "narrowest": "min_std",
    "described": "descriptor_layers",
}
FEATURES = {"MessagePassing": MessagePassing, "PotentialFeatures": PotentialFeatures}


def save_agent(policy: Policy, folder: Path, **facts: Any) -> None:
    """Write the policy so that `load_agent` restores it; `facts` on its training are added to config.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().contiguous() for key, value in policy.state_dict().items()}
    partial = folder / "weights.partial"
    partial.write_bytes(safetensors.torch.save(state))
    os.replace(partial, folder / "weights.safetensors")
    settings = asdict(policy.settings) | {"features": {
        "kind": type(policy.settings.features).__name__, **asdict(policy.settings.features)}}  # fmt: skip
    config = {
        "kind": "agent",
        "elements": [chemical_symbols[z] for z in policy.elements],
        "weights_sha256": hash_of(folder / "weights.safetensors"),
        "policy": settings,
        **facts,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def read_config(agent: str) -> dict[str, Any]:
    """The config.yaml of a bundled agent or of a folder; raises UserError for a folder without an agent."""
    folder = _folder(agent)
    if not (folder / "config.yaml").is_file() or not (folder / "weights.safetensors").is_file():
        raise UserError(
            f"agent {agent!r} is neither bundled nor the folder of one; train one: gendesign train generator=agent"
        )
    config = yaml.safe_load((folder / "config.yaml").read_text())
    if config.get("kind") != "agent":
        raise UserError(
            f"{folder} holds a potential, not an agent; give the folder that gendesign train generator=agent wrote"
        )
    return config


def _folder(agent: str) -> Path:
    return Path(agent) if Path(agent).is_dir() else checkpoints_folder() / agent


def load_agent(agent: str, potential: PotentialLike | None = None, *, moved: bool = False) -> Policy:
    """The policy of a bundled agent or of a folder; one that reads the potential's features needs `potential`.

    moved: the agent will be trained further, so another potential with as many features is allowed (such as a newer
    fit). Raises UserError for a folder without an agent, damaged weights, and another potential than in its training.
    """
    folder, config = _folder(agent), read_config(agent)
    if hash_of(folder / "weights.safetensors") != config["weights_sha256"]:
        raise UserError(f"{folder}: the weights do not match their hash; copy the folder again")
    settings = dict(config["policy"])
    features = dict(settings.pop("features"))
    _refuse_old_keys(agent, {**settings, **features})
    kind = FEATURES[features.pop("kind")]
    same = potential is None or config.get("potential_sha256") == potential.weights_hash
    if kind is PotentialFeatures and not same and not moved:
        raise UserError(
            f"agent {agent} reads the features of the potential {config.get('potential')} it was trained with, and "
            f"{potential.name} has other weights; give that potential, or train the agent further (init={agent})"
        )
    elements = [chemical_symbols.index(symbol) for symbol in config["elements"]]
    policy = Policy(PolicySettings(features=kind(**features), **settings), elements, potential)
    try:
        policy.load_state_dict(safetensors.torch.load_file(folder / "weights.safetensors"))
    except RuntimeError:  # of tensors with other sizes
        raise UserError(
            f"agent {agent} does not fit the features of potential {potential.name}; train a new one with it"
        ) from None
    return policy.eval()


def _refuse_old_keys(agent: str, settings: Mapping[str, Any]) -> None:
    """Raise UserError for the config.yaml of an earlier version."""
    if old := next((key for key in settings if key in RENAMED), None):
        raise UserError(
            f"agent {agent}: config.yaml is of an earlier version, in which {RENAMED[old]} was {old}; rename the key"
        )
