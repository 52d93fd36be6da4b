"""The loops that drive optimizers over many structures: torch-sim's, and the preconditioned one of this package.

torch-sim supplies the optimizers, cell filters and the in-flight batching; the loop here replaces `torch_sim.optimize`
because that takes structures with forces that are not finite on to the next step (which ends the whole batch), moves
structures that are relaxed already, tests convergence every few steps only and counts no steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch_sim as ts
from ase import Atoms, units
from torch_sim.autobatching import InFlightAutoBatcher
from torch_sim.models.interface import ModelInterface
from torch_sim.optimizers import OPTIM_REGISTRY, Optimizer, OptimState

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.relaxation.constraints import torchsim_constraints
from gendesign.relaxation.preconditioned import Walk, walk
from gendesign.structure.constraints import fixed_components

PRECONDITIONED = "precon_lbfgs"
OPTIMIZERS = (PRECONDITIONED, *(optimizer.value for optimizer in Optimizer))
# A cell that grows or shrinks to this factor in volume has left every sensible domain of a potential; shrinking ones
# would also fill the memory with neighbours.
MAX_VOLUME_FACTOR = 20.0


@dataclass(frozen=True)
class Relaxation:
    """How to relax.

    `cell` acts on structures that are periodic in three directions; molecules have no cell and are relaxed in a fixed
    box. A structure larger than `max_atoms` gets a batch of its own. precon_lbfgs (preconditioned.py) needs a third of
    the model calls of lbfgs for crystals of molecules, and as many for molecules; its linear algebra is meant for
    structures of up to a thousand atoms. Raises UserError for values out of bounds.
    """

    optimizer: str = setting("lbfgs", "optimization method", allowed=OPTIMIZERS)
    fmax: float = setting(0.05, "largest force of a relaxed structure", unit="eV/Angstrom", above=0)
    max_steps: int = setting(500, "steps before a structure counts as not converged", least=0)
    cell: bool = setting(False, "true relaxes the cell of periodic structures too")
    pressure: float = setting(0.0, "pressure on the cell, which needs cell=true", unit="GPa")
    max_stress: float = setting(0.1, "largest stress left in a relaxed cell", unit="GPa", above=0)
    max_atoms: int = setting(1000, "atoms per batch, which bounds the memory; on a GPU more is faster", least=1)

    def __post_init__(self) -> None:
        check_bounds(self, "relaxation")
        if self.pressure and not self.cell:
            raise UserError(f"relaxation.pressure={self.pressure} acts on cells only; set relaxation.cell=true as well")


@dataclass
class Ending:
    """How the optimizer left one structure; `failure` is empty unless the structure is unusable."""

    positions: np.ndarray
    cell: np.ndarray
    steps: int = 0
    failure: str = ""


@dataclass
class Group:
    """Structures that share one batch: equal periodicity, one model."""

    structures: list[Atoms]
    potential: Any
    settings: Relaxation
    pbc: tuple[bool, ...]
    note: str = ""
    model: ModelInterface = field(init=False)

    def __post_init__(self) -> None:
        if not all(self.pbc):
            # Without three periodic directions there is no cell to relax, nor a stress.
            self.settings = replace(self.settings, cell=False, pressure=0.0)
        self.model = self.potential.as_torchsim(stress=self.settings.cell)


def optimize(group: Group, report: Callable[[int], None]) -> list[Ending]:
    """Drive every structure until it is relaxed, broken or out of steps."""
    endings = [Ending(atoms.positions.copy(), atoms.cell.array.copy()) for atoms in group.structures]
    alive = []
    for i, atoms in enumerate(group.structures):
        endings[i].failure = _broken_input(atoms)
        if not endings[i].failure:
            alive.append(i)
    if group.settings.optimizer == PRECONDITIONED:
        _walk(alive, endings, group, report)
        return endings
    states: list[OptimState] = []
    movable: list[int] = []
    for chunk in chunks(alive, group):
        state = _initial_state([group.structures[i] for i in chunk], group)
        ending = _finished(state, group.settings, [0] * len(chunk), endings, chunk)
        keep = [j for j in range(len(chunk)) if j not in ending]
        states += [single for j, single in enumerate(state.split()) if j not in ending]
        movable += [chunk[j] for j in keep]
    report(len(endings) - len(movable))
    if movable:
        _drive(states, movable, endings, group, report)
    return endings


def _walk(alive: list[int], endings: list[Ending], group: Group, report: Callable[[int], None]) -> None:
    """The preconditioned optimizer over the structures `alive`, their endings filled in."""
    settings = group.settings
    pressure = settings.pressure * units.GPa
    walks = [Walk(group.structures[i], settings.cell, pressure) for i in alive]
    names = {id(one): i for one, i in zip(walks, alive, strict=True)}
    left = len(walks)
    report(len(endings) - left)

    def ended(one: Walk) -> bool:
        nonlocal left
        finite = bool(np.isfinite(one.energy) and np.isfinite(one.forces).all())
        done = one.largest_force < settings.fmax
        if settings.cell:
            stress = torch.tensor(one.stress)[None]
            finite &= bool(torch.isfinite(stress).all())
            done &= bool(stress_deviation(stress, settings.pressure)[0] < settings.max_stress)

        def place() -> tuple[np.ndarray, np.ndarray]:
            if not done:
                one.back()
            return one.atoms.positions, one.atoms.cell.array

        if not _left(endings[names[id(one)]], finite, one.growth, done, one.steps, settings, place):
            return False
        one.forget()
        left -= 1
        report(len(endings) - left)
        return True

    walk(walks, group.model, _room(group.structures, settings), ended)


def _drive(states, movable: list[int], endings: list[Ending], group: Group, report: Callable[[int], None]) -> None:
    """Step the batch; what has finished leaves it at once and what waits takes the room."""
    batcher = InFlightAutoBatcher(
        model=group.model, memory_scales_with="n_atoms", max_memory_scaler=_room(group.structures, group.settings)
    )
    batcher.load_states(states)
    step = OPTIM_REGISTRY[Optimizer(group.settings.optimizer)][1]
    steps = [0] * len(movable)
    left = len(movable)
    state, _ = batcher.next_batch(None, None)
    while state is not None:
        running = list(batcher.current_idx)
        state = step(state=state, model=group.model)
        for j in running:
            steps[j] += 1
        names = [movable[j] for j in running]
        ending = _finished(state, group.settings, [steps[j] for j in running], endings, names)
        if ending:
            left -= len(ending)
            report(len(endings) - left)
            mask = torch.zeros(len(running), dtype=torch.bool, device=state.device)
            mask[ending] = True
            state, _ = batcher.next_batch(state, mask)


def _broken_input(atoms: Atoms) -> str:
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        return "coordinates are not finite before relaxation"
    lattice = atoms.cell.array[atoms.pbc]
    if len(lattice) and np.linalg.matrix_rank(lattice) < len(lattice):
        return "periodic, but the lattice vectors span no cell"
    return ""


def _room(structures: list[Atoms], settings: Relaxation) -> int:
    return max(settings.max_atoms, max(len(atoms) for atoms in structures))


def chunks(members: list[int], group: Group) -> list[list[int]]:
    """Consecutive members in batches of at most max_atoms atoms."""
    room = _room(group.structures, group.settings)
    chunks: list[list[int]] = []
    used = room + 1
    for i in members:
        size = len(group.structures[i])
        if used + size > room:
            chunks.append([])
            used = 0
        chunks[-1].append(i)
        used += size
    return chunks


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


def _finished(state, settings: Relaxation, steps: list[int], endings: list[Ending], names: list[int]) -> list[int]:
    """Places in the batch that are done, their endings filled in; everything else in `endings` stays untouched."""
    finite = torch.isfinite(state.energy)
    # an atom at NaN has no neighbours, and so finite forces
    finite[state.system_idx[~(torch.isfinite(state.forces) & torch.isfinite(state.positions)).all(dim=1)]] = False
    done = ts.system_wise_max_force(state) < settings.fmax
    growth = torch.ones_like(state.energy)
    if settings.cell:
        finite &= torch.isfinite(state.stress).all(dim=(1, 2))
        done &= stress_deviation(state.stress, settings.pressure) < settings.max_stress
        growth = (torch.linalg.det(state.cell) / torch.linalg.det(state.reference_cell)).abs()

    def place(j: int) -> tuple[np.ndarray, np.ndarray]:
        positions = state.positions[state.system_idx == j].cpu().numpy().astype(float)
        return positions, state.cell[j].mT.cpu().numpy().astype(float)

    # brought over at once: the device is waited for three times, and not for every structure
    told = zip(finite.tolist(), growth.tolist(), done.tolist(), strict=True)
    return [
        j
        for j, (name, count, one) in enumerate(zip(names, steps, told, strict=True))
        if _left(endings[name], *one, count, settings, partial(place, j))
    ]


def _left(
    ending: Ending,
    finite: bool,
    growth: float,
    done: bool,
    count: int,
    settings: Relaxation,
    place: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> bool:
    """Whether a structure is done, broken or out of steps after `count` of them; its ending is filled in then.

    growth: of the cell's volume since the start; place: the present positions and lattice vectors.
    """
    intact = 1 / MAX_VOLUME_FACTOR < growth < MAX_VOLUME_FACTOR
    if finite and intact and not done and count < settings.max_steps:
        return False
    if finite and intact:
        ending.positions, ending.cell = place()
    else:
        what = "the cell collapsed or blew up" if finite else "forces are not finite"
        ending.failure = f"exploded in relaxation at step {count}: {what}"
    ending.steps = count
    return True


def stress_deviation(stress: torch.Tensor, pressure: float) -> torch.Tensor:
    """Largest component of stress + pressure in GPa; stress in eV/Angstrom^3, (systems, 3, 3) -> (systems,)."""
    target = pressure * torch.eye(3, dtype=stress.dtype, device=stress.device)
    return (stress / units.GPa + target).abs().amax(dim=(1, 2))
