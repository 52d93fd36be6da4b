"""Results folders as galleries: the finished shards of a run, read whether or not it has ended."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
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
from gendesign.structure.step_cache import StepCache
from gendesign.structure.types import Candidate, Verdict

MOST = 5000  # candidates of one gallery
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

    @property
    def is_folder(self) -> bool:
        """Whether this is a results folder."""
        return self.path.is_dir()

    def read(self) -> tuple[Sequence[Candidate], Sequence[Verdict]]:
        """The candidates so far and their verdicts."""
        seen = self._signature()
        if seen != self._seen:
            candidates, verdicts = self._read()
            self._candidates, self._verdicts, self._seen = tuple(candidates[:MOST]), tuple(verdicts), seen
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
        candidates, verdicts = [], []
        for shard in shards:  # the checks of the whole set follow when the run has ended
            rows = read_verdicts(shard / VERDICTS)
            candidates += read_candidates(shard / CANDIDATES, rows)
            verdicts += rows
        return candidates, verdicts

    def _merged(self) -> int:
        """How many shards the files at the top hold."""
        try:
            return int(json.loads((self.path / SUMMARY).read_text())["shards"]["finished"])
        except (OSError, ValueError, KeyError):
            return -1

    def rows(self) -> dict[str, Any]:
        """The gallery: a row for each candidate, and the checks by which it can be sorted."""
        candidates, verdicts = self.read()
        checks = by_candidate(verdicts)
        rows = [self._row(candidate, checks.get(candidate.index, {})) for candidate in candidates]
        names = dict.fromkeys(name for row in rows for name, check in row["checks"].items() if check["sortable"])
        return {"rows": rows, "checks": {name: check_name(name) for name in names}}

    def _row(self, candidate: Candidate, checks: dict[str, Verdict]) -> dict[str, Any]:
        failed = [v for v in checks.values() if v.passed is False and v.reason]
        smiles = checks.get("smiles")
        return {
            "index": candidate.index,
            "formula": candidate.atoms.get_chemical_formula() if len(candidate.atoms) else "",
            "atoms": len(candidate.atoms),
            "periodic": bool(candidate.atoms.pbc.any()),
            "energy": _number(candidate.info.get("energy")),
            "failure": candidate.failure,
            "reason": candidate.failure or (failed[0].reason if failed else ""),
            "valid": candidate.failure is None and all(v.passed is not False for v in checks.values()),
            "smiles": str(smiles.value) if smiles is not None and smiles.value else "",
            "checks": {
                name: {
                    "passed": v.passed, "value": _number(v.value), "unit": v.unit, "reason": v.reason,
                    "sortable": v.passed is not None or _number(v.value) is not None,
                }
                for name, v in checks.items()
            },
        }  # fmt: skip

    def candidate(self, index: int) -> Candidate:
        """One candidate; raises UserError."""
        for candidate in self.read()[0]:
            if candidate.index == index:
                return candidate
        raise UserError(f"{self.path.name} has no candidate {index}; reload the page")

    def picture(self, index: int) -> str:
        """A small picture of a candidate as SVG."""
        candidate = self.candidate(index)
        smiles = by_candidate(self.read()[1]).get(index, {}).get("smiles")
        svg = draw_smiles(str(smiles.value)) if smiles is not None and smiles.value else ""
        svg = svg or draw_atoms(candidate.atoms) or "<svg viewBox='0 0 190 140'></svg>"
        return svg.replace("<svg", "<svg xmlns='http://www.w3.org/2000/svg'", 1) if "xmlns=" not in svg else svg

    def growing(self) -> Atoms | None:
        """The first structure of the newest step that an unfinished shard has kept, as of a quench under way."""
        steps = sorted((self.path / "shards").glob(".*.begun/*.json"), key=lambda path: path.stat().st_mtime_ns)
        if not steps:
            return None
        kept = StepCache(steps[-1].parent).get_or_make(steps[-1].stem, lambda: ())
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
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        for candidate in candidates:
            text = StringIO()
            ase.io.write(text, candidate.atoms, format="extxyz")
            archive.writestr(f"{candidate.index:05d}.xyz", text.getvalue())
        for form in ("sdf", "cif"):
            try:
                archive.writestr(f"all.{form}", download(candidates, form))
            except UserError:
                continue
    return buffer.getvalue()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
