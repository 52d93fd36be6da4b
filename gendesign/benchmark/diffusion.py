"""`gendesign benchmark diffusion`: a trained diffusion model, raw and finished, beside the similarity generator.

Raw samples lie in `raw.extxyz` below `output`; the runs that are relaxed and screened in folders of their own.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from gendesign.benchmark import tally as measures
from gendesign.benchmark.record import SHARE, Row, check_record, table, write
from gendesign.benchmark.tally import Tally
from gendesign.generate.diffusion import data
from gendesign.generate.diffusion.generator import Diffusion
from gendesign.generate.diffusion.quality import auroc, quality
from gendesign.potential.protocol import PotentialLike
from gendesign.run import pipeline
from gendesign.run.build import build_stages, load
from gendesign.run.folder import open_folder
from gendesign.run.merge import VERDICTS
from gendesign.run.progress import Bar
from gendesign.run.records import read_verdicts
from gendesign.run.settings import resolve
from gendesign.structure.files import write_extxyz

EDM = {"atoms_stable": ">= 0.987", "molecules_stable": ">= 0.82", "valid": ">= 0.92", "unique": ">= 0.91"}
NAMED = {"unique": "valid and unique"}
BEST_OF = 4  # molecules of a group, of which the learned energy takes one
COLUMNS = (  # of the comparison: name, unit, measure
    ("strict validity", SHARE, measures.per_attempt("valid")),
    ("PoseBusters", SHARE, measures.per_attempt("posebusters")),
    ("unique among valid", SHARE, measures.per_valid("unique")),
    ("median strain GFN2-xTB", "kcal/mol", measures.median("strain_gfn2")),
    ("median synthetic accessibility", "", measures.median("sa_score")),
    ("three- and four-membered among rings", SHARE, measures.small_rings),
)


def run(config: DictConfig) -> None:
    """Make all samples, print the table, and write diffusion.json to `config.record`."""
    record, output, settings = check_record(config.record), Path(config.output), config.diffusion
    output.mkdir(parents=True, exist_ok=True)
    potential = load(config)
    rows = raw_rows(generator(settings.checkpoint, potential), settings.samples, config.seed, output, settings.data)
    rows += call_rows(settings, potential, config.seed)
    rows += comparison_rows(config, potential, output)
    write(rows, record / "diffusion.json", potential.device)
    print(table(rows))
    print(f"molecules: {output}; rows: {record / 'diffusion.json'}")


def generator(model: str, potential: PotentialLike, **changes: Any) -> Diffusion:
    """The model without any condition, and without the finisher."""
    return Diffusion(potential=potential, checkpoint=model, finish=False, **changes)


def raw_rows(made: Diffusion, n: int, seed: int, output: Path, trained_on: str | Sequence[str]) -> list[Row]:
    """Quality of `n` raw samples, their novelty, and how well the learned energy ranks them."""
    print(f"raw: {n} samples of {made.trained.name}", file=sys.stderr)
    candidates = list(made.generate(range(n), seed=seed))
    write_extxyz(candidates, output / "raw.extxyz")
    structures = [c.atoms for c in candidates]
    found = quality(structures)
    rows = [
        Row(f"{NAMED.get(key, key.replace('_', ' '))}, raw", getattr(found, key), SHARE, n, target)
        for key, target in EDM.items()
    ]
    rows.append(Row("pieces of a molecule, raw", found.fragments, "", n))
    if trained_on == data.QM9 or list(trained_on) == [data.QM9]:
        known = data.canonical(data.read(trained_on).smiles)
        valid = [s for s in data.canonical(np.array([s for s in found.smiles if s])) if s]
        share = None if not valid else sum(s not in known for s in valid) / len(valid)
        rows.append(Row("valid and not in QM9, raw", share, SHARE, len(valid)))
    energy = np.array([c.info.get("diffusion_energy", np.inf) for c in candidates])
    sound = np.array([s is not None for s in found.smiles])
    area = auroc(-np.nan_to_num(energy, posinf=1e9), sound)
    rows.append(Row("AUROC of the learned energy, valid against invalid", area, "", n, ">= 0.9"))
    groups = np.arange(n - n % BEST_OF).reshape(-1, BEST_OF)
    best = groups[np.arange(len(groups)), energy[groups].argmin(1)] if len(groups) else groups
    rows.append(Row(f"valid, best of {BEST_OF} by learned energy", float(sound[best].mean()), SHARE, len(groups)))
    return rows


def call_rows(settings: DictConfig, potential: PotentialLike, seed: int) -> list[Row]:
    """Validity and time against the number of model calls."""
    rows, n = [], settings.per_call
    for calls in settings.calls:
        made = generator(settings.checkpoint, potential, calls=calls)
        start = time.process_time()
        structures = [c.atoms for c in made.generate(range(n), seed=seed)]
        seconds = (time.process_time() - start) / n
        found = quality(structures)
        rows.append(Row(f"valid, raw, {calls} calls", found.valid, SHARE, n))
        rows.append(Row(f"molecules stable, raw, {calls} calls", found.molecules_stable, SHARE, n))
        limit = "<= 1" if calls == 64 else None
        rows.append(Row(f"time of sampling, {calls} calls", seconds, "CPU s/molecule", n, limit))
    return rows


def comparison_rows(config: DictConfig, potential: PotentialLike, output: Path) -> list[Row]:
    """SimGen, the model raw and finished, and the model with the kernel, relaxed and screened at several sizes."""
    settings = config.diffusion
    learned = ["generator=diffusion", f"generator.checkpoint={settings.checkpoint}"]
    kinds = {
        "SimGen": ["generator=simgen", "generator.elements=[C,N,O,F]"],
        "diffusion, raw": [*learned, "generator.finish=false"],
        "diffusion, finished": learned,
        f"diffusion + {settings.kernel_weight:g} kernel, finished": [
            *learned,
            f"generator.kernel_weight={settings.kernel_weight}",
        ],
    }
    rows = []
    for heavy in settings.sizes:
        for name, words in kinds.items():
            words = [*words, f"generator.n_heavy_atoms={heavy}", f"n={settings.per_size}", f"seed={config.seed}"]
            found, seconds = judged(words, config, potential, output / f"{name} {heavy}".replace(" ", "-"))
            for title, unit, measure in COLUMNS:
                value, n = measure(found)
                target = ">= 0.70" if title == "strict validity" and "finished" in name and heavy > 9 else None
                rows.append(Row(f"{title}, {name}, {heavy} heavy atoms", value, unit, n, target))
            rows.append(
                Row(f"time of generation, {name}, {heavy} heavy atoms", seconds, "s/molecule", settings.per_size)
            )
    return rows


def judged(words: Sequence[str], config: DictConfig, potential: PotentialLike, path: Path) -> tuple[Tally, float]:
    """Verdicts of a run of `gendesign generate` with these words in the folder `path`, and seconds of generation."""
    resolved = resolve("generate", [*words, f"output={path}"])
    resolved.relaxation, resolved.screening = config.relaxation, config.screening
    identity = {"verb": "benchmark", "settings": OmegaConf.to_container(resolved, resolve=True), "files": {},
                "weights": potential.weights_hash}  # fmt: skip
    stages, n = build_stages(resolved, [], potential)
    print(f"{path.name}: {n} candidates", file=sys.stderr)
    with open_folder(path, identity) as folder, Bar(n, resolved.shard_size, stages.names) as bar:
        summary = pipeline.run(stages, folder, n=n, seed=config.seed, shard_size=resolved.shard_size, progress=bar)
    return Tally.of(read_verdicts(path / VERDICTS), n), summary["timings"]["seconds"]["generate"] / n
