"""L-BFGS on atoms and cells whose first guess of the Hessian are springs (springs.py), many structures at once.

The model sees a batch; the linear algebra is done structure by structure on the CPU, where a tenth of a search goes
into it (12 cells of 54 atoms, one thread).
"""

from collections.abc import Callable
from dataclasses import dataclass

import gendesign.imports.torch_sim  # noqa: F401  quick and silent

import numpy as np
import torch
import torch_sim as ts
from ase import Atoms
from scipy.linalg import cho_factor, cho_solve

from gendesign.relaxation.springs import model_hessian
from gendesign.structure.constraints import fixed_components

MEMORY = 30  # steps that the update remembers
REFRESH = 3  # steps after which the springs are laid anew
LONGEST = 0.2  # Angstrom that an atom moves in a step at most
OVERSHOT = 0.8  # of the slope down at the beginning of a move, that it may have up at its end
ABSURD = 10.0  # Angstrom that no step proposes for good reasons
SHORTEST = 1e-4  # Angstrom; a rise over less is rounding, and is taken
SCALES = (0.3, 5.0)  # between which the whole model is made stiffer or softer, as the last step tells


@dataclass(frozen=True)
class Stop:
    """The last place taken, no rise from the one before: coordinates, derivatives, energy or enthalpy (eV)."""

    place: np.ndarray
    slope: np.ndarray
    height: float


class Walk:
    """One structure on its way down in the coordinates (y, weight F): positions y F, lattice vectors h0 F, as rows.

    A strain times the weight, the root of the number of atoms, counts as a displacement. pressure in eV/Angstrom^3,
    of use where `cell` moves.
    """

    def __init__(self, atoms: Atoms, cell: bool, pressure: float) -> None:
        self.atoms, self.cell, self.pressure = atoms.copy(), cell, pressure
        self.fixed = fixed_components(atoms)
        self.atoms.set_constraint()
        self.lattice, self.weight = atoms.cell.array.copy(), len(atoms) ** 0.5
        self.deformation = np.eye(3)
        self.moves: list[tuple[np.ndarray, np.ndarray]] = []
        self.last: Stop | None = None
        self.reach = LONGEST
        self.steps = 0

    def see(self, energy: float, forces: np.ndarray, stress: np.ndarray | None) -> None:
        """Take what the model says of the present geometry; forces on fixed components do not count."""
        self.energy, self.forces, self.stress = energy, forces.copy(), stress
        self.forces[self.fixed] = 0.0

    @property
    def largest_force(self) -> float:
        """eV/Angstrom on an atom that may move."""
        return float(np.linalg.norm(self.forces, axis=1).max())

    @property
    def growth(self) -> float:
        """Volume over that of the start."""
        return abs(float(np.linalg.det(self.deformation)))

    def step(self, noise: float) -> None:
        """Move downhill by what the springs and the last MEMORY steps say; back, and less far, from a higher place.

        noise: share of the energy that is the model's rounding, not a rise.
        """
        place, slope, height = self._place(), self._slope(), self._height()
        if self.last is None:
            self.last = Stop(place, slope, height)
        else:
            moved, changed = place - self.last.place, slope - self.last.slope
            if moved @ changed > 1e-10 * np.linalg.norm(moved) * np.linalg.norm(changed):
                self.moves = [*self.moves, (moved, changed)][-MEMORY:]
            # where the energies are too close to tell, the slopes along the move do (Hager, Zhang, SIAM J. Optim. 16,
            # 170, 2005)
            rise, close = height - self.last.height, noise * abs(height)
            overshot = moved @ slope > -OVERSHOT * (moved @ self.last.slope)
            if _longest(moved) > SHORTEST and (rise > close or (rise > -close and overshot)):
                place, slope = self.last.place, self.last.slope
                self.reach = _longest(moved) / 3
                self._go(place)
            else:
                self.last, self.reach = Stop(place, slope, height), min(LONGEST, 1.5 * self.reach)
        if self.steps % REFRESH == 0:
            self.hessian = self._hessian()
            self.factor = cho_factor(self.hessian)
        direction = self._downhill(slope)
        # what is remembered has nothing to do with this place any more
        if not direction @ slope < 0 or _longest(direction) > ABSURD:
            self.moves = []
            direction = self._downhill(slope)
        self._go(place + direction * min(1.0, self.reach / max(_longest(direction), 1e-12)))
        self.steps += 1

    def back(self) -> None:
        """Return from a last step that led upwards."""
        if self.last is not None and self._height() > self.last.height:
            self._go(self.last.place)

    def forget(self) -> None:
        """Let go of what takes memory."""
        self.hessian = self.factor = None
        self.moves = []

    def _go(self, place: np.ndarray) -> None:
        n = len(self.atoms)
        if self.cell:
            self.deformation = place[3 * n :].reshape(3, 3) / self.weight
            self.atoms.cell = self.lattice @ self.deformation
        self.atoms.positions = place[: 3 * n].reshape(n, 3) @ self.deformation

    def _place(self) -> np.ndarray:
        y = self.atoms.positions @ np.linalg.inv(self.deformation)
        return np.concatenate([y.ravel(), self.weight * self.deformation.ravel()][: 1 + self.cell])

    def _height(self) -> float:
        return self.energy + self.pressure * self.atoms.get_volume() if self.cell else self.energy

    def _slope(self) -> np.ndarray:
        """Derivatives of the energy, or of the enthalpy where the cell moves too."""
        if not self.cell:
            return -self.forces.ravel()
        virial = -(self.stress + self.pressure * np.eye(3)) * abs(np.linalg.det(self.atoms.cell.array))
        pull = np.linalg.inv(self.deformation).T @ (virial + virial.T) / 2
        return -np.concatenate([(self.forces @ self.deformation.T).ravel(), pull.ravel() / self.weight])

    def _hessian(self) -> np.ndarray:
        out = model_hessian(self.atoms, self.deformation if self.cell else None, self.weight)
        rows = np.flatnonzero(self.fixed.ravel())
        out[rows, :] = out[:, rows] = 0.0
        out[rows, rows] = 1.0
        return out

    def _downhill(self, slope: np.ndarray) -> np.ndarray:
        """Two loops over the remembered moves about the springs (Nocedal, Math. Comput. 35, 773, 1980)."""
        scale = 1.0
        if self.moves:
            moved, changed = self.moves[-1]
            scale = float(np.clip(moved @ changed / (moved @ self.hessian @ moved), *SCALES))
        out, shares = -slope, []
        for moved, changed in reversed(self.moves):
            shares.append(moved @ out / (moved @ changed))
            out = out - shares[-1] * changed
        out = cho_solve(self.factor, out) / scale
        for (moved, changed), share in zip(self.moves, reversed(shares), strict=True):
            out = out + moved * (share - changed @ out / (moved @ changed))
        return out


def walk(walks: list[Walk], model, room: int, ended: Callable[[Walk], bool]) -> None:
    """Step all of them until `ended`, which sees each after every model call; at most `room` atoms in a batch."""
    waiting, running = walks[::-1], []
    noise = 4 * torch.finfo(model.dtype).eps
    while waiting or running:
        held = sum(len(one.atoms) for one in running)
        while waiting and (not running or held + len(waiting[-1].atoms) <= room):
            running.append(waiting.pop())
            held += len(running[-1].atoms)
        found = model(ts.io.atoms_to_state([one.atoms for one in running], model.device, model.dtype))
        energy, forces = (found[key].detach().cpu().double() for key in ("energy", "forces"))
        stress = found["stress"].detach().cpu().double().numpy() if running[0].cell else [None] * len(running)
        parts = forces.split([len(one.atoms) for one in running])
        for one, *answer in zip(running, energy.tolist(), (part.numpy() for part in parts), stress, strict=True):
            one.see(*answer)
        running = [one for one in running if not ended(one)]
        for one in running:
            one.step(noise)


def _longest(move: np.ndarray) -> float:
    """The longest displacement of an atom, or row of the cell's deformation, in a move of all coordinates."""
    return float(np.linalg.norm(move.reshape(-1, 3), axis=1).max())
