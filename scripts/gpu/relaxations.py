"""Batched relaxation against ASE one by one, for molecules and crystals, and a perovskite search.

Structures a second of both; on a GPU the batch is everything at once. ASE's LBFGS stops after its share of the time.
"""

import time
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS

from gendesign import Relaxation, load_potential, relax
from gendesign.generate.perovskite import Composition, Perovskite, RandomStarts
from gendesign.potential.adapters import AseCalculator
from gendesign.potential.protocol import PotentialLike
from scripts.gpu.job import Job

MOLECULES, CRYSTALS = Path("checkpoints/organic/reference.extxyz"), Path("scripts/hoip/teacher_cells.extxyz")
ASE_SHARE = 0.12  # of the time left, for each of the two comparisons


def run(job: Job) -> None:
    """Molecules, crystals and the search, in this order; each writes its line."""
    n_molecules, n_crystals = job.take("molecules", 1000), job.take("crystals", 64)
    steps, candidates = job.take("max_steps", 200), job.take("candidates", 256)
    composition = Composition(str(job.take("cation", "BA")), halide=str(job.take("halide", "I")))
    cells = tuple(job.take("cells", ["1"]))
    job.refuse_rest()
    organic = load_potential("organic", device=job.device)
    _compare(job, "molecules", _rattled(MOLECULES, n_molecules, 0.1), organic, Relaxation(max_steps=steps))
    hoip = load_potential("hoip", device=job.device)
    cell = Relaxation(cell=True, max_steps=steps)
    _compare(job, "crystals", _rattled(CRYSTALS, n_crystals, 0.05, hoip.elements), hoip, cell)
    begun = time.perf_counter()
    start = RandomStarts(cells=cells, symmetry=0.0)  # symmetric starts need pyxtal, which does not travel
    search = Perovskite(hoip, composition, start=start, evolution=None)
    found, energies = [], []
    for candidate in search.generate(range(candidates), seed=0):
        found.append(candidate)
        if candidate.failure is None and "energy" in candidate.info:
            energies.append(candidate.info["energy"] / len(candidate.atoms))
    spent = time.perf_counter() - begun
    job.write({"what": "search", "candidates": len(found), "failed": sum(c.failure is not None for c in found),
               "candidates_per_second": round(len(found) / spent, 3), "search_seconds": round(spent, 1),
               "lowest_ev_atom": round(min(energies), 5) if energies else None})  # fmt: skip


def _rattled(path: Path, count: int, width: float, elements: tuple[str, ...] | None = None) -> list[Atoms]:
    """`count` structures with displaced atoms, from the file in turn; the same in every run."""
    known = [a for a in ase.io.read(path, index=":") if elements is None or set(a.symbols) <= set(elements)]
    out = []
    for k in range(count):
        atoms = Atoms(known[k % len(known)].numbers, known[k % len(known)].positions, cell=known[k % len(known)].cell,
                      pbc=known[k % len(known)].pbc)  # fmt: skip
        atoms.positions += np.random.default_rng(k).normal(0, width, atoms.positions.shape)
        out.append(atoms)
    return out


def _compare(job: Job, what: str, structures: list[Atoms], potential: PotentialLike, settings: Relaxation) -> None:
    """Relax all in batches, then one by one by ASE until its share of the time is over."""
    relax([structures[0].copy()], potential, Relaxation(max_steps=2, cell=settings.cell))  # compiles and warms up
    begun = time.perf_counter()
    relaxed = relax([atoms.copy() for atoms in structures], potential, settings)
    batched = time.perf_counter() - begun
    done, steps, until = 0, 0, time.perf_counter() + ASE_SHARE * max(0.0, job.left())
    begun = time.perf_counter()
    for atoms in structures:
        steps += _by_ase(atoms.copy(), potential, settings)
        done += 1
        if time.perf_counter() > until:
            break
    single = time.perf_counter() - begun
    job.write({"what": what, "structures": len(structures), "atoms": sum(map(len, structures)),
               "batched_per_second": round(len(structures) / batched, 3), "ase_structures": done,
               "ase_per_second": round(done / single, 3),
               "speedup": round(len(structures) / batched * single / done, 2),
               "converged": sum(bool(c.info.get("converged")) for c in relaxed),
               "batched_steps": round(float(np.mean([c.info.get("steps", 0) for c in relaxed])), 1),
               "ase_steps": round(steps / done, 1)})  # fmt: skip


def _by_ase(atoms: Atoms, potential: PotentialLike, settings: Relaxation) -> int:
    """Relax `atoms` by ASE's LBFGS; returns the steps."""
    atoms.calc = AseCalculator(potential)
    with LBFGS(FrechetCellFilter(atoms) if settings.cell else atoms, logfile=None) as optimizer:
        optimizer.run(fmax=settings.fmax, steps=settings.max_steps)
        return optimizer.nsteps
