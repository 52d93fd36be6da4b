"""What a second worker process is worth: seconds for the same molecules, on an idle machine and on a busy one.

    python -m scripts.workers [N] [N_BESIDE_OTHERS] [RECORD]

Runs `gendesign generate` with all checks, nine heavy atoms a molecule, with one and with two workers: N molecules on
the idle machine, N_BESIDE_OTHERS beside two processes that compute all the time. Rows go to RECORD
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
    usual = ("100", "30", "docs/benchmarks/workers.json")
    idle, beside, record = (*arguments, *usual[len(arguments) :])
    idle, beside, record = int(idle), int(beside), Path(record)
    alone = {workers: seconds(idle, workers) for workers in (1, 2)}
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        crowded = {workers: seconds(beside, workers) for workers in (1, 2)}
    finally:
        for process in busy:
            process.kill()
    rows = rows_of(alone, idle, crowded, beside)
    torch.set_num_threads(1)  # as the runs have, which is said of the hardware
    write(rows, record, torch.device("cpu"))
    print(table(rows))


def rows_of(alone: dict[int, float], idle: int, crowded: dict[int, float], beside: int) -> list[Row]:
    """Seconds by number of workers, and their ratios with their targets."""
    return [
        *(Row(f"idle, {w} worker{'s' * (w > 1)}", alone[w], "s", idle) for w in alone),
        Row("idle, two workers over one", alone[2] / alone[1], "ratio", idle, "<= 0.55"),
        *(Row(f"beside two busy processes, {w} worker{'s' * (w > 1)}", crowded[w], "s", beside) for w in crowded),
        Row("beside two busy processes, two workers over one", crowded[2] / crowded[1], "ratio", beside, "<= 1"),
    ]


def seconds(n: int, workers: int) -> float:
    """Wall time of the whole command, its start and its report included."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*COMMAND.split(), f"n={n}", f"workers={workers}", f"output={folder}/run"]
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", "gendesign.cli", *words], check=True, capture_output=True)
        return time.monotonic() - start


if __name__ == "__main__":
    main(sys.argv[1:])
