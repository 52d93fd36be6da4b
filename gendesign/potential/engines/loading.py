"""From the name of a model to its potential."""

import torch
from ase.data import chemical_symbols

from gendesign.errors import UserError
from gendesign.packages import folder_of
from gendesign.potential.engines.client import EnginePotential
from gendesign.potential.engines.install import hash_of_weights, weights_of
from gendesign.potential.engines.process import EngineProcess
from gendesign.potential.engines.registry import MODELS


def load_engine(name: str, device: torch.device, dtype: torch.dtype, head: str | None) -> EnginePotential:
    """The potential of a model in `MODELS`, with its process started.

    Raises UserError for a package that is not installed or not whole, a head that is missing or unknown, and a model
    that fails to load.
    """
    model = MODELS[name]
    _check_head(name, model.heads, head)
    files = weights_of(model)
    settings = {
        "backend": model.backend,
        "weights": [str(path) for path in files],
        "head": head,
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
    }
    process = EngineProcess(name, [str(folder_of(model.package))], settings)
    about = process.start()
    missing = [s for s in model.elements if chemical_symbols.index(s) not in about["numbers"]]
    if missing or abs(about["cutoff"] - model.cutoff) > 1e-6:
        process.close()
        raise UserError(
            f"potential {name}: the installed model has another cutoff or other elements than "
            f"{model.package.requirements[0]}; install it again: gendesign install {name}"
        )
    digest = hash_of_weights(files, head)
    return EnginePotential(model, process, weights_hash=digest, device=device, dtype=dtype, head=head)


def _check_head(name: str, heads: tuple[str, ...], head: str | None) -> None:
    if head is None and heads:
        raise UserError(f"potential {name} has the heads {', '.join(heads)}; choose one with head=NAME")
    if head is not None and head not in heads:
        allowed = f"choose one of {', '.join(heads)}" if heads else "it has one output; leave head out"
        raise UserError(f"head={head!r}: potential {name} does not have it; {allowed}")
