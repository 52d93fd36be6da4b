"""Worker processes: how many, how they start and end, and tasks that are spread over them in a fixed order."""

from gendesign.processes.pool import Failure, Pool, compute_with_one_thread, late
from gendesign.processes.spread import SERIAL, TELL, Resident, Serial, Spread

__all__ = [
    "SERIAL",
    "TELL",
    "Failure",
    "Pool",
    "Resident",
    "Serial",
    "Spread",
    "compute_with_one_thread",
    "late",
]
