"""Batched molecular dynamics with the integrators of torch-sim."""

from collections.abc import Sequence

import gendesign.imports.torch_sim  # noqa: F401  quick and silent

import torch
import torch_sim as ts
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from torch_sim.integrators import INTEGRATOR_REGISTRY, Integrator
from torch_sim.integrators.md import MDState
from torch_sim.units import MetalUnits

from gendesign.errors import UserError
from gendesign.potential.protocol import PotentialLike

INTEGRATORS = {"nvt": Integrator.nvt_langevin, "nve": Integrator.nve}


def molecular_dynamics(
    structures: Sequence[Atoms],
    potential: PotentialLike,
    *,
    temperature: float,
    timestep: float,
    steps: int,
    friction: float = 1.0,
    seed: int = 0,
    ensemble: str = "nvt",
    every: int = 10,
) -> list[list[Atoms]]:
    """Trajectories of all structures as one list of frames each: the start, then a frame every `every` steps.

    temperature in K, timestep in fs, friction in 1/ps. ensemble: "nvt" is Langevin dynamics (BAOAB; Leimkuhler,
    Matthews, Appl. Math. Res. Express 2013, 34), "nve" is velocity Verlet.

    Initial velocities are drawn from a Maxwell-Boltzmann distribution without drift. Frames have momenta, a
    SinglePointCalculator with energy and forces, and the info keys time (fs) and exploded. A trajectory whose forces
    are no longer finite ends at the frame before with exploded=True; the others continue. All structures share one
    random
    stream: the same list and seed give the same trajectories.

    Raises UserError for values out of bounds, unknown elements, constraints, and structures of different periodicity.
    """
    _check_arguments(structures, temperature, timestep, steps, friction, ensemble, every)
    potential.require_elements({symbol for atoms in structures for symbol in atoms.symbols})
    if not structures:
        return []
    model = potential.as_torchsim(stress=False)
    state = ts.io.atoms_to_state(list(structures), model.device, model.dtype)
    state.rng = seed
    init, step = INTEGRATOR_REGISTRY[INTEGRATORS[ensemble]]
    thermal = torch.tensor(temperature * float(MetalUnits.temperature), device=model.device, dtype=model.dtype)
    interval = torch.tensor(timestep * 1e-3 * float(MetalUnits.time), device=model.device, dtype=model.dtype)
    options = {"gamma": friction / float(MetalUnits.time)} if ensemble == "nvt" else {}
    state = init(state=state, model=model, kT=thermal)
    trajectories: list[list[Atoms]] = [[] for _ in structures]
    running = list(range(len(structures)))
    for count in range(steps + 1):
        if count:
            state = step(state=state, model=model, dt=interval, kT=thermal, **options)
        running = _drop_exploded(state, running, trajectories)
        if not running:
            break
        if count % every == 0:
            _record(state, running, structures, trajectories, count * timestep)
    return trajectories


def _check_arguments(structures, temperature, timestep, steps, friction, ensemble, every) -> None:
    if ensemble not in INTEGRATORS:
        raise UserError(f"ensemble={ensemble!r} is unknown; choose one of {', '.join(INTEGRATORS)}")
    for name, value in (("temperature", temperature), ("friction", friction), ("steps", steps)):
        if not value >= 0:
            raise UserError(f"{name}={value} must not be negative; give 0 or more")
    for name, value in (("timestep", timestep), ("every", every)):
        if not value > 0:
            raise UserError(f"{name}={value} must be above zero; give a positive number")
    for number, atoms in enumerate(structures):
        if not len(atoms):
            raise UserError(f"structure {number} has no atoms; remove it")
        if atoms.constraints:
            raise UserError(f"structure {number} has constraints, which dynamics does not keep; remove them")
        if any(atoms.pbc != structures[0].pbc):
            raise UserError(f"structure {number} differs from the first in its periodicity; run them apart")


def _drop_exploded(state: MDState, running: list[int], trajectories: list[list[Atoms]]) -> list[int]:
    """Remove structures that are not finite from the batch; the indices of the remaining ones."""
    finite = torch.isfinite(state.energy)
    parts = (state.positions, state.forces, state.momenta)  # forces alone do not suffice: an atom at NaN has none
    broken = ~torch.stack([torch.isfinite(part) for part in parts]).all(dim=0).all(dim=1)
    finite[state.system_idx[broken]] = False
    if finite.all():
        return running
    for place, index in enumerate(running):
        if not finite[place] and trajectories[index]:
            trajectories[index][-1].info["exploded"] = True
    remaining = [index for place, index in enumerate(running) if finite[place]]
    if remaining:
        state.pop((~finite).nonzero().flatten().tolist())
    return remaining


def _record(state: MDState, running, structures, trajectories: list[list[Atoms]], time: float) -> None:
    lengths = [len(structures[index]) for index in running]
    per_atom = (state.positions, state.momenta, state.forces)
    parts = [tensor.detach().cpu().double().split(lengths) for tensor in per_atom]
    energies = state.energy.detach().cpu().tolist()
    for index, positions, momenta, forces, energy in zip(running, *parts, energies, strict=True):
        atoms = structures[index].copy()
        atoms.positions = positions.numpy()
        # The metal units of torch-sim are those of ASE: Angstrom, eV and amu, hence time in Angstrom sqrt(amu / eV).
        atoms.set_momenta(momenta.numpy())
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces.numpy())
        atoms.info.update(time=time, exploded=False)
        trajectories[index].append(atoms)
