"""The best structures of a campaign in other formats, and the most informative ones to be labelled."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
from ase import Atoms

from gendesign.campaign.filters import number
from gendesign.campaign.results import TABLE, Results
from gendesign.campaign.select import Entry, descriptors_of, farthest_points
from gendesign.campaign.survey import Survey
from gendesign.errors import SettingsError
from gendesign.structure.cells import cif
from gendesign.structure.files import write_atomically, write_extxyz, write_sdf
from gendesign.structure.types import Candidate

FORMATS = ("extxyz", "cif", "sdf", "db", "csv", "optimade")
LABELLING = "for-labelling.extxyz"
HILL_FIRST = ("C", "H")


class EmptyExportError(SettingsError):
    """No structure of the best fits the format."""


def export(results: Results, form: str, top: int | None = None) -> Path:
    """Write the best structures as `form`; csv holds the table of all candidates. Returns the file or folder.

    Raises SettingsError for an unknown format, and EmptyExportError where none of the structures fits it.
    """
    if form not in FORMATS:
        raise SettingsError(f"format={form} is unknown; allowed: {', '.join(FORMATS)}")
    folder = results.survey.plan.folder
    best = results.best(top or results.survey.plan.ranking.top)
    path = folder / f"best.{form}"
    periodic = [bool(candidate.atoms.pbc.all()) for candidate in best]
    if (form == "cif" and not any(periodic)) or (form == "sdf" and periodic and all(periodic)):
        kind, others = ("crystals", "sdf") if form == "cif" else ("molecules", "cif")
        raise EmptyExportError(f"format={form} holds {kind}, and none is among the best; give {others} or extxyz")
    if form == "csv":
        path = folder / "candidates.csv"
        pc.write_csv(pq.read_table(folder / TABLE), path)
    elif form == "extxyz":
        write_extxyz(best, path)
    elif form == "sdf":
        write_sdf(best, path, zwitterions=True)
    elif form == "cif":
        path = folder / "cif"
        path.mkdir(exist_ok=True)
        for earlier in path.glob("*.cif"):
            earlier.unlink()
        for candidate in best:
            if candidate.atoms.pbc.all():
                write_atomically(path / f"{candidate.index:05d}.cif", cif(candidate.atoms))
    elif form == "db":
        _write_db(best, path)
    else:
        path = folder / "optimade.jsonl"
        rows = [{"x-optimade": {"meta": {"api_version": "1.2.0"}}}, *map(optimade, best)]
        write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def optimade(candidate: Candidate) -> dict[str, Any]:
    """A structure as an entry of OPTIMADE 1.2 (JSON lines)."""
    atoms, symbols = candidate.atoms, candidate.atoms.get_chemical_symbols()
    elements = sorted(set(symbols))
    periodic = [int(flag) for flag in atoms.pbc]
    counts = [symbols.count(element) for element in elements]
    divisor = int(np.gcd.reduce(counts)) if counts else 1
    species = [{"name": e, "chemical_symbols": [e], "concentration": [1.0]} for e in elements]
    attributes = {
        "elements": elements,
        "nelements": len(elements),
        "elements_ratios": [count / len(symbols) for count in counts],
        "chemical_formula_descriptive": atoms.get_chemical_formula("hill"),
        "chemical_formula_reduced": _formula(elements, [count // divisor for count in counts]),
        "chemical_formula_anonymous": _formula(
            [_letters(k) for k in range(len(counts))], sorted((count // divisor for count in counts), reverse=True)
        ),
        "dimension_types": periodic,
        "nperiodic_dimensions": sum(periodic),
        "lattice_vectors": atoms.cell.array.tolist() if any(periodic) else None,
        "cartesian_site_positions": atoms.positions.tolist(),
        "nsites": len(atoms),
        "species": species,
        "species_at_sites": symbols,
        "structure_features": [],
        "last_modified": None,
        **{f"_gendesign_{key}": value for key, value in candidate.info.items() if _plain(value)},
    }
    return {"type": "structures", "id": str(candidate.index), "attributes": attributes}


def labelling(survey: Survey, count: int) -> list[Candidate]:
    """The structures worth a label: the most uncertain half of those with descriptors, and of these the most diverse.

    Without descriptors the most uncertain; without uncertainties the most diverse. Raises SettingsError without both.
    """
    entries = survey.entries(lambda trail: trail.entered[-1] if trail.structures and trail.entered else ())
    entries = [entry for entry in entries if survey.trails[_item(survey, entry)].structures is not None]
    uncertain = {entry.id: _uncertainty(entry) for entry in entries}
    known = [entry for entry in entries if np.isfinite(uncertain[entry.id])]
    described = [entry for entry in entries if entry.descriptor is not None]
    if not known and not described:
        raise SettingsError("labels need stages of kind uncertainty or descriptors, and no candidate has passed one")
    pool = sorted(known or described, key=lambda entry: (-uncertain[entry.id] if known else 0.0, entry.id))
    both = [entry for entry in pool if entry.descriptor is not None]
    if both:
        half = both[: max(count, (len(both) + 1) // 2)]
        pool = [half[k] for k in farthest_points(descriptors_of(half), count)] if half else []
    return [_structure(survey, entry, k) for k, entry in enumerate(pool[:count])]


def write_labelling(survey: Survey, count: int) -> Path:
    """for-labelling.extxyz, to be given to `gendesign label`."""
    path = survey.plan.folder / LABELLING
    write_extxyz(labelling(survey, count), path)
    return path


def _structure(survey: Survey, entry: Entry, number_: int) -> Candidate:
    trail = survey.trails[_item(survey, entry)]
    (candidate,) = trail.candidates([entry.id[1]])
    info = {"run": entry.id[0], "candidate": entry.id[1]}
    return Candidate(Atoms(candidate.atoms), number_, candidate.generator, candidate.seed, info=info)


def _item(survey: Survey, entry: Entry) -> tuple[str, int]:
    run = survey.plan.run(entry.id[0])
    shard = next(k for k, indices in enumerate(run.ranges) if entry.id[1] in indices)
    return run.name, shard


def _uncertainty(entry: Entry) -> float:
    verdict = entry.values.get("uncertainty")
    value = None if verdict is None else number(verdict)
    return float("nan") if value is None else value


def _write_db(best: Sequence[Candidate], path: Path) -> None:
    """An ASE database (SQLite), replaced as a whole."""
    temporary = path.with_name(".best.partial.db")
    temporary.unlink(missing_ok=True)
    with ase.db.connect(temporary) as database:
        for candidate in best:
            info = {key: value for key, value in candidate.info.items() if _plain(value)}
            database.write(candidate.atoms, rank=candidate.index, data=info)
    temporary.replace(path)


def _formula(names: Sequence[str], counts: Sequence[int]) -> str:
    return "".join(f"{name}{count if count > 1 else ''}" for name, count in zip(names, counts, strict=True))


def _letters(k: int) -> str:
    """A, B, ..., Z, Aa, Ba, ... as OPTIMADE names anonymous elements."""
    return chr(65 + k % 26) + ("" if k < 26 else chr(96 + k // 26))


def _plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)
