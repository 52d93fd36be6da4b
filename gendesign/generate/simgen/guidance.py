"""Guidance: energies of the positions alone, whose forces join the scores that a sampler follows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gendesign.errors import UserError
from gendesign.generate.simgen.sampler import LOST
from gendesign.generate.simgen.state import Swarm
from gendesign.structure.callables import check_callable, load_function

Energy = Callable[[Tensor, Tensor], Tensor]
CALLED = ("positions", "mask")


@dataclass(frozen=True)
class Guidance:
    """A score: minus the gradient of `strength` times an energy, no longer than `clip` per atom.

    `function` maps positions (systems, largest, 3) in Angstrom and mask (systems, largest) of bool, False where a
    system has fewer atoms, to energies (systems,) by differentiable torch operations; or it names one, as
    path/to/file.py:function. It acts at noise levels from `start` down to `stop` (Angstrom) and fades in and out over
    `ramp` of noise within them; the default lets the bonds alone decide the last steps. Positions are those of the
    heavy atoms, as the sampler sees them: around the origin, where the prior holds them.

    Energies have no unit: E = x^2/2 pulls x to zero as exp(-strength * fall of the noise level).
    Raises UserError for settings that make no sense, and, when it acts, for a function that fails or gives no finite
    energy or gradient for finite positions.
    """

    function: Energy | str
    strength: float = 5.0
    start: float = 2.0
    stop: float = 0.0
    ramp: float = 0.05
    clip: float = 10.0

    def __post_init__(self) -> None:
        if not isinstance(self.function, str):
            check_callable(self.function, self.name, CALLED)
        self._resolved  # noqa: B018  a missing file is named before anything runs
        if not (0 <= self.stop < self.start and math.isfinite(self.start)):
            raise UserError(f"guidance: start={self.start} and stop={self.stop}; give 0 <= stop < start, in Angstrom")
        for key, allowed in (("strength", "0 or more"), ("ramp", "0 or more")):
            if not (math.isfinite(getattr(self, key)) and getattr(self, key) >= 0):
                raise UserError(f"guidance: {key}={getattr(self, key)} must not be negative; give {allowed}")
        if not self.clip > 0:
            raise UserError(f"guidance: clip={self.clip} must be above zero; give .inf for none")

    @property
    def name(self) -> str:
        """What the function is called."""
        if isinstance(self.function, str):
            return self.function
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def energy(self) -> Energy:
        """The function itself."""
        return self._resolved

    @property
    def _resolved(self) -> Energy:
        if not isinstance(self.function, str):
            return self.function
        if "_loaded" not in vars(self):
            object.__setattr__(self, "_loaded", load_function(self.function, CALLED))
        return vars(self)["_loaded"]

    def __getstate__(self) -> dict:
        return {key: value for key, value in vars(self).items() if key != "_loaded"}

    def weight(self, sigma: float) -> float:
        """0 outside start and stop, 1 well inside."""
        if not self.stop <= sigma <= self.start:
            return 0.0
        inside = min(self.start - sigma, sigma - self.stop)
        return min(1.0, inside / self.ramp) if self.ramp > 0 else 1.0

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        scale = self.strength * self.weight(sigma)
        if scale == 0:
            return torch.zeros_like(swarm.positions)
        mask = swarm.padded(torch.ones_like(swarm.slot, dtype=torch.bool))
        x = swarm.padded(swarm.positions)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energies = self._energies(x, mask)
            (slope,) = torch.autograd.grad(energies.sum(), x, allow_unused=True, materialize_grads=True)
        # a system that has exploded may give what it likes: the sampler parks it
        sound = (x.detach().abs() < LOST).all(-1).all(-1)
        real = torch.where(mask[..., None], slope, 0.0)
        finite = torch.isfinite(energies.detach()) & torch.isfinite(real).all(-1).all(-1)
        if (sound & ~finite).any():
            what = "an energy" if (sound & ~torch.isfinite(energies.detach())).any() else "a gradient"
            raise UserError(
                f"guidance '{self.name}' gave {what} that is not finite at noise {sigma:.3g} for finite positions; "
                "mend it: roots and quotients need a lower bound, such as clamp_min(1e-6)"
            )
        force = torch.where(sound[:, None, None], -scale * real, 0.0)[swarm.system, swarm.slot]
        return force * (self.clip / force.norm(dim=-1, keepdim=True).clamp_min(1e-12)).clamp_max(1.0)

    def _energies(self, x: Tensor, mask: Tensor) -> Tensor:
        try:
            energies = self._resolved(x, mask)
        except UserError:
            raise
        except Exception as error:  # whatever the user's function may raise
            said = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            raise UserError(f"guidance '{self.name}' failed ({said}); mend it or leave it out") from error
        if not isinstance(energies, Tensor) or energies.shape != x.shape[:1]:
            given = tuple(energies.shape) if isinstance(energies, Tensor) else type(energies).__name__
            raise UserError(f"guidance '{self.name}' gave {given}; it must give energies of shape ({len(x)},): mend it")
        if not energies.requires_grad:
            raise UserError(
                f"guidance '{self.name}' gave energies that do not depend on the positions by torch operations; mend it"
            )
        return energies


def guidances(
    function: Energy | str | Sequence[Energy | str] | None = None,
    strength: float = 5.0,
    start: float = 2.0,
    stop: float = 0.0,
    ramp: float = 0.05,
    clip: float = 10.0,
) -> tuple[Guidance, ...]:
    """The `_target_` of conf/generator/guidance: a Guidance for every function, none for None."""
    several = [] if function is None else list(function) if isinstance(function, list | tuple) else [function]
    return tuple(Guidance(one, strength, start, stop, ramp, clip) for one in several)
