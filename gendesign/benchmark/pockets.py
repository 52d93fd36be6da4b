"""Molecules of a ligand's size in its pocket: the part `pockets` of `gendesign benchmark druglike`.

For every complex a results folder `pocket-NAME` below `output`. The ligand stands beside the numbers, with hydrogens
that RDKit adds.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from omegaconf import DictConfig, OmegaConf
from rdkit import Chem

from gendesign.benchmark import tally as measures
from gendesign.benchmark.molecules import completed
from gendesign.benchmark.record import SHARE, Row
from gendesign.benchmark.tally import Measured, Tally
from gendesign.campaign.pockets import copy_pockets
from gendesign.errors import UserError
from gendesign.potential.protocol import PotentialLike
from gendesign.potential.zoo import checkpoints_folder, hash_of
from gendesign.run.build import build_stages
from gendesign.screening.energetics import ALL_STRAIN_METHODS
from gendesign.screening.poses import PoseCheck
from gendesign.structure.clouds import heavy_atoms
from gendesign.structure.types import Candidate

BUNDLED = "posebusters"
PASS, SHAPE = ">= 0.70", ">= 0.5"
HOSTS = (".pdb", ".ent", ".cif", ".mmcif")
COLUMNS = {"contacts": "contacts with the host", "hydrogen_bonds": "hydrogen bonds with the host"}


class Complex(NamedTuple):
    """A host without its ligand, and the ligand in its place."""

    name: str
    host: Path
    ligand: Path


def complexes(sources: Sequence[str], copies: Path) -> list[Complex]:
    """Those in the folders `sources`, NAME.pdb (or .ent, .cif, .mmcif) beside NAME.sdf.

    `posebusters` in place of a folder means the four of that package, which are copied into the folder `copies`; none
    where the package has none. Raises UserError for a folder without a complex.
    """
    found = []
    for source in sources:
        folder = _bundled(copies) if source == BUNDLED else Path(source)
        if folder is None:
            continue
        pairs = [
            Complex(host.stem, host, host.with_suffix(".sdf"))
            for host in (sorted(folder.iterdir()) if folder.is_dir() else ())
            if host.suffix.lower() in HOSTS and host.with_suffix(".sdf").is_file()
        ]
        if not pairs:
            raise UserError(
                f"druglike.pockets={source}: no NAME.pdb beside a NAME.sdf there; give a folder with both, or {BUNDLED}"
            )
        found += pairs
    return found


def _bundled(folder: Path) -> Path | None:
    """`folder` with the complexes of PoseBusters in it; None, with a word about it, where that package has none."""
    try:
        copy_pockets(folder)
    except UserError as error:
        print(f"pockets skipped: {error}", file=sys.stderr)
        return None
    return folder


def pocket_rows(config: DictConfig, elements: Sequence[str], potential: PotentialLike) -> list[Row]:
    """Complete the results folders of all complexes; their rows, then those of all attempts together."""
    rows: list[Row] = []
    tallies: list[Tally] = []
    for name, host, ligand in complexes(config.druglike.pockets, Path(config.output) / "pockets"):
        shape = {"_target_": POCKET, "path": str(host), "ligand": str(ligand)}
        changed = {
            "generator": {
                "n_heavy_atoms": str(len(heavy_atoms(ligand))),
                "elements": list(elements),
                "building_blocks": "references",
                "prior": {"_target_": PRIOR, "shape": shape},
            },
            "screening": {"host": str(host), "shape_target": str(ligand)},
        }
        sized = OmegaConf.merge(OmegaConf.create(OmegaConf.to_container(config)), changed)  # may have new keys
        stages, n = build_stages(OmegaConf.merge(sized, {"n": config.druglike.pocket_attempts}), [], potential)
        identity = _identity(sized, host, ligand, potential.weights_hash)
        tally, timings = completed(sized, identity, f"pocket-{name}", stages, n)
        tallies.append(tally)
        seconds = sum(timings["seconds"].values()) / timings["candidates"]
        rows += [*complex_rows(f"pocket {name}", tally), *_of_ligand(name, host, ligand)]
        rows.append(Row(f"pocket {name}: time in all", seconds, "s/molecule", timings["candidates"]))
    if len(tallies) > 1:
        rows += complex_rows("all pockets", together(tallies))
    return rows


PRIOR = "gendesign.generate.simgen.shape_prior.ShapePrior"
POCKET = "gendesign.generate.simgen.shape_files.Pocket"


def complex_rows(title: str, tally: Tally) -> list[Row]:
    """Shares of all attempts and medians."""
    rows = [
        Row(f"{title}: PoseBusters, config dock", *_of(measures.per_attempt("dock")(tally), SHARE), PASS),
        Row(f"{title}: strict validity", *_of(measures.per_attempt("valid")(tally), SHARE)),
        Row(f"{title}: without clashes with the host", *_of(measures.per_attempt("clashes")(tally), SHARE)),
        Row(
            f"{title}: median shape Tanimoto with the ligand", *_of(attempts_median(tally, "shape_tanimoto"), ""), SHAPE
        ),
    ]
    rows += [Row(f"{title}: median {name}", *_of(attempts_median(tally, check), "")) for check, name in COLUMNS.items()]
    measured = [method for method in ALL_STRAIN_METHODS if f"strain_{method}" in tally.verdicts]
    return rows + [
        Row(f"{title}: median strain {m}", *_of(measures.median(f"strain_{m}")(tally), "kcal/mol")) for m in measured
    ]


def attempts_median(tally: Tally, check: str) -> Measured:
    """Median over all attempts; one without a number counts as zero."""
    verdicts = tally.verdicts.get(check, {})
    numbers = [float(v.value) for v in verdicts.values() if isinstance(v.value, int | float)]
    numbers += [0.0] * (tally.n - len(numbers))
    return (float(np.median(numbers)) if verdicts else None), tally.n


def together(tallies: Sequence[Tally]) -> Tally:
    """One tally of all attempts, whose candidates are numbered anew."""
    verdicts: dict[str, dict[int, Any]] = {}
    start = 0
    for tally in tallies:
        for check, rows in tally.verdicts.items():
            verdicts.setdefault(check, {}).update({start + i: verdict for i, verdict in rows.items()})
        start += tally.n
    return Tally(verdicts, start)


def _of(measured: Measured, unit: str) -> tuple[float | None, str, int]:
    return measured[0], unit, measured[1]


def _of_ligand(name: str, host: Path, ligand: Path) -> list[Row]:
    mol = next(iter(Chem.SDMolSupplier(str(ligand))), None)
    if mol is None:
        return []
    full = Chem.AddHs(mol, addCoords=True)
    atoms = Atoms([a.GetAtomicNum() for a in full.GetAtoms()], full.GetConformer().GetPositions())
    values = {v.check: v.value for v in PoseCheck(str(host))([Candidate(atoms, 0)])}
    return [Row(f"pocket {name}: {title}, ligand", values[check], "", 1) for check, title in COLUMNS.items()]


def _identity(config: DictConfig, host: Path, ligand: Path, weights: str | None) -> dict[str, Any]:
    """What makes two runs the same; the files by their content, wherever they are."""
    keys = ("generator", "relaxation", "screening", "potential", "seed", "dtype")
    settings = OmegaConf.to_container(config, resolve=True)
    kept = {key: settings[key] for key in keys if key in settings}
    kept["generator"] = {**kept["generator"], "prior": None}
    kept["screening"] = {**kept["screening"], "host": None, "shape_target": None}
    files = {
        "references": hash_of(checkpoints_folder() / "organic" / "druglike.extxyz"),
        "host": hash_of(host),
        "ligand": hash_of(ligand),
    }
    return {"verb": "benchmark", "settings": kept, "files": files, "weights": weights}
