"""Judge finished candidates, alone and as a set."""

from gendesign.screening.method import ScreeningContext, ScreeningMethod, ScreeningSession
from gendesign.screening.screen import CHECKS, Screening, screen, screen_each, screen_set
from gendesign.screening.summary import Row, summarise
from gendesign.screening.uniqueness import Reference
from gendesign.screening.workers import Workers

__all__ = [
    "CHECKS",
    "Reference",
    "Row",
    "Screening",
    "ScreeningContext",
    "ScreeningMethod",
    "ScreeningSession",
    "Workers",
    "screen",
    "screen_each",
    "screen_set",
    "summarise",
]
