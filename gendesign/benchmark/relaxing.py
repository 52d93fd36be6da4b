"""Speed of batched relaxations of crystals, compared with ASE one by one: same starts, potential and convergence.

Both run FIRE with ASE's parameters on atoms and cell (Frechet filter, equal weights of the cell), until forces and
stress are below the same limits or the same number of steps is reached. The batched relaxation differs in this:
finished structures leave a batch and others replace them; the model is evaluated once more at the end; broken
structures are detected; and velocities, which are zero, are mixed on the first step already.
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
TITLES = {
    "batched": "relaxing in batches",
    "single": "relaxing one by one, ASE",
    "own": "relaxing in batches, precon_lbfgs",
}


@dataclass(frozen=True)
class Pace:
    """The cost of a series of relaxations: seconds in total, number of converged structures, mean number of steps."""

    seconds: float
    converged: int
    steps: float


def batched(structures: Sequence[Atoms], potential: PotentialLike, settings: Relaxation) -> Pace:
    """Relax all structures together by gendesign.relaxation."""
    begin = time.perf_counter()
    done = relax(structures, potential, settings)
    seconds = time.perf_counter() - begin
    steps = [int(candidate.info["steps"]) for candidate in done]
    return Pace(seconds, sum(bool(c.info["converged"]) for c in done), float(np.mean(steps)))


def one_by_one(structures: Sequence[Atoms], potential: PotentialLike, settings: Relaxation) -> Pace:
    """Relax each structure by ASE's FIRE with a Frechet cell filter and the convergence criterion of gendesign."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "logm result may be inaccurate")  # its error is 1e-13
        ends = [_by_ase(atoms, potential, settings) for atoms in structures]
    seconds = time.perf_counter() - begin
    return Pace(seconds, sum(done for done, _ in ends), float(np.mean([steps for _, steps in ends])))


def _by_ase(atoms: Atoms, potential: PotentialLike, settings: Relaxation) -> tuple[bool, int]:
    """Whether the structure converged, and the number of steps."""
    work = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    work.calc = AseCalculator(potential)
    # the weight of the cell is that of gendesign.relaxation, with which ASE needs fewer steps too
    cell = FrechetCellFilter(work, exp_cell_factor=len(work) ** 0.5, scalar_pressure=settings.pressure * units.GPa)
    optimizer = FIRE(cell, logfile=None)
    for _ in optimizer.irun(fmax=0.0, steps=settings.max_steps):  # ASE's criterion combines forces and stress
        if done := _relaxed(work, settings):
            break
        if not np.isfinite(work.positions).all():
            break
    return done, optimizer.nsteps


def _relaxed(atoms: Atoms, settings: Relaxation) -> bool:
    stress = atoms.get_stress(voigt=False) / units.GPa + settings.pressure * np.eye(3)
    force = np.linalg.norm(atoms.get_forces(), axis=1).max()
    return bool(force < settings.fmax and np.abs(stress).max() < settings.max_stress)


def measured(
    structures: Sequence[Atoms], potential: PotentialLike, settings: Relaxation
) -> dict[str, dict[str, float]]:
    """Measure the relaxations in TITLES, after a few warm-up steps of each; the fields of `Pace` by key.

    The comparison with ASE uses FIRE, which both have. The third relaxation uses the optimizer of the searches.
    """
    preconditioned = replace(settings, optimizer="precon_lbfgs")
    methods = {"batched": (batched, settings), "single": (one_by_one, settings), "own": (batched, preconditioned)}
    for method, limits in methods.values():
        method(structures[:1], potential, replace(limits, max_steps=WARM_UP))
    return {key: asdict(method(structures, potential, limits)) for key, (method, limits) in methods.items()}


def pace_rows(paces: dict[str, dict[str, float]] | None, n: int, device: torch.device) -> list[Row]:
    """Structures per second of each relaxation, and the ratio of batched to single with its target for the device.

    paces: from `measured`, None if not measured. The ratio is None unless both converged for equally many structures.
    """
    name, target = "batches over one by one", FASTER.get(device.type, FASTER["cpu"])
    if paces is None:
        return [*(Row(title, None, "structures/s", 0) for title in TITLES.values()), Row(name, None, "", 0, target)]
    rows = []
    for key, title in TITLES.items():
        pace = paces[key]
        rows.append(Row(title, n / pace["seconds"], "structures/s", n))
        rows.append(Row(f"{title}: converged", pace["converged"] / n, SHARE, n))
        rows.append(Row(f"{title}: steps", pace["steps"], "steps, mean", n))
    alone, batch = paces["single"], paces["batched"]
    ratio = alone["seconds"] / batch["seconds"] if alone["converged"] == batch["converged"] > 0 else None
    return [*rows, Row(name, ratio, "", n, target)]
