"""Random structure search for hybrid halide perovskites from the composition alone (arXiv 2403.06955)."""

from typing import TYPE_CHECKING

from gendesign.generate.perovskite.settings import Composition, Evolution, Halving, RandomStarts
from gendesign.lazy import lazy_names

if TYPE_CHECKING:
    from gendesign.generate.perovskite.generator import Perovskite

# The settings alone need no torch.
__getattr__, __dir__, _ = lazy_names(__name__, {"Perovskite": "gendesign.generate.perovskite.generator"})
__all__ = ["Composition", "Evolution", "Halving", "Perovskite", "RandomStarts"]
