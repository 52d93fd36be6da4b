"""Random structure search for hybrid halide perovskites from the composition alone (arXiv 2403.06955)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gendesign.generate.perovskite.settings import Composition, Evolution, Halving, RandomStarts

if TYPE_CHECKING:
    from gendesign.generate.perovskite.generator import Perovskite

__all__ = ["Composition", "Evolution", "Halving", "Perovskite", "RandomStarts"]


def __getattr__(name: str) -> Any:
    """Perovskite on first use: the settings alone need no torch."""
    if name == "Perovskite":
        return import_module(f"{__name__}.generator").Perovskite
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
