"""What a perovskite's energy is compared with: crystals built here, relaxed by the potential, the lowest of them."""

from collections.abc import Callable, Sequence

from ase import Atoms

from gendesign.potential.protocol import PotentialLike
from gendesign.processes import SERIAL, Spread
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.perovskite import cation_fault, energy_of
from gendesign.structure.types import Candidate

TOGETHER = 320  # atoms per batch: few enough for several workers
ROUGH = Relaxation("precon_lbfgs", 0.1, 100, cell=True, pressure=1.0, max_atoms=TOGETHER)
FINAL = Relaxation("precon_lbfgs", 0.02, 500, cell=True, max_atoms=TOGETHER)


def lowest(
    crystals: Sequence[Atoms],
    potential: PotentialLike,
    counts: Callable[[Atoms], bool] = lambda _: True,
    spread: Spread = SERIAL,
) -> float | None:
    """Lowest energy (eV per formula unit) of the crystals after relaxation, first under pressure, then without.

    atoms.info: formula_units, and cations where there are any, as in starts. Left out are those whose cations did not
    stay what they are, and those of which `counts` says no once they are relaxed; None where nothing is left. Crystals
    that have not converged count: their energy is an upper bound.
    """
    candidates = []
    for i, atoms in enumerate(crystals):
        bare = atoms.copy()
        bare.info = {}
        candidates.append(Candidate(bare, i, info=dict(atoms.info)))
    ended = relax(relax(candidates, potential, ROUGH, spread=spread), potential, FINAL, spread=spread)
    sound = [c for c in ended if c.failure is None and not cation_fault(c.atoms, c.info.get("cations", ""))]
    return min((energy_of(c) for c in sound if counts(c.atoms)), default=None)
