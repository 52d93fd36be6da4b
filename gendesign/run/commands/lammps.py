"""distil and export lammps: students of a potential, and decks that run in LAMMPS."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from gendesign.distil.distilling import distil, speed_line, table
from gendesign.distil.export import Deck, export_mace, export_student
from gendesign.distil.settings import Distillation
from gendesign.errors import UserError
from gendesign.lammps.locate import executable
from gendesign.lammps.pair import is_pair_folder
from gendesign.run.commands.runner import Job
from gendesign.run.table import aligned
from gendesign.structure.files import read_structures
from gendesign.structure.reading_notes import print_reading_notes, refuse_unusable


def run_distil(job: Job) -> list[str]:
    """Fit a student of the potential to structures from files."""
    executable()  # before minutes are spent
    config: Any = OmegaConf.to_container(job.config, resolve=True)
    names = {field.name for field in dataclasses.fields(Distillation)}
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in config.items() if key in names}
    reading = {key: config[key] for key in ("strict", "hydrogens", "periodic")}
    candidates = read_structures(job.files, **reading)
    refuse_unusable(candidates, strict=config["strict"])
    print_reading_notes(candidates)
    structures = [candidate.atoms for candidate in candidates if not candidate.failure]
    results = distil(
        job.loaded_potential, structures, job.folder.path, Distillation(**values), seed=config["seed"], progress=_report
    )
    notes = [f"left out: {n} with {reason}" for reason, n in results["left_out"].items()]
    units = "energies in meV/atom, forces in eV/Angstrom"
    output = job.folder.path
    return [*aligned(table(results)), units, speed_line(results), *notes, f"results in {output}: pair.in, card.md"]


def _report(phase: str, done: int, total: int) -> None:
    text = f"{phase} {done}/{total}" if total else phase
    print(f"\r{text:30s}", end="" if total and done < total else "\n", file=sys.stderr, flush=True)


def run_export_lammps(job: Job) -> list[str]:
    """Write a deck for a student or for a MACE."""
    config: Any = OmegaConf.to_container(job.config, resolve=True)
    output, name = job.folder.path, str(config["potential"])
    atoms = None
    if config["structure"] is not None:
        candidates = read_structures([config["structure"]], hydrogens="ignore")
        if len(candidates) != 1:
            raise UserError(f"structure={config['structure']} holds {len(candidates)} structures; give a file with one")
        atoms = candidates[0].atoms
    deck = Deck(atoms, config["atoms"], config["temperature"], config["timestep"], config["steps"])
    if is_pair_folder(name):
        return export_student(Path(name).expanduser(), output, deck)
    return export_mace(name, output, deck, head=config["head"], trust_pickle=config["trust_pickle"])
