"""From resolved settings to the objects of a run; heavy imports start here, after the arguments were checked."""

import atexit
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import ase.io
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig

from gendesign.errors import UserError
from gendesign.potential import Potential, load_potential
from gendesign.potential.zoo import checkpoints_folder
from gendesign.processes import SERIAL, Spread, compute_with_one_thread
from gendesign.relaxation import Relaxation
from gendesign.relaxation.change import relax_and_compare
from gendesign.run import crystals
from gendesign.run.conditions import relaxing, with_conditions
from gendesign.run.domain import judge_files, judge_generator, left_out, say
from gendesign.run.folder import Folder, to_json
from gendesign.run.pipeline import run
from gendesign.run.progress import Bar
from gendesign.run.stages import Row, Stages
from gendesign.run.usable import read_usable
from gendesign.run.workers import competes, pool_of, set_threads
from gendesign.screening import Reference, Workers, screen_each, screen_set, summarise
from gendesign.screening.perovskite import PerovskiteScreening
from gendesign.screening.validity import convergence
from gendesign.structure.bonds import perceive
from gendesign.structure.identity import smiles
from gendesign.structure.reading_notes import print_reading_notes
from gendesign.structure.types import Candidate, Generator, Verdict

COMPARED = ".compared.json"  # in a results folder: energies that candidates are compared with


@dataclass(frozen=True)
class Structures:
    """A generator of what was read from files: candidate i is structure i."""

    candidates: Sequence[Candidate]
    name: str = "file"

    def generate(self, indices: Sequence[int], *, seed: int) -> Iterator[Candidate]:
        """The structures with these numbers; nothing is drawn, so `seed` plays no part."""
        yield from (self.candidates[index] for index in indices)


def load(config: DictConfig) -> Potential:
    """The potential of the top-level keys, in a process of as many torch threads as these say, else one."""
    set_threads(1)
    potential = load_potential(
        config.potential,
        device=None if config.device == "auto" else config.device,
        dtype=config.dtype,
        trust_pickle=config.trust_pickle,
        head=config.head,
    )
    set_threads(config.get("threads", 1))
    return potential


def build_stages(
    config: DictConfig,
    files: Sequence[str],
    potential: Potential,
    found: Structures | None = None,
    spread: Spread = SERIAL,
) -> tuple[Stages, int]:
    """The stages that `config` names, and how many candidates there are to be; `found` ones need no generator.

    `spread` does independent parts of a stage.
    """
    warnings: list[str] = []
    if found is not None:
        judged = judge_files(found.candidates, potential, config)
        generator, warnings = replace(found, candidates=judged.candidates), judged.warnings
        n = len(found.candidates)
    elif files:
        methods = {key: make(config[key]) for key in ("relaxation", "screening") if config.get(key) is not None}
        judged = judge_files(read_usable(config, files, potential, **methods), potential, config)
        generator, warnings = Structures(judged.candidates), judged.warnings
        n = len(generator.candidates)
    else:
        generator, n = make(config.generator, potential=potential), config.n
        warnings = judge_generator(generator, potential, config)
    stages = Stages(generator, about={**about(potential), "warnings": warnings})
    host = getattr(generator, "environment", None)
    if config.get("relaxation") is not None:
        settings = make(config.relaxation)
        stages = replace(
            stages,
            relax=relaxing(host, potential, settings, spread),
            screen=lambda candidates: [verdict for c in candidates for verdict in convergence(c)],
        )
        if files:  # structures of the user, which are of interest before too
            stages = _comparing(stages, config, potential, settings, spread)
    if config.get("screening") is not None:
        stages = _with_screening(stages, config, potential, spread)
    return with_conditions(stages), n


def _comparing(
    stages: Stages, config: DictConfig, potential: Potential, settings: Relaxation, spread: Spread
) -> Stages:
    """Relaxation of files: crystals are described before and after."""
    means = crystals.converged_means(config.relaxation)
    return replace(
        stages,
        relax=lambda candidates, report: relax_and_compare(candidates, potential, settings, report, spread),
        screen=lambda candidates: [v for c in candidates for v in (*convergence(c), *crystals.verdicts_of(c))],
        files=crystals.files,
        remarks=partial(crystals.terminal, means=means),
    )


def make_run(
    config: DictConfig, files: Sequence[str], potential: Potential, folder: Folder, found: Structures | None = None
) -> dict[str, Any]:
    """Run the stages of `config` into `folder`; the content of summary.json."""
    compute_with_one_thread()
    with pool_of(config, potential) as pool:
        together = potential.device.type != "cpu" or competes(config)
        stages, n = build_stages(config, files, potential, found, pool if together else SERIAL)
        say(stages.about["warnings"])
        if files:
            print_reading_notes([c for c in stages.generator.candidates if not left_out(c)])  # which were said above
        if potential.device.type == "cpu" and pool.count:
            if not together and hasattr(stages.generator, "prepare"):
                stages.generator.prepare()  # once, for all workers to inherit
            pool.residents |= {"potential": potential, "generator": stages.generator, "stages": stages}
            pool.start()  # before the bar, whose thread must not be forked
        with Bar(n, config.shard_size, stages.names) as bar, ExitStack() as ending:
            ending.callback(stages.close or (lambda: None))  # a sweep makes many runs in one process
            return run(
                stages, folder, n=n, seed=config.seed, shard_size=config.shard_size, progress=bar, pool=pool,
                together=together,
            )  # fmt: skip


def make(section: DictConfig, **arguments: Any) -> Any:
    """The object a section's `_target_` names; settings that its class refuses become a UserError of one line."""
    _refuse_null(section)
    try:
        # Arguments go past Hydra, which would turn a dataclass such as Potential into settings.
        return instantiate(section, _partial_=True, _convert_="all")(**arguments)
    except UserError:
        raise
    except (TypeError, ValueError, OverflowError, ArithmeticError, IndexError, KeyError) as error:
        if isinstance(error, TypeError) and "unexpected keyword" in str(error):
            raise  # a mistake in conf/ or in the code
        reason = " ".join(str(error).split())
        raise UserError(f"{_place(section)}: a value cannot be used ({reason}); see its keys in --help") from error
    except InstantiationException as error:
        cause = error.__cause__ or error
        while cause.__cause__ is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        reason = " ".join(str(cause).split())
        raise UserError(f"{_place(section)}: a value cannot be used ({reason}); see its keys in --help") from error


def _place(section: DictConfig) -> str:
    """The name of a section in the settings."""
    return section._get_full_key("") or "settings"


def _refuse_null(section: DictConfig) -> None:
    """Raise UserError for a null where the class wants a value."""
    target = get_object(section._target_)
    hints = get_type_hints(target) if is_dataclass(target) else {}
    for field in fields(target) if hints else ():
        wants = get_args(hints[field.name]) or (hints[field.name],)
        value = section.get(field.name)
        if field.name in section and value is None and not {NoneType, Any} & set(wants):
            raise UserError(f"{section._get_full_key(field.name)}=null: give a value, or leave it out")
        if isinstance(value, DictConfig) and "_target_" in value:
            _refuse_null(value)


def _with_screening(stages: Stages, config: DictConfig, potential: Potential, spread: Spread) -> Stages:
    settings = make(config.screening)
    if isinstance(settings, PerovskiteScreening):
        each = partial(settings.screen_each, potential=potential)
        found = getattr(stages.generator, "comparisons", {})
        memory = Path(config.output) / COMPARED
        known = {key: partial(remembered, memory, key, partial(energy, spread=spread)) for key, energy in found.items()}
        own = partial(settings.screen_set, comparisons=known)
        return replace(stages, screen=each, screen_set=own, summarise=settings.summarise, files=settings.files)
    # One set of processes for all checks; beside a GPU all workers are there for them.
    count = max(settings.workers, getattr(spread, "count", 0)) if potential.device.type != "cpu" else settings.workers
    workers = Workers(count, settings.time_limit)
    atexit.register(workers.close)
    return replace(
        stages,
        screen=partial(screen_each, potential=potential, settings=settings, workers=workers),
        screen_set=partial(screen_set, settings=settings, reference=known_molecules(stages.generator)),
        close=workers.close,
        summarise=partial(table_rows, scores={} if uses_own_references(stages.generator) else reference_scores()),
    )


def remembered(memory: Path, key: str, energy: Callable[[int], float | None], starts: int) -> float | None:
    """`energy(starts)`, which costs minutes, once a run: it is kept in the file `memory` of the run's folder."""
    kept = json.loads(memory.read_text()) if memory.is_file() else {}
    name = f"{key} {starts}"
    if name not in kept:
        kept[name] = energy(starts)
        Folder(memory.parent, {}).replace(memory.name, lambda path: path.write_text(to_json(kept)))
    return kept[name]


def table_rows(verdicts: Sequence[Verdict], n: int, scores: Mapping[str, float]) -> list[Row]:
    """The screening's table, each row with the reference molecules' own score where that was measured.

    A median that most candidates have no number for is None, as JSON knows no infinity.
    """
    rows = [{k: v for k, v in row._asdict().items() if k != "reason" or v} for row in summarise(verdicts, n)]
    return [
        row
        | {"references": scores.get(row["name"])}
        | ({"value": None} if row["value"] is not None and math.isinf(row["value"]) else {})
        for row in rows
    ]


@cache
def reference_scores() -> dict[str, float]:
    """Scores of the bundled references, relaxed and screened like candidates, by row (scripts/organic/scores.py)."""
    path = checkpoints_folder() / "organic" / "reference_scores.json"
    return {row["name"]: row["value"] for row in json.loads(path.read_text())} if path.is_file() else {}


def uses_own_references(generator: Generator) -> bool:
    """Whether the generator resembles the user's molecules and not the bundled ones."""
    return bool(getattr(generator, "reference", None))


def known_molecules(generator: Generator) -> Reference | None:
    """Against what a molecule counts as novel: the training molecules of the bundled checkpoint and the references, the
    generator's own or else the bundled ones; None where the former are absent."""
    folder = checkpoints_folder() / "organic"
    skeletons, training = folder / "reference.extxyz", folder / "training.smi"
    if not (skeletons.is_file() and training.is_file()):
        return None
    if uses_own_references(generator):
        found = [perceive(atoms).mol for atoms in generator.references.molecules]
        return Reference.read(training, [smiles(mol) for mol in found if mol is not None])
    return Reference.read(training, [str(atoms.info["smiles"]) for atoms in ase.io.read(skeletons, index=":")])


def about(potential: Potential) -> dict[str, Any]:
    """What summary.json says of the model."""
    return {
        "model": {
            "name": potential.name,
            "weights_sha256": potential.weights_hash,
            "licence": potential.licence,
            "citation": potential.citation,
            "elements": list(potential.elements),
        },
        "device": {
            "name": str(potential.device),
            # on a CPU for any number of workers; on a GPU sums have no fixed order
            "repeats_to_the_same_bytes": potential.device.type == "cpu",
        },
    }
