"""One step of molecular dynamics, of all structures of a batch at once.

The integrators are our own and not those of torch-sim: there all structures of a batch share one random generator, so
that a structure's trajectory depends on its neighbours in the batch, and the state of the generator would have to be
kept. Here the numbers of step s of atom a depend on (candidate, a, s) alone.
"""

from dataclasses import dataclass, replace

import torch
from ase import units
from torch import Tensor

from gendesign.dynamics.state import CHAIN, Evaluate, State
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import normal

LARGEST_STRAIN = 0.05  # of the logarithm of the volume in one step


@dataclass(frozen=True)
class Coupling:
    """Constants of thermostat and barostat, times in units of ASE.

    friction: of Langevin dynamics, 1/time. thermostat: period of the Nose-Hoover chain. barostat: relaxation time of
    the volume of a body with the bulk modulus `modulus` (eV/Angstrom^3).
    """

    friction: float
    thermostat: float
    barostat: float
    modulus: float


def verlet_step(state: State, evaluate: Evaluate, dt: float) -> State:
    """Velocity Verlet."""
    state = _drift(_kick(state, dt / 2), dt)
    return _counted(_kick(evaluate(state), dt / 2))


def langevin_step(state: State, evaluate: Evaluate, dt: float, temperature: Tensor, coupling: Coupling) -> State:
    """Langevin dynamics by the BAOAB scheme (Leimkuhler, Matthews, Appl. Math. Res. Express 2013, 34).

    temperature: (systems,) in K. The centre of mass of a free structure stays at rest.
    """
    state = _drift(_kick(state, dt / 2), dt / 2)
    keep = torch.exp(torch.tensor(-coupling.friction * dt, dtype=torch.float64))
    width = ((1 - keep**2) * units.kB * temperature[state.system] * state.masses).sqrt()
    noise = state.noise(Purpose.MD_THERMOSTAT)
    state = replace(state, momenta=state.at_rest(keep * state.momenta + width[:, None] * noise))
    return _counted(_kick(evaluate(_drift(state, dt / 2)), dt / 2))


def nose_hoover_step(state: State, evaluate: Evaluate, dt: float, temperature: Tensor, coupling: Coupling) -> State:
    """A Nose-Hoover chain of CHAIN thermostats (Martyna et al., Mol. Phys. 87, 1117, 1996), temperature (systems,)."""
    state = _chain_half_step(state, dt, temperature, coupling.thermostat)
    state = _drift(_kick(state, dt / 2), dt)
    state = _kick(evaluate(state), dt / 2)
    return _counted(_chain_half_step(state, dt, temperature, coupling.thermostat))


def rescale_cell(state: State, dt: float, temperature: Tensor, pressure: Tensor, coupling: Coupling) -> State:
    """Isotropic stochastic cell rescaling over dt (Bernetti, Bussi, J. Chem. Phys. 153, 114107, 2020).

    pressure: (systems,) in eV/Angstrom^3. With eps = ln V: d eps = -(P0 - P) dt/(B tau) + sqrt(2 kT/(V B tau)) dW.
    Needs a stress of the present positions.
    """
    cell = state.batch.cell
    if cell is None:
        raise ValueError("a structure without a cell has no volume to rescale")
    rate = 1 / (coupling.modulus * coupling.barostat)
    noise = normal(state.key, Purpose.MD_BAROSTAT, 1, state.step)[:, 0]
    strain = -rate * (pressure - state.pressure) * dt
    strain = strain + (2 * units.kB * temperature * rate * dt / state.volume).sqrt() * noise
    scale = torch.exp(strain.clamp(-LARGEST_STRAIN, LARGEST_STRAIN) / 3)
    return scaled(state, scale)


def scaled(state: State, scale: Tensor) -> State:
    """Cells and positions times `scale` (systems,), momenta divided by it."""
    cell = state.batch.cell
    assert cell is not None
    batch = replace(state.batch, positions=state.batch.positions * scale[state.system, None],
                    cell=cell * scale[:, None, None])  # fmt: skip
    return replace(state, batch=batch, momenta=state.momenta / scale[state.system, None])


def chain_energy(state: State, temperature: Tensor, period: float) -> Tensor:
    """Energy (systems,) of the Nose-Hoover chains: with it the total energy is conserved at constant temperature."""
    mass = _chain_masses(state, temperature, period)
    eta, velocity = state.chain
    thermal = units.kB * temperature
    count = torch.cat([state.degrees[:, None], torch.ones_like(eta[:, 1:])], 1)
    return (0.5 * mass * velocity**2 + count * thermal[:, None] * eta).sum(1)


def _kick(state: State, dt: float) -> State:
    return replace(state, momenta=state.momenta + dt * state.forces)


def _drift(state: State, dt: float) -> State:
    positions = state.batch.positions + dt * state.momenta / state.masses[:, None]
    return replace(state, batch=state.batch.at(positions))


def _counted(state: State) -> State:
    return replace(state, step=state.step + 1)


def _chain_masses(state: State, temperature: Tensor, period: float) -> Tensor:
    thermal = (units.kB * temperature.clamp_min(1e-6) * period**2)[:, None]
    return torch.cat([thermal * state.degrees[:, None], thermal.expand(-1, CHAIN - 1)], 1)


def _chain_half_step(state: State, dt: float, temperature: Tensor, period: float) -> State:
    """exp(i L_NHC dt/2): the chain from its end, the momenta, the chain from its beginning."""
    mass, thermal = _chain_masses(state, temperature, period), units.kB * temperature
    eta, v = state.chain[0].clone(), list(state.chain[1].unbind(1))
    kinetic = 2 * state.kinetic

    def force(k: int, twice_kinetic: Tensor) -> Tensor:
        if k == 0:
            return (twice_kinetic - state.degrees * thermal) / mass[:, 0]
        return (mass[:, k - 1] * v[k - 1] ** 2 - thermal) / mass[:, k]

    v[-1] = v[-1] + force(CHAIN - 1, kinetic) * dt / 4
    for k in reversed(range(CHAIN - 1)):
        damp = torch.exp(-v[k + 1] * dt / 8)
        v[k] = (v[k] * damp + force(k, kinetic) * dt / 4) * damp
    scale = torch.exp(-v[0] * dt / 2)
    kinetic = kinetic * scale**2
    eta = eta + torch.stack(v, 1) * dt / 2
    for k in range(CHAIN - 1):
        damp = torch.exp(-v[k + 1] * dt / 8)
        v[k] = (v[k] * damp + force(k, kinetic) * dt / 4) * damp
    v[-1] = v[-1] + force(CHAIN - 1, kinetic) * dt / 4
    return replace(
        state, momenta=state.momenta * scale[state.system, None], chain=torch.stack([eta, torch.stack(v, 1)])
    )
