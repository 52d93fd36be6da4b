"""Preconditioned L-BFGS of atoms and cells, many structures at once.

The first guess of the Hessian is a model of springs between atoms (springs.py), the updates are those of L-BFGS
(Nocedal, Math. Comput. 35, 773, 1980). The potential evaluates all structures in one batch; the linear algebra is done
structure by structure on the CPU, a tenth of the time of a search (12 cells of 54 atoms, one thread).
"""

from collections.abc import Callable
from dataclasses import dataclass

import gendesign.imports.torch_sim  # noqa: F401  quick and silent

import numpy as np
import torch
import torch_sim as ts
from ase import Atoms
from scipy.linalg import cho_factor, cho_solve
from torch_sim.models.interface import ModelInterface

from gendesign.relaxation.springs import model_hessian
from gendesign.structure.constraints import fixed_components

MEMORY = 30  # steps that the L-BFGS update uses
REFRESH = 3  # steps after which the model Hessian is computed again
MAX_STEP = 0.2  # Angstrom, largest displacement of an atom in a step
OVERSHOT = 0.8  # share of the slope at the start of a step that the slope at its end may have, upwards
MAX_SENSIBLE = 10.0  # Angstrom; a longer step means that the stored updates no longer describe the surface
SHORTEST = 1e-4  # Angstrom; a rise over less is rounding and is accepted
SCALES = (0.3, 5.0)  # bounds of the factor by which the last step rescales the model Hessian


@dataclass(frozen=True)
class Iterate:
    """An accepted point: coordinates x, gradient, and energy (eV; the enthalpy if the cell is relaxed)."""

    x: np.ndarray
    gradient: np.ndarray
    energy: float


class PreconditionedLBFGS:
    """The optimizer of one structure.

    Its coordinates are (y, w F): positions y F and lattice vectors h0 F, both as rows, with the deformation F, the
    initial lattice h0 and the weight w, the root of the number of atoms, by which a strain counts as a displacement.
    Without `cell`, F is one and not part of them. `pressure` in eV/Angstrom^3 acts on the cell.

    Usage: evaluate `atoms`, `update` with the result, test convergence, `step`, and again.
    """

    def __init__(self, atoms: Atoms, cell: bool, pressure: float) -> None:
        self.atoms, self.cell, self.pressure = atoms.copy(), cell, pressure
        self.fixed = fixed_components(atoms)
        self.atoms.set_constraint()
        self.lattice, self.weight = atoms.cell.array.copy(), len(atoms) ** 0.5
        self.deformation = np.eye(3)
        self.updates: list[tuple[np.ndarray, np.ndarray]] = []  # changes of x and of the gradient, L-BFGS's s and y
        self.accepted: Iterate | None = None
        self.max_step = MAX_STEP
        self.steps = 0
        self.energy, self.forces, self.stress = float("nan"), np.full((len(atoms), 3), np.nan), np.full((3, 3), np.nan)

    def update(self, energy: float, forces: np.ndarray, stress: np.ndarray | None) -> None:
        """Store the evaluation of the present geometry: eV, eV/Angstrom (atoms, 3), eV/Angstrom^3 (3, 3).

        Forces on fixed components are set to zero. `stress` is None where no cell is relaxed.
        """
        self.energy, self.forces = energy, forces.copy()
        self.forces[self.fixed] = 0.0
        if stress is not None:
            self.stress = stress

    @property
    def max_force(self) -> float:
        """Largest force on an atom in eV/Angstrom, fixed components left out."""
        return float(np.linalg.norm(self.forces, axis=1).max())

    @property
    def volume_ratio(self) -> float:
        """Volume divided by the initial one."""
        return abs(float(np.linalg.det(self.deformation)))

    def step(self, noise: float) -> None:
        """Move the atoms and the cell by one step; after a rise, back to the accepted point and a shorter step from it.

        noise: relative rounding error of the energies.
        """
        x, gradient = self._x(), self._gradient()
        x, gradient = self._accept_or_return(Iterate(x, gradient, self._energy()), noise)
        if self.steps % REFRESH == 0:
            self.hessian = self._model_hessian()
            self.factor = cho_factor(self.hessian)
        direction = self._direction(gradient)
        if not direction @ gradient < 0 or _longest(direction) > MAX_SENSIBLE:
            self.updates = []
            direction = self._direction(gradient)
        self._set_x(x + direction * min(1.0, self.max_step / max(_longest(direction), 1e-12)))
        self.steps += 1

    def _accept_or_return(self, new: Iterate, noise: float) -> tuple[np.ndarray, np.ndarray]:
        """The point and gradient to continue from: `new` if its energy is not higher, the accepted point otherwise."""
        old = self.accepted
        if old is None:
            self.accepted = new
            return new.x, new.gradient
        dx, dg = new.x - old.x, new.gradient - old.gradient
        if dx @ dg > 1e-10 * np.linalg.norm(dx) * np.linalg.norm(dg):
            self.updates = [*self.updates, (dx, dg)][-MEMORY:]
        # where the energies are too close to tell, the slopes along the step decide (Hager, Zhang, SIAM J. Optim. 16,
        # 170, 2005)
        rise, close = new.energy - old.energy, noise * abs(new.energy)
        overshot = dx @ new.gradient > -OVERSHOT * (dx @ old.gradient)
        if _longest(dx) > SHORTEST and (rise > close or (rise > -close and overshot)):
            self.max_step = _longest(dx) / 3
            self._set_x(old.x)
            return old.x, old.gradient
        self.accepted, self.max_step = new, min(MAX_STEP, 1.5 * self.max_step)
        return new.x, new.gradient

    def return_to_accepted(self) -> None:
        """Undo a last step that led upwards."""
        if self.accepted is not None and self._energy() > self.accepted.energy:
            self._set_x(self.accepted.x)

    def release(self) -> None:
        """Free the memory of a finished optimization."""
        self.hessian = self.factor = None
        self.updates = []

    def _set_x(self, x: np.ndarray) -> None:
        n = len(self.atoms)
        if self.cell:
            self.deformation = x[3 * n :].reshape(3, 3) / self.weight
            self.atoms.cell = self.lattice @ self.deformation
        self.atoms.positions = x[: 3 * n].reshape(n, 3) @ self.deformation

    def _x(self) -> np.ndarray:
        y = self.atoms.positions @ np.linalg.inv(self.deformation)
        return np.concatenate([y.ravel(), self.weight * self.deformation.ravel()][: 1 + self.cell])

    def _energy(self) -> float:
        """The energy, or the enthalpy if the cell is relaxed."""
        return self.energy + self.pressure * self.atoms.get_volume() if self.cell else self.energy

    def _gradient(self) -> np.ndarray:
        """Derivatives of `_energy` by `_x`."""
        if not self.cell:
            return -self.forces.ravel()
        virial = -(self.stress + self.pressure * np.eye(3)) * abs(np.linalg.det(self.atoms.cell.array))
        cell_force = np.linalg.inv(self.deformation).T @ (virial + virial.T) / 2
        return -np.concatenate([(self.forces @ self.deformation.T).ravel(), cell_force.ravel() / self.weight])

    def _model_hessian(self) -> np.ndarray:
        out = model_hessian(self.atoms, self.deformation if self.cell else None, self.weight)
        rows = np.flatnonzero(self.fixed.ravel())
        out[rows, :] = out[:, rows] = 0.0
        out[rows, rows] = 1.0
        return out

    def _direction(self, gradient: np.ndarray) -> np.ndarray:
        """The L-BFGS direction by the two loops over the updates, about the scaled model Hessian."""
        scale = 1.0
        if self.updates:
            dx, dg = self.updates[-1]
            scale = float(np.clip(dx @ dg / (dx @ self.hessian @ dx), *SCALES))
        out, alphas = -gradient, []
        for dx, dg in reversed(self.updates):
            alphas.append(dx @ out / (dx @ dg))
            out = out - alphas[-1] * dg
        out = cho_solve(self.factor, out) / scale
        for (dx, dg), alpha in zip(self.updates, reversed(alphas), strict=True):
            out = out + dx * (alpha - dg @ out / (dx @ dg))
        return out


def minimize(
    optimizers: list[PreconditionedLBFGS],
    model: ModelInterface,
    max_atoms: int,
    is_done: Callable[[PreconditionedLBFGS], bool],
) -> None:
    """Step every optimizer until `is_done`, called after each evaluation; at most `max_atoms` atoms in a batch."""
    waiting, running = optimizers[::-1], []
    noise = 4 * torch.finfo(model.dtype).eps
    while waiting or running:
        n_atoms = sum(len(one.atoms) for one in running)
        while waiting and (not running or n_atoms + len(waiting[-1].atoms) <= max_atoms):
            running.append(waiting.pop())
            n_atoms += len(running[-1].atoms)
        output = model(ts.io.atoms_to_state([one.atoms for one in running], model.device, model.dtype))
        energy, forces = (output[key].detach().cpu().double() for key in ("energy", "forces"))
        stress = output["stress"].detach().cpu().double().numpy() if running[0].cell else [None] * len(running)
        parts = forces.split([len(one.atoms) for one in running])
        for one, *evaluation in zip(running, energy.tolist(), (part.numpy() for part in parts), stress, strict=True):
            one.update(*evaluation)
        running = [one for one in running if not is_done(one)]
        for one in running:
            one.step(noise)


def _longest(step: np.ndarray) -> float:
    """The longest displacement of an atom, or change of a row of the cell's deformation, in a step of all x."""
    return float(np.linalg.norm(step.reshape(-1, 3), axis=1).max())
