"""CPU seconds (one thread) and memory of the analysis at 10^4, 10^5 and 10^6 atoms.

    python -m scripts.analysis.scale GLASS [SIZE ...]

GLASS is a silica glass as a LAMMPS data file (types O, Si) that is repeated to each size; silicon is diamond with
random displacements of 0.15 Angstrom. Every size runs in a process of its own. Rows go to
docs/benchmarks/analysis.json.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from gendesign.analysis.choices import cutoffs_of
from gendesign.analysis.reading import read_models
from gendesign.analysis.results import Found
from gendesign.analysis.settings import Analysis
from gendesign.analysis.stages import Case, add_coordination, add_defects, add_distributions, add_rings
from gendesign.benchmark.record import write
from gendesign.structure.types import Row

SIZES = (10_000, 100_000, 1_000_000)
PARTS = {"coordination": add_coordination, "g(r) and angles": add_distributions, "rings": add_rings,
         "defect classes": add_defects}  # fmt: skip
MOST_SECONDS, MOST_MEMORY = 180, 3.0  # of all parts together; GiB
RECORD = Path(__file__).parents[2] / "docs/benchmarks/analysis.json"


def model(kind: str, size: int, glass: str) -> Atoms:
    """A model of about `size` atoms, nearly cubic."""
    if kind == "silicon":
        cells = round((size / 8) ** (1 / 3))
        atoms = bulk("Si", "diamond", 5.431, cubic=True).repeat(cells)
        atoms.positions += np.random.default_rng(0).normal(scale=0.15, size=atoms.positions.shape)
        return atoms
    one = read_models([glass], ["O", "Si"])[0].atoms
    each = max(1, round((size / len(one)) ** (1 / 3)))
    return one.repeat((each, each, max(1, round(size / len(one) / each**2))))


def measure(kind: str, size: int, glass: str) -> dict[str, float]:
    """CPU seconds of every part, of all, and the largest memory in GiB of this process."""
    atoms = model(kind, size, glass)
    settings = Analysis()
    case = Case(atoms, settings, cutoffs_of(atoms, settings)[0], 10.0)
    out: dict[str, float] = {"atoms": len(atoms)}
    found = Found(kind)
    for name, act in PARTS.items():
        begun = time.process_time()
        act(case, found)
        out[name] = time.process_time() - begun
        print(name, round(out[name], 1), file=sys.stderr, flush=True)
    out["seconds"] = sum(out[name] for name in PARTS)
    out["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return out


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
