"""The measurements of the card as rows with targets and as Markdown tables."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from gendesign.structure.types import Row

Results = Mapping[str, Any]
FAMILIES = {
    "Si": "<= 0.10",
    "SiO_x": "<= 0.20",
    "Si, melts and quenches": None,
    "SiO_x, melts and quenches": None,
    "clusters": None,
}  # force RMSE in eV/Angstrom
ELASTIC_TARGET, ENERGY_TARGET = "<= 0.08", "<= 5"
ORDERED = (("diamond", "beta-tin", "sc", "bcc", "fcc"), ("quartz", "cristobalite", "coesite", "stishovite"))


@dataclass(frozen=True)
class Quantity:
    """One line: its name, unit, and how it is read from the results of a potential; `measured` is the experiment."""

    name: str
    unit: str
    get: Callable[[Results], float]
    measured: str = ""
    n: int = 1


# Measured values as they are commonly quoted. Phonons: Dolling 1963; Nilsson and Nelin, Phys. Rev. B 6, 3777 (1972).
# Elastic constants at 300 K: McSkimin and Andreatch 1964. Silica: see crystals.py; energies: calorimetry.
PHONONS = {
    "Gamma, LTO": ("Gamma", 5, "15.53"), "X, TA": ("X", 0, "4.49"), "X, LAO": ("X", 2, "12.32"),
    "X, TO": ("X", 4, "13.90"), "L, TA": ("L", 0, "3.43"), "L, LA": ("L", 2, "11.35"), "L, LO": ("L", 3, "12.60"),
    "L, TO": ("L", 4, "14.68"),
}  # fmt: skip
LATTICES = {
    ("quartz", "a"): "4.913", ("quartz", "c"): "5.405", ("cristobalite", "a"): "4.971", ("cristobalite", "c"): "6.928",
    ("coesite", "a"): "7.136", ("coesite", "b"): "12.369", ("stishovite", "a"): "4.180", ("stishovite", "c"): "2.667",
}  # fmt: skip
ABOVE = {"cristobalite": "about 25", "coesite": "about 30", "stishovite": "about 380"}
MODULI = {"diamond": "98", "quartz": "37", "stishovite": "about 310"}


def quantities() -> list[Quantity]:
    """All lines of the table of properties, in order."""
    out = [Quantity("diamond a", "Angstrom", lambda r: r["crystals"]["diamond"]["a"], "5.431")]
    for name, known in (("C11", "166"), ("C12", "64"), ("C44", "80")):
        out.append(Quantity(name, "GPa", lambda r, k=name: r["elastic"][k]["value"], known, 14))
    out.append(Quantity("C44, standard error of the fit", "GPa", lambda r: r["elastic"]["C44"]["error"], "", 70))
    for name in (*ORDERED[0], *ORDERED[1]):
        out.append(Quantity(f"{name}: bulk modulus", "GPa", lambda r, k=name: r["crystals"][k]["bulk modulus"],
                            MODULI.get(name, ""), 7))  # fmt: skip
    for name in ORDERED[0][1:]:
        out.append(Quantity(f"{name} above diamond", "meV/atom", lambda r, k=name: r["crystals"][k]["above"]))
        out.append(Quantity(f"{name}: volume", "Angstrom^3/atom", lambda r, k=name: r["crystals"][k]["volume"]))
    for name in ORDERED[1][1:]:
        out.append(
            Quantity(f"{name} above quartz", "meV/SiO2", lambda r, k=name: r["crystals"][k]["above"], ABOVE[name])
        )
    for (name, edge), known in LATTICES.items():
        out.append(Quantity(f"{name} {edge}", "Angstrom", lambda r, k=name, e=edge: r["crystals"][k][e], known))
    for name, (point, band, known) in PHONONS.items():
        out.append(Quantity(f"phonon {name}", "THz", lambda r, p=point, b=band: r["phonons"][p][b], known, 64))
    out.append(Quantity("vacancy, 63 atoms, fixed cell", "eV", lambda r: r["vacancy"]))
    for face in ("100", "111"):
        what = "dimers" if face == "100" else "as cut"
        out.append(Quantity(f"surface ({face}), {what}", "J/m2", lambda r, k=face: r["surfaces"][k]))
    for pair in ("Si-Si", "Si-O", "O-O"):
        out.append(Quantity(f"dimer {pair}: distance", "Angstrom", lambda r, k=pair: r["dimers"][k]["distance"]))
        out.append(
            Quantity(
                f"dimer {pair}: falls of the wall from 0.5 Angstrom", "", lambda r, k=pair: r["dimers"][k]["falls"]
            )
        )
    for name, crystal in (("a-Si", "diamond"), ("a-SiO2", "quartz")):
        out.append(Quantity(f"{name} above {crystal}, same structure", "eV/atom",
                            lambda r, k=name: r["amorphous"][k]["above"]))  # fmt: skip
    for key, unit in (("mae", "eV/Angstrom"), ("rmse", "eV/Angstrom"), ("slope", "")):
        out.append(Quantity(f"PBE benchmark of silicon: force {key.upper() if key != 'slope' else key}", unit,
                            lambda r, k=key: r["silicon_dft"][k], "1 (PBE)" if key == "slope" else "", 25))  # fmt: skip
    return out


def value(quantity: Quantity, results: Results) -> float | None:
    """The value, None where it was not measured."""
    try:
        return float(quantity.get(results))
    except KeyError:
        return None


def rows(name: str, results: Mapping[str, Results], teacher: str) -> list[Row]:
    """Rows of the potential `name`: held-out errors, targets against the teacher, then every quantity."""
    own, other, out = results[name], results[teacher], []
    for family, target in FAMILIES.items():
        found = own.get("held_out", {}).get(family)
        if found:
            n = int(found["n"])
            out += [
                Row(f"{name}: force RMSE, held out, {family}", found["rmse"], "eV/Angstrom", n, target),
                Row(f"{name}: slope of forces, held out, {family}", found["slope"], "", n),
                Row(f"{name}: energy MAE, held out, {family}", 1000 * found["energy_mae"], "meV/atom", n,
                    ENERGY_TARGET if target else None),
            ]  # fmt: skip
    out += [
        Row(f"{name}: largest deviation of C11, C12, C44 from {teacher}", _elastic(own, other), "fraction", 3,
            ELASTIC_TARGET),
        Row(f"{name}: pairs of polymorphs in the order of {teacher}", _ordered(own, other), "fraction", _pairs(),
            ">= 1"),
    ]  # fmt: skip
    out += [Row(f"{name}: {q.name}", value(q, own), q.unit, q.n) for q in quantities()]
    return out


def _elastic(own: Results, other: Results) -> float:
    """Largest relative difference of an elastic constant."""
    constants = [(own["elastic"][key]["value"], other["elastic"][key]["value"]) for key in ("C11", "C12", "C44")]
    return max(abs(a / b - 1) for a, b in constants)


def _pairs() -> int:
    return sum(len(list(combinations(group, 2))) for group in ORDERED)


def _ordered(own: Results, other: Results) -> float:
    """Share of the pairs of polymorphs with the same order of energies."""
    same = 0
    for group in ORDERED:
        for a, b in combinations(group, 2):
            here, there = ((r["crystals"][a]["above"] - r["crystals"][b]["above"]) for r in (own, other))
            same += here * there > 0
    return same / _pairs()


def tables(results: Mapping[str, Results], teacher: str) -> str:
    """The Markdown tables: held-out errors of each potential, then all quantities side by side."""
    out = []
    for name, table in results.items():
        if "held_out" in table:
            out += [f"### {name}: errors on held-out structures", "", *_held_out(table["held_out"]), ""]
    heads = [name for name in results if name != teacher]
    heads.insert(max(1, len(heads) - 1), teacher)
    out += ["### Properties", "", f"| | unit | {' | '.join(heads)} | measured |", "|---" * (len(heads) + 3) + "|"]
    for quantity in quantities():
        cells = [_shown(value(quantity, results[name])) for name in heads]
        out.append(f"| {quantity.name} | {quantity.unit} | {' | '.join(cells)} | {quantity.measured} |")
    return "\n".join(out)


def _held_out(table: Mapping[str, Any]) -> Sequence[str]:
    lines = ["| | n | force RMSE | RMS of the labels | slope | energy MAE |", "|---|---|---|---|---|---|"]
    for kind in (*FAMILIES, *sorted(set(table) - set(FAMILIES))):
        if kind in table:
            row = table[kind]
            cells = (f"{row['n']:.0f}", *(f"{row[key]:.3f}" for key in ("rmse", "rms", "slope")))
            lines.append(f"| {kind} | {' | '.join(cells)} | {1000 * row['energy_mae']:.1f} |")
    return lines


def _shown(number: float | None) -> str:
    """Four digits; "-" where there is no number, such as the bulk modulus of a crystal that fell apart."""
    return "-" if number is None or not math.isfinite(number) else f"{number:.4g}"
