"""Parts of `gendesign benchmark amorphous` that compare costs: the similarity route, and dynamics in batches."""

import os
import time
from collections.abc import Callable, Sequence
from statistics import mean

import numpy as np
import psutil
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from gendesign.analysis.energetics import diamond
from gendesign.benchmark.glass_parts import PERCENT, Part, analysed, value
from gendesign.benchmark.glass_runs import Bench, Made
from gendesign.dynamics.runs import LANGEVIN, Conditions, run_dynamics
from gendesign.structure.counter_random import keys
from gendesign.structure.types import Row

HOT, TIMESTEP, FRICTION = 1000.0, 1.0, 5.0  # K, fs, 1/ps
LEAST_STEPS, TRIED, SHORT = 200, 20, 2  # of a quench as dear as the similarity route; of measurements
CORES = 2  # on which the target of the similarity route is stated
SHOWN = {"Si": ("Si with 4 bonds",), "SiO2": ("Si with 4 bonds", "O with 2 bonds")}


def similarity(bench: Bench) -> Part:
    """Models without melting, before and after relaxation, beside a quench of equal time."""
    s, part = bench.config.amorphous, Part()
    for formula in SHOWN:
        n_atoms = s.similarity_atoms - (s.similarity_atoms % 3 if formula == "SiO2" else 0)
        title = f"similarity, {formula}, {n_atoms} atoms"
        name, plain = f"similarity-{formula}", ("relaxation=null", "screening=null")
        made = bench.generate(name, formula, n_atoms, s.similarity_models, "generator.route=similarity", *plain)
        after = _relaxed(bench, name, made)
        seconds = (made.seconds_each, after.seconds_each)
        part.rows += [
            Row(f"{title}: wall time on {CORES} cores, one core each", sum(seconds) / CORES, "s/model",
                len(made.models), "<= 120"),
            Row(f"{title}: one core, of it the relaxation", seconds[1], "s/model", len(after.models)),
        ]  # fmt: skip
        for when, run, target in (("before", made, ">= 90"), ("after", after, ">= 95")):
            if run.models:
                means, part.curves[f"{title}, {when}"] = analysed(run.atoms)
                for what in SHOWN[formula]:
                    found = value(means, what)
                    part.rows.append(Row(f"{title}: {what} {when} relaxation", found, PERCENT, len(run.models), target))
        part.rows += _against_quench(bench, formula, n_atoms, title, made, after, part)
    return part


def _relaxed(bench: Bench, name: str, made: Made) -> Made:
    """The same models relaxed by the potential with their cells."""
    return bench.run(f"{name}-relaxed", "relax", str(made.file), "relaxation=amorphous")


def _against_quench(
    bench: Bench, formula: str, n_atoms: int, title: str, made: Made, after: Made, part: Part
) -> list[Row]:
    """Energies of the similarity route and of a melt-quench under the potential that may take the same time."""
    models = made.atoms or [bulk("Si", "diamond", a=5.43, cubic=True) * 2]
    each = step_cost(bench, models)
    steps = max(LEAST_STEPS, int(made.seconds_each / max(each, 1e-6)))
    cooling = max(LEAST_STEPS // 2, int(0.7 * steps)) / 1000  # ps
    path = bench.protocol(f"equal-{formula}", [
        "name: settle, kind: relax, fmax: 1.0, max_steps: 60",
        f"name: melt, temperature: 4000, duration: {max(0.05, 0.3 * steps / 1000):.3f}, friction: 20",
        f"name: quench, temperature: [4000, 300], duration: {cooling:.3f}, friction: 20",
    ], "a quench that takes as long as the similarity route")  # fmt: skip
    name = f"equal-{formula}"
    plain = (f"generator.protocol={path}", "relaxation=null", "screening=null")
    quenched = bench.generate(name, formula, n_atoms, bench.config.amorphous.similarity_models, *plain)
    relaxed = _relaxed(bench, name, quenched)
    n = len(quenched.models)
    rows = [Row(f"{title}: steps of a quench of equal time", steps, "steps", 1)]
    rows.append(Row(f"{title}: one core, quench of equal time", quenched.seconds_each, "s/model", n))
    for who, run in (("similarity", after), ("quench of equal time", relaxed)):
        above = bench.above(run.models)
        rows.append(
            Row(f"{title}: energy above the crystal, {who}", mean(above) if above else None, "eV/atom", len(above))
        )
    if relaxed.models:
        means, part.curves[f"{title}, quench"] = analysed(relaxed.atoms)
        rows += [Row(f"{title}: {what}, quench of equal time", value(means, what), PERCENT, len(relaxed.models))
                 for what in SHOWN[formula]]  # fmt: skip
    return rows


def cpu_seconds() -> float:
    """CPU seconds of this process and of the processes that its potential keeps."""
    me = psutil.Process(os.getpid())
    return float(sum(sum(one.cpu_times()[:2]) for one in (me, *me.children(recursive=True))))


def step_cost(bench: Bench, models: Sequence[Atoms]) -> float:
    """Wall seconds of a step of one model in a batch of all of them; the times of runs are wall times as well."""
    n_atoms = len(models[0])
    return n_atoms / _rate(lambda n: _batched(bench, models, n), models, TRIED, time.perf_counter)


def _batched(bench: Bench, models: Sequence[Atoms], steps: int) -> None:
    conditions = Conditions(LANGEVIN, (HOT, HOT), steps, TIMESTEP, friction=FRICTION)
    run_dynamics(models, bench.potential, conditions, keys=keys(0, torch.arange(len(models))))


def batching(bench: Bench) -> Part:
    """Langevin dynamics of many models in one batch, against ASE's one by one, with the same potential."""
    s = bench.config.amorphous
    cells = max(1, round((s.silicon_atoms / 8) ** (1 / 3)))
    rng = np.random.default_rng(0)
    models = []
    for _ in range(s.batch_models):
        atoms = diamond() * cells
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        models.append(atoms)
    single = models[: s.batch_single]
    rates: dict[str, list[float]] = {"in a batch": [], "one by one": []}
    for _ in range(2):  # twice, in turn: other work on the machine meets both
        rates["in a batch"].append(_rate(lambda n: _batched(bench, models, n), models, s.batch_steps))
        rates["one by one"].append(_rate(lambda n: _one_by_one(bench, single, n), single, s.batch_steps))
    best = {way: max(values) for way, values in rates.items()}
    n_atoms = len(models[0])
    title = f"dynamics, Si, {n_atoms} atoms a model"
    ratio = best["in a batch"] / best["one by one"]
    rows = [Row(f"{title}: {len(models)} models in a batch over ASE one by one", ratio, "ratio", len(models), ">= 1.5")]
    for way, n in (("in a batch", len(models)), ("one by one", len(single))):
        rows.append(Row(f"{title}: {way}", best[way], "atom-steps/CPU s", n))
    return Part(rows, points={way: [[k, rate] for k, rate in enumerate(values)] for way, values in rates.items()})


def _rate(
    act: Callable[[int], None], models: Sequence[Atoms], steps: int, clock: Callable[[], float] = cpu_seconds
) -> float:
    """Atom-steps per second of `clock`, without what a run costs before its steps (the test of its timestep)."""
    times = [clock()]
    for n in (SHORT, SHORT + steps):
        act(n)
        times.append(clock())
    return sum(map(len, models)) * steps / max(1e-9, times[2] - 2 * times[1] + times[0])


def _one_by_one(bench: Bench, models: Sequence[Atoms], steps: int) -> None:
    for k, atoms in enumerate(models):
        copy = atoms.copy()
        copy.calc = bench.potential.as_ase()
        rng = np.random.default_rng(k)
        thermalize_momenta(copy, temperature_K=HOT, rng=rng)
        friction = FRICTION / (1000 * units.fs)
        Langevin(copy, TIMESTEP * units.fs, temperature_K=HOT, friction=friction, fixcm=False, rng=rng).run(steps)
