"""From a name or a path to a loaded Potential; and a folder of weights and settings from a network."""

import hashlib
import os
import re
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import gendesign.imports.mace  # noqa: F401  quick and silent
from gendesign.imports import silenced

import safetensors.torch
import torch
import yaml
from mace.modules import MACE
from torch import nn

from gendesign.errors import UserError
from gendesign.potential import mace
from gendesign.potential.batching import keep_freed_memory
from gendesign.potential.bundled import bundled, checkpoints_folder
from gendesign.potential.determinism import fix_order
from gendesign.potential.domain import CRYSTALS, MOLECULES, Domain
from gendesign.potential.engines.registry import MODELS as ENGINES
from gendesign.potential.potential import Potential
from gendesign.potential.protocol import PotentialLike

ACADEMIC = "Academic Software License (no commercial use)"
MACE_OFF = {f"mace-off-{size}": size for size in ("small", "medium", "large")}
MACE_MP = {
    f"mace-mp-{name}": name
    for name in (
        "small",
        "medium",
        "large",
        "small-0b",
        "medium-0b",
        "small-0b2",
        "medium-0b2",
        "large-0b2",
        "medium-0b3",
        "medium-mpa-0",
        "small-omat-0",
        "medium-omat-0",
    )
}
CITATIONS = {
    "mace-off": "Kovacs et al., arXiv 2312.15211",
    "mace-mp": "Batatia et al., arXiv 2401.00096",
}
# The papers' own words: MACE-OFF was fitted to molecules and their dimers, MACE-MP to crystals of 89 elements.
DOMAINS = {
    "mace-off": Domain((MOLECULES,), "organic molecules, their dimers and clusters"),
    "mace-mp": Domain((CRYSTALS,), "crystals of 89 elements; molecules are less accurate", charges="not distinguished"),
}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def load_potential(
    name: str | Path = "organic",
    *,
    device: str | None = None,
    dtype: str = "float32",
    trust_pickle: bool = False,
    head: str | None = None,
) -> PotentialLike:
    """Load a potential by name (bundled, a MACE foundation model, another package's model), by path or by function.

    A path is a folder with weights.safetensors and config.yaml, or a MACE file; the latter is a pickle and needs
    `trust_pickle`. A function is given as module:function and returns a user's own model (engines/custom.py).
    `device` None means CUDA where there is one. Raises UserError for anything the user can mend.
    """
    name, target, precision = str(name), target_device(device), _precision(dtype)
    if name in ENGINES:
        from gendesign.potential.engines.loading import load_engine  # few runs need it

        return load_engine(name, target, precision, head)
    if _names_function(name):
        from gendesign.potential.engines.custom import load_custom

        return load_custom(name, target, precision, head)
    return load_mace(name, device=device, dtype=dtype, trust_pickle=trust_pickle, head=head)


def _precision(dtype: str) -> torch.dtype:
    if dtype not in DTYPES:
        raise UserError(f"dtype={dtype!r} is not known; choose float32 or float64")
    return DTYPES[dtype]


def _names_function(name: str) -> bool:
    """Whether `name` has the form module:function or file.py:function."""
    home, colon, function = name.rpartition(":")
    return bool(colon and home) and function.isidentifier() and not Path(name).exists()


def load_mace(
    name: str | Path = "organic",
    *,
    device: str | None = None,
    dtype: str = "float32",
    trust_pickle: bool = False,
    head: str | None = None,
) -> Potential:
    """`load_potential` for what needs the network itself, such as a fit; refuses other models in one line."""
    name, target, precision = str(name), target_device(device), _precision(dtype)
    if name in ENGINES or _names_function(name):
        raise UserError(f"potential {name} is no MACE network, which this needs; give a MACE checkpoint or organic")
    path = Path(name).expanduser()
    if name in bundled():
        potential = load_folder(checkpoints_folder() / name)
    elif name in MACE_OFF or name in MACE_MP:
        potential = _foundation(name)
    elif path.is_dir():
        potential = load_folder(path)
    elif path.is_file():
        potential = _pickled(path, trust_pickle)
    else:
        raise UserError(
            f"potential={name!r} is neither a file nor a known name; known are {', '.join(bundled())}, "
            f"{', '.join(MACE_OFF)}, mace-mp-NAME (such as {next(iter(MACE_MP))}), {', '.join(ENGINES)}; "
            "give one of these, a path, or module:function"
        )
    index = _head(potential, head)
    fix_order(target)
    if target.type == "cpu":
        keep_freed_memory()
        # Fused kernels take over after a call or two and differ in the last bit, so that a run which was interrupted
        # would not end as one that was not; they save 3 % at most.
        with silenced():
            torch.jit.set_fusion_strategy([])
    net = potential.net.to(device=target, dtype=precision).eval().requires_grad_(False)
    return Potential(
        net,
        potential.name,
        potential.weights_hash,
        potential.licence,
        potential.citation,
        index,
        potential.chemical_potentials,
        potential.domain,
    )


def load_folder(folder: Path) -> Potential:
    """A checkpoint of ours: weights.safetensors with config.yaml beside it; the weights must match their hash."""
    weights, settings = folder / "weights.safetensors", folder / "config.yaml"
    for needed in (weights, settings):
        if not needed.is_file():
            raise UserError(
                f"{folder} holds no {needed.name}; a checkpoint folder needs weights.safetensors and config.yaml"
            )
    config = _settings(settings)
    sha256 = hash_of(weights)
    if sha256 != config["weights_sha256"]:
        raise UserError(
            f"{weights} has sha256 {sha256[:12]}..., but config.yaml beside it expects "
            f"{config['weights_sha256'][:12]}...; the file is damaged or was exchanged: restore it from its source"
        )
    net = mace.from_plain(config["architecture"], DTYPES[config["dtype"]])
    net.load_state_dict(safetensors.torch.load_file(weights), strict=True)
    return Potential(
        net,
        config["name"],
        sha256,
        config["licence"],
        config["citation"],
        chemical_potentials=config.get("chemical_potentials") or {},
        domain=_domain(config, settings),
    )


def _domain(config: Mapping[str, Any], path: Path) -> Domain | None:
    """The domain that a config.yaml states, if it does."""
    try:
        return Domain.from_config(config["domain"]) if config.get("domain") is not None else None
    except ValueError as error:
        raise UserError(f"{path}: {error}; mend the section, or leave it out") from None


def _settings(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        config = None
    if isinstance(config, dict) and config.get("kind") == "agent":
        raise UserError(f"{path.parent} holds an agent, not a potential; give it as generator.agent={path.parent.name}")
    needed = ("name", "licence", "citation", "weights_sha256", "dtype", "architecture")
    missing = [key for key in needed if not isinstance(config, dict) or key not in config]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; restore it from its source")
    return config


def save_folder(
    net: MACE,
    folder: Path,
    *,
    name: str,
    licence: str,
    citation: str,
    chemical_potentials: dict[str, float] | None = None,
    **more: Any,
) -> None:
    """Write `net` as a checkpoint folder (weights.safetensors, config.yaml) that `load_folder` restores exactly."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().clone().contiguous() for key, value in net.state_dict().items()}
    (folder / "weights.partial").write_bytes(safetensors.torch.save(state))  # save_file lets nobody else read it
    os.replace(folder / "weights.partial", folder / "weights.safetensors")
    config = {
        "name": name,
        "licence": licence,
        "citation": citation,
        "weights_sha256": hash_of(folder / "weights.safetensors"),
        "dtype": "float64" if next(net.parameters()).dtype == torch.float64 else "float32",
        "chemical_potentials": chemical_potentials or {},
        **more,
        "architecture": mace.describe(net),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=120))


def hash_of(path: Path) -> str:
    """sha256 of a file, as hexadecimal text."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def target_device(device: str | None) -> torch.device:
    """The device of that name, None for CUDA where there is one; raises UserError for one that is not there."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(device)
    except RuntimeError:
        target = None
    if target is None or target.type not in ("cpu", "cuda"):
        raise UserError(f"device={device!r} is not known; choose cpu, cuda or cuda:N")
    if target.type == "cuda" and (target.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device={device!r}, but {torch.cuda.device_count()} CUDA devices are available; choose cpu")
    return target


def _head(potential: Potential, head: str | None) -> int:
    heads = list(getattr(potential.net, "heads", None) or ["Default"])
    if head is None:
        if len(heads) > 1 and "Default" not in heads:
            raise UserError(f"potential {potential.name} has the heads {', '.join(heads)}; choose one with head=NAME")
        return heads.index("Default") if "Default" in heads else 0
    if head not in heads:
        raise UserError(f"head={head!r}: potential {potential.name} has {', '.join(heads)}; choose one of these")
    return heads.index(head)


def _unpickle(path: Path) -> MACE:
    try:
        with silenced():
            net = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        raise UserError(
            f"{path} could not be read as a MACE model ({type(error).__name__}); give a file that "
            "mace-torch wrote, or a checkpoint folder"
        ) from error
    if isinstance(net, torch.jit.ScriptModule):
        raise UserError(_compiled(path))
    if isinstance(net, dict):
        raise UserError(_state(path, net))
    if not isinstance(net, nn.Module) or not hasattr(net, "r_max") or not hasattr(net, "interactions"):
        raise UserError(
            f"{path} holds a {type(net).__name__}, not a MACE model; give the .model file that mace-torch wrote"
        )
    return net


def _is_compiled(path: Path) -> bool:
    """Whether the file is a TorchScript archive, told without running anything in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
    return "constants.pkl" in names and any(name.startswith("code/") for name in names)


def _compiled(path: Path) -> str:
    source = re.sub(r"([-_.](compiled|lammps|mliap|jit|script(ed)?))+$", "", path.stem)
    named = f"{source.removesuffix('.model')}.model" if source != path.stem else "the .model file"
    return f"{path} is compiled (TorchScript), which cannot be batched or trained; give {named}, from which it was made"


def _state(path: Path, content: dict[str, Any]) -> str:
    """What is wrong with a file that holds a dictionary and no network."""
    if "model" in content and {"optimizer", "lr_scheduler", "epoch"} & set(content):
        source = re.sub(r"_run-\d+|_epoch-\d+|_swa$|_stagetwo$", "", path.stem)
        near = f", such as {source}.model," if source != path.stem else ""
        return f"{path} is a training checkpoint; give the .model{near} that mace-torch wrote beside it"
    if content and all(isinstance(value, torch.Tensor) for value in content.values()):
        return f"{path} holds weights alone (a state_dict), not the network; give the .model that mace-torch wrote"
    return f"{path} holds a dict, not a MACE model; give the .model file that mace-torch wrote"


def _pickled(path: Path, trust_pickle: bool) -> Potential:
    if _is_compiled(path):
        raise UserError(_compiled(path))
    if not trust_pickle:
        raise UserError(
            f"{path} is a pickled file, and unpickling runs whatever code it holds; add trust_pickle=true if you trust "
            "its source, or give a folder with weights.safetensors and config.yaml"
        )
    return Potential(_unpickle(path), path.stem, hash_of(path), "unknown (a user's file)", "unknown (a user's file)")


def _foundation(name: str) -> Potential:
    """A published model through mace-torch's own downloader, cached by it; its hash is pinned at the first download."""
    from mace.calculators import foundations_models

    family = next(f for f in CITATIONS if name.startswith(f))
    try:
        if name in MACE_OFF:
            url = foundations_models.mace_off_urls[MACE_OFF[name]]
            path = Path(foundations_models.get_cache_dir()) / os.path.basename(url).split("?")[0]
            if not path.is_file():  # it unpickles what it finds, so it must not see a file that was not checked yet
                with silenced():  # its notes on the licence; ours stand in summary.json and the docs
                    foundations_models.mace_off(model=MACE_OFF[name], device="cpu", return_raw_model=True)
        else:
            with silenced():
                path = Path(foundations_models.download_mace_mp_checkpoint(MACE_MP[name]))
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"potential={name} must be downloaded once, and that failed ({error.__cause__ or error}); connect to the "
            f"network, or place the file in {foundations_models.get_cache_dir()}, or choose {', '.join(bundled())}"
        ) from error
    sha256, pin = hash_of(path), path.with_suffix(".sha256")
    if not pin.exists():
        with suppress(OSError):  # a cache that is only to be read keeps no pins
            pin.write_text(sha256)
    elif pin.read_text().strip() != sha256:
        raise UserError(
            f"{path} differs from what was first downloaded (sha256 {sha256[:12]}...); delete it and "
            f"{pin.name} beside it to download {name} again"
        )
    licence = ACADEMIC if name in MACE_OFF or "omat" in name else "MIT"
    return Potential(_unpickle(path), name, sha256, licence, CITATIONS[family], domain=DOMAINS[family])
