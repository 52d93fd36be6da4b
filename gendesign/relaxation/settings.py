"""The settings of a relaxation. Nothing heavy is imported here."""

from dataclasses import dataclass

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting

PRECONDITIONED = "precon_lbfgs"
OPTIMIZERS = (PRECONDITIONED, "gradient_descent", "fire", "lbfgs", "bfgs")  # all but the first are torch-sim's


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
