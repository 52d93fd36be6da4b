"""Labels from a reference method, and potentials fitted to them."""

from importlib import import_module
from typing import Any

_HOMES = {"label_files": "labelling", "train_files": "training"}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:  # lazy: every labelling process imports this package
    if name not in _HOMES:
        raise AttributeError(f"module 'gendesign.train' has no attribute '{name}'")
    return getattr(import_module(f"gendesign.train.{_HOMES[name]}"), name)
