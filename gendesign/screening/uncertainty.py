"""The uncertainty of the potential for a candidate, by its last-layer rigidity (potential/rigidity.py)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from gendesign.errors import UserError
from gendesign.structure.types import Candidate, Verdict

if TYPE_CHECKING:  # torch takes seconds to import
    from gendesign.potential import Rigidity
    from gendesign.potential.protocol import PotentialLike

CHECKS = ("uncertainty", "uncertainty_atom")
UNITS = ("eV/atom", "eV")
MAX_ATOMS = 1500  # atoms judged at once


def uncertainty(
    candidates: Sequence[Candidate],
    potential: "PotentialLike | None",
    folder: str | None = None,
    energy_limit: float | None = None,
    atom_limit: float | None = None,
) -> dict[int, list[Verdict]]:
    """`uncertainty`: standard deviation of the energy per atom; `uncertainty_atom`: the largest of an atom's energy.

    Returns verdicts by position in `candidates`. A candidate passes up to the limits, by default the stored quantiles
    of held-out structures. Empty without a potential, or for one without a stored rigidity.
    """
    if potential is None:
        return {}
    from gendesign.potential.uncertainty import stored_rigidity  # mace takes seconds to import

    rigidity = stored_rigidity(potential, folder)
    if rigidity is None:
        return {}
    known = rigidity.thresholds
    energy_limit = known.get("energy") if energy_limit is None else energy_limit
    atom_limit = known.get("atom") if atom_limit is None else atom_limit
    if energy_limit is None or atom_limit is None:
        raise UserError("the potential's rigidity is not calibrated; calibrate it, or set both limits of the check")
    limits = energy_limit, atom_limit
    deviations: dict[int, tuple[float, float]] = {}
    reasons = {i: _unfit(candidate, potential) for i, candidate in enumerate(candidates)}
    for group in _groups([i for i, reason in reasons.items() if not reason], candidates):
        deviations |= zip(group, _deviations(rigidity, [candidates[i].atoms for i in group]), strict=True)
    return {
        i: [
            Verdict(candidate.index, check, value <= limit, value, unit)
            if (value := deviations.get(i, (None, None))[k]) is not None
            else Verdict(candidate.index, check, False, reason=reasons[i])
            for k, (check, unit, limit) in enumerate(zip(CHECKS, UNITS, limits, strict=True))
        ]
        for i, candidate in enumerate(candidates)
    }


def _deviations(rigidity: "Rigidity", structures: Sequence[Atoms]) -> list[tuple[float, float]]:
    import torch

    from gendesign.potential.rigidity import largest

    batch = rigidity.potential.batch(structures)
    with torch.no_grad():
        energy, atom = rigidity.deviations(batch)
        worst = largest(atom, batch)
    return [(e / len(a), w) for e, w, a in zip(energy.tolist(), worst.tolist(), structures, strict=True)]


def _unfit(candidate: Candidate, potential: "PotentialLike") -> str:
    """Why a candidate cannot be judged, or nothing."""
    if candidate.failure is not None or not len(candidate.atoms):
        return candidate.failure or "no atoms"
    if not np.isfinite(candidate.atoms.positions).all():
        return "positions are not finite"
    unknown = sorted(set(candidate.atoms.symbols) - set(potential.elements))
    return f"elements unknown to the potential: {' '.join(unknown)}" if unknown else ""


def _groups(places: Sequence[int], candidates: Sequence[Candidate]) -> list[list[int]]:
    """Positions of structures of equal periodicity, at most MAX_ATOMS together unless one alone has more."""
    groups: list[list[int]] = []
    sizes: dict[tuple[bool, ...], int] = {}
    current: dict[tuple[bool, ...], list[int]] = {}
    for i in places:
        atoms = candidates[i].atoms
        key = tuple(bool(p) for p in atoms.pbc)
        if key not in current or sizes[key] + len(atoms) > MAX_ATOMS:
            current[key], sizes[key] = [], 0
            groups.append(current[key])
        current[key].append(i)
        sizes[key] += len(atoms)
    return groups
