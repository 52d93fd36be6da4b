"""`gendesign benchmark molecules`: quality of generated molecules, compared with the reference molecules.

The table uses three results folders below `output`: `generated`; `references`, all reference molecules; and
`references-sample`, a fixed random part of them for the slow checks. The references pass through the same relaxation
and screening, so that their rows show the values of this pipeline for existing molecules.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from omegaconf import DictConfig, OmegaConf

from gendesign.benchmark import tally as measures
from gendesign.benchmark.record import SHARE, Row, check_record, table, write
from gendesign.benchmark.tally import Measured, Tally
from gendesign.errors import UserError
from gendesign.generate.simgen import SimGen
from gendesign.generate.simgen.sampler import Sampled
from gendesign.potential.zoo import checkpoints_folder, hash_of
from gendesign.run import pipeline
from gendesign.run.build import Structures, build_stages, load
from gendesign.run.folder import check_folder, open_folder
from gendesign.run.merge import VERDICTS
from gendesign.run.progress import Bar
from gendesign.run.records import read_verdicts
from gendesign.run.stages import Stages
from gendesign.structure.types import Candidate

SLOW = ("posebusters", "strain")  # seconds a molecule
OTHER_KEYS = (  # settings that do not change the generated candidates
    "output", "record", "references", "timed", "speed", "potentials", "perovskites", "teacher", "druglike",
    "diffusion",
)  # fmt: skip
SA_MARGIN, ELEMENT_MARGIN = "<= 0.7", "<= 0.10"


@dataclass(frozen=True)
class Metric:
    """One number measured on generated and reference molecules; a `slow` one only on a sample of the references."""

    name: str
    unit: str
    measure: Callable[[Tally], Measured]
    target: str | None = None
    slow: bool = False


METRICS = (
    Metric("strict validity", SHARE, measures.per_attempt("valid"), ">= 0.90"),
    Metric("PoseBusters", SHARE, measures.per_attempt("posebusters"), ">= 0.85", slow=True),
    Metric("unique among valid", SHARE, measures.per_valid("unique"), ">= 0.95"),
    Metric("novel among valid of 9 to 12 heavy atoms", SHARE, measures.per_valid("novel", 9, 12), ">= 0.80"),
    Metric("novel to training among these, stereo distinguished", SHARE, measures.per_valid("novel_stereo", 9, 12)),
    Metric("median strain GFN2-xTB", "kcal/mol", measures.median("strain_gfn2"), "<= 5", slow=True),
    Metric("median strain PM6", "kcal/mol", measures.median("strain_pm6"), slow=True),
    Metric("median strain potential", "kcal/mol", measures.median("strain_potential"), slow=True),
    Metric("three- and four-membered among rings", SHARE, measures.small_rings),
    Metric("EDM atom stability", "mean share", measures.mean_over_attempts("edm_atoms")),
    Metric("EDM molecule stability", SHARE, measures.per_attempt("edm_molecule")),
    Metric("relaxed to convergence", SHARE, measures.per_attempt("converged")),
    Metric("crashes", "attempts", measures.crashes, "<= 0"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stopwatch(SimGen):
    """SimGen that records the seconds of each call of `sample` in `spent`."""

    spent: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, generator: SimGen) -> "Stopwatch":
        """A stopwatch with the settings of `generator`."""
        return cls(**{f.name: getattr(generator, f.name) for f in fields(generator) if f.init})

    def sample(self, *arguments: Any) -> Sampled:
        start = time.perf_counter()
        result = super().sample(*arguments)
        self.spent.append(time.perf_counter() - start)
        return result


def run(config: DictConfig) -> None:
    """Complete the three results folders, print the table, and write molecules.json to `config.record`.

    Raises UserError for unusable settings and folders.
    """
    _refuse(config)
    record, output = check_record(config.record), Path(config.output)
    check_folder(output / "generated", _identity(config, None))
    potential = load(config)
    stages, n = build_stages(config, [], potential)
    known = {*potential.elements}
    molecules = [atoms for atoms in stages.generator.references.molecules if set(atoms.symbols) <= known]
    chosen = np.random.default_rng(0).choice(len(molecules), min(config.references, len(molecules)), replace=False)
    sample = [molecules[k] for k in sorted(chosen)]
    quick = OmegaConf.merge(config, {"screening": {"checks": [c for c in config.screening.checks if c not in SLOW]}})
    identity = _identity(config, potential.weights_hash)
    generated, timings = completed(config, identity, "generated", stages, n)
    all_checks = _for_molecules(stages, sample)
    quick_checks = _for_molecules(build_stages(quick, [], potential)[0], molecules)
    references, _ = completed(config, identity, "references", quick_checks, len(molecules))
    of_sample = {**identity, "references": len(sample)}
    part, _ = completed(config, of_sample, "references-sample", all_checks, len(sample))
    rows = [
        *score_rows(generated, references, part),
        *composition_rows(generated, references, part, config.generator.elements),
        *accessibility_rows(generated, references, part),
        *time_rows(stages.generator, range(n, n + config.timed), config.seed, timings),
    ]
    write(rows, record / "molecules.json", potential.device)
    print(table(rows))
    print(f"pictures of the molecules: {output / 'generated' / 'report.html'}; rows: {record / 'molecules.json'}")


def completed(config: DictConfig, identity: dict, name: str, stages: Stages, n: int) -> tuple[Tally, dict[str, Any]]:
    """Complete the run of `stages` in the results folder `name`; return all verdicts and the timings of the run."""
    path = Path(config.output) / name
    print(f"{name}: {n} candidates into {path}", file=sys.stderr)
    with open_folder(path, identity) as folder, Bar(n, config.shard_size, stages.names) as bar:
        summary = pipeline.run(stages, folder, n=n, seed=config.seed, shard_size=config.shard_size, progress=bar)
    return Tally.of(read_verdicts(path / VERDICTS), n), summary["timings"]


def score_rows(generated: Tally, references: Tally, part: Tally) -> list[Row]:
    """Every metric of the generated molecules, each followed by that of the references."""
    rows = []
    for metric in METRICS:
        rows.append(Row(metric.name, *_measured(metric, generated), metric.target))
        rows.append(Row(_of_references(metric.name), *_measured(metric, part if metric.slow else references)))
    return rows


def composition_rows(generated: Tally, references: Tally, part: Tally, elements: Sequence[str]) -> list[Row]:
    """Distance of the element distributions of generated and reference molecules, and the fraction of each element.

    The value in the row of the references is the distance of their sample from all references.
    """
    made, atoms = measures.shares(generated, elements)
    known, known_atoms = measures.shares(references, elements)
    drawn, drawn_atoms = measures.shares(part, elements)
    name = "element fractions, total variation distance"
    rows = [
        Row(name, measures.variation(made, known) if atoms else None, "", atoms, ELEMENT_MARGIN),
        Row(_of_references(name), measures.variation(drawn, known), "", drawn_atoms),
    ]
    for element in elements:
        rows.append(Row(f"{element} among heavy atoms", made[element], "share", atoms))
        rows.append(Row(_of_references(f"{element} among heavy atoms"), known[element], "share", known_atoms))
    return rows


def accessibility_rows(generated: Tally, references: Tally, part: Tally) -> list[Row]:
    """Median synthetic accessibility (1 easy, 10 hard) of generated and reference molecules, and their difference."""
    measure = measures.median("sa_score")
    (made, n), (known, n_known), (drawn, n_drawn) = measure(generated), measure(references), measure(part)
    name = "median synthetic accessibility"
    distance = f"{name}, distance to the references'"
    return [
        Row(name, made, "", n),
        Row(_of_references(name), known, "", n_known),
        Row(distance, _distance(made, known), "", n, SA_MARGIN),
        Row(_of_references(distance), _distance(drawn, known), "", n_drawn),
    ]


def time_rows(generator: SimGen, indices: Sequence[int], seed: int, timings: dict[str, Any]) -> list[Row]:
    """Seconds per molecule: sampling and finishing of new `indices`, relaxing and screening from the run."""
    watch = Stopwatch.of(generator)
    watch.prepare()  # the references are described once per run, which is not part of the time
    start = time.perf_counter()
    count = len(list(watch.generate(indices, seed=seed)))
    total, sampling = time.perf_counter() - start, sum(watch.spent)
    made, seconds = timings["candidates"], timings["seconds"]
    return [
        Row("time of sampling", sampling / count, "s/molecule", count),
        Row("time of finishing", (total - sampling) / count, "s/molecule", count),
        Row("time of relaxing", seconds["relax"] / made, "s/molecule", made),
        Row("time of screening", seconds["screen"] / made, "s/molecule", made),
    ]


def _for_molecules(stages: Stages, molecules: Sequence[Atoms]) -> Stages:
    """The same stages with existing molecules in place of the generator."""
    bare = [Candidate(Atoms(atoms.numbers, atoms.positions), i, "reference") for i, atoms in enumerate(molecules)]
    return replace(stages, generator=Structures(bare, "reference"))


def _identity(config: DictConfig, weights: str | None) -> dict[str, Any]:
    """The identity of a run: the settings that change candidates, the reference molecules and the weights."""
    settings = OmegaConf.to_container(config, resolve=True)
    settings = {key: value for key, value in settings.items() if key not in OTHER_KEYS}
    paths = config.generator.reference or [checkpoints_folder() / "organic" / "reference.extxyz"]
    # the generator reports missing files
    digests = [hash_of(Path(path)) for path in paths if Path(path).is_file()]
    return {"verb": "benchmark", "settings": settings, "files": {"references": digests}, "weights": weights}


def _refuse(config: DictConfig) -> None:
    if not str(config.generator.get("_target_", "")).endswith("SimGen"):
        raise UserError(
            "benchmark molecules measures generator=simgen; of others: benchmark agent, benchmark diffusion"
        )
    for key in ("relaxation", "screening"):
        if config.get(key) is None:
            raise UserError(f"{key}=null: this table measures relaxed and screened molecules; leave {key} in")
    for key, least in (("references", 2), ("timed", 1)):
        if config[key] is None or config[key] < least:
            raise UserError(f"{key}={config[key]} is too small; give {least} or more")


def _measured(metric: Metric, tally: Tally) -> tuple[float | None, str, int]:
    value, n = metric.measure(tally)
    return value, metric.unit, n


def _of_references(name: str) -> str:
    return f"{name}, references"


def _distance(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else abs(first - second)
