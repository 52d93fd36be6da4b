"""Sample, finish and relax molecules until the count or the time is reached: molecules a minute, and a profile.

Options other than those of `run` are settings of SimGen (particles=10, steps=50 ...).
"""

import time
from pathlib import Path

import ase.io
import torch
from torch.profiler import ProfilerActivity, profile

from gendesign import SimGen, load_potential, relax
from gendesign.structure.counter_random import keys
from gendesign.structure.types import Candidate
from scripts.gpu.job import Job


def run(job: Job) -> None:
    """Blocks of `block` molecules; after each the results so far are written."""
    count, block, heavy = job.take("n", 1000), job.take("block", 250), str(job.take("heavy", 9))
    potential = load_potential(job.take("potential", "organic"), device=job.device)
    profiled = job.take("profile", 20)
    usual = {"max_atoms": 1_000_000} if job.device.type == "cuda" else {}
    settings = {key: job.options.pop(key) for key in list(job.options)}  # of the generator
    generator = SimGen(potential, n_heavy_atoms=heavy, **{**usual, **settings})
    seconds = {"sample_and_finish": 0.0, "relax": 0.0}
    molecules: list[Candidate] = []
    longest, first = 0.0, True
    while len(molecules) < count and (first or job.left() > 1.3 * longest):
        begun = time.perf_counter()
        indices = range(len(molecules), min(count, len(molecules) + block))
        made = list(generator.generate(indices, seed=0))
        halfway = time.perf_counter()
        molecules += relax(made, potential)
        seconds["sample_and_finish"] += halfway - begun
        seconds["relax"] += time.perf_counter() - halfway
        longest, first = max(longest, time.perf_counter() - begun), False
        _write(job, molecules)
        total = sum(seconds.values())
        job.write({"molecules": len(molecules), "failed": sum(m.failure is not None for m in molecules),
                   "molecules_per_minute": round(60 * len(molecules) / total, 1),
                   **{key: round(value, 1) for key, value in seconds.items()}})  # fmt: skip
    if profiled and job.left() > 2 * longest * min(1, profiled / block) + 5:
        _profile(job, generator, potential, profiled)


def _write(job: Job, molecules: list[Candidate]) -> None:
    good = [m.atoms for m in molecules if m.failure is None and len(m.atoms)]
    partial = job.out / "molecules.partial"
    ase.io.write(partial, good, format="xyz")
    partial.rename(job.out / "molecules.xyz")


def _profile(job: Job, generator: SimGen, potential, count: int) -> None:
    """torch's table of one block, without the relaxation, to profile.txt."""
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if job.device.type == "cuda" else [])
    sizes = torch.full((count,), generator.problem.sizes[0])
    with profile(activities=kinds) as record:
        generator.sample(sizes, keys(0, torch.arange(count)))
    by = "self_cuda_time_total" if job.device.type == "cuda" else "self_cpu_time_total"
    table = record.key_averages().table(sort_by=by, row_limit=30, max_name_column_width=60)
    Path(job.out / "profile.txt").write_text(table)
