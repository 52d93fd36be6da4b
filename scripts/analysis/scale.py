"""CPU seconds (one thread) and memory of the analysis at 10^4, 10^5 and 10^6 atoms.

    python -m scripts.analysis.scale GLASS [SIZE ...]

GLASS is a silica glass as a LAMMPS data file (types O, Si) that is repeated to each size; silicon is diamond with
random displacements of 0.15 Angstrom. Every size runs in a process of its own. Rows go to
docs/benchmarks/analysis.json.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from ase import Atoms

from gendesign.analysis.reading import read_models
from gendesign.benchmark import glass_scale
from gendesign.benchmark.glass_scale import PARTS
from gendesign.benchmark.record import write
from gendesign.structure.types import Row

SIZES = (10_000, 100_000, 1_000_000)
MOST_SECONDS, MOST_MEMORY = 180, 3.0  # of all parts together; GiB
RECORD = Path(__file__).parents[2] / "docs/benchmarks/analysis.json"


def model(kind: str, size: int, glass: str) -> Atoms:
    """A model of about `size` atoms, nearly cubic."""
    if kind == "silicon":
        return glass_scale.displaced(size)
    one = read_models([glass], ["O", "Si"])[0].atoms
    each = max(1, round((size / len(one)) ** (1 / 3)))
    return one.repeat((each, each, max(1, round(size / len(one) / each**2))))


def measure(kind: str, size: int, glass: str) -> dict[str, float]:
    """CPU seconds of every part, of all, and the largest memory in GiB of this process."""
    out = glass_scale.measure(model(kind, size, glass))
    return out | {"seconds": sum(out[name] for name in PARTS)}


def main(glass: str, sizes: list[int]) -> None:
    """Measure every size in a process of its own and write the rows."""
    rows = []
    measure("silicon", 1000, glass)  # compiles the loops once
    for kind in ("silica", "silicon"):
        for size in sizes:
            words = [sys.executable, "-m", "scripts.analysis.scale", "--one", kind, str(size), glass]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            result = json.loads(done.stdout.splitlines()[-1])
            n = int(result.pop("atoms"))
            for name in (*PARTS, "seconds"):
                target = f"<= {MOST_SECONDS}" if name == "seconds" else None
                said = "all four parts" if name == "seconds" else name
                rows.append(Row(f"{kind}, {n} atoms, {said}", result[name], "CPU s", n, target))
            rows.append(Row(f"{kind}, {n} atoms, memory", result["memory"], "GiB", n, f"<= {MOST_MEMORY:g}"))
            write(rows, RECORD, torch.device("cpu"))


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]), sys.argv[4])))
    else:
        main(sys.argv[1], [int(word) for word in sys.argv[2:]] or list(SIZES))
