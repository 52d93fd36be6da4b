"""The settings of a relaxation. Nothing heavy is imported here."""

import math
from dataclasses import dataclass

from gendesign.errors import UserError

PRECONDITIONED = "precon_lbfgs"
OPTIMIZERS = (PRECONDITIONED, "gradient_descent", "fire", "lbfgs", "bfgs")  # all but the first are torch-sim's


@dataclass(frozen=True)
class Relaxation:
    """How to relax: fmax in eV/Angstrom, pressure and max_stress in GPa, max_atoms in atoms per model call.

    `cell` relaxes the cells of structures that are periodic in three directions; molecules have none and are relaxed
    at fixed box. A structure larger than `max_atoms` gets batches of its own size. precon_lbfgs (preconditioned.py)
    needs a third of the model calls of lbfgs for crystals of molecules and as many for molecules; its linear algebra is
    meant for structures of up to a thousand atoms. Raises UserError for values out of bounds.
    """

    optimizer: str = "lbfgs"
    fmax: float = 0.05
    max_steps: int = 500
    cell: bool = False
    pressure: float = 0.0
    max_stress: float = 0.1
    max_atoms: int = 1000

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise UserError(
                f"relaxation.optimizer={self.optimizer!r} is unknown; choose one of {', '.join(OPTIMIZERS)}"
            )
        for name in ("fmax", "max_stress", "max_atoms"):
            if not getattr(self, name) > 0:
                raise UserError(f"relaxation.{name}={getattr(self, name)} must be above zero; give a positive number")
        if self.max_steps < 0:
            raise UserError(f"relaxation.max_steps={self.max_steps} must not be negative; give 0 or more")
        if not math.isfinite(self.pressure):
            raise UserError(f"relaxation.pressure={self.pressure} is not a number of GPa; give for example 1.5")
        if self.pressure and not self.cell:
            raise UserError(f"relaxation.pressure={self.pressure} acts on cells only; set relaxation.cell=true as well")
