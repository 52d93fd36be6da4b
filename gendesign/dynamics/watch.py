"""What ends a structure in molecular dynamics, and the test of a timestep before the first step."""

from dataclasses import dataclass

import numpy as np
import torch
from ase import units
from ase.data import covalent_radii
from ase.geometry import complete_cell
from matscipy.neighbours import neighbour_list
from torch import Tensor

from gendesign.dynamics.integrators import verlet_step
from gendesign.dynamics.state import Evaluate, State

TRIAL_STEPS = 16  # of velocity Verlet in the test of a timestep
SHORTER = 4  # a timestep so many times shorter tells whether the timestep or the structure is at fault


@dataclass(frozen=True)
class Limits:
    """Beyond which a structure has run away.

    heat: instantaneous temperature over the highest of the run or of its beginning, and `warm` K more. energy: change
    of the potential energy, eV/atom. volume: factor of the volume. fused: distance relative to the sum of two covalent
    radii. stride: path of an atom in one step, Angstrom. drift: spread of the total energy in the test of a timestep,
    relative to kT per degree of freedom.
    """

    heat: float = 3.0
    warm: float = 300.0
    energy: float = 15.0
    volume: float = 3.0
    fused: float = 0.4
    stride: float = 1.5
    drift: float = 0.15


LIMITS = Limits()


def wild(state: State, dt: float, limits: Limits = LIMITS) -> Tensor:
    """Whether structures (systems,) must not take another step: not finite, or an atom would move too far in it.

    Neighbour lists of such positions take no end of time or memory, so this is asked after every step.
    """
    path = dt * state.momenta.norm(dim=1) / state.masses
    finite = torch.stack([state.batch.positions, state.momenta, state.forces]).isfinite().all(0).all(1)
    bad = ~finite | ~(path <= limits.stride)
    return (state.per_system(bad.double()) > 0) | ~state.energy.isfinite()


def faults(
    state: State, temperature: float, start: State, volume: float, dt: float = 0.0, limits: Limits = LIMITS
) -> list[str]:
    """Why each structure must end, "" for those that go on.

    temperature: the highest of the run, K. start: the state at the beginning. volume: the prescribed factor of the
    volume. dt: timestep in units of ASE.
    """
    fast = wild(state, dt, limits)
    count = torch.bincount(state.system, minlength=state.batch.n_systems)
    rows = torch.stack([state.batch.positions, state.momenta, state.forces]).isfinite().all(0).all(1)
    broken = state.per_system((~rows).double()) > 0
    broken |= ~state.energy.isfinite()
    heat = state.temperature
    hottest = start.temperature.clamp_min(temperature)  # a model may come from a hotter stage
    change = (state.energy - start.energy) / count
    growth = state.volume / start.volume / volume
    out = []
    for k in range(state.batch.n_systems):
        if broken[k]:
            out.append("positions or forces are no longer finite")
        elif heat[k] > limits.heat * hottest[k] + limits.warm:
            out.append(f"the temperature ran away: {heat[k]:.0f} K in a run at {hottest[k]:.0f} K")
        elif abs(change[k]) > limits.energy:
            out.append(f"the energy ran away: it changed by {change[k]:.1f} eV/atom")
        elif fast[k]:
            out.append(f"atoms were lost: one moved by more than {limits.stride:g} Angstrom in a step")
        elif growth[k] > limits.volume or growth[k] < 1 / limits.volume:
            out.append(f"the cell ran away: its volume is {growth[k]:.2f} of what it was")
        else:
            out.append(_lost(state, k, limits))
    return out


def _lost(state: State, k: int, limits: Limits) -> str:
    """Atoms on top of each other, or far outside of a cell with an open direction."""
    rows = state.system == k
    positions = state.batch.positions[rows].cpu().numpy()
    numbers = state.batch.numbers[rows].cpu().numpy()
    pbc = np.array(state.batch.pbc)
    cell = np.zeros((3, 3)) if state.batch.cell is None else state.batch.cell[k].cpu().numpy()
    if not pbc.all() and not pbc.any() and np.ptp(positions, axis=0).max() > 1000:
        return "atoms were lost: they are more than 1000 Angstrom apart"
    if pbc.any() and not pbc.all():
        box = complete_cell(cell)
        fraction = np.linalg.solve(box.T, positions.T).T[:, ~pbc]
        if fraction.size and np.abs(fraction - 0.5).max() > 2.5:
            return "atoms were lost: they left the cell along an open direction"
    radii = covalent_radii[numbers]
    if not len(positions):
        return ""
    if not pbc.all():
        cell = complete_cell(cell)
    reach = limits.fused * 2 * float(radii.max())
    i, j, d = neighbour_list("ijd", cutoff=reach, positions=positions, cell=cell, pbc=pbc)
    close = d < limits.fused * (radii[i] + radii[j])
    return f"two atoms fused: they are {d[close].min():.2f} Angstrom apart" if close.any() else ""


def spread_of_energy(state: State, evaluate: Evaluate, dt: float) -> Tensor:
    """Largest less smallest total energy (systems,) in TRIAL_STEPS of velocity Verlet, eV."""
    totals = [state.energy + state.kinetic]
    for _ in range(TRIAL_STEPS):
        if bool(wild(state, dt).any()):
            totals.append(torch.full_like(state.energy, torch.inf))
            break
        state = verlet_step(state, evaluate, dt)
        totals.append(state.energy + state.kinetic)
    stacked = torch.stack(totals).nan_to_num(nan=torch.inf)
    return stacked.max(0).values - stacked.min(0).values


def timestep_fault(
    state: State, evaluate: Evaluate, timestep: float, temperature: float, limits: Limits = LIMITS
) -> str:
    """What is wrong with a `timestep` (fs) for most structures of an evaluated `state`, "" if nothing is.

    Most: a single bad structure is ended later, by itself. temperature: that of the velocities, K.
    """

    def relative(fs: float) -> float:
        allowed = state.degrees * units.kB * max(temperature, 100.0)
        return float((spread_of_energy(state, evaluate, fs * units.fs) / allowed).median())

    spread = relative(timestep)
    if spread <= limits.drift:
        return ""
    shorter = relative(timestep / SHORTER)
    said = f"the total energy of NVE varies by {_number(spread)} kT per degree of freedom in {TRIAL_STEPS} steps"
    if shorter <= limits.drift:
        return f"timestep={timestep:g} fs is too long: {said}, {limits.drift:g} is allowed; give a shorter timestep"
    return (
        f"timestep={timestep:g} fs: {said}, and by {_number(shorter)} at {timestep / SHORTER:g} fs; "
        "the start has too large forces: begin with a stage of kind relax"
    )


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 1e6 else "more than 1e6"
