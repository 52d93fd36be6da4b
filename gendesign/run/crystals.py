"""Crystals before and after a relaxation: table, crystals.csv, relaxed.cif, and remarks on unusual results."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gendesign.relaxation.change import BEFORE
from gendesign.screening.validity import CLOSE, shortest_distance
from gendesign.structure.cells import CELL, cif, density, pressure
from gendesign.structure.types import Candidate, Verdict

TABLE, STRUCTURES = "crystals.csv", "relaxed.cif"
FEW, MANY = 4, 20  # up to FEW crystals get a table each on the terminal and in the report; up to MANY a line each
LARGE = 20.0  # percent of volume, far above thermal expansion and the errors of good potentials
READ_FROM = re.compile(r"read from (.+)")
PERCENT, DIFFERENCE = "%", "difference"


class Quantity(NamedTuple):
    """A row of the table; `change` is PERCENT, DIFFERENCE, or empty where a change has no meaning."""

    key: str
    name: str
    unit: str
    decimals: int
    change: str = ""


QUANTITIES = (
    *(Quantity(key, key, "Angstrom", 4, PERCENT) for key in CELL[:3]),
    *(Quantity(key, key, "degrees", 2, DIFFERENCE) for key in CELL[3:]),
    Quantity("volume", "volume", "Angstrom^3", 2, PERCENT),
    Quantity("density", "density", "g/cm3", 4, PERCENT),
    Quantity("energy", "energy", "eV", 4, DIFFERENCE),
    Quantity("energy_per_atom", "energy per atom", "eV", 4, DIFFERENCE),
    Quantity("pressure", "pressure", "GPa", 3, DIFFERENCE),
    Quantity("fmax", "largest force", "eV/Angstrom", 4),
    Quantity("stress_max", "largest stress", "GPa", 3),
)
MEASURED = {"volume": "Angstrom^3", "density": "g/cm3", "energy_per_atom": "eV"}
VOLUME_CHANGE = "volume_change"


def crystals_of(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The periodic candidates, also those whose relaxation failed."""
    return [candidate for candidate in candidates if len(candidate.atoms) and any(candidate.atoms.pbc)]


def before(candidate: Candidate) -> dict[str, float]:
    """Quantities of a crystal before its relaxation, by key, as far as they were measured."""
    info = candidate.info
    values = {q.key: float(info[BEFORE + q.key]) for q in QUANTITIES if BEFORE + q.key in info}
    if "energy" in values:
        values["energy_per_atom"] = values["energy"] / len(candidate.atoms)
    if values.get("volume"):
        values["density"] = density(candidate.atoms) * candidate.atoms.get_volume() / values["volume"]
    return _without_vacuum(candidate, values)


def after(candidate: Candidate) -> dict[str, float]:
    """Quantities of a relaxed crystal, by key; empty where the relaxation failed."""
    if candidate.failure is not None:
        return {}
    atoms, info = candidate.atoms, candidate.info
    values = dict(zip(CELL, atoms.cell.cellpar().tolist(), strict=True))
    values |= {key: float(info[key]) for key in ("energy", "fmax", "stress_max") if key in info}
    if "energy" in values:
        values["energy_per_atom"] = values["energy"] / len(atoms)
    if all(atoms.pbc):
        values |= {"volume": float(atoms.get_volume()), "density": density(atoms)}
        if atoms.calc is not None and "stress" in atoms.calc.results:
            values["pressure"] = pressure(atoms.calc.results["stress"])
    return _without_vacuum(candidate, values)


def _without_vacuum(candidate: Candidate, values: Mapping[str, float]) -> dict[str, float]:
    """Without lengths and angles of directions that are not periodic, which are the vacuum of a slab or a chain."""
    periodic = dict(zip(CELL, candidate.atoms.pbc.tolist(), strict=False))
    for angle, sides in zip(CELL[3:], (("b", "c"), ("a", "c"), ("a", "b")), strict=True):
        periodic[angle] = all(periodic[side] for side in sides)
    return {key: value for key, value in values.items() if periodic.get(key, True)}


def changes(candidate: Candidate) -> dict[str, float]:
    """The changes by relaxation, by key: percent or a difference in the quantity's unit."""
    first, last = before(candidate), after(candidate)
    by_key = {}
    for q in QUANTITIES:
        if not q.change or q.key not in first or q.key not in last:
            continue
        difference = last[q.key] - first[q.key]
        if q.change == DIFFERENCE:
            by_key[q.key] = difference
        elif first[q.key]:
            by_key[q.key] = 100 * difference / first[q.key]
    return by_key


def large_change(candidate: Candidate) -> str:
    """A question where the volume changed by more than LARGE percent, else nothing."""
    change = changes(candidate).get("volume", 0.0)
    if abs(change) <= LARGE:
        return ""
    under = f" at {candidate.info['pressure']:g} GPa" if candidate.info.get("pressure") else ""
    return f"the volume changed by {change:+.0f} %{under}: is the potential made for this?"


def verdicts_of(candidate: Candidate) -> list[Verdict]:
    """Measurements of a relaxed crystal: `volume`, `density`, `energy_per_atom`, and `volume_change` in percent."""
    if not len(candidate.atoms) or not all(candidate.atoms.pbc) or candidate.failure is not None:
        return []
    values, change = after(candidate), changes(candidate).get("volume")
    out = [Verdict(candidate.index, key, None, values.get(key), unit) for key, unit in MEASURED.items()]
    return [*out, Verdict(candidate.index, VOLUME_CHANGE, None, change, PERCENT, large_change(candidate))]


def source(candidate: Candidate) -> str:
    """The name of the file that a candidate was last read from; empty if there is none."""
    names = [match[1] for match in map(READ_FROM.fullmatch, candidate.history) if match]
    return names[-1] if names else ""


def status(candidate: Candidate) -> str:
    """In a word how the relaxation ended."""
    if candidate.failure is not None:
        return "failed"
    converged = candidate.info.get("converged")
    if converged is None:
        return "not relaxed"
    return "converged" if converged else "not converged"


def overlap(candidate: Candidate) -> str:
    """A remark where atoms overlap, else nothing."""
    ratio = shortest_distance(candidate.atoms)
    return "" if ratio >= CLOSE else f"atoms overlap ({ratio:.2f} of the sum of their covalent radii): it collapsed"


def remark(candidate: Candidate) -> str:
    """Why the relaxation of a crystal failed, or what is unusual about its result; mostly empty."""
    return candidate.failure or "; ".join(filter(None, [overlap(candidate), large_change(candidate)]))


def title(candidate: Candidate) -> str:
    """Number, file and formula, such as "crystal 3, ice.cif, H16O8"."""
    parts = [f"crystal {candidate.index}", source(candidate), candidate.atoms.get_chemical_formula("hill")]
    return ", ".join(filter(None, parts))


def rows(candidate: Candidate) -> list[tuple[str, str, str, str]]:
    """(quantity with its unit, before, after, change) as text; space groups last."""
    first, last, change = before(candidate), after(candidate), changes(candidate)
    out = []
    for q in QUANTITIES:
        if q.key not in first and q.key not in last:
            continue
        texts = [_text(values[q.key], q.decimals) if q.key in values else "" for values in (first, last)]
        text = ""
        if q.key in change:
            percent = q.change == PERCENT
            text = _text(change[q.key], 2 if percent else q.decimals, "+") + (" %" if percent else "")
        out.append((f"{q.name} ({q.unit})", texts[0], texts[1], text))
    groups = [str(candidate.info.get(key, "")) for key in (BEFORE + "space_group", "space_group")]
    return [*out, ("space group", groups[0], groups[1], "")] if any(groups) else out


def _text(value: float, decimals: int, sign: str = "") -> str:
    """The number with so many decimals, without a minus before zero; very large ones with three digits."""
    if abs(value) >= 1e6:
        return f"{value:{sign}.3g}"
    return f"{round(value, decimals) + 0.0:{sign}.{decimals}f}"


def line(candidate: Candidate) -> tuple[str, ...]:
    """One crystal in a row of HEADINGS."""
    first, last, change = before(candidate), after(candidate), changes(candidate)

    def value(values: Mapping[str, float], key: str, decimals: int) -> str:
        return _text(values[key], decimals) if key in values else ""

    return (
        str(candidate.index),
        source(candidate),
        candidate.atoms.get_chemical_formula("hill"),
        value(first, "volume", 2),
        value(last, "volume", 2),
        f"{_text(change['volume'], 2, '+')} %" if "volume" in change else "",
        value(last, "density", 4),
        value(last, "energy_per_atom", 4),
        value(last, "fmax", 4),
        value(last, "stress_max", 3),
        str(candidate.info.get("space_group", "")),
        status(candidate),
    )


HEADINGS = (
    "crystal", "file", "formula", "volume before", "after (Angstrom^3)", "change", "density (g/cm3)",
    "energy per atom (eV)", "largest force (eV/Angstrom)", "stress (GPa)", "space group", "",
)  # fmt: skip


def terminal(candidates: Sequence[Candidate], verdicts: Sequence[Verdict] = (), *, means: str = "") -> list[str]:
    """Lines for the terminal: a table for each of FEW crystals or a line for each of MANY, their remarks, and what
    converged `means`; empty without crystals."""
    crystals = crystals_of(candidates)
    lines: list[str] = []
    if len(crystals) <= FEW:
        for candidate in crystals:
            heading = (f"{title(candidate)}: {status(candidate)}", "before", "after", "change")
            table: list[Sequence[str]] = [heading, *rows(candidate)]
            lines += ["", *_columns(table, left=1)]
    elif len(crystals) <= MANY:
        lines += ["", *_columns([HEADINGS, *map(line, crystals)], left=3)]
    remarks = [f"{title(c)}: {text}" for c in crystals if (text := remark(c))]
    lines += remarks[:MANY]
    if len(remarks) > MANY:
        lines.append(f"and {len(remarks) - MANY} more such crystals, in {TABLE}")
    return [*lines, *filter(None, [means if crystals else ""]), *([""] if crystals else [])]


def _columns(table: Sequence[Sequence[str]], left: int) -> list[str]:
    """Columns of equal width, the first `left` of them left-aligned."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    sides = ["<" if i < left else ">" for i in range(len(widths))]
    return [
        "  ".join(f"{c:{side}{w}}" for c, side, w in zip(row, sides, widths, strict=True)).rstrip() for row in table
    ]


def files(candidates: Sequence[Candidate], verdicts: Sequence[Verdict] = ()) -> dict[str, str]:
    """relaxed.cif and crystals.csv, texts by name; nothing for a run without crystals."""
    crystals = crystals_of(candidates)
    if not crystals:
        return {}
    relaxed = [candidate for candidate in crystals if candidate.failure is None]
    return {TABLE: _csv(crystals)} | ({STRUCTURES: "\n".join(map(_block, relaxed))} if relaxed else {})


def _block(candidate: Candidate) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "_", source(candidate)).strip("_")
    comments = [f"candidate {candidate.index}" + (f", read from {source(candidate)}" if name else "")]
    return cif(candidate.atoms, "_".join(filter(None, [str(candidate.index), name]))[:75], comments)


def _csv(crystals: Sequence[Candidate]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{q.key}_{when}" for q in QUANTITIES for when in ("before", "after", *(["change"] if q.change else []))]
    groups = ["space_group_before", "space_group_after"]
    writer.writerow(["candidate", "file", "formula", "periodic", "status", "steps", *columns, *groups, "remark"])
    for c in crystals:
        first, last, change = before(c), after(c), changes(c)
        numbers = []
        for q in QUANTITIES:
            for values in (first, last, *([change] if q.change else [])):
                numbers.append(f"{values[q.key]:.{q.decimals + 2}f}" if q.key in values else "")
        along = "".join(axis for axis, periodic in zip("abc", c.atoms.pbc, strict=True) if periodic)
        space_groups = [c.info.get(BEFORE + "space_group", ""), c.info.get("space_group", "")]
        formula, steps = c.atoms.get_chemical_formula("hill"), c.info.get("steps", "")
        writer.writerow([c.index, source(c), formula, along, status(c), steps, *numbers, *space_groups, remark(c)])
    return text.getvalue()


def converged_means(relaxation: Mapping[str, Any] | None) -> str:
    """The meaning of converged under the settings of a relaxation; empty without a relaxation."""
    if not relaxation or "fmax" not in relaxation:
        return ""
    text = f"converged: the largest force is below {relaxation['fmax']:g} eV/Angstrom"
    if relaxation.get("cell"):
        pressed = f"{relaxation['pressure']:g} GPa" if relaxation.get("pressure") else "zero"
        text += f", and in cells every component of the stress is within {relaxation['max_stress']:g} GPa of {pressed}"
        text += " pressure"
    return text
