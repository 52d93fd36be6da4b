"""Runs of molecular dynamics with ramps of temperature, pressure and volume, which can be interrupted and continued."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from ase import Atoms, units
from torch import Tensor

from gendesign.dynamics.integrators import (
    Coupling,
    langevin_step,
    nose_hoover_step,
    rescale_cell,
    scaled,
    verlet_step,
)
from gendesign.dynamics.state import Evaluate, State, evaluator
from gendesign.dynamics.watch import LIMITS, Limits, faults, timestep_fault, wild
from gendesign.errors import UserError
from gendesign.potential.protocol import Capability, PotentialLike, require

LANGEVIN, NOSE_HOOVER, NPT, NVE = "langevin", "nose_hoover", "npt", "nve"
ENSEMBLES = (LANGEVIN, NOSE_HOOVER, NPT, NVE)
CHECK_EVERY = 20  # steps between two looks at every structure
SAVE_SECONDS = 60.0  # between two checkpoints


@dataclass(frozen=True)
class Conditions:
    """Conditions of a run; pairs are values at its beginning and end, between which they change linearly.

    ensemble: langevin or nose_hoover (NVT), npt (Langevin thermostat, isotropic stochastic cell rescaling) or nve.
    temperature in K; steps; timestep in fs; pressure in GPa, for npt; volume: final over initial volume, which changes
    linearly in its cube root, None leaves the cell alone. friction in 1/ps, thermostat and barostat in fs;
    bulk_modulus: that of the material, roughly, in GPa, which sets the pace of the volume.
    """

    ensemble: str
    temperature: tuple[float, float]
    steps: int
    timestep: float = 1.0
    pressure: tuple[float, float] = (0.0, 0.0)
    volume: float | None = None
    friction: float = 5.0
    thermostat: float = 100.0
    barostat: float = 1000.0
    bulk_modulus: float = 50.0

    def __post_init__(self) -> None:
        if self.ensemble not in ENSEMBLES:
            raise UserError(f"ensemble={self.ensemble}: allowed are {', '.join(ENSEMBLES)}")
        if self.volume is not None and self.ensemble == NPT:
            raise UserError("a run cannot have both a pressure (npt) and a prescribed volume; choose one")

    @property
    def coupling(self) -> Coupling:
        """The constants in units of ASE."""
        fs = units.fs
        return Coupling(
            self.friction / (1000 * fs), self.thermostat * fs, self.barostat * fs, self.bulk_modulus * units.GPa
        )

    def at(self, step: int) -> tuple[float, float]:
        """Temperature (K) and pressure (GPa) after `step` steps."""
        share = step / max(1, self.steps)
        mixed = [first + (last - first) * share for first, last in (self.temperature, self.pressure)]
        return mixed[0], mixed[1]

    def scale(self, step: int) -> float:
        """Factor of the lengths in the step that leads to `step`."""
        if self.volume is None:
            return 1.0
        edge = [1 + (self.volume ** (1 / 3) - 1) * n / max(1, self.steps) for n in (step - 1, step)]
        return edge[1] / edge[0]


@dataclass
class Outcome:
    """A structure at the end of its run, or its last good frame with the `failure` that ended it; steps it took."""

    atoms: Atoms
    failure: str = ""
    steps: int = 0


class Checkpoint(Protocol):
    """Where a run keeps its state."""

    def load(self) -> Mapping[str, np.ndarray] | None:
        """The arrays last saved, None without any."""

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays in place of the former ones, atomically."""


class Report(Protocol):
    """Called now and then with the steps taken and the state of the structures that are left."""

    def __call__(self, step: int, state: State) -> None:
        """See the class."""


@dataclass
class Run:
    """A batch on its way; `alive` are the places of the structures left in `state`, the others are in `outcomes`."""

    conditions: Conditions
    evaluate: Evaluate
    first: State
    state: State
    alive: list[int]
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Steps taken in this run."""
        return self.state.step - self.first.step

    def advance(self) -> None:
        """One step of all structures that are left."""
        c, n = self.conditions, self.done
        temperature, pressure = c.at(n + 1)
        thermal = torch.full_like(self.state.energy, temperature)
        dt, state = c.timestep * units.fs, self.state
        if c.ensemble == NPT:
            outside = torch.full_like(thermal, pressure * units.GPa)
            state = rescale_cell(state, dt, thermal, outside, c.coupling)
        elif c.volume is not None:
            state = scaled(state, torch.full_like(thermal, c.scale(n + 1)))
        if c.ensemble == NVE:
            self.state = verlet_step(state, self.evaluate, dt)
        elif c.ensemble == NOSE_HOOVER:
            self.state = nose_hoover_step(state, self.evaluate, dt, thermal, c.coupling)
        else:
            self.state = langevin_step(state, self.evaluate, dt, thermal, c.coupling)

    def drop(self, reasons: Sequence[str], good: State) -> None:
        """End the structures that have a reason; their last good frame is that of the state `good`."""
        if not any(reasons):
            return
        frames = good.to_atoms()
        for place, reason in enumerate(reasons):
            if reason:
                self.outcomes[self.alive[place]] = Outcome(frames[place], reason, good.step - self.first.step)
        keep = torch.tensor([not reason for reason in reasons], device=self.state.energy.device)
        self.alive = [index for index, reason in zip(self.alive, reasons, strict=True) if not reason]
        self.state, self.first = self.state.select(keep), self.first.select(keep)


def run_dynamics(
    structures: Sequence[Atoms],
    potential: PotentialLike,
    conditions: Conditions,
    *,
    keys: Tensor,
    first_step: int = 0,
    checkpoint: Checkpoint | None = None,
    report: Report | None = None,
    save_seconds: float = SAVE_SECONDS,
    limits: Limits = LIMITS,
) -> list[Outcome]:
    """Molecular dynamics of `structures`, all in one batch; one outcome each, in their order.

    Structures go on with their momenta; where all of these are zero they are drawn at the first temperature, without
    drift. keys: (structures,) int64, of the random streams; step s of structure k draws from (keys[k], first_step + s)
    alone. A structure that runs away (see Limits) ends with its last good frame, and the others continue. With a
    `checkpoint` an interrupted run continues from the last saved state and ends with the same bits.

    Raises UserError for a timestep that is too long, unknown elements, structures of different periodicity, and a
    potential that gives no stress where the pressure is controlled.
    """
    potential.require_elements({symbol for atoms in structures for symbol in atoms.symbols})
    if conditions.ensemble == NPT:
        require(potential, Capability.STRESS, "use ensemble=langevin or choose a potential that does")
        if not all(atoms.pbc.all() for atoms in structures):
            raise UserError("ensemble=npt needs structures that are periodic in three directions; use langevin")
    run = _begin(structures, potential, conditions, keys, first_step)
    kept = None if checkpoint is None else checkpoint.load()
    if kept is not None:
        _restore(run, kept, structures)
    else:
        _check_start(run, conditions, limits)
    _integrate(run, conditions, checkpoint, report, save_seconds, limits)
    ended = {**run.outcomes}
    for index, atoms in zip(run.alive, run.state.to_atoms() if run.alive else [], strict=True):
        ended[index] = Outcome(atoms, "", run.done)
    return [ended[index] for index in range(len(structures))]


def _integrate(run: Run, conditions: Conditions, checkpoint, report, save_seconds: float, limits: Limits) -> None:
    saved, good, dt = time.monotonic(), run.state, conditions.timestep * units.fs
    while run.alive and run.done < conditions.steps:
        run.advance()
        broken = bool(wild(run.state, dt, limits).any())
        if run.done % CHECK_EVERY and run.done < conditions.steps and not broken:
            continue
        grown = float(np.prod([conditions.scale(n + 1) ** 3 for n in range(run.done)])) if conditions.volume else 1.0
        # a fast quench leaves the thermostat behind, so that the hottest temperature of the run counts
        run.drop(faults(run.state, max(conditions.temperature), run.first, grown, dt, limits), good)
        if run.done % CHECK_EVERY and run.done < conditions.steps:
            good = good.select(_members(good, run.state))  # an extra look: frames stay those of the regular ones
            continue
        good = run.state
        if report is not None and run.alive:
            report(run.done, run.state)
        if checkpoint is not None and run.alive and time.monotonic() - saved >= save_seconds:
            checkpoint.save(_arrays(run))
            saved = time.monotonic()


def _members(state: State, left: State) -> Tensor:
    """Mask (systems,) of the structures of `state` that are in `left` too."""
    return torch.isin(state.key, left.key)


def _begin(structures, potential: PotentialLike, conditions: Conditions, keys: Tensor, first_step: int) -> Run:
    evaluate = evaluator(potential, conditions.ensemble == NPT)
    state = replace(State.from_atoms(structures, keys, potential.device), step=first_step)
    if not bool(state.momenta.any()):
        state = state.with_velocities(torch.full_like(state.energy, conditions.temperature[0]))
    state = evaluate(replace(state, momenta=state.at_rest(state.momenta)))
    return Run(conditions, evaluate, state, state, list(range(len(structures))))


def _check_start(run: Run, conditions: Conditions, limits: Limits) -> None:
    finite = run.state.energy.isfinite()
    run.drop(["" if ok else "energy and forces of the start are not finite" for ok in finite.tolist()], run.state)
    if run.alive and conditions.steps:
        warm = max(conditions.temperature[0], float(run.state.temperature.median()))
        fault = timestep_fault(run.state, run.evaluate, conditions.timestep, warm, limits)
        if fault:
            raise UserError(fault)


def _arrays(run: Run) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint: the state, and the frames and reasons of structures that ended."""
    out = {f"state_{name}": value for name, value in run.state.arrays().items()}
    out |= {"alive": np.array(run.alive), "first_energy": run.first.energy.cpu().numpy()}
    if run.first.batch.cell is not None:
        out["first_cell"] = run.first.batch.cell.cpu().numpy()
    for index, outcome in run.outcomes.items():
        atoms = outcome.atoms
        out[f"ended_{index}"] = np.concatenate([atoms.positions, atoms.get_momenta(), atoms.get_forces()], 1)
        out[f"ended_{index}_cell"] = atoms.cell.array
        out[f"ended_{index}_why"] = np.array([outcome.failure, str(outcome.steps), repr(atoms.get_potential_energy())])
    return out


def _restore(run: Run, kept: Mapping[str, np.ndarray], structures: Sequence[Atoms]) -> None:
    from ase.calculators.singlepoint import SinglePointCalculator

    alive = kept["alive"].tolist()
    keep = torch.tensor([index in alive for index in range(len(structures))], device=run.state.energy.device)
    first = run.first.select(keep)
    cell = torch.tensor(kept["first_cell"]).to(first.energy) if "first_cell" in kept else None
    run.first = replace(
        first, energy=torch.tensor(kept["first_energy"]).to(first.energy), batch=replace(first.batch, cell=cell)
    )
    arrays = {name.removeprefix("state_"): value for name, value in kept.items() if name.startswith("state_")}
    run.state, run.alive = run.state.select(keep).restored(arrays), alive
    for index in range(len(structures)):
        if f"ended_{index}" in kept:
            atoms = structures[index].copy()
            atoms.positions, momenta, forces = np.split(kept[f"ended_{index}"], 3, 1)
            atoms.cell = kept[f"ended_{index}_cell"]
            atoms.set_momenta(momenta)
            why, steps, energy = kept[f"ended_{index}_why"].tolist()
            atoms.calc = SinglePointCalculator(atoms, energy=float(energy), forces=forces)
            run.outcomes[index] = Outcome(atoms, why, int(steps))
