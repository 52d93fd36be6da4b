"""The output of all benchmarks: rows with targets, printed as a table and written to docs/benchmarks/NAME.json."""

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


def between(name: str, value: float | None, unit: str, n: int, low: float, high: float) -> list[Row]:
    """Two rows for a target with two ends."""
    return [
        Row(f"{name}, at least", value, unit, n, f">= {low:g}"),
        Row(f"{name}, at most", value, unit, n, f"<= {high:g}"),
    ]


def check_record(folder: str | Path) -> Path:
    """The folder for the tables, created if missing. Raises UserError at the start of a run if it is not writable."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"record={folder} cannot be made ({error.strerror}); give a folder that can") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"record={folder} is not writable; give another folder")
    return folder


def write(rows: Sequence[Row], path: Path, device: torch.device) -> None:
    """Write rows as a JSON list with name, value, unit, target, n and hardware. NaN and infinities become null."""
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
    """The hardware in words: processor, cores, threads of torch, and the accelerator if it is used."""
    parts = [_processor(), f"{_cores()} cores", f"{torch.get_num_threads()} torch threads"]
    if torch.device(device).type == "cuda":
        parts.append(torch.cuda.get_device_name(device))
    return ", ".join(parts)


def _cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """The model of the processor, on Linux from /proc/cpuinfo, because Python only knows the architecture there."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and (match := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())):
        return match[1].strip()
    return platform.processor() or platform.machine()
