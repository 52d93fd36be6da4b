"""The stages of a protocol, applied to all models of a shard."""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units

from gendesign.dynamics.runs import Conditions, run_dynamics
from gendesign.dynamics.state import State
from gendesign.generate.amorphous.protocol import CUT, LAMMPS, MD, PACK, RELAX, STRAIN, Protocol, Stage
from gendesign.generate.amorphous.starts import Starts
from gendesign.lammps.deck import RESULT, Dynamics, Minimisation, read_result
from gendesign.lammps.models import load_model
from gendesign.lammps.run import LammpsError, Thermo, run_lammps
from gendesign.potential.protocol import PotentialLike
from gendesign.randomness import Purpose, seed_of
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.cells import density
from gendesign.structure.counter_random import keys
from gendesign.structure.generator import ShardContext
from gendesign.structure.step_cache import StepCache
from gendesign.structure.types import Candidate

SPEAK_SECONDS = 1.0  # between two reports to the bar
LARGEST_LAMMPS_SEED = 2**31 - 1


@dataclass(frozen=True)
class Bench:
    """What the stages of one shard share."""

    potential: PotentialLike
    starts: Starts
    seed: int
    context: ShardContext
    max_atoms: int


@dataclass(frozen=True)
class Kept:
    """A place in the step cache for the state of a run in progress; a `Checkpoint` of dynamics."""

    cache: StepCache
    name: str

    def load(self) -> Mapping[str, np.ndarray] | None:
        """See Checkpoint."""
        return self.cache.load_arrays(self.name)

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See Checkpoint."""
        self.cache.save_arrays(self.name, arrays)


def run_protocol(candidates: Sequence[Candidate], protocol: Protocol, bench: Bench) -> list[Candidate]:
    """All stages in their order; a model that fails ends with its last good frame and the reason."""
    current, steps = list(candidates), 0
    for number, stage in enumerate(protocol.stages, start=1):
        alive = [candidate for candidate in current if candidate.failure is None]
        if not alive:
            break
        place = f"stage {number} of {len(protocol.stages)}, {stage.title}"
        bench.context.phase(place)
        done = {c.index: c for c in _stage(alive, stage, number, steps, place, bench)}
        current = [done.get(candidate.index, candidate) for candidate in current]
        steps += stage.steps
    return current


def _stage(
    alive: Sequence[Candidate], stage: Stage, number: int, steps: int, place: str, bench: Bench
) -> list[Candidate]:
    get_or_make, name = bench.context.get_or_make, f"stage-{number:02d}"
    if stage.engine == LAMMPS and stage.kind in (MD, RELAX):
        out = []
        for candidate in alive:
            step = f"{name}-{candidate.index:05d}"
            one = get_or_make(step, lambda c=candidate, s=step: [_in_lammps(c, stage, steps, place, s, bench)])
            out += _finished(one, stage)
        return out
    if stage.kind == MD:
        out = []
        for batch in batches(alive, stage, bench.max_atoms):
            step = f"{name}-from-{batch[0].index:05d}"
            out += get_or_make(step, lambda b=batch, s=step: _dynamics(b, stage, steps, place, s, bench))
            bench.context.cache.drop_arrays(f"{step}-state")
        return _finished(out, stage)
    make: dict[str, Callable[[], Iterable[Candidate]]] = {
        RELAX: lambda: _relaxed(alive, stage, place, bench),
        PACK: lambda: [_packed(candidate, stage, bench) for candidate in alive],
        STRAIN: lambda: [_with(candidate, strained(candidate.atoms, stage)) for candidate in alive],
        CUT: lambda: [_with(candidate, cut(candidate.atoms, stage)) for candidate in alive],
    }
    return _finished(get_or_make(name, make[stage.kind]), stage)


def _finished(candidates: Sequence[Candidate], stage: Stage) -> list[Candidate]:
    return [replace(c, history=(*c.history, stage.describe())) for c in candidates]


def batches(candidates: Sequence[Candidate], stage: Stage, max_atoms: int) -> list[list[Candidate]]:
    """Candidates that run together: of one periodicity and one change of the density, within `max_atoms`."""
    groups: dict[tuple, list[Candidate]] = {}
    for candidate in candidates:
        ratio = None if stage.density is None else round(density(candidate.atoms) / stage.density, 6)
        groups.setdefault((tuple(candidate.atoms.pbc), ratio), []).append(candidate)
    out = []
    for members in groups.values():
        batch: list[Candidate] = []
        for candidate in members:
            if batch and sum(len(c.atoms) for c in batch) + len(candidate.atoms) > max_atoms:
                out.append(batch)
                batch = []
            batch.append(candidate)
        out.append(batch)
    return out


def _dynamics(
    batch: Sequence[Candidate], stage: Stage, steps: int, place: str, step: str, bench: Bench
) -> list[Candidate]:
    conditions = Conditions(
        stage.ensemble, stage.ends, stage.steps, stage.timestep, stage.pressures,
        None if stage.density is None else round(density(batch[0].atoms) / stage.density, 6),
        stage.friction, bulk_modulus=stage.bulk_modulus,
    )  # fmt: skip
    outcomes = run_dynamics(
        [candidate.atoms for candidate in batch],
        bench.potential,
        conditions,
        keys=keys(bench.seed, torch.tensor([candidate.index for candidate in batch])),
        first_step=steps,
        checkpoint=Kept(bench.context.cache, f"{step}-state"),
        report=_Spoken(bench.context, place, stage.steps).state,
    )
    return [
        _with(c, o.atoms, f"{stage.title}: {o.failure}, after {o.steps} steps" if o.failure else None)
        for c, o in zip(batch, outcomes, strict=True)
    ]


@dataclass
class _Spoken:
    """Tells the bar of a run now and then."""

    context: ShardContext
    place: str
    steps: int
    said: float = 0.0
    began: float = 0.0
    first: int | None = None

    def state(self, step: int, state: State) -> None:
        """Of a batch: means over its models."""
        if self._due(step):
            atoms = len(state.batch.numbers)
            values = (float(state.temperature.mean()), float(state.pressure.mean()) / units.GPa)
            self._say(step, *values, float(state.energy.sum()) / atoms)

    def thermo(self, atoms: int) -> Callable[[Thermo], None]:
        """Of one model in LAMMPS."""

        def report(now: Thermo) -> None:
            if self._due(now.step):
                self._say(now.step, now.temperature, now.pressure, now.energy / atoms)

        return report

    def _due(self, step: int) -> bool:
        now = time.monotonic()
        if self.first is None:
            self.first, self.began = step, now
        if now - self.said < SPEAK_SECONDS:
            return False
        self.said = now
        return True

    def _say(self, step: int, temperature: float, pressure: float, energy: float) -> None:
        done, spent = step - (self.first or 0), time.monotonic() - self.began
        left = f", {spent / done * (self.steps - step):.0f} s left" if done > 0 and step <= self.steps else ""
        press = "" if np.isnan(pressure) else f", {pressure:.2f} GPa"
        text = f"{self.place}: {temperature:.0f} K{press}, {energy:.3f} eV/atom{left}"
        self.context.phase(text, step, self.steps)


def _in_lammps(candidate: Candidate, stage: Stage, steps: int, place: str, step: str, bench: Bench) -> Candidate:
    """One model through one stage of LAMMPS."""
    cache, atoms = bench.context.cache.folder, candidate.atoms
    folder = None if cache is None else Path(cache) / f"{step}-lammps"
    task = _task(stage, candidate, steps, bench)
    spoken = _Spoken(bench.context, f"{place}, model {candidate.index}", stage.steps)
    try:
        made, _ = run_lammps(atoms, load_model(stage.model), task, folder, spoken.thermo(len(atoms)))
        out = _with(candidate, made)
    except LammpsError as error:
        last = atoms
        if folder is not None and (folder / RESULT).is_file():
            last = read_result(folder / RESULT, atoms)
        out = _with(candidate, last, f"{stage.title}: {error}")
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    return out


def _task(stage: Stage, candidate: Candidate, steps: int, bench: Bench) -> Dynamics | Minimisation:
    if stage.kind == RELAX:
        return Minimisation(stage.fmax, stage.max_steps, stage.cell, stage.pressures[0])
    atoms = candidate.atoms
    seed = seed_of(Purpose.LAMMPS_SEED, bench.seed, candidate.index, steps) % (LARGEST_LAMMPS_SEED // 2) + 1
    edges = None if stage.density is None else (density(atoms) / stage.density) ** (1 / 3)
    return Dynamics(
        stage.ensemble, stage.ends, stage.steps, stage.timestep, seed, stage.pressures, edges,
        velocities=not atoms.get_momenta().any(), friction=stage.friction,
    )  # fmt: skip


def _relaxed(alive: Sequence[Candidate], stage: Stage, place: str, bench: Bench) -> list[Candidate]:
    settings = Relaxation(
        optimizer="fire" if stage.cell else "lbfgs", fmax=stage.fmax, max_steps=stage.max_steps, cell=stage.cell,
        pressure=stage.pressures[0] if stage.cell else 0.0, max_atoms=bench.max_atoms,
    )  # fmt: skip
    plain = [Candidate(_at_rest(candidate.atoms), candidate.index) for candidate in alive]
    relaxed = relax(plain, bench.potential, settings, lambda done, total: bench.context.phase(place, done, total))
    return [
        _with(c, r.atoms, None if r.failure is None else f"{stage.title}: {r.failure}")
        for c, r in zip(alive, relaxed, strict=True)
    ]


def _packed(candidate: Candidate, stage: Stage, bench: Bench) -> Candidate:
    wanted = bench.starts.packed_density if stage.density is None else stage.density
    atoms = bench.starts.pack(wanted, candidate.index, bench.seed)
    if atoms is None:
        return _with(candidate, candidate.atoms, f"{stage.title}: no packing at {wanted:g} g/cm3 was found")
    return _with(candidate, atoms)


def strained(atoms: Atoms, stage: Stage) -> Atoms:
    """The lattice vectors times the three factors, atoms along."""
    out = atoms.copy()
    out.set_cell(out.cell.array * np.array(stage.factors)[:, None], scale_atoms=True)
    return out


def cut(atoms: Atoms, stage: Stage) -> Atoms:
    """The model with a vacuum along the third vector, which is no longer periodic, and its lowest atoms fixed."""
    from ase.constraints import FixAtoms

    out = atoms.copy()
    out.wrap()
    cell = out.cell.array.copy()
    normal = np.cross(cell[0], cell[1])
    normal /= np.linalg.norm(normal)
    height = float(cell[2] @ normal)
    if abs(height) < np.linalg.norm(cell[2]) - 1e-6:  # a tilted vector would shear the slab against its images
        cell[2] = normal * height
    direction = cell[2] / np.linalg.norm(cell[2])
    out.set_cell([cell[0], cell[1], cell[2] + direction * stage.vacuum])
    out.positions += direction * stage.vacuum / 2
    out.pbc = (True, True, False)
    if stage.fixed:
        along = out.positions @ direction
        lowest = np.flatnonzero(along < along.min() + stage.fixed)
        out.set_constraint(FixAtoms(indices=lowest))
        momenta = out.get_momenta()
        momenta[lowest] = 0
        out.set_momenta(momenta, apply_constraint=False)
    return out


def _at_rest(atoms: Atoms) -> Atoms:
    out = atoms.copy()
    out.set_momenta(np.zeros((len(out), 3)), apply_constraint=False)
    return out


def _with(candidate: Candidate, atoms: Atoms, failure: str | None = None) -> Candidate:
    atoms.info = {}
    return replace(candidate, atoms=atoms, failure=candidate.failure or failure)
