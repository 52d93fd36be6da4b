"""Guidance: energies of the positions alone, whose forces join the scores that a sampler follows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.simgen.heun import LOST
from gendesign.generate.simgen.state import Swarm
from gendesign.structure.callables import check_callable, load_function

Energy = Callable[[Tensor, Tensor], Tensor]
CALLED = ("positions", "mask")
SECTION = "generator.guidance"


@dataclass(frozen=True, kw_only=True)
class GuidanceStrength:
    """How strongly guidance acts at which noise levels."""

    strength: float = setting(5.0, "factor of the energy", least=0)
    start: float = setting(2.0, "noise level below which it acts", unit="Angstrom", above=0)
    stop: float = setting(0.0, "noise level down to which it acts", unit="Angstrom", least=0)
    ramp: float = setting(0.05, "noise over which it fades in and out", unit="Angstrom", least=0)
    clip: float = setting(10.0, "longest force on an atom; inf for no limit", above=0, infinite=True)

    def __post_init__(self) -> None:
        check_bounds(self, SECTION)
        if not self.stop < self.start:
            raise UserError(f"{SECTION}: start={self.start} and stop={self.stop}; give 0 <= stop < start, in Angstrom")


@dataclass(frozen=True)
class Guidance(GuidanceStrength):
    """A score: minus the gradient of `strength` times an energy, no longer than `clip` per atom.

    `function` maps positions (systems, largest, 3) in Angstrom and mask (systems, largest) of bool, False where a
    system has fewer atoms, to energies (systems,) by differentiable torch operations; or it names one, as
    path/to/file.py:function. It acts at noise levels from `start` down to `stop` and fades in and out over `ramp`
    within them; the default lets the bonds alone decide the last steps. Positions are those of the heavy atoms during
    sampling: around the origin, where the prior holds them.

    Energies have no unit: E = x^2/2 pulls x to zero as exp(-strength * fall of the noise level).
    Raises UserError for settings that make no sense, and, when it acts, for a function that fails or gives no finite
    energy or gradient for finite positions.
    """

    function: Energy | str
    energy: Energy = field(init=False, repr=False, compare=False)  # the function itself

    def __post_init__(self) -> None:
        super().__post_init__()
        self._load()

    def _load(self) -> None:
        if isinstance(self.function, str):
            energy = load_function(self.function, CALLED)
        else:
            check_callable(self.function, self.name, CALLED)
            energy = self.function
        object.__setattr__(self, "energy", energy)

    @property
    def name(self) -> str:
        """What the function is called."""
        if isinstance(self.function, str):
            return self.function
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __getstate__(self) -> dict:
        return {
            key: value for key, value in vars(self).items() if key != "energy"
        }  # functions of files cannot be pickled

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._load()

    def weight(self, sigma: float) -> float:
        """0 outside start and stop, 1 well inside."""
        if not self.stop <= sigma <= self.start:
            return 0.0
        inside = min(self.start - sigma, sigma - self.stop)
        return min(1.0, inside / self.ramp) if self.ramp > 0 else 1.0

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        """The score (atoms, 3) of the restraint at the noise level `sigma` in Angstrom."""
        scale = self.strength * self.weight(sigma)
        if scale == 0:
            return torch.zeros_like(swarm.positions)
        mask = swarm.padded(torch.ones_like(swarm.slot, dtype=torch.bool))
        x = swarm.padded(swarm.positions)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energies = self._energies(x, mask)
            (gradient,) = torch.autograd.grad(energies.sum(), x, allow_unused=True, materialize_grads=True)
        # whatever a system that has exploded gives does not count: the sampler puts it on a line
        sound = (x.detach().abs() < LOST).all(-1).all(-1)
        real = torch.where(mask[..., None], gradient, 0.0)
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
            energies = self.energy(x, mask)
        except UserError:
            raise
        except Exception as error:  # whatever the user's function may raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            raise UserError(f"guidance '{self.name}' failed ({reason}); mend it or leave it out") from error
        if not isinstance(energies, Tensor) or energies.shape != x.shape[:1]:
            result = tuple(energies.shape) if isinstance(energies, Tensor) else type(energies).__name__
            raise UserError(
                f"guidance '{self.name}' gave {result}; it must give energies of shape ({len(x)},): mend it"
            )
        if not energies.requires_grad:
            raise UserError(
                f"guidance '{self.name}' gave energies that do not depend on the positions by torch operations; mend it"
            )
        return energies


@dataclass(frozen=True)
class Guidances(GuidanceStrength):
    """Guidance by one function, several or none, all of the same strength: a sequence with a Guidance for each."""

    function: Energy | str | Sequence[Energy | str] | None = setting(
        None,
        "energies of positions, as path/to/file.py:function or package.module:function; null for none",
    )
    members: tuple[Guidance, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        several = self.function if isinstance(self.function, list | tuple) else [self.function]
        strength = {f.name: getattr(self, f.name) for f in fields(GuidanceStrength)}
        members = tuple(Guidance(one, **strength) for one in several if one is not None)
        object.__setattr__(self, "members", members)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, number: int) -> Guidance:
        return self.members[number]

    def __iter__(self) -> Iterator[Guidance]:
        return iter(self.members)
