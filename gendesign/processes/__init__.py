"""Worker processes: starting and ending them, and distributing independent tasks over them in a fixed order."""

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
