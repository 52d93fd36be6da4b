"""Check that runs are bitwise reproducible for any number of workers and threads, also after a kill and a resume.

    python -m scripts.repeatability [FOLDER] [RECORD]

Every kind of run is made with one worker and one thread, and with more of either. One run is killed (SIGKILL) and
completed by the same command. Output files are compared byte for byte. The rows are written to RECORD
(docs/benchmarks/repeatability.json).
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from gendesign.benchmark.record import SHARE, table, write
from gendesign.structure.types import Row

COMPARED = ("molecules.sdf", "candidates.extxyz", "verdicts.parquet", "ranked.csv")
MOLECULES = "checkpoints/organic/reference.extxyz"
RUNS = {
    "generate": "generate n=12 generator.n_heavy_atoms=6 seed=5 screening=quick shard_size=4",
    "relax": "relax {molecules} shard_size=8",
    "screen": "screen {molecules} shard_size=8 screening.strain_methods=[potential]",
    "agent": "generate generator=agent generator.formula=C3H8O n=12 screening=quick shard_size=4",
    "perovskite search": "generate generator=perovskite generator.composition.cation=C[NH3+] n=12 shard_size=12 "
    "generator.halving.max_atoms=150 screening.decomposition=1 screening.competing_phases=1",
}
# (workers, OMP_NUM_THREADS): all are compared with the first; the last run is killed and resumed
SETTINGS = ((1, 1), (2, 1), (1, 2), (2, 2), (2, 1))


def main(arguments: Sequence[str]) -> None:
    """Make all runs, print the table and write the rows."""
    folder = Path(arguments[0] if arguments else "results/repeatability")
    record = Path(arguments[1] if len(arguments) > 1 else "docs/benchmarks/repeatability.json")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    molecules = folder / "molecules.extxyz"
    with open(MOLECULES) as source:
        molecules.write_text("".join(_first_frames(source, 24)))
    rows, total, same = [], 0, 0
    for kind, words in RUNS.items():
        command = words.format(molecules=molecules).split()
        outputs, seconds = [], 0.0
        for number, (workers, threads) in enumerate(SETTINGS):
            output = folder / kind.replace(" ", "-") / f"{number}-workers{workers}-threads{threads}"
            run_command = [*command, f"workers={workers}", f"output={output}"]
            start = time.monotonic()
            if number == len(SETTINGS) - 1:
                _killed(run_command, threads, seconds)
            _run(run_command, threads)
            seconds = time.monotonic() - start
            outputs.append({name: (output / name).read_bytes() for name in COMPARED if (output / name).is_file()})
            same_bytes = outputs[-1] == outputs[0]
            print(f"{kind}: workers {workers}, threads {threads}: {seconds:.0f} s, same: {same_bytes}", flush=True)
        alike = sum(content == outputs[0] and len(content) > 1 for content in outputs)
        rows.append(Row(f"{kind}: runs with the same bytes", alike / len(outputs), SHARE, len(outputs), ">= 1"))
        total, same = total + len(outputs), same + alike
    rows.append(Row("all runs with the same bytes", same / total, SHARE, total, ">= 1"))
    torch.set_num_threads(1)  # as in the runs: the number of threads is part of the hardware in the record
    write(rows, record, torch.device("cpu"))
    print(table(rows))


def _environment(threads: int) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def _run(words: Sequence[str], threads: int) -> None:
    words = [sys.executable, "-m", "gendesign.cli", *words]
    subprocess.run(words, check=True, env=_environment(threads), capture_output=True)


def _killed(words: Sequence[str], threads: int, seconds: float) -> None:
    """Start a run that takes about `seconds` and kill it after 40 to 80 % of them."""
    child = subprocess.Popen(
        [sys.executable, "-m", "gendesign.cli", *words], env=_environment(threads), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(random.uniform(0.4, 0.8) * seconds)
    child.send_signal(signal.SIGKILL)
    child.wait()


def _first_frames(lines: Sequence[str], count: int) -> list[str]:
    """The first frames of an extxyz file."""
    out: list[str] = []
    for _ in range(count):
        size = next(lines)
        out += [size, *(next(lines) for _ in range(int(size) + 1))]
    return out


if __name__ == "__main__":
    main(sys.argv[1:])
