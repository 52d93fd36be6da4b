"""Relaxing many crystals in batches against relaxing them one by one with ASE: the same starts, potential, convergence.

Both run FIRE with ASE's parameters on atoms and cell (Frechet filter, the cell weighted alike), until forces and stress
are below the same limits or the same number of steps is made; relaxation.py tells the rest. What differs: structures
in a batch that are done leave it and others take their place; the batched side evaluates the model once more at the end
for its report, looks for structures that break, and on its first step already mixes velocities, which are zero.
"""

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from ase import Atoms, units
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from gendesign.benchmark.record import SHARE, Row
from gendesign.potential.adapters import AseCalculator
from gendesign.potential.protocol import PotentialLike
from gendesign.relaxation import Relaxation, relax

FASTER = {"cpu": ">= 1", "cuda": ">= 10"}
WARM_UP = 2  # steps
WAYS = {
    "batched": "relaxing in batches",
    "single": "relaxing one by one, ASE",
    "own": "relaxing in batches, precon_lbfgs",
}


@dataclass(frozen=True)
class Pace:
    """Seconds for all structures; how many converged; mean steps of one."""

    seconds: float
    converged: int
    steps: float


def batched(structures: Sequence[Atoms], potential: PotentialLike, settings: Relaxation) -> Pace:
    """All structures by gendesign.relaxation."""
    begin = time.perf_counter()
    done = relax(structures, potential, settings)
    seconds = time.perf_counter() - begin
    steps = [int(candidate.info["steps"]) for candidate in done]
    return Pace(seconds, sum(bool(c.info["converged"]) for c in done), float(np.mean(steps)))


def one_by_one(structures: Sequence[Atoms], potential: PotentialLike, settings: Relaxation) -> Pace:
    """Each structure by ASE's FIRE on its Frechet cell filter, with gendesign's criterion of convergence."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "logm result may be inaccurate")  # by 1e-13, at every step
        ends = [_by_ase(atoms, potential, settings) for atoms in structures]
    seconds = time.perf_counter() - begin
    return Pace(seconds, sum(done for done, _ in ends), float(np.mean([steps for _, steps in ends])))


def _by_ase(atoms: Atoms, potential: PotentialLike, settings: Relaxation) -> tuple[bool, int]:
    """Whether the structure converged, and the steps it took."""
    work = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    work.calc = AseCalculator(potential)
    # the same weight of the cell as gendesign.relaxation gives it, with which ASE too needs fewer steps
    cell = FrechetCellFilter(work, exp_cell_factor=len(work) ** 0.5, scalar_pressure=settings.pressure * units.GPa)
    search = FIRE(cell, logfile=None)
    for _ in search.irun(fmax=0.0, steps=settings.max_steps):  # its own criterion mixes forces and stress
        if done := _relaxed(work, settings):
            break
        if not np.isfinite(work.positions).all():
            break
    return done, search.nsteps


def _relaxed(atoms: Atoms, settings: Relaxation) -> bool:
    stress = atoms.get_stress(voigt=False) / units.GPa + settings.pressure * np.eye(3)
    force = np.linalg.norm(atoms.get_forces(), axis=1).max()
    return bool(force < settings.fmax and np.abs(stress).max() < settings.max_stress)


def measured(
    structures: Sequence[Atoms], potential: PotentialLike, settings: Relaxation
) -> dict[str, dict[str, float]]:
    """Paces of WAYS as plain values, after a few steps of each that warm up.

    Both sides of the comparison run FIRE, which ASE has too; the third is the optimizer that searches use.
    """
    own = replace(settings, optimizer="precon_lbfgs")
    ways = {"batched": (batched, settings), "single": (one_by_one, settings), "own": (batched, own)}
    for pace, limits in ways.values():
        pace(structures[:1], potential, replace(limits, max_steps=WARM_UP))
    return {key: asdict(pace(structures, potential, limits)) for key, (pace, limits) in ways.items()}


def pace_rows(found: dict[str, dict[str, float]] | None, n: int, device: torch.device) -> list[Row]:
    """Structures per second both ways and their ratio, which has a target for each kind of device; there is none unless
    both came equally far."""
    name, target = "batches over one by one", FASTER.get(device.type, FASTER["cpu"])
    if found is None:
        return [*(Row(title, None, "structures/s", 0) for title in WAYS.values()), Row(name, None, "", 0, target)]
    rows = []
    for key, title in WAYS.items():
        pace = found[key]
        rows.append(Row(title, n / pace["seconds"], "structures/s", n))
        rows.append(Row(f"{title}: converged", pace["converged"] / n, SHARE, n))
        rows.append(Row(f"{title}: steps", pace["steps"], "steps, mean", n))
    alone, batch = found["single"], found["batched"]
    ratio = alone["seconds"] / batch["seconds"] if alone["converged"] == batch["converged"] > 0 else None
    return [*rows, Row(name, ratio, "", n, target)]
