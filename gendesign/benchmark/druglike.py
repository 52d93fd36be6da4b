"""`gendesign benchmark druglike`: molecules of drug size beside MOSES's own molecules, all through the same judge.

For every size two results folders below `output`: `generated-SIZE`, and `moses-SIZE`, molecules of MOSES's test split.
cases/moses.smi and cases/moses_filters.csv are MOSES's (Polykovskiy et al., Front. Pharmacol. 11, 565644 (2020), MIT).
No molecule of MOSES has 27 heavy atoms; those of 26 stand beside the largest.
"""

import csv
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from omegaconf import DictConfig, OmegaConf
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from gendesign.benchmark import tally as measures
from gendesign.benchmark.molecules import completed
from gendesign.benchmark.pockets import pocket_rows
from gendesign.benchmark.record import SHARE, Row, between, check_record, table, write
from gendesign.benchmark.tally import Measured, Tally
from gendesign.errors import UserError
from gendesign.generate.simgen.references import conformers
from gendesign.potential.zoo import checkpoints_folder, hash_of
from gendesign.run.build import Structures, build_stages, load
from gendesign.structure.types import Candidate
from gendesign.structure.unstable import unstable_groups

CASES = Path(__file__).parent / "cases"
ELEMENTS = ["C", "N", "O", "F", "S", "Cl"]
LARGEST_RING = 7  # of MOSES's filters
ALLOWED = {"C", "N", "O", "F", "S", "Cl", "Br", "H"}  # by MOSES's filters
TOLERANCE = {20: 0.30, 27: 0.35}  # of the means below, relative to MOSES's


class Target(NamedTuple):
    """A metric and what it should reach at 20 and at 27 heavy atoms."""

    name: str
    unit: str
    measure: Callable[[Tally], Measured]
    targets: dict[int, str]


def run(config: DictConfig) -> None:
    """Complete the results folders, print the table, and write druglike.json and pockets.json to `config.record`."""
    settings = config.druglike
    if len(settings.sizes) != len(settings.attempts):
        raise UserError(
            f"druglike.attempts={list(settings.attempts)}: give one number for each of druglike.sizes="
            f"{list(settings.sizes)}"
        )
    record, potential = check_record(config.record), load(config)
    rows: list[Row] = []
    for size, attempts in zip(settings.sizes, settings.attempts, strict=True):
        sized = OmegaConf.merge(
            config, {"generator": {"n_heavy_atoms": str(size), "elements": ELEMENTS}, "n": attempts}
        )
        identity = _identity(sized, potential.weights_hash)
        stages, n = build_stages(sized, [], potential)
        generated, timings = completed(sized, identity, f"generated-{size}", stages, n)
        known = _moses(size, settings.references, potential)
        judged = Structures([Candidate(atoms, i, "moses") for i, atoms in enumerate(known)], "moses")
        reference_stages = build_stages(sized, [], potential, judged)[0]
        reference, _ = completed(sized, identity, f"moses-{size}", reference_stages, len(known))
        rows += size_rows(size, generated, reference)
        rows += time_rows(size, timings)
    of_pockets = pocket_rows(config, ELEMENTS, potential)
    parts = {"druglike.json": rows, "pockets.json": of_pockets}
    for name, part in parts.items():
        if part:
            write(part, record / name, potential.device)
    print(table([*rows, *of_pockets]))
    files = ", ".join(str(record / name) for name, part in parts.items() if part)
    print(f"pictures: {config.output}/*/report.html; rows: {files}")


METRICS = (
    Target("strict validity", SHARE, measures.per_attempt("valid"), {20: ">= 0.97", 27: ">= 0.93"}),
    Target("PoseBusters", SHARE, measures.per_attempt("posebusters"), {20: ">= 0.90", 27: ">= 0.85"}),
    Target("median strain GFN2-xTB", "kcal/mol", measures.median("strain_gfn2"), {20: "<= 2", 27: "<= 3"}),
    Target("median synthetic accessibility", "", measures.median("sa_score"), {20: "<= 3.3", 27: "<= 3.5"}),
    Target("without an unstable group", SHARE, lambda t: _per_attempt(t, _is_stable), {20: ">= 0.85", 27: ">= 0.80"}),
    Target("passes MOSES's filters", SHARE, lambda t: _per_attempt(t, passes), {20: ">= 0.60", 27: ">= 0.55"}),
    Target("unique among valid", SHARE, measures.per_valid("unique"), {20: ">= 0.99", 27: ">= 0.99"}),
    Target("novel among valid", SHARE, measures.per_valid("novel"), {20: ">= 0.99", 27: ">= 0.99"}),
)
MEANS: dict[str, Callable[[Chem.Mol], float]] = {
    "rings": lambda mol: mol.GetRingInfo().NumRings(),
    "aromatic share of atoms": lambda mol: float(np.mean([a.GetIsAromatic() for a in mol.GetAtoms()])),
    "rotatable bonds": rdMolDescriptors.CalcNumRotatableBonds,
    "fused share of rings": lambda mol: fused_share(mol),
}


def size_rows(size: int, generated: Tally, reference: Tally) -> list[Row]:
    """Every metric of the generated molecules of one size, each followed by that of MOSES's."""
    rows = []
    for metric in METRICS:
        for name, tally, target in (("", generated, metric.targets.get(size)), (", MOSES", reference, None)):
            value, n = metric.measure(tally)
            rows.append(Row(f"{size} heavy atoms: {metric.name}{name}", value, metric.unit, n, target))
    for name, of in MEANS.items():
        made, known = _mean(generated, of), _mean(reference, of)
        title = f"{size} heavy atoms: mean {name}"
        if known[0] is not None and size in TOLERANCE:
            low, high = (round(known[0] * (1 + sign * TOLERANCE[size]), 3) for sign in (-1, 1))
            rows += between(title, made[0], "", made[1], low, high)
        else:
            rows.append(Row(title, made[0], "", made[1]))
        rows.append(Row(f"{size} heavy atoms: mean {name}, MOSES", known[0], "", known[1]))
    return rows


def time_rows(size: int, timings: dict[str, Any]) -> list[Row]:
    """Seconds a molecule of every stage and of all together."""
    made, seconds = timings["candidates"], timings["seconds"]
    limit = {20: "<= 12", 27: "<= 20"}.get(size)
    rows = [
        Row(f"{size} heavy atoms: time to {stage}", spent / made, "s/molecule", made)
        for stage, spent in seconds.items()
    ]
    total = sum(seconds.values()) / made
    return [*rows, Row(f"{size} heavy atoms: time in all", total, "s/molecule", made, limit)]


def passes(mol: Chem.Mol) -> bool:
    """Whether a molecule without hydrogens passes MOSES's filters: rings, charges, elements, medicinal chemistry."""
    if any(len(ring) > LARGEST_RING for ring in mol.GetRingInfo().AtomRings()):
        return False
    if any(a.GetFormalCharge() or a.GetSymbol() not in ALLOWED for a in mol.GetAtoms()):
        return False
    full = Chem.AddHs(mol)
    return not any(full.HasSubstructMatch(pattern) for pattern in _filters())


@cache
def _filters() -> list[Chem.Mol]:
    with open(CASES / "moses_filters.csv", newline="") as handle:
        return [Chem.MolFromSmarts(row["smarts"]) for row in csv.DictReader(handle)]


def fused_share(mol: Chem.Mol) -> float:
    """Share of the rings that have a bond in common with another ring; 0 without rings."""
    rings = [set(ring) for ring in mol.GetRingInfo().BondRings()]
    fused = [any(ring & other for j, other in enumerate(rings) if j != i) for i, ring in enumerate(rings)]
    return float(np.mean(fused)) if rings else 0.0


def _is_stable(mol: Chem.Mol) -> bool:
    return not unstable_groups(mol)


def _molecules(tally: Tally) -> list[Chem.Mol]:
    return [Chem.MolFromSmiles(str(text)) for text in tally.values("smiles") if text]


def _per_attempt(tally: Tally, holds: Callable[[Chem.Mol], bool]) -> Measured:
    return (sum(map(holds, _molecules(tally))) / tally.n if tally.n else None), tally.n


def _mean(tally: Tally, of: Callable[[Chem.Mol], float]) -> Measured:
    values = [of(mol) for mol in _molecules(tally)]
    return (float(np.mean(values)) if values else None), len(values)


def _moses(size: int, count: int, potential: Any) -> list[Atoms]:
    """At most `count` conformers of MOSES's test molecules of `size` heavy atoms, or of the nearest size there is."""
    lines = (CASES / "moses.smi").read_text().split()
    sizes = np.array([Chem.MolFromSmiles(text).GetNumHeavyAtoms() for text in lines])
    nearest = sizes[np.argmin(np.abs(sizes - size))]
    chosen = [text for text, n in zip(lines, sizes, strict=True) if n == nearest][:count]
    return conformers([Chem.MolFromSmiles(text) for text in chosen], potential)[0]


def _identity(config: DictConfig, weights: str | None) -> dict[str, Any]:
    keys: Sequence[str] = ("generator", "relaxation", "screening", "potential", "seed", "dtype")
    settings = OmegaConf.to_container(config, resolve=True)
    digest = hash_of(checkpoints_folder() / "organic" / "druglike.extxyz")
    return {
        "verb": "benchmark",
        "settings": {key: settings[key] for key in keys if key in settings},
        "files": {"references": digest, "moses": hash_of(CASES / "moses.smi")},
        "weights": weights,
    }
