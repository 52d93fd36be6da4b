"""The structures of the user's files, with a failure for those that the methods of a run cannot use."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from gendesign.errors import UserError
from gendesign.potential.protocol import PotentialLike
from gendesign.relaxation import Relaxation, check_relaxable
from gendesign.screening import ScreeningMethod
from gendesign.structure.files import read_structures
from gendesign.structure.reading_notes import refuse_unusable
from gendesign.structure.types import Candidate

LABEL = re.compile(r"(?:^|_)(?:energy|forces?|stress|virials?|dipole)(?:$|_)", re.IGNORECASE)

COMPUTED_AGAIN = {"energy", "stress_max"}  # by the relaxation
EARLIER = {"initial_energy", "initial_stress_max"}  # of an earlier relaxation by this package, hence no labels


def read_usable(
    config: DictConfig,
    files: Sequence[str],
    potential: PotentialLike,
    relaxation: Relaxation | None = None,
    screening: ScreeningMethod | None = None,
) -> list[Candidate]:
    """The structures of `files`; those that the methods of this run cannot use carry the reason as `failure`.

    Raises UserError when none can be used or, with strict=true, when one cannot.
    """
    needed = relaxation is not None or (screening is not None and screening.needs_potential)
    candidates = read_structures(
        [Path(name) for name in files],
        strict=config.strict,
        hydrogens=config.hydrogens,
        periodic=config.periodic,
        chargeless="the potential" if needed else None,
    )
    if needed:
        candidates = [without_elements(c, potential.elements, f"potential {potential.name}") for c in candidates]
    if relaxation is not None:
        candidates = [_if_relaxable(without_labels(candidate), relaxation) for candidate in candidates]
    refuse_unusable(candidates, strict=config.strict)
    return candidates


def without_elements(candidate: Candidate, known: Collection[str], method: str) -> Candidate:
    """The candidate, with a failure if it holds elements that the method does not know."""
    unknown = sorted(set(candidate.atoms.get_chemical_symbols()) - set(known))
    if candidate.failure or not unknown:
        return candidate
    few = f"; it knows {' '.join(known)}" if len(known) < 20 else ""
    return replace(candidate, failure=f"with {', '.join(unknown)}: {method} does not know {', '.join(unknown)}{few}")


def without_labels(candidate: Candidate) -> Candidate:
    """The candidate without labels from its file, which belong to the geometry before relaxation."""
    atoms, info = candidate.atoms, candidate.info
    labels = [key for key in {**atoms.info, **info, **atoms.arrays} if LABEL.search(key) and key not in COMPUTED_AGAIN]
    if not labels or candidate.generator != "file":
        return candidate
    atoms = atoms.copy()
    for key in labels:
        atoms.info.pop(key, None)
        atoms.arrays.pop(key, None)
    left_out = [key for key in labels if key not in EARLIER]
    step = (f"left out labels of another geometry: {', '.join(left_out)}",) if left_out else ()
    return replace(
        candidate,
        atoms=atoms,
        info={key: value for key, value in info.items() if key not in labels},
        history=(*candidate.history, *step),
    )


def _if_relaxable(candidate: Candidate, settings: Relaxation) -> Candidate:
    if candidate.failure:
        return candidate
    try:
        check_relaxable(candidate, settings)
    except UserError as error:
        return replace(candidate, failure=f"not relaxable: {str(error).removeprefix(f'structure {candidate.index} ')}")
    return candidate
