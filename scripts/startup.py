"""The cost of starting: imports and a loaded potential in fresh processes, medians of five (benchmarks/startup.json).

    python scripts/startup.py [folder of the table]

CPU time is measured, which is the time of an idle core and hardly depends on what else the machine does.
"""

import subprocess
import sys
from pathlib import Path
from statistics import median

import torch

from gendesign.benchmark.record import check_record, table, write
from gendesign.structure.types import Row

REPEATS = 5
IMPORTS = "from gendesign import SimGen, load_potential"
LOADED = IMPORTS + "; load_potential('organic', device='cpu')"
CASES = [
    ("import gendesign", "import gendesign", 0.3),
    (IMPORTS, IMPORTS, 4.0),
    ("the same, and organic loaded", LOADED, None),
]
COST = """
import resource
from pathlib import Path
used = resource.getrusage(resource.RUSAGE_SELF)
(peak,) = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(used.ru_utime + used.ru_stime, float(peak) / 1e6)  # Linux counts kB
"""


def cost(code: str) -> tuple[float, float]:
    """CPU seconds and peak memory in GB of a fresh interpreter that runs `code`."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{COST}"], capture_output=True, text=True, check=True)
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def main(folder: str = "docs/benchmarks") -> None:
    """Measure, print and write the table."""
    path = check_record(folder) / "startup.json"
    rows = []
    for name, code, most in CASES:
        seconds, memory = map(median, zip(*(cost(code) for _ in range(REPEATS)), strict=True))
        target = None if most is None else f"<= {most:g}"
        rows += [Row(name, seconds, "CPU s", REPEATS, target), Row(f"{name}: peak memory", memory, "GB", REPEATS)]
    write(rows, Path(path), torch.device("cpu"))
    print(table(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
