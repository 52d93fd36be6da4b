"""The keys of every verb that belong to no group: `gendesign VERB key=value`.

Every class is one verb. Nothing heavy is imported here; sections name their classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gendesign.analysis.settings import Analysis
from gendesign.distil.settings import Distillation
from gendesign.fields import section, setting
from gendesign.run.score_settings import ScoreSettings as DiffusionScore
from gendesign.validation.settings import ValidationSettings

LARGEST_SEED = 2**63 - 1  # of 64 bits with a sign
DEVICES, DTYPES = ("auto", "cpu", "cuda", "cuda:N"), ("float32", "float64")
LABELS = "gendesign.structure.label_keys.LabelSettings"
HYDROGENS, PERIODIC = ("required", "ignore"), ("auto", "false")


def output(folder: str, content: str = "results folder") -> Any:
    """The field of the folder that a verb writes."""
    return setting(folder, f"{content}; the same command again completes it", identity=False)


def seed(about: str = "random seed; candidate i depends on (seed, i) alone") -> Any:
    """The field of a random seed."""
    return setting(0, about, least=0, most=LARGEST_SEED)


def device() -> Any:
    """The field of the device that the model runs on."""
    return setting("auto", "where the model runs; auto: a GPU if there is one", allowed=DEVICES)


def dtype(default: str) -> Any:
    """The field of the floating-point type."""
    return setting(default, "floating-point numbers of the model", allowed=DTYPES)


def potential() -> Any:
    """The field of the potential."""
    return setting(
        "organic",
        "bundled or named model (organic, hoip, mace-off-small, sevennet-l3i5, ...), path of a MACE checkpoint, or "
        "module:function",
    )


def trust_pickle(what: str = "a checkpoint file") -> Any:
    """The field that allows reading pickles."""
    return setting(False, f"true allows unpickling {what}, which runs code from it", identity=False)


def head() -> Any:
    """The field of the output head of a potential with several."""
    return setting(None, "output head of a multi-head model")


def threads() -> Any:
    """The field of the number of torch threads."""
    return setting("auto", "torch threads; auto: one per available core", least=1, allowed=("auto",), identity=False)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every run has: candidates that go through stages into a results folder."""

    seed: int = seed()
    output: str = output("results/run")
    potential: str = potential()
    device: str = device()
    dtype: str = dtype("float32")
    trust_pickle: bool = trust_pickle()
    head: str | None = head()
    workers: int | Literal["auto"] = setting(
        "auto",
        "worker processes of one thread each; auto: one per available core; 0: all work in one process",
        least=0,
        allowed=("auto",),
        identity=False,
    )
    outside_domain: str = setting(
        "refuse",
        "structures outside the potential's domain: refuse (what its card excludes, warn of others), warn or ignore",
        allowed=("refuse", "warn", "ignore"),
    )
    shard_size: int = setting(10, "candidates per shard, the unit that is written and resumed", least=1)


@dataclass(frozen=True, kw_only=True)
class Files:
    """How structures are read from files."""

    strict: bool = setting(
        False, "true stops at the first unusable structure; false counts it as failed, with its reason"
    )
    hydrogens: str = setting(
        "required",
        "required refuses structures without their hydrogens; ignore accepts them, as radicals and carbenes need",
        allowed=HYDROGENS,
    )
    periodic: str = setting(
        "auto",
        "auto: as the file says; false makes molecules of those that stand alone in a periodic box",
        allowed=PERIODIC,
    )


@dataclass(frozen=True, kw_only=True)
class Generate(Run):
    """gendesign generate"""

    n: int = setting(20, "candidates to attempt; every attempt is counted", least=1)
    output: str = output("results/generate")


@dataclass(frozen=True, kw_only=True)
class Relax(Files, Run):
    """gendesign relax"""

    output: str = output("results/relax")
    dtype: str = dtype("float64")
    host: str | None = setting(
        None, "file of fixed atoms around the molecules, such as a protein, that they must not overlap", file=True
    )


@dataclass(frozen=True, kw_only=True)
class Screen(Files, Run):
    """gendesign screen"""

    output: str = output("results/screen")


@dataclass(frozen=True, kw_only=True)
class Label(Files):
    """gendesign label"""

    output: str = output("results/label", "folder for labels.extxyz and failures.csv")
    workers: int | None = setting(
        None,
        "worker processes; null: one per available core, or as many as the teacher's cores allow",
        least=1,
        identity=False,
    )
    shard_size: int = setting(
        20, "structures per shard, the unit that is written and resumed; DFT writes each by itself", least=1
    )
    max_force: float = setting(60.0, "structures with a larger force count as failures", unit="eV/Angstrom", above=0)


@dataclass(frozen=True, kw_only=True)
class Train:
    """gendesign train, of a potential"""

    output: str = setting(
        "results/train", "checkpoint folder; the same command again continues where it stopped", identity=False
    )
    name: str = setting("mine", "name of the potential")
    licence: str = setting("not stated", "licence that the checkpoint states")
    init: str | None = setting(
        None, "potential to start from, a name or a path; null starts a new network of `architecture`"
    )
    cutoff: float | None = setting(
        None,
        "larger cutoff than that of `init`, with which the fit starts at the same predictions; null keeps it",
        unit="Angstrom",
        above=0,
    )
    trust_pickle: bool = trust_pickle("`init`")
    device: str = device()
    threads: int | Literal["auto"] = threads()
    seed: int = seed("random seed of the initial weights and of the order of the data")
    split: str = setting(
        "molecule",
        'what is held out as a whole: molecule (info "molecule", else the formula), composition or frame',
        allowed=("molecule", "composition", "frame"),
    )
    test_share: float = setting(0.1, "share that is held out and measured in errors.json", least=0, below=1)
    valid_share: float = setting(
        0.05,
        "share of the rest that selects the best weights; 0 keeps the last ones",
        least=0,
        below=1,
    )
    test: tuple[str, ...] = setting((), "further files that are measured, each by itself", file=True)
    replay: tuple[str, ...] = setting(
        (), "labelled files of old data, which make up fit.replay_share of every batch", file=True
    )
    skip_unlabelled: bool = setting(False, "true leaves structures without labels out and lists them in skipped.csv")
    check_units: bool = setting(True, "refuses labels that do not look like eV and Angstrom; false trusts the files")
    mixed_teachers: bool = setting(False, "true fits labels of several teachers together")
    architecture: Mapping[str, Any] = section("gendesign.train.architecture.Architecture")
    fit: Mapping[str, Any] = section("gendesign.train.fit.Fit")
    labels: Mapping[str, Any] = section(LABELS)


@dataclass(frozen=True, kw_only=True)
class Agent(Run):
    """gendesign train generator=agent"""

    output: str = setting(
        "results/agent",
        "folder of the agent and its best molecules; the same command again continues",
        identity=False,
    )
    init: str | None = setting(None, "agent to train further: bundled, or its folder; null starts a new one")
    energies: str = setting("potential", "method whose energies reward the agent", allowed=("potential", "gfn2", "pm6"))
    archive_size: int = setting(200, "best molecules of every formula that are written", least=1)
    generator: Mapping[str, Any] = section("gendesign.run.verbs.AgentComposition")


@dataclass(frozen=True, kw_only=True)
class AgentComposition:
    """generator.formula and generator.elements of the training of an agent."""

    formula: str | None = setting(None, "formula of the task, replaces task.formula")
    elements: str | None = setting(
        None, "elements that the agent builds with, such as [C,H,N,O]; null: those of the task"
    )


@dataclass(frozen=True, kw_only=True)
class Diffusion:
    """gendesign train generator=diffusion"""

    output: str = setting(
        "results/diffusion", "checkpoint folder; the same command again continues where it stopped", identity=False
    )
    data: str | tuple[str, ...] = setting(
        "qm9", "qm9 (fetched once, 104 MB), or files of molecules with hydrogens as extended XYZ or SDF", file=True
    )
    elements: tuple[str, ...] | None = setting(None, "elements that the data may hold, such as [H,C,N,O]; null: any")
    name: str = setting("mine", "name of the model")
    licence: str = setting("not stated", "licence that the checkpoint states")
    init: str | None = setting(None, "diffusion model to train further: bundled, or its folder; null starts a new one")
    device: str = device()
    threads: int | Literal["auto"] = threads()
    seed: int = seed("random seed of the initial weights, the order of the data and the noise")
    split: str = setting(
        "random",
        "what is held out: random molecules, or clusters of one ring scaffold, which is harder",
        allowed=("random", "cluster"),
    )
    valid_share: float = setting(0.1, "share of molecules that are held out and measured", least=0, below=1)
    architecture: Mapping[str, Any] = section("gendesign.generate.diffusion.network.NetworkSettings")
    fit: Mapping[str, Any] = section("gendesign.generate.diffusion.training.DiffusionFit")
    noise: Mapping[str, Any] = section("gendesign.generate.diffusion.loss.NoiseLevels")


@dataclass(frozen=True, kw_only=True)
class Validate(ValidationSettings):
    """gendesign validate"""

    output: str = output("results/validate", "folder for card.html and validation.json")
    seed: int = seed("random seed of velocities and displacements")
    device: str = device()
    threads: int | Literal["auto"] = threads()
    dtype: str = dtype("float64")
    trust_pickle: bool = trust_pickle()
    head: str | None = head()
    labels: Mapping[str, Any] = section(LABELS)


@dataclass(frozen=True, kw_only=True)
class Analyse(Analysis):
    """gendesign analyse"""

    output: str = output("results/analyse", "folder for analysis.json, tables, curves and figures")
    potential: str | None = setting(
        None, "model of energies, elastic constants and vibrations, a name or a path as in gendesign relax; null: none"
    )
    seed: int = seed("random seed of samples and random placements")
    device: str = device()
    threads: int | Literal["auto"] = threads()
    dtype: str = dtype("float64")
    trust_pickle: bool = trust_pickle()
    head: str | None = head()


@dataclass(frozen=True, kw_only=True)
class Score(DiffusionScore):
    """gendesign analyse score"""

    output: str = output("results/score", "folder for score.json and figures")
    potential: str | None = setting(None, "potential of methods=[potential], a name or a path; null: none")
    seed: int = seed("random seed of the noise and of generated molecules")
    device: str = device()
    threads: int | Literal["auto"] = threads()
    dtype: str = dtype("float64")
    trust_pickle: bool = trust_pickle()
    head: str | None = head()


@dataclass(frozen=True, kw_only=True)
class Benchmark(Run):
    """gendesign benchmark"""

    n: int = setting(200, "candidates to attempt; every attempt is counted", least=1)
    output: str = output("results/benchmark", "folder for the results folders behind the table")
    record: str = setting("docs/benchmarks", "folder that NAME.json is written to", identity=False)
    references: int = setting(
        100, "reference molecules that PoseBusters and strain are measured on, a fixed random choice", least=1
    )
    timed: int = setting(20, "further molecules on which sampling and finishing are timed separately", least=0)
    potentials: Mapping[str, Any] = section("gendesign.benchmark.settings.Potentials")
    conditional: Mapping[str, Any] = section("gendesign.benchmark.settings.Conditional")
    building: Mapping[str, Any] = section("gendesign.benchmark.settings.Building")
    diffusion: Mapping[str, Any] = section("gendesign.benchmark.settings.DiffusionTable")
    perovskites: Mapping[str, Any] = section("gendesign.benchmark.settings.Perovskites")
    speed: Mapping[str, Any] = section("gendesign.benchmark.settings.Speed")
    druglike: Mapping[str, Any] = section("gendesign.benchmark.settings.Druglike")
    campaigns: Mapping[str, Any] = section("gendesign.benchmark.settings.Campaigns")
    amorphous: Mapping[str, Any] = section("gendesign.benchmark.settings.Amorphous")
    pretraining: Mapping[str, Any] = section("gendesign.benchmark.settings.Pretraining", optional=True)


@dataclass(frozen=True, kw_only=True)
class Distil(Distillation, Files):
    """gendesign distil"""

    output: str = setting("results/student", "folder of the student, with its card", identity=False)
    potential: str = potential()
    seed: int = seed("random seed of copies and of the structures that are held out")
    device: str = device()
    dtype: str = dtype("float64")
    trust_pickle: bool = trust_pickle()
    head: str | None = head()


@dataclass(frozen=True, kw_only=True)
class Export:
    """gendesign export"""

    output: str = setting("results/lammps", "folder of the deck", identity=False)
    potential: str = setting("organic", "student of gendesign distil (its folder), or a MACE by name or folder")
    structure: str | None = setting(
        None, "file with the structure that the deck starts from; null: a crystal of the last element", file=True
    )
    atoms: int = setting(500, "atoms to which the structure is repeated, at least", least=1)
    temperature: float = setting(300.0, "temperature of the deck", unit="K", above=0)
    timestep: float = setting(1.0, "time step of the deck", unit="fs", above=0)
    steps: int = setting(1000, "steps of the deck", least=1)
    trust_pickle: bool = trust_pickle()
    head: str | None = head()


_CLASSES = {
    "generate": Generate,
    "relax": Relax,
    "screen": Screen,
    "label": Label,
    "train": Train,
    "agent": Agent,
    "diffusion": Diffusion,
    "validate": Validate,
    "analyse": Analyse,
    "score": Score,
    "benchmark": Benchmark,
    "distil": Distil,
    "export": Export,
}
VERB_SETTINGS = {verb: f"{cls.__module__}.{cls.__qualname__}" for verb, cls in _CLASSES.items()}
