"""The machine-learned potential: load, evaluate, describe."""

from importlib import import_module
from typing import Any

# Loaded on first use: mace takes seconds to import, and the reference methods beside it do not need it.
_HOMES = {
    "Potential": "gendesign.potential.potential",
    "Committee": "gendesign.potential.committee",
    "Rigidity": "gendesign.potential.rigidity",
    "fit_chemical_potentials": "gendesign.potential.potential",
    "load_potential": "gendesign.potential.zoo",
    "save_folder": "gendesign.potential.zoo",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gendesign.potential' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
