"""Requested conditions in a run: checks beside the screening, rows in the table, names in summary.json."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from gendesign.errors import UserError
from gendesign.potential.protocol import PotentialLike
from gendesign.processes import Spread
from gendesign.relaxation import Relaxation, relax
from gendesign.relaxation.environment import relax_beside
from gendesign.run.records import FINISHED
from gendesign.run.stages import Stages
from gendesign.run.table import VALID
from gendesign.structure.conditions import Condition
from gendesign.structure.contacts import Host, refuse_overlapping
from gendesign.structure.macromolecules import read_host
from gendesign.structure.types import Candidate, TableRow, Verdict

NEARBY = 8.0  # Angstrom beyond which a host has no effect on a molecule
Report = Callable[[int, int], None]
MET = "valid and every condition met"


def relaxing(
    host: Host | None, potential: PotentialLike, settings: Relaxation, spread: Spread
) -> Callable[[Sequence[Candidate], Report], list[Candidate]]:
    """The stage that relaxes, beside the `host` if there is one; a candidate that overlaps it in the end has failed."""

    def stage(candidates: Sequence[Candidate], report: Report) -> list[Candidate]:
        if host is None:
            return relax(candidates, potential, settings, report, spread)
        relaxed = relax_beside(host, candidates, potential, settings, report)
        return refuse_overlapping(relaxed, host)

    return stage


def host_of(path: str | None, candidates: Sequence[Candidate]) -> Host | None:
    """The host in a file, for structures in their place beside it; None without a file.

    Raises UserError for a host or a structure that is periodic, and for a host that no structure is near.
    """
    if path is None:
        return None
    read = read_host(path)
    atoms = read.atoms
    if read.notes:
        print(f"gendesign: {path}: {'; '.join(read.notes)}", file=sys.stderr)
    usable = [candidate for candidate in candidates if candidate.failure is None]
    periodic = next((f"structure {c.index + 1}" for c in usable if c.atoms.pbc.any()), "")
    if atoms.pbc.any() or periodic:
        raise UserError(
            f"host={path}: {periodic or 'the host'} is periodic, and its images would not count; give structures "
            "without a cell (periodic=false reads molecules that stand alone in a box)"
        )
    host = Host.of(atoms)
    if usable and not any(len(host.near(c.atoms.positions, NEARBY)) for c in usable):
        raise UserError(
            f"host={path} has no atom within {NEARBY:g} Angstrom of any structure; give both in the same frame"
        )
    return host


def with_conditions(stages: Stages) -> Stages:
    """The stages with the `requested` conditions of their generator as further checks and rows of the table."""
    conditions = stages.generator.requested
    if not conditions:
        return stages
    screen, summarise = stages.screen, stages.summarise

    def judge(candidates: Sequence[Candidate]) -> list[Verdict]:
        of_conditions = [verdict for condition in conditions for verdict in condition(candidates)]
        return [*(screen(candidates) if screen else ()), *of_conditions]

    def table(verdicts: Sequence[Verdict], n: int) -> list[TableRow]:
        rows = [condition.row(verdicts, n) for condition in conditions]
        return [*(summarise(verdicts, n) if summarise else ()), met_by(verdicts, conditions, n), *rows]

    about = stages.about | {"conditions": [condition.name for condition in conditions]}
    headlines = (*stages.headlines, MET, *(condition.title for condition in conditions)) if summarise else ()
    return replace(stages, screen=judge, summarise=table if summarise else None, about=about, headlines=headlines)


def met_by(verdicts: Sequence[Verdict], conditions: Sequence[Condition], n: int) -> TableRow:
    """The row of the attempts that are valid and meet every condition."""
    counted = {FINISHED, VALID, *(condition.name for condition in conditions if condition.passes)}
    missed = {verdict.candidate for verdict in verdicts if verdict.check in counted and verdict.passed is False}
    return {"name": MET, "value": (n - len(missed)) / n if n else None, "unit": "fraction", "n": n}
