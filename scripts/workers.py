"""Speed-up by a second worker process, on an idle and on a busy machine.

    python -m scripts.workers [N] [N_BUSY] [RECORD]

Runs `gendesign generate` with all checks and nine heavy atoms per molecule, with one and with two workers: N molecules
on the idle machine, and N_BUSY molecules while two other processes compute. The rows are written to RECORD
(docs/benchmarks/workers.json).
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from gendesign.benchmark.record import table, write
from gendesign.structure.types import Row

COMMAND = "generate seed=7 generator.n_heavy_atoms=9"


def main(arguments: Sequence[str]) -> None:
    """Time all runs, print the table and write the rows."""
    defaults = ("100", "30", "docs/benchmarks/workers.json")
    idle, busy, record = (*arguments, *defaults[len(arguments) :])
    idle, busy, record = int(idle), int(busy), Path(record)
    idle_seconds = {workers: seconds(idle, workers) for workers in (1, 2)}
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        busy_seconds = {workers: seconds(busy, workers) for workers in (1, 2)}
    finally:
        for process in others:
            process.kill()
    rows = rows_of(idle_seconds, idle, busy_seconds, busy)
    torch.set_num_threads(1)  # as in the runs: the number of threads is part of the hardware in the record
    write(rows, record, torch.device("cpu"))
    print(table(rows))


def rows_of(idle_seconds: dict[int, float], idle: int, busy_seconds: dict[int, float], busy: int) -> list[Row]:
    """Seconds by number of workers, and their ratios with targets."""
    return [
        *(Row(f"idle, {w} worker{'s' * (w > 1)}", idle_seconds[w], "s", idle) for w in idle_seconds),
        Row("idle, two workers over one", idle_seconds[2] / idle_seconds[1], "ratio", idle, "<= 0.55"),
        *(
            Row(f"beside two busy processes, {w} worker{'s' * (w > 1)}", busy_seconds[w], "s", busy)
            for w in busy_seconds
        ),
        Row(
            "beside two busy processes, two workers over one", busy_seconds[2] / busy_seconds[1], "ratio", busy, "<= 1"
        ),
    ]


def seconds(n: int, workers: int) -> float:
    """Wall time of the complete command, including its start and its report."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*COMMAND.split(), f"n={n}", f"workers={workers}", f"output={folder}/run"]
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", "gendesign.cli", *words], check=True, capture_output=True)
        return time.monotonic() - start


if __name__ == "__main__":
    main(sys.argv[1:])
