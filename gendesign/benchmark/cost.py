"""Cost of sampling a molecule against heavy atoms, batch, particles and references, and the overhead of a step."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from tqdm import tqdm

from gendesign.benchmark.record import Row
from gendesign.benchmark.speed import clock, metered
from gendesign.generate.simgen import SimGen
from gendesign.potential.protocol import PotentialLike
from gendesign.structure.counter_random import keys

STEPS = 50
USUAL = {"heavy atoms": 9, "batch": 4, "particles": 10, "references": 2000}
VARIED: dict[str, Sequence[int]] = {
    "heavy atoms": (5, 9, 15, 30, 60),
    "batch": (1, 2, 5, 10, 20, 40),
    "particles": (5, 10, 20, 40),
    "references": (250, 1000, 4000, 16000),
}


def measured(config: DictConfig, potential: PotentialLike, picture: Path) -> list[Row]:
    """Seconds per molecule of sampling for each variation, and the overhead of a step. Writes `picture`."""
    counts = {}
    _seconds({**USUAL, "batch": 1}, config.seed, potential)  # warms up
    for name, values in tqdm(VARIED.items(), desc="cost", unit="series"):
        counts[name] = [_seconds({**USUAL, name: value}, config.seed, potential)[0] for value in values]
    usual = _seconds(USUAL, config.seed, potential)
    rows = [
        Row(f"sampling, {name} {value}", seconds, "s/molecule", USUAL["batch"] if name != "batch" else value)
        for name, values in VARIED.items()
        for value, seconds in zip(values, counts[name], strict=True)
    ]
    beyond = usual[0] / usual[1] - 1
    rows.append(Row("a step beyond its model calls, share of them", beyond, "", STEPS, "<= 0.15"))
    figure = Figure(figsize=(12, 3), layout="constrained")
    for panel, (name, values) in zip(figure.subplots(1, len(VARIED)), VARIED.items(), strict=True):
        panel.plot(values, counts[name], marker="o")
        panel.set(xscale="log", yscale="log", xlabel=name, ylabel="seconds a molecule")
        panel.set_xticks(list(values), [str(v) for v in values])
        panel.minorticks_off()
    figure.savefig(picture, dpi=120)
    return rows


def _seconds(point: dict[str, int], seed: int, potential: PotentialLike) -> tuple[float, float]:
    """Seconds per molecule in total and in model calls."""
    sampler, meter = metered(SimGen(potential, particles=point["particles"], steps=STEPS), point["references"])
    sizes = torch.full((point["batch"],), point["heavy atoms"])
    key = keys(seed, torch.arange(point["batch"]))
    start = clock(potential.device)
    sampler(sizes, key)
    total = clock(potential.device) - start
    return total / point["batch"], meter.seconds / point["batch"]
