"""How a candidate lies beside a host: contacts, clashes and hydrogen bonds, counted where it is. Nothing is docked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gendesign.screening.validity import unusable
from gendesign.structure.contacts import Host
from gendesign.structure.hydrogen_bonds import hydrogen_bonds
from gendesign.structure.macromolecules import read_host
from gendesign.structure.types import Candidate, Verdict

CONTACTS, CLASHES, BONDS = "contacts", "clashes", "hydrogen_bonds"
NAMES = (CONTACTS, CLASHES, BONDS)


@dataclass(frozen=True)
class PoseCheck:
    """`contacts`: pairs of heavy atoms of candidate and host at most 4 Angstrom apart. `clashes`: atoms of the
    candidate that overlap the host (structure/contacts.py); a candidate without them passes. `hydrogen_bonds` with the
    host (structure/hydrogen_bonds.py).

    `path` is the host's file, from which the `residue` of a ligand is taken out. Raises UserError when it is read.
    """

    path: str
    residue: str | None = None

    @cached_property
    def host(self) -> Host:
        """The host as a pocket of the generator has it."""
        return Host.of(read_host(self.path, self.residue).atoms)

    def __call__(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """Three verdicts for each candidate, in order."""
        return [verdict for candidate in candidates for verdict in self._verdicts(candidate)]

    def _verdicts(self, candidate: Candidate) -> list[Verdict]:
        reason = unusable(candidate)
        if reason:
            return [Verdict(candidate.index, name, False if name == CLASHES else None, reason=reason) for name in NAMES]
        atoms = candidate.atoms
        near = self.host.near(atoms.positions, 8.0)
        overlapping = near.overlaps(atoms)
        return [
            Verdict(candidate.index, CONTACTS, None, float(near.contacts(atoms))),
            Verdict(candidate.index, CLASHES, not overlapping, float(overlapping), reason=near.overlap(atoms)),
            Verdict(candidate.index, BONDS, None, float(len(hydrogen_bonds(atoms, near)))),
        ]
