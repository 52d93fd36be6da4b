"""From resolved settings to the objects of a run; heavy imports start here, after the arguments were checked."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from gendesign.errors import UserError
from gendesign.potential import load_potential
from gendesign.potential.protocol import PotentialLike
from gendesign.processes import SERIAL, Pool, Spread, compute_with_one_thread
from gendesign.relaxation import Relaxation
from gendesign.relaxation.change import relax_and_compare
from gendesign.run import crystals
from gendesign.run.conditions import host_of, relaxing, with_conditions
from gendesign.run.domain import judge_files, judge_generator, left_out, say
from gendesign.run.folder import Folder
from gendesign.run.pipeline import run
from gendesign.run.progress import Bar
from gendesign.run.stages import Stages
from gendesign.run.usable import read_usable
from gendesign.run.workers import pool_of, set_threads, shares_shards
from gendesign.screening import ScreeningContext, ScreeningMethod
from gendesign.screening.validity import convergence
from gendesign.structure.contacts import Host
from gendesign.structure.generator import Generator
from gendesign.structure.reading_notes import print_reading_notes
from gendesign.structure.types import Candidate, Verdict


@dataclass(frozen=True)
class Structures(Generator):
    """A generator of structures that exist already, beside a host or not: candidate i is structure i."""

    candidates: Sequence[Candidate]
    name: str = "file"
    host: Host | None = None

    @property
    def environment(self) -> Host | None:
        """The host that the structures must not overlap."""
        return self.host

    def generate(self, indices: Sequence[int], *, seed: int) -> Iterator[Candidate]:
        """The structures with these numbers; nothing is drawn, so `seed` plays no part."""
        yield from (self.candidates[index] for index in indices)


@dataclass(frozen=True)
class Source:
    """Where the `n` candidates of a run come from, what to warn of before it begins, and what was read from files."""

    generator: Generator
    n: int
    warnings: Sequence[str]
    read: Sequence[Candidate] = ()


@dataclass(frozen=True)
class Methods:
    """The relaxation and the screening that the settings name; None for what the verb leaves out."""

    relaxation: Relaxation | None
    screening: ScreeningMethod | None

    @classmethod
    def of(cls, config: DictConfig) -> "Methods":
        """From the sections of the same names."""
        sections = (config.get("relaxation"), config.get("screening"))
        return cls(*(None if section is None else make(section) for section in sections))


KEPT: dict[tuple[Any, ...], PotentialLike] = {}  # loaded before the runs that are forked from this process


def load(config: DictConfig) -> PotentialLike:
    """The potential that the top-level keys name. Torch then has `threads` threads, or one without that key."""
    set_threads(1)
    potential = KEPT.get(_key(config)) or load_potential(
        config.potential,
        device=None if config.device == "auto" else config.device,
        dtype=config.dtype,
        trust_pickle=config.trust_pickle,
        head=config.head,
    )
    set_threads(config.get("threads", 1))
    return potential


def keep(config: DictConfig) -> PotentialLike:
    """The potential of `load`, which this process and those forked from it use again."""
    potential = KEPT[_key(config)] = load(config)
    return potential


def _key(config: DictConfig) -> tuple[Any, ...]:
    return tuple(config.get(name) for name in ("potential", "device", "dtype", "trust_pickle", "head"))


def build_stages(
    config: DictConfig, files: Sequence[str], potential: PotentialLike, structures: Structures | None = None
) -> tuple[Stages, int]:
    """The stages that `config` names, and the number of candidates; `structures` replace a generator or `files`."""
    methods = Methods.of(config)
    source = source_of(config, files, potential, methods, structures)
    return stages_of(source, methods, config, potential), source.n


def source_of(
    config: DictConfig, files: Sequence[str], potential: PotentialLike, methods: Methods, structures: Structures | None
) -> Source:
    """The given structures, those of the files, or else the generator; compared with the domain of the potential."""
    if structures is None and not files:
        generator = make(config.generator, potential=potential)
        for note in generator.notes:
            print(f"gendesign: {note}", file=sys.stderr)
        if methods.relaxation is not None and methods.relaxation.cell and generator.holds_cell:
            raise UserError(f"relaxation.cell=true: {generator.holds_cell}; give relaxation.cell=false")
        return Source(generator, config.n, judge_generator(generator, potential, config))
    if structures is None:
        structures = Structures(read_usable(config, files, potential, methods.relaxation, methods.screening))
    judged = judge_files(structures.candidates, potential, config)
    host = host_of(config.get("host"), judged.candidates)
    generator = replace(structures, candidates=judged.candidates, host=host)
    return Source(generator, len(judged.candidates), judged.warnings, judged.candidates if files else ())


def stages_of(
    source: Source, methods: Methods, config: DictConfig, potential: PotentialLike, spread: Spread = SERIAL
) -> Stages:
    """What is done to every candidate; `spread` does independent parts of a stage."""
    generator = source.generator
    stages = Stages(generator, about={**about(potential), "warnings": list(source.warnings)})
    if methods.relaxation is not None and source.read:
        stages = _with_comparing_relaxation(stages, config, potential, methods.relaxation, spread)
    elif methods.relaxation is not None:
        stages = _with_relaxation(stages, potential, methods.relaxation, spread)
    if methods.screening is not None:
        context = ScreeningContext(generator, potential, Path(config.output), spread)
        stages = _with_screening(stages, methods.screening, context)
    return with_conditions(stages)


def _with_relaxation(stages: Stages, potential: PotentialLike, settings: Relaxation, spread: Spread) -> Stages:
    return replace(
        stages,
        relax=relaxing(stages.generator.environment, potential, settings, spread),
        screen=lambda candidates: [verdict for c in candidates for verdict in convergence(c)],
    )


def _with_comparing_relaxation(
    stages: Stages, config: DictConfig, potential: PotentialLike, settings: Relaxation, spread: Spread
) -> Stages:
    """Relaxation of the user's structures: crystals are described before and after."""
    host = stages.generator.environment
    beside = relaxing(host, potential, settings, spread)
    return replace(
        stages,
        relax=lambda candidates, report: (
            beside(candidates, report) if host else relax_and_compare(candidates, potential, settings, report, spread)
        ),
        screen=lambda candidates: [v for c in candidates for v in (*convergence(c), *crystals.verdicts_of(c))],
        files=crystals.files,
        remarks=partial(crystals.terminal, means=crystals.converged_means(config.relaxation)),
    )


def _with_screening(stages: Stages, method: ScreeningMethod, context: ScreeningContext) -> Stages:
    session, of_relaxation = method.open(context), stages.files

    def files(candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> dict[str, str]:
        relaxed = of_relaxation(candidates, verdicts) if of_relaxation else {}
        return relaxed | session.files(candidates, verdicts)

    return replace(
        stages,
        screen=session.screen_each,
        screen_set=session.screen_set,
        summarise=session.summarise,
        files=files,
        headlines=session.headlines,
        close=session.close,
    )


def make_run(
    config: DictConfig,
    files: Sequence[str],
    potential: PotentialLike,
    folder: Folder,
    structures: Structures | None = None,
) -> dict[str, Any]:
    """Run the stages of `config` into `folder`; the content of summary.json."""
    compute_with_one_thread()
    with pool_of(config, potential) as pool, ExitStack() as ending:
        methods = Methods.of(config)
        source = source_of(config, files, potential, methods, structures)
        say(source.warnings)
        print_reading_notes([c for c in source.read if not left_out(c)])  # which were said above
        together = shares_shards(source.generator, potential)
        stages = stages_of(source, methods, config, potential, pool if together else SERIAL)
        ending.callback(stages.close or (lambda: None))  # a sweep makes many runs in one process
        _start_workers(pool, stages, potential, together)
        with Bar(source.n, config.shard_size, stages.names) as bar:
            return run(
                stages, folder, n=source.n, seed=config.seed, shard_size=config.shard_size, progress=bar, pool=pool,
                together=together,
            )  # fmt: skip


def _start_workers(pool: Pool, stages: Stages, potential: PotentialLike, together: bool) -> None:
    """Start the process that workers are forked from, before the bar, whose thread must not be forked.

    On a CPU workers inherit the stages; a GPU stays with this process.
    """
    if potential.device.type != "cpu" or not pool.count:
        return
    if not together:
        stages.generator.prepare()  # once, for all workers to inherit
    pool.residents |= {"potential": potential, "generator": stages.generator, "stages": stages}
    pool.start()


def make(section: DictConfig, **arguments: Any) -> Any:
    """The object a section's `_target_` names; settings that its class refuses become a UserError of one line."""
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


def about(potential: PotentialLike) -> dict[str, Any]:
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
