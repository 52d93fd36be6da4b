"""`gendesign benchmark speed`: seconds per molecule of sampling with untrained networks of two shapes.

The time depends on the shape of the network and on the number of edges, not on the weights. Edges are counted in the
timed runs and in a run with the potential of the settings, because distant atoms without edges would be fast.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from ase.data import atomic_numbers
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from gendesign.benchmark.record import Row, check_record, table, write
from gendesign.generate.simgen import SimGen, kernel
from gendesign.generate.simgen.sampler import Sampler
from gendesign.generate.simgen.state import Swarm
from gendesign.potential import Potential, mace
from gendesign.potential.protocol import PotentialLike
from gendesign.run.build import load, make
from gendesign.structure.counter_random import keys
from gendesign.structure.graph import edges_within

HEAVY_ATOMS = 9
SHAPES = (  # (l_max, correlation), target in seconds a molecule
    (2, 2, "<= 0.8"),
    (3, 3, "<= 5.5"),
)
WARM_UP = 4  # steps


@dataclass
class Meter:
    """Totals over the calls of the kernel: seconds in the model, number of calls, and edges per atom of each call."""

    seconds: float = 0.0
    calls: int = 0
    edges: list[float] = field(default_factory=list)

    @contextmanager
    def running(self, device: torch.device) -> Iterator[None]:
        """A context that adds its duration and one call."""
        start = clock(device)
        yield
        self.seconds += clock(device) - start
        self.calls += 1


@dataclass(frozen=True, kw_only=True)
class MeteredScore(kernel.KernelScore):
    """KernelScore that records its calls in a meter."""

    meter: Meter

    def features(self, swarm: Swarm, positions: Tensor) -> Tensor:
        edges = edges_within(positions, swarm.pairs, self.potential.cutoff)
        self.meter.edges.append(edges.index.shape[1] / len(positions))
        return super().features(swarm, positions)

    def energies(self, swarm: Swarm, positions: Tensor, sigma: float) -> Tensor:
        with self.meter.running(self.potential.device):
            return super().energies(swarm, positions, sigma)

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        """The score of `KernelScore`, timed."""
        with self.meter.running(self.potential.device):
            return super().__call__(swarm, sigma)


@dataclass(frozen=True)
class Sampling:
    """Seconds of each timed run, and the meter of all of them."""

    seconds: list[float]
    meter: Meter


def run(config: DictConfig) -> None:
    """Time both shapes and the potential of the settings, print the table, and write speed.json to `config.record`."""
    settings = config.speed
    record = check_record(config.record)
    trained = load(config)
    trained_measurement = measured(config, trained, repeats=1)
    trained_edges = statistics.mean(trained_measurement.meter.edges)
    rows = []
    for l_max, correlation, target in SHAPES:
        measurement = measured(config, untrained(trained, l_max, correlation), repeats=settings.repeats)
        name = f"l_max {l_max} correlation {correlation}"
        rows += shape_rows(name, measurement, target, settings.molecules, trained_edges)
    rows += shape_rows(trained.name, trained_measurement, None, settings.molecules, None)
    write(rows, record / "speed.json", trained.device)
    print(table(rows))
    print(f"rows: {record / 'speed.json'}")


def measured(config: DictConfig, potential: PotentialLike, repeats: int) -> Sampling:
    """Sample `speed.molecules` molecules of nine heavy atoms `repeats` times after a short warm-up run."""
    fixed = {"n_heavy_atoms": str(HEAVY_ATOMS), "steps": config.speed.steps, "particles": config.speed.particles}
    generator = make(OmegaConf.merge(config.generator, fixed), potential=potential)
    sampler, meter = metered(generator, config.speed.references)
    sizes = torch.full((config.speed.molecules,), HEAVY_ATOMS)
    key = keys(config.seed, torch.arange(config.speed.molecules))
    warm_up, _ = metered(generator, config.speed.references)
    replace(warm_up, steps=WARM_UP)(sizes, key)
    seconds = []
    for _ in range(repeats):
        start = clock(potential.device)
        sampler(sizes, key)
        seconds.append(clock(potential.device) - start)
    return Sampling(seconds, meter)


def metered(generator: SimGen, references: int) -> tuple[Sampler, Meter]:
    """The generator's sampler with exactly that many reference environments, and the meter of its score."""
    problem, meter = generator.problem, Meter()
    environments = exactly(kernel.environments(problem.potential, problem.skeletons, merge=0.0), references)
    return Sampler.of(problem, generator, MeteredScore(problem.potential, environments, meter=meter)), meter


def exactly(environments: kernel.Environments, count: int) -> kernel.Environments:
    """`count` reference environments: the first ones, or all of them repeated. Only their number affects the time."""
    kept = torch.arange(count, device=environments.features.device) % len(environments.features)
    return replace(environments, features=environments.features[kept], log_weight=environments.log_weight[kept],
                   numbers=environments.numbers[kept])  # fmt: skip


def untrained(like: Potential, l_max: int, correlation: int) -> Potential:
    """A randomly initialised MACE for the elements and the device of `like`: 64 channels, 4.5 Angstrom, float32."""
    torch.manual_seed(0)
    energies = {atomic_numbers[symbol]: value for symbol, value in like.isolated_energies.items()}
    plain = mace.new_mace(atomic_energies=energies, cutoff=4.5, channels=64, max_ell=l_max, correlation=correlation,
                          radial_mlp=(64, 64, 64))  # fmt: skip
    net = mace.from_plain(plain, torch.float32).to(like.device).eval().requires_grad_(False)
    return Potential(net, f"untrained, l_max {l_max} correlation {correlation}", "", "none", "none")


def shape_rows(
    name: str, measurement: Sampling, target: str | None, molecules: int, least_edges: float | None
) -> list[Row]:
    """Rows of one network. The target applies to the median; it must have at least as many edges as the trained one."""
    meter, runs = measurement.meter, len(measurement.seconds)
    each, unit = [seconds / molecules for seconds in measurement.seconds], "s/molecule"
    model = meter.seconds / runs / molecules
    edges = statistics.mean(meter.edges)
    return [
        Row(f"sampling, {name}, median of {runs}", statistics.median(each), unit, molecules, target),
        Row(f"sampling, {name}, fastest of {runs}", min(each), unit, molecules),
        Row(f"model calls alone, {name}", model, unit, meter.calls // runs),
        Row(f"all else in a step, {name}", statistics.mean(each) - model, unit, molecules),
        Row(f"edges per atom, {name}", edges, "", len(meter.edges),
            None if least_edges is None else f">= {least_edges:.2f}"),
    ]  # fmt: skip


def clock(device: torch.device) -> float:
    """Time in seconds after all queued work of the accelerator has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
