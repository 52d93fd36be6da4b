"""From the settings of a run to what its molecules are held to: sizes, fragments, patterns, priors, the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdkit import Chem

from gendesign.errors import UserError
from gendesign.generate.simgen.fragments import Fragments, Joining
from gendesign.generate.simgen.prior import GaussianPrior, shapes_of
from gendesign.structure.clouds import all_atoms
from gendesign.structure.contacts import Host
from gendesign.structure.formula import parse_range
from gendesign.structure.types import Score

if TYPE_CHECKING:
    from gendesign.generate.simgen.generator import SimGen

AUTO = "auto"
USUAL = 9  # heavy atoms where nothing else says how many


def size_range(simgen: SimGen) -> tuple[int, int]:
    """Fewest and most new heavy atoms: as given, or of the formula, the fragments, the shape, in this order."""
    limits, given = simgen.limits, str(simgen.n_heavy_atoms) != AUTO
    if given:
        low, high = parse_range(simgen.n_heavy_atoms, "generator.n_heavy_atoms")
    elif simgen.formula is not None:
        low, high = limits.total
    elif simgen.frame is not None:
        low, high = simgen.frame.sizes()
    else:
        low = high = getattr(getattr(simgen.prior, "shape", None), "n_heavy_atoms", USUAL)
    if limits is not None:
        fewest, most = limits.total
        if not given:
            low, high = (min(max(n, fewest), most) for n in (low, high))
        if low < fewest or high > most:
            raise UserError(
                f"generator.n_heavy_atoms={simgen.n_heavy_atoms}: formula or counts allow {fewest} to {most} heavy "
                f"atoms; leave it {AUTO} or change them"
            )
    alone = simgen.frame is not None and len(simgen.frame.molecules) == 1
    if alone and low < len(simgen.frame.anchors):
        raise UserError(
            f"generator.n_heavy_atoms={simgen.n_heavy_atoms}: {len(simgen.frame.anchors)} attachments need one "
            "new atom each at least"
        )
    return low, high


def frame(simgen: SimGen) -> Fragments | None:
    """The fragments to grow on or to link."""
    attachments = [_index(a) for a in simgen.attachments]
    if simgen.fragments is None:
        if attachments:
            raise UserError(f"generator.attachments={attachments} belong to fragments; give generator.fragments")
        return None
    if simgen.formula is not None:
        raise UserError(
            "generator.formula and generator.fragments are both given; limit the new atoms by generator.counts"
        )
    return Fragments(simgen.fragments, attachments)


def patterns(forbidden: Sequence[str]) -> list[Chem.Mol]:
    """Substructures that no molecule may contain."""
    found = []
    for text in map(str, forbidden):
        found.append(Chem.MolFromSmarts(text))
        if found[-1] is None:
            raise UserError(f"generator.forbidden holds {text!r}, which is no SMARTS; mend or remove it")
    return found


def priors(simgen: SimGen) -> list[Score]:
    """Of the fragments, then of the shape; without either, Gaussians with the shapes of the references.

    Reference skeletons of at least five atoms count, or all.
    """
    found: list[Score] = [] if simgen.frame is None else [Joining.of(simgen.frame)]
    found += [] if simgen.prior is None else [simgen.prior]
    if found:
        return found
    large = [a for a in simgen.skeletons if len(a) >= 5]
    return [GaussianPrior(shapes_of(large or simgen.skeletons), simgen.steps)]


def host(simgen: SimGen) -> Host | None:
    """What molecules keep off: all atoms of the host and of the pocket's surroundings; None without either."""
    own = all_atoms(simgen.host) if isinstance(simgen.host, str) else simgen.host
    protein = isinstance(simgen.host, str) and simgen.host.lower().endswith((".pdb", ".ent"))
    # the crystal's cell is in every PDB file of a protein, whose images in it are of no interest
    if own is not None and own.pbc.any() and not protein:
        name = simgen.host if isinstance(simgen.host, str) else own.get_chemical_formula()
        raise UserError(
            f"generator.host={name} is periodic, and its images would not count; give the part of it around the "
            "molecule, without a cell"
        )
    found = [a for a in (own, getattr(getattr(simgen.prior, "shape", None), "host", None)) if a is not None]
    return Host.of(*found) if found else None


def _index(given: int | str) -> int:
    try:
        return int(given)
    except ValueError:
        raise UserError(
            f"generator.attachments holds {given!r}; give the numbers of hydrogens, counted from 0"
        ) from None
