"""The loops that drive optimizers over many structures: those of torch-sim, and PreconditionedLBFGS.

torch-sim supplies its optimizers, cell filters and in-flight batching. The loop here replaces `torch_sim.optimize`,
which continues with structures whose forces are not finite (this ends the whole batch), moves structures that are
relaxed already, tests convergence every few steps only and counts no steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import gendesign.imports.torch_sim  # noqa: F401  quick and silent

import numpy as np
import torch
import torch_sim as ts
from ase import Atoms, units
from torch_sim.autobatching import InFlightAutoBatcher
from torch_sim.models.interface import ModelInterface
from torch_sim.optimizers import OPTIM_REGISTRY, Optimizer, OptimState

from gendesign.potential.protocol import PotentialLike
from gendesign.relaxation.constraints import torchsim_constraints
from gendesign.relaxation.preconditioned import PreconditionedLBFGS, minimize
from gendesign.relaxation.settings import PRECONDITIONED, Relaxation
from gendesign.structure.constraints import fixed_components

# A cell that grows or shrinks to this factor in volume has left every sensible domain of a potential; shrinking ones
# would also fill the memory with neighbours.
MAX_VOLUME_FACTOR = 20.0


@dataclass
class OptimizationResult:
    """The final geometry of one structure (Angstrom) and the steps taken; `failure` says why it is unusable."""

    positions: np.ndarray
    cell: np.ndarray
    steps: int = 0
    failure: str = ""


@dataclass
class Group:
    """Structures that share one batch: equal periodicity, one model."""

    structures: list[Atoms]
    potential: PotentialLike
    settings: Relaxation
    pbc: tuple[bool, ...]
    note: str = ""
    model: ModelInterface = field(init=False)

    def __post_init__(self) -> None:
        if not all(self.pbc):
            # Without three periodic directions there is no cell to relax, nor a stress.
            self.settings = replace(self.settings, cell=False, pressure=0.0)
        self.model = self.potential.as_torchsim(stress=self.settings.cell)


def optimize(group: Group, report: Callable[[int], None]) -> list[OptimizationResult]:
    """Optimize every structure until it is relaxed, failed or out of steps; `report` gets the number that is."""
    results = [OptimizationResult(atoms.positions.copy(), atoms.cell.array.copy()) for atoms in group.structures]
    usable = []
    for i, atoms in enumerate(group.structures):
        results[i].failure = _input_error(atoms)
        if not results[i].failure:
            usable.append(i)
    if group.settings.optimizer == PRECONDITIONED:
        _optimize_preconditioned(usable, results, group, report)
    else:
        _optimize_torchsim(usable, results, group, report)
    return results


def _optimize_preconditioned(
    usable: list[int], results: list[OptimizationResult], group: Group, report: Callable[[int], None]
) -> None:
    """PreconditionedLBFGS for the structures `usable`."""
    settings = group.settings
    pressure = settings.pressure * units.GPa
    optimizers = [PreconditionedLBFGS(group.structures[i], settings.cell, pressure) for i in usable]
    index_of = {id(one): i for one, i in zip(optimizers, usable, strict=True)}
    running = len(optimizers)
    report(len(results) - running)

    def is_done(one: PreconditionedLBFGS) -> bool:
        nonlocal running
        finite = bool(np.isfinite(one.energy) and np.isfinite(one.forces).all())
        converged = one.max_force < settings.fmax
        if settings.cell:
            stress = torch.tensor(one.stress)[None]
            finite &= bool(torch.isfinite(stress).all())
            converged &= bool(stress_deviation(stress, settings.pressure)[0] < settings.max_stress)

        def geometry() -> tuple[np.ndarray, np.ndarray]:
            if not converged:
                one.return_to_accepted()
            return one.atoms.positions, one.atoms.cell.array

        status = Status(finite, one.volume_ratio, converged, one.steps)
        if not finalize_if_done(results[index_of[id(one)]], status, settings, geometry):
            return False
        one.release()
        running -= 1
        report(len(results) - running)
        return True

    minimize(optimizers, group.model, _batch_atoms(group.structures, settings), is_done)


def _optimize_torchsim(
    usable: list[int], results: list[OptimizationResult], group: Group, report: Callable[[int], None]
) -> None:
    """An optimizer of torch-sim for the structures `usable`; those relaxed at the start are not moved."""
    states: list[OptimState] = []
    movable: list[int] = []
    for chunk in chunks(usable, group):
        state = _initial_state([group.structures[i] for i in chunk], group)
        done = _finalize_done(state, group.settings, [0] * len(chunk), results, chunk)
        keep = [j for j in range(len(chunk)) if j not in done]
        states += [single for j, single in enumerate(state.split()) if j not in done]
        movable += [chunk[j] for j in keep]
    report(len(results) - len(movable))
    if movable:
        _step_until_done(states, movable, results, group, report)


def _step_until_done(
    states: list[OptimState],
    movable: list[int],
    results: list[OptimizationResult],
    group: Group,
    report: Callable[[int], None],
) -> None:
    """Step the batch; finished structures leave it at once, and waiting ones take their room."""
    batcher = InFlightAutoBatcher(
        model=group.model,
        memory_scales_with="n_atoms",
        max_memory_scaler=_batch_atoms(group.structures, group.settings),
    )
    batcher.load_states(states)
    step = OPTIM_REGISTRY[Optimizer(group.settings.optimizer)][1]
    steps = [0] * len(movable)
    remaining = len(movable)
    state, _ = batcher.next_batch(None, None)
    while state is not None:
        running = list(batcher.current_idx)
        state = step(state=state, model=group.model)
        for j in running:
            steps[j] += 1
        indices = [movable[j] for j in running]
        done = _finalize_done(state, group.settings, [steps[j] for j in running], results, indices)
        if done:
            remaining -= len(done)
            report(len(results) - remaining)
            mask = torch.zeros(len(running), dtype=torch.bool, device=state.device)
            mask[done] = True
            state, _ = batcher.next_batch(state, mask)


def _input_error(atoms: Atoms) -> str:
    """Why a structure cannot be relaxed at all; empty if it can."""
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        return "coordinates are not finite before relaxation"
    lattice = atoms.cell.array[atoms.pbc]
    if len(lattice) and np.linalg.matrix_rank(lattice) < len(lattice):
        return "periodic, but the lattice vectors span no cell"
    return ""


def _batch_atoms(structures: list[Atoms], settings: Relaxation) -> int:
    """Atoms of a batch: max_atoms, or those of the largest structure."""
    return max(settings.max_atoms, max(len(atoms) for atoms in structures))


def chunks(members: list[int], group: Group) -> list[list[int]]:
    """Consecutive members in batches of at most max_atoms atoms."""
    limit = _batch_atoms(group.structures, group.settings)
    batches: list[list[int]] = []
    used = limit + 1
    for i in members:
        size = len(group.structures[i])
        if used + size > limit:
            batches.append([])
            used = 0
        batches[-1].append(i)
        used += size
    return batches


def _initial_state(structures: list[Atoms], group: Group) -> OptimState:
    state = _simulation_state(structures, group.model)
    options: dict[str, Any] = {}
    if group.settings.cell:
        options = dict(cell_filter=ts.CellFilter.frechet, scalar_pressure=group.settings.pressure * units.GPa)
        # A strain times this counts as a displacement, whose stiffness is volume times bulk modulus over its square:
        # with the root of the number of atoms about that of a bond, whatever the cell's size. The usual choice, the
        # number itself, leaves soft crystals with a cell that hardly moves.
        sizes = [len(atoms) for atoms in structures]
        options["cell_factor"] = torch.tensor(sizes, device=group.model.device, dtype=group.model.dtype).sqrt()
    if group.settings.optimizer == Optimizer.fire:
        # torch-sim marks new structures by NaN velocities and then treats them differently when they join a running
        # batch. Zero velocities make every start alike; FIRE halves the first timestep then, hence 0.2 for its 0.1.
        options["dt_start"] = 0.2
    state = OPTIM_REGISTRY[Optimizer(group.settings.optimizer)][0](state=state, model=group.model, **options)
    if group.settings.optimizer == Optimizer.fire:
        state.velocities = torch.zeros_like(state.velocities)
        if group.settings.cell:
            state.cell_velocities = torch.zeros_like(state.cell_velocities)
    return state


def _simulation_state(structures: list[Atoms], model: ModelInterface) -> ts.SimState:
    state = ts.io.atoms_to_state(structures, model.device, model.dtype)
    if any(atoms.constraints for atoms in structures):
        fixed = np.concatenate([fixed_components(atoms) for atoms in structures])
        state.constraints = torchsim_constraints(fixed, model.device)
    return state


@dataclass(frozen=True)
class Status:
    """Where an optimization stands: all numbers finite, volume over the initial one, converged, steps taken."""

    finite: bool
    volume_ratio: float
    converged: bool
    steps: int


def _finalize_done(
    state: OptimState, settings: Relaxation, steps: list[int], results: list[OptimizationResult], indices: list[int]
) -> list[int]:
    """Positions in the batch of the structures that are done; their `results` are filled in, the others untouched."""
    finite = torch.isfinite(state.energy)
    # an atom at NaN has no neighbours, and so finite forces
    finite[state.system_idx[~(torch.isfinite(state.forces) & torch.isfinite(state.positions)).all(dim=1)]] = False
    converged = ts.system_wise_max_force(state) < settings.fmax
    volume_ratio = torch.ones_like(state.energy)
    if settings.cell:
        finite &= torch.isfinite(state.stress).all(dim=(1, 2))
        converged &= stress_deviation(state.stress, settings.pressure) < settings.max_stress
        volume_ratio = (torch.linalg.det(state.cell) / torch.linalg.det(state.reference_cell)).abs()

    def geometry(j: int) -> tuple[np.ndarray, np.ndarray]:
        positions = state.positions[state.system_idx == j].cpu().numpy().astype(float)
        return positions, state.cell[j].mT.cpu().numpy().astype(float)

    # copied from the device at once: it is waited for three times instead of once for every structure
    columns = zip(finite.tolist(), volume_ratio.tolist(), converged.tolist(), steps, strict=True)
    return [
        j
        for j, (index, values) in enumerate(zip(indices, columns, strict=True))
        if finalize_if_done(results[index], Status(*values), settings, partial(geometry, j))
    ]


def finalize_if_done(
    result: OptimizationResult,
    status: Status,
    settings: Relaxation,
    geometry: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> bool:
    """Whether an optimization has converged, failed or used its steps; `result` is filled in then.

    geometry: gives the present positions and lattice vectors in Angstrom.
    """
    intact = 1 / MAX_VOLUME_FACTOR < status.volume_ratio < MAX_VOLUME_FACTOR
    if status.finite and intact and not status.converged and status.steps < settings.max_steps:
        return False
    if status.finite and intact:
        result.positions, result.cell = geometry()
    else:
        reason = "the cell collapsed or blew up" if status.finite else "forces are not finite"
        result.failure = f"exploded in relaxation at step {status.steps}: {reason}"
    result.steps = status.steps
    return True


def stress_deviation(stress: torch.Tensor, pressure: float) -> torch.Tensor:
    """Largest component (systems,) of stress + pressure in GPa; stress (systems, 3, 3) in eV/Angstrom^3."""
    target = pressure * torch.eye(3, dtype=stress.dtype, device=stress.device)
    return (stress / units.GPa + target).abs().amax(dim=(1, 2))
