"""The uncertainty of a checkpoint as two files beside its weights, and where to find them."""

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml

from gendesign.errors import UserError
from gendesign.potential.potential import Potential
from gendesign.potential.rigidity import Rigidity
from gendesign.potential.zoo import checkpoints_folder, hash_of
from gendesign.structure.files import write_atomically

NUMBERS, SETTINGS = "rigidity.safetensors", "rigidity.yaml"
AGAIN = "make it again with scripts/organic/uncertainty.py or Rigidity.fit"
KEYS = ("weights_sha256", "numbers_sha256", "head", "regulariser", "factor", "force_factor", "thresholds", "about")


def save_rigidity(rigidity: Rigidity, folder: str | Path) -> None:
    """Write rigidity.safetensors (the covariance) and rigidity.yaml (all else, with the weights' hash) to `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {"covariance": rigidity.covariance.cpu().contiguous()}
    write_atomically(folder / NUMBERS, safetensors.torch.save(state))
    settings = {
        "potential": rigidity.potential.name,
        "weights_sha256": rigidity.potential.weights_hash,
        "numbers_sha256": hash_of(folder / NUMBERS),
        "head": rigidity.potential.head,
        "regulariser": rigidity.regulariser,
        "factor": rigidity.factor,
        "force_factor": rigidity.force_factor,
        "thresholds": rigidity.thresholds,
        "about": rigidity.about,
    }
    write_atomically(folder / SETTINGS, yaml.safe_dump(settings, sort_keys=False))


def load_rigidity(folder: str | Path, potential: Potential) -> Rigidity:
    """The rigidity in `folder`, which must have been made for exactly the weights and the head of `potential`."""
    folder = Path(folder)
    settings = _settings(folder)
    for key, actual in (("weights_sha256", potential.weights_hash), ("head", getattr(potential, "head", None))):
        if settings[key] != actual:
            raise UserError(
                f"{folder / SETTINGS} belongs to {key} {str(settings[key])[:12]}, but potential {potential.name} has "
                f"{str(actual)[:12]}; {AGAIN}"
            )
    if not (folder / NUMBERS).is_file() or hash_of(folder / NUMBERS) != settings["numbers_sha256"]:
        raise UserError(f"{folder / NUMBERS} is missing or does not match {SETTINGS} beside it; {AGAIN}")
    covariance = safetensors.torch.load_file(folder / NUMBERS)["covariance"].to(potential.device, torch.float64)
    stored = {key: settings[key] for key in ("regulariser", "factor", "force_factor", "thresholds", "about")}
    return Rigidity(potential, covariance, **stored)


def stored_rigidity(potential: Potential, folder: str | Path | None = None) -> Rigidity | None:
    """The rigidity in `folder`, or else the one beside the bundled checkpoint with the same weights, if there is one.

    A folder must hold one that fits; without a folder None means that this potential has none.
    """
    if folder is not None:
        return load_rigidity(folder, potential)
    weights_hash = getattr(potential, "weights_hash", None)
    for settings in sorted(checkpoints_folder().glob(f"*/{SETTINGS}")):
        known = _settings(settings.parent)
        if known["weights_sha256"] == weights_hash and known["head"] == getattr(potential, "head", None):
            return load_rigidity(settings.parent, potential)
    return None


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    if not path.is_file():
        raise UserError(f"{folder} holds no {SETTINGS}; give a folder that has one, or {AGAIN}")
    try:
        settings = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        settings = None
    missing = [key for key in KEYS if not isinstance(settings, dict) or key not in settings]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; {AGAIN}")
    return settings
