"""Labels from a reference method, and potentials fitted to them."""

from importlib import import_module
from typing import Any

__all__ = ["label_files", "train_files"]


def __getattr__(name: str) -> Any:  # on first use, because every labelling process imports this package
    if name not in __all__:
        raise AttributeError(f"module 'gendesign.train' has no attribute '{name}'")
    return getattr(import_module("gendesign.train.commands"), name)
