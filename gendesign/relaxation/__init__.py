"""Relaxation of many structures at once, under a potential and, on request, beside a host."""

from typing import TYPE_CHECKING

from gendesign.lazy import lazy_names
from gendesign.relaxation.settings import Relaxation

if TYPE_CHECKING:
    from gendesign.relaxation.batched import check_relaxable, relax

# torch-sim takes seconds to import, and the settings of a run are checked without it.
__getattr__, __dir__, _ = lazy_names(
    __name__, {"relax": "gendesign.relaxation.batched", "check_relaxable": "gendesign.relaxation.batched"}
)
__all__ = ["Relaxation", "check_relaxable", "relax"]
