"""Ring sizes, which local strain cannot see."""

from gendesign.structure.bonds import Perceived
from gendesign.structure.identity import ring_sizes
from gendesign.structure.types import Candidate, Verdict

SMALL = 4  # rings of three and four atoms


def rings(candidate: Candidate, perceived: Perceived) -> list[Verdict]:
    """`ring_sizes`: sizes in ascending order, "3 6"; `small_rings`: how many of them have three or four atoms."""
    if perceived.mol is None:
        names = ("ring_sizes", "small_rings")
        return [Verdict(candidate.index, name, None, reason="not valid") for name in names]
    sizes = ring_sizes(perceived.mol)
    return [
        Verdict(candidate.index, "ring_sizes", None, " ".join(map(str, sizes))),
        Verdict(candidate.index, "small_rings", None, float(sum(size <= SMALL for size in sizes))),
    ]
