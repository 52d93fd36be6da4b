"""The form all benchmarks share: rows with targets, printed as a table and written to docs/benchmarks/NAME.json."""

import json
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from gendesign.errors import UserError
from gendesign.run.table import measured_table as table  # noqa: F401  for the benchmarks
from gendesign.run.table import six_digits
from gendesign.structure.types import Row

SHARE = "fraction"  # the unit of a count divided by n


def check_record(folder: str | Path) -> Path:
    """The folder for the tables, made if need be; raises UserError, before hours are spent, when it cannot be used."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"record={folder} cannot be made ({error.strerror}); give a folder that can") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"record={folder} is not writable; give another folder")
    return folder


def write(rows: Sequence[Row], path: Path, device: torch.device) -> None:
    """A JSON list of rows: name, value, unit, target, n, hardware. Numbers that JSON lacks become null."""
    measured_on = hardware(device)
    lines = [
        json.dumps(
            {
                "name": row.name,
                "value": six_digits(row.value),
                "unit": row.unit,
                "target": row.target,
                "n": row.n,
                "hardware": measured_on,
            },
            ensure_ascii=False,
        )
        for row in rows
    ]
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text("[\n  " + ",\n  ".join(lines) + "\n]\n")
    partial.replace(path)


def hardware(device: torch.device | str = "cpu") -> str:
    """What the numbers were measured on: processor, cores, threads of torch, and the accelerator if it was used."""
    parts = [_processor(), f"{_cores()} cores", f"{torch.get_num_threads()} torch threads"]
    if torch.device(device).type == "cuda":
        parts.append(torch.cuda.get_device_name(device))
    return ", ".join(parts)


def _cores() -> int:
    """Cores this process may use, where the system tells, else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """The processor's model; Linux keeps it in /proc/cpuinfo and tells Python the architecture only."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and (found := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())):
        return found[1].strip()
    return platform.processor() or platform.machine()
