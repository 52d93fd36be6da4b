"""How much a candidate's shape is that of a target, both where they are: nothing is aligned."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ase import Atoms

from gendesign.errors import UserError
from gendesign.screening.validity import unusable
from gendesign.structure.clouds import MESHES, PLAIN, heavy_atoms, inside_mesh, read_cloud, read_mesh
from gendesign.structure.types import Candidate, Verdict
from gendesign.structure.volumes import filled, tanimoto

NAME = "shape_tanimoto"


@dataclass(frozen=True)
class ShapeCheck:
    """`shape_tanimoto`: the volume that heavy atoms and target share, divided by the volume that either fills.

    `target` is a file: a molecule, of which the heavy atoms count, points (.txt, .csv, .dat, .npy) or a closed mesh
    (.stl, .obj, .ply), which are filled with carbons. Passed when at least `least` (None: a plain measurement).
    """

    target: str
    least: float | None = None

    def __post_init__(self) -> None:
        if self.least is not None and not (isinstance(self.least, int | float) and 0 <= self.least <= 1):
            raise UserError(f"shape_least is {self.least}; give a number from 0 to 1, or null to measure only")
        self.atoms  # noqa: B018  an unusable target is named before anything runs

    @cached_property
    def atoms(self) -> Atoms:
        """Heavy atoms of the target, or the carbons that stand for it."""
        kind = Path(self.target).suffix.lower()
        if kind not in (*MESHES, *PLAIN):
            return heavy_atoms(self.target)
        points = read_cloud(self.target) if kind in PLAIN else inside_mesh(read_mesh(self.target))
        if not len(points):
            raise UserError(f"{self.target}: the body holds no point; scale it to the size of a molecule, in Angstrom")
        return filled(points)

    def __call__(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict for each candidate, in order."""
        return [self._verdict(candidate) for candidate in candidates]

    def _verdict(self, candidate: Candidate) -> Verdict:
        heavy = candidate.atoms[candidate.atoms.numbers > 1]
        reason = unusable(candidate) or ("" if len(heavy) else "no heavy atoms")
        if reason:
            return Verdict(candidate.index, NAME, None if self.least is None else False, reason=reason)
        value = tanimoto(heavy, self.atoms)
        return Verdict(candidate.index, NAME, None if self.least is None else value >= self.least, value)
