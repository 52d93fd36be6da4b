"""Time of one evaluation by every installed model, and what its process costs: docs/benchmarks/engines.json.

    python -m scripts.engines [docs/benchmarks/engines.json]

Clusters of acetone at the density of the liquid, 20, 100 and 400 atoms, in vacuum; energies and forces in float32 with
one thread. CPU time of both processes, the least of several calls, so that other work on the machine matters little.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from gendesign.benchmark import record
from gendesign.packages import installed_version
from gendesign.potential import load_potential
from gendesign.potential.engines import EnginePotential
from gendesign.potential.engines.client import _packed
from gendesign.potential.engines.registry import MODELS
from gendesign.potential.protocol import PotentialLike
from gendesign.structure.types import Row

SIZES, CALLS = (20, 100, 400), {20: 12, 100: 6, 400: 3}
EXCHANGES = 20
SPACING = 4.97  # Angstrom: one molecule in 122.6 A^3, as in the liquid
BUNDLED = ("organic", "hoip")


def cluster(n_atoms: int, seed: int = 0) -> Atoms:
    """Molecules of acetone, each turned at random, on the points of a cubic lattice next to its origin."""
    rng, single = np.random.default_rng(seed), molecule("CH3COCH3")
    count, reach = n_atoms // len(single), range(-4, 5)
    points = sorted(np.array([(x, y, z) for x in reach for y in reach for z in reach]), key=lambda p: (p @ p, tuple(p)))
    out = Atoms()
    for point in points[:count]:
        one = single.copy()
        one.positions -= one.get_center_of_mass()
        one.rotate(float(rng.uniform(0, 360)), rng.normal(size=3))
        one.positions += SPACING * point
        out += one
    return out


def seconds(potential: PotentialLike, call: Callable[[], object], repeats: int) -> float:
    """Least CPU time of `call` in s, that of the engine's process included."""
    least = np.inf
    for _ in range(repeats + 1):  # the first one warms up
        start = time.process_time() + _cpu_of_engine(potential)
        call()
        least = min(least, time.process_time() + _cpu_of_engine(potential) - start)
    return float(least)


def _cpu_of_engine(potential: PotentialLike) -> float:
    if not isinstance(potential, EnginePotential):
        return 0.0
    return potential.process.call({"do": "gradient", "ticket": 0}, {})[0]["cpu_seconds"]


def overhead(potential: EnginePotential, atoms: Atoms, repeats: int = EXCHANGES) -> float:
    """Least CPU time in s of a call that sends what an evaluation sends, and computes nothing."""
    batch = potential.batch([atoms])
    edges, vectors = potential._neighbourhood(batch)
    nothing = {"do": "gradient", "ticket": 0}
    exchange = seconds(potential, lambda: potential.process.call(nothing, _packed(batch, edges, vectors)), repeats)
    return max(0.0, exchange - seconds(potential, lambda: None, repeats))


def rows_of(name: str) -> list[Row]:
    """The rows of one potential."""
    heads = MODELS[name].heads if name in MODELS else ()
    potential, rows = load_potential(name, device="cpu", head=heads[0] if heads else None), []
    for size in SIZES:
        atoms = cluster(size)
        spent = seconds(potential, lambda a=atoms: potential.evaluate([a]), CALLS[size])
        rows.append(Row(f"{name}, {size} atoms, energy and forces", spent, "s", CALLS[size]))
        if isinstance(potential, EnginePotential):
            exchange = 1e3 * overhead(potential, atoms)
            rows.append(Row(f"{name}, {size} atoms, of it for the process", exchange, "ms", EXCHANGES))
    if isinstance(potential, EnginePotential):
        potential.close()
    return rows


def main(path: Path) -> None:
    """Measure and write the table."""
    torch.set_num_threads(1)
    installed = [name for name, model in MODELS.items() if installed_version(model.package)]
    rows = [row for name in (*BUNDLED, *installed) for row in rows_of(name)]
    record.write(rows, path, torch.device("cpu"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/benchmarks/engines.json"))
