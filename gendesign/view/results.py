"""Results folders as galleries: the finished shards of a run, read whether or not it has ended."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import ase.io
from ase import Atoms

from gendesign.errors import UserError
from gendesign.run.folder import SUMMARY
from gendesign.run.merge import CANDIDATES, VERDICTS
from gendesign.run.pictures import draw_atoms, draw_smiles
from gendesign.run.properties import check_name
from gendesign.run.records import read_candidates, read_verdicts
from gendesign.run.sections import by_candidate
from gendesign.structure.files import read_structures, write_extxyz, write_sdf
from gendesign.structure.step_cache import read_step
from gendesign.structure.types import Candidate, Verdict

MOST = 5000  # candidates of one gallery
EDM = "edm_molecule"  # shown, but no failure: its table of bond lengths refuses every aromatic molecule
FORMATS = ("sdf", "xyz", "cif", "zip")


@dataclass
class Results:
    """The candidates of a results folder, or of a file of structures, as far as they are there.

    Everything is read again when a shard was added or the run has ended.
    """

    path: Path
    _seen: Any = None
    _candidates: tuple[Candidate, ...] = ()
    _verdicts: tuple[Verdict, ...] = ()
    _by_index: dict[int, Candidate] = field(default_factory=dict)
    _checks: dict[int, dict[str, Verdict]] = field(default_factory=dict)
    _of_shards: dict[str, tuple[list[Candidate], list[Verdict]]] = field(default_factory=dict)

    @property
    def is_folder(self) -> bool:
        """Whether this is a results folder."""
        return self.path.is_dir()

    def read(self) -> tuple[Sequence[Candidate], Sequence[Verdict]]:
        """The candidates so far and their verdicts."""
        seen = self._signature()
        if seen != self._seen:
            candidates, verdicts = self._read()
            self._candidates, self._verdicts = tuple(candidates[:MOST]), tuple(verdicts)
            self._by_index = {candidate.index: candidate for candidate in self._candidates}
            self._checks, self._seen = by_candidate(verdicts), seen
        return self._candidates, self._verdicts

    def _signature(self) -> Any:
        if not self.is_folder:
            return self.path.stat().st_mtime_ns
        merged = self.path / CANDIDATES
        return sorted(path.name for path in self._shards()), merged.stat().st_mtime_ns if merged.is_file() else 0

    def _shards(self) -> list[Path]:
        return sorted((self.path / "shards").glob("[0-9]*"))

    def _read(self) -> tuple[list[Candidate], list[Verdict]]:
        if not self.is_folder:
            return read_structures([self.path], strict=False, hydrogens="ignore", chargeless=None), []
        shards = self._shards()
        if self._merged() == len(shards) and (self.path / CANDIDATES).is_file():
            verdicts = read_verdicts(self.path / VERDICTS)
            return read_candidates(self.path / CANDIDATES, verdicts), verdicts
        # the checks of the whole set follow when the run has ended
        parts = [self._shard(shard) for shard in shards]
        return [c for candidates, _ in parts for c in candidates], [v for _, verdicts in parts for v in verdicts]

    def _shard(self, shard: Path) -> tuple[list[Candidate], list[Verdict]]:
        """A finished shard, which never changes."""
        if shard.name not in self._of_shards:
            rows = read_verdicts(shard / VERDICTS)
            self._of_shards[shard.name] = read_candidates(shard / CANDIDATES, rows), rows
        return self._of_shards[shard.name]

    def _merged(self) -> int:
        """How many shards the files at the top hold."""
        try:
            return int(json.loads((self.path / SUMMARY).read_text())["shards"]["finished"])
        except (OSError, ValueError, KeyError):
            return -1

    def rows(self) -> dict[str, Any]:
        """The gallery: a row for each candidate, and the checks by which it can be sorted."""
        candidates, _ = self.read()
        rows = [self._row(candidate, self._checks.get(candidate.index, {})) for candidate in candidates]
        names = dict.fromkeys(name for row in rows for name, check in row["checks"].items() if check["sortable"])
        return {"rows": rows, "checks": {name: check_name(name) for name in names}}

    def _row(self, candidate: Candidate, checks: dict[str, Verdict]) -> dict[str, Any]:
        failed = [v for v in checks.values() if v.passed is False and v.check != EDM]
        smiles = checks.get("smiles")
        return {
            "index": candidate.index,
            "formula": candidate.atoms.get_chemical_formula() if len(candidate.atoms) else "",
            "atoms": len(candidate.atoms),
            "periodic": bool(candidate.atoms.pbc.any()),
            "energy": _number(candidate.info.get("energy")),
            "failure": candidate.failure,
            "reason": candidate.failure or next((v.reason for v in failed if v.reason), ""),
            "valid": candidate.failure is None and not failed,
            "smiles": str(smiles.value) if smiles is not None and smiles.value else "",
            "checks": {
                name: {
                    "passed": v.passed, "value": _number(v.value), "unit": v.unit, "reason": v.reason,
                    "sortable": name != EDM and (v.passed is not None or _number(v.value) is not None),
                }
                for name, v in checks.items()
            },
        }  # fmt: skip

    def candidate(self, index: int) -> Candidate:
        """One candidate; raises UserError."""
        self.read()
        if index not in self._by_index:
            raise UserError(f"{self.path.name} has no candidate {index}; reload the page")
        return self._by_index[index]

    def picture(self, index: int) -> str:
        """A small picture of a candidate as SVG."""
        candidate = self.candidate(index)
        smiles = self._checks.get(index, {}).get("smiles")
        svg = draw_smiles(str(smiles.value)) if smiles is not None and smiles.value else ""
        svg = svg or draw_atoms(candidate.atoms) or "<svg viewBox='0 0 190 140'></svg>"
        return svg.replace("<svg", "<svg xmlns='http://www.w3.org/2000/svg'", 1) if "xmlns=" not in svg else svg

    def growing(self) -> Atoms | None:
        """The first structure of the newest step that an unfinished shard has kept, as of a quench under way."""
        try:
            steps = sorted((self.path / "shards").glob(".*.begun/*.json"), key=lambda path: path.stat().st_mtime_ns)
            kept = read_step(steps[-1])[0] if steps else []
        except FileNotFoundError:  # the shard has ended meanwhile
            return None
        return next((c.atoms for c in kept if len(c.atoms)), None)


def download(candidates: Sequence[Candidate], form: str) -> bytes:
    """The structures in a format of FORMATS; raises UserError where it cannot hold them."""
    usable = [candidate for candidate in candidates if len(candidate.atoms)]
    if form not in FORMATS:
        raise UserError(f"format {form[:10]} is not known; allowed are {', '.join(FORMATS)}")
    if not usable:
        raise UserError("there is no structure to download yet")
    if form == "zip":
        return _zip(usable)
    if form == "cif":
        crystals = [c.atoms for c in usable if c.atoms.pbc.any()]
        if not crystals:
            raise UserError("CIF is for periodic structures; download molecules as SDF or XYZ")
        buffer = BytesIO()
        ase.io.write(buffer, crystals, format="cif")
        return buffer.getvalue()
    return _written(usable, form)


def _written(candidates: Sequence[Candidate], form: str) -> bytes:
    """XYZ or SDF by the writers of the package, which write to files."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "structures"
        if form == "xyz":
            write_extxyz(candidates, path)
        elif not write_sdf(candidates, path, zwitterions=True):
            raise UserError("none of these structures is a molecule with clear bonds; download them as XYZ")
        return path.read_bytes()


def _zip(candidates: Sequence[Candidate]) -> bytes:
    buffer = BytesIO()
    indices = [candidate.index for candidate in candidates]
    if len(set(indices)) < len(indices):  # of several runs
        indices = list(range(len(candidates)))
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        for index, candidate in zip(indices, candidates, strict=True):
            text = StringIO()
            ase.io.write(text, candidate.atoms, format="extxyz")
            archive.writestr(f"{index:05d}.xyz", text.getvalue())
        for form in ("sdf", "cif"):
            try:
                archive.writestr(f"all.{form}", download(candidates, form))
            except UserError:
                continue
    return buffer.getvalue()


def _number(value: object) -> float | None:
    """A number that JSON can hold, else None."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None  # type: ignore[arg-type]
