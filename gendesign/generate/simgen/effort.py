"""What follows from the size of the molecules: reference set, building blocks, prior, and how much is computed."""

from typing import NamedTuple

from gendesign.errors import UserError
from gendesign.generate.simgen.settings import SimGenSettings
from gendesign.generate.simgen.shape_files import MoleculeShape, Pocket
from gendesign.generate.simgen.shape_prior import ShapePrior

LARGE = 15  # heavy atoms from which molecules are drug-sized: docs/notebook/druglike.md compares the ways
SMALL, DRUGLIKE = "small", "druglike"


class Effort(NamedTuple):
    """Noise levels, copies of each molecule, and independent geometries among which these are divided."""

    steps: int
    particles: int
    families: int


def is_large(sizes: tuple[int, int]) -> bool:
    """Whether molecules of fewest and most `sizes` heavy atoms count as drug-sized: by the middle of the range."""
    return sum(sizes) / 2 >= LARGE


def assembles(settings: SimGenSettings, sizes: tuple[int, int]) -> bool:
    """Whether molecules are assembled from building blocks. Raises UserError where that contradicts other settings."""
    word = settings.building_blocks
    obstacles = {
        "generator.formula": settings.formula is not None,
        "generator.counts": settings.counts is not None,
        "generator.fragments": settings.fragments is not None,
    }
    given = [name for name, present in obstacles.items() if present]
    if word not in ("auto", "none") and given:
        raise UserError(
            f"generator.building_blocks={word} and {given[0]} are both given; blocks have compositions of their own: "
            "leave one of them out"
        )
    if word != "auto":
        return word != "none"
    shaped = isinstance(settings.prior, ShapePrior) and not isinstance(settings.prior.shape, MoleculeShape | Pocket)
    return is_large(sizes) and not given and not shaped


def effort(settings: SimGenSettings, sizes: tuple[int, int], assembled: bool) -> Effort:
    """The numbers of `settings`, and for those that are null what the size asks for."""
    usual = Effort(50, 10, 5)
    if assembled:
        usual = Effort(80, 8, 8)
    elif is_large(sizes):
        usual = Effort(150, 20, 10)
    asked = (settings.steps, settings.particles, settings.families)
    steps, particles, families = (u if a is None else a for u, a in zip(usual, asked, strict=True))
    if settings.families is None and particles % families:
        families = particles if assembled else next(n for n in range(families, 0, -1) if particles % n == 0)
    if settings.particles is None and particles % families:
        particles = families * max(1, particles // families)
    if particles % families:
        raise UserError(f"generator.families={families} must divide generator.particles={particles}")
    return Effort(steps, particles, families)


def bundled(settings: SimGenSettings, sizes: tuple[int, int]) -> str:
    """Which bundled references are meant: their file without its suffix."""
    large = settings.bundled == DRUGLIKE or (settings.bundled == "auto" and is_large(sizes))
    return "druglike" if large else "reference"
