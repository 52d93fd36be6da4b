"""Train a diffusion model of QM9 within the time that is left, then sample from it.

Pack the data first: python -m scripts.gpu.diffusion KIT. Once a minute the state (fit/, for resume=FOLDER) and a
usable checkpoint (checkpoint/) go to the results.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from ase.data import atomic_numbers

from gendesign.generate.diffusion import checkpoint, data
from gendesign.generate.diffusion.cloud import Order, new_cloud
from gendesign.generate.diffusion.generator import molecules_of
from gendesign.generate.diffusion.loss import NoiseLevels
from gendesign.generate.diffusion.model import EnergyModel
from gendesign.generate.diffusion.network import NetworkSettings
from gendesign.generate.diffusion.quality import quality
from gendesign.generate.diffusion.sampler import DiffusionSampler, LearnedScore, Steps
from gendesign.generate.diffusion.sizes import drawn
from gendesign.generate.diffusion.training import STATE, DiffusionFit, State, train
from gendesign.randomness import Purpose, seed_of
from gendesign.structure.counter_random import keys
from scripts.gpu.job import Job

UNIT = 0.0005  # Angstrom, of packed positions
SHAPE = ("cutoff", "noise_cutoff", "channels", "layers", "correlation", "n_radial", "width")
SAMPLED_SHARE, MOST_SAMPLED = 0.15, 75.0  # of the time left, at most so many seconds, for samples at the end
FIT_FILES = (STATE, "log.csv")


class OutOfTime(Exception):
    """The time of this run ends before that of the whole fit."""


def pack(path: Path, molecules: data.Molecules) -> None:
    """Write molecules with positions as multiples of UNIT; 11 bytes an atom before compression."""
    np.savez_compressed(
        path, numbers=molecules.numbers, positions=np.rint(molecules.positions / UNIT).astype(np.int16),
        counts=molecules.counts.astype(np.uint8), smiles=np.array("\n".join(molecules.smiles)),
        groups=np.array("\n".join(molecules.groups)),
    )  # fmt: skip


def unpack(path: Path) -> data.Molecules:
    """The molecules that `pack` wrote."""
    with np.load(path) as saved:
        smiles, groups = (np.array(str(saved[key]).split("\n")) for key in ("smiles", "groups"))
        positions = saved["positions"].astype(np.float32) * UNIT
        return data.Molecules.of(saved["numbers"], positions, saved["counts"].astype(int), smiles, groups)


def run(job: Job) -> None:
    """Train, write checkpoints, sample."""
    molecules = unpack(Path(job.take("data", "gpu-kit/qm9.npz")))
    split, resume, minute = job.take("split", data.RANDOM), job.take("resume", None), float(job.take("minute", 60))
    samples, init = int(job.take("samples", 1000)), job.take("init", None)
    shape = {key: job.take(key, None) for key in SHAPE if key in job.options}
    noise = NoiseLevels(
        **{key[6:]: job.take(key, None) for key in ("noise_mean", "noise_spread") if key in job.options}
    )
    trained, held = data.split(molecules, 0.1, split)
    elements = tuple(molecules.elements)
    torch.manual_seed(seed_of(Purpose.DIFFUSION_WEIGHTS, 0))
    if init is None:
        statistics = data.statistics(molecules.chosen(trained), elements)
        model = EnergyModel(NetworkSettings(**shape), statistics).to(job.device)
    else:
        model = checkpoint.begin_from(init, checkpoint.load(init).model.settings, elements, job.device)
    reserve = min(MOST_SAMPLED, SAMPLED_SHARE * job.left())
    folder, before = Path(tempfile.mkdtemp(prefix="diffusion-")), 0.0
    if resume is not None:
        for name in FIT_FILES:
            shutil.copy(Path(resume) / name, folder / name)
        before = float(torch.load(folder / STATE, weights_only=True, map_location="cpu")["seconds"])
    settings = _settings(job, before + job.left() - reserve, minute)
    last: list[State] = []

    def keep(state: State) -> None:
        _export(job, state, folder, noise, split)
        last[:] = [state]
        if state.progress(settings) < 1 and job.left() < reserve + minute:
            raise OutOfTime

    begun, finished = time.time(), True
    try:
        last[:] = [train(model, molecules.chosen(trained), molecules.chosen(held), folder, settings, noise, keep)]
    except OutOfTime:
        finished = False
    state, seconds = last[0], time.time() - begun
    row = {"molecules": len(trained), "split": split, "steps": state.step, "batch_size": settings.batch_size,
           "fit_seconds": round(seconds, 1), "finished": finished}  # fmt: skip
    row["molecules_per_second"] = round(state.step * settings.batch_size / max(1e-9, state.seconds), 1)
    job.write(row | sampled(job, state.averaged(), samples))
    shutil.rmtree(folder)


def _settings(job: Job, seconds: float, minute: float) -> DiffusionFit:
    """Settings of the fit: the options that are left. `time_limit` is that of all runs, this one by default."""
    given = dict(job.options)
    job.options.clear()
    usual = {"steps": 10**9, "batch_size": 512 if job.device.type == "cuda" else 32, "learning_rate": 0.003,
             "decay_from": 0.3, "save_every": 10**9, "save_seconds": minute, "time_limit": seconds,
             "n_valid": 500}  # fmt: skip
    return DiffusionFit(**{**usual, **given})


def _export(job: Job, state: State, folder: Path, noise: NoiseLevels, split: str) -> None:
    (job.out / "fit").mkdir(exist_ok=True)
    for name in FIT_FILES:
        shutil.copy(folder / name, job.out / "fit" / f"{name}.partial")
        (job.out / "fit" / f"{name}.partial").replace(job.out / "fit" / name)
    checkpoint.save(
        state.averaged(), noise, job.out / "checkpoint", name="qm9-diffusion", licence="MIT", data="qm9", split=split,
        steps=state.step, seconds=round(state.seconds),
    )  # fmt: skip


def sampled(job: Job, model: EnergyModel, n: int, calls: int = 64) -> dict:
    """Quality of as many raw samples as the time allows, at most `n`."""
    elements = tuple(atomic_numbers[e] for e in model.elements)
    made, begun, block = [], time.time(), 500 if job.device.type == "cuda" else 10
    while len(made) < n and job.left() > 15:
        index = torch.arange(len(made), min(n, len(made) + block))
        key = keys(0, index).to(job.device)
        u = np.random.default_rng(len(made)).random(len(index))
        orders = [Order(torch.zeros(size, dtype=torch.long), torch.full((size, 3), torch.nan))
                  for _, size in drawn(model.statistics.size_counts, u).tolist()]  # fmt: skip
        cloud = new_cloud(orders, key, elements, elements)
        made += molecules_of(DiffusionSampler(LearnedScore(model), Steps(calls=calls))(cloud))
    if not made:
        return {"samples": 0}
    seconds, found = time.time() - begun, quality(made)
    shares = {key: round(getattr(found, key), 4) for key in ("atoms_stable", "molecules_stable", "valid", "unique")}
    return {"samples": found.n, "calls": calls, "sampling_seconds": round(seconds, 1), **shares}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    pack(folder / "qm9.npz", data.read(data.QM9))
