"""The plan of a campaign as plain data: its runs, its stages with their keys. Workers and readers share it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gendesign import __version__
from gendesign.campaign.config import Config, RunSettings, identity_of
from gendesign.campaign.filters import Filter, Objective
from gendesign.campaign.layout import PLAN, RUNS, digest, read_json, safe, write_json
from gendesign.campaign.settings import Gate, Ranking
from gendesign.errors import SettingsError
from gendesign.run.pipeline import shard_ranges

FORMAT = 1
INSIDE = ("n", "seed")  # words of a run that its name does not depend on, besides those of its own


@dataclass(frozen=True)
class Run:
    """A run of the grid. name: of its folder, with a key of its settings; grown: smaller numbers it had before."""

    name: str
    varied: Mapping[str, str]
    n: int
    seed: int
    shard_size: int
    grown: tuple[int, ...] = ()

    @property
    def ranges(self) -> list[range]:
        """The candidates of each shard."""
        return shard_ranges([*self.grown, self.n], self.shard_size)


@dataclass(frozen=True)
class Step:
    """A stage. folder: NAME-KEY, where the key depends on the stage's settings and on everything before it."""

    name: str
    folder: str
    changes: bool
    gate: Gate
    keep: tuple[Filter, ...]
    by: tuple[Objective, ...]


@dataclass(frozen=True)
class Plan:
    """Runs and stages of the campaign in `folder`; `content` holds its settings as given."""

    folder: Path
    runs: tuple[Run, ...]
    steps: tuple[Step, ...]
    ranking: Ranking
    content: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""

    @property
    def items(self) -> list[tuple[str, int]]:
        """Every shard as (run, number)."""
        return [(run.name, number) for run in self.runs for number in range(len(run.ranges))]

    def run(self, name: str) -> Run:
        """The run with this name."""
        return next(run for run in self.runs if run.name == name)

    @property
    def barriers(self) -> list[int]:
        """Stages that wait for all candidates, because they select among them."""
        return [k for k, step in enumerate(self.steps) if step.gate.selects]

    def write(self) -> None:
        """Write campaign.json."""
        write_json(
            self.folder / PLAN,
            {
                "format": FORMAT,
                "gendesign": __version__,
                "weights": self.weights,
                "runs": [asdict(run) for run in self.runs],
                "steps": [
                    {"name": s.name, "folder": s.folder, "changes": s.changes, **asdict(s.gate)} for s in self.steps
                ],
                "rank": asdict(self.ranking),
                "content": dict(self.content),
            },
        )


def planned(config: Config, folder: Path, weights: str, identities: Mapping[str, Any]) -> Plan:
    """The plan of a campaign. identities: of the runs by their names (settings, digests of files)."""
    runs = []
    for settings in config.runs:
        name = run_name(settings, identities[settings.name], weights)
        runs.append(Run(name, settings.varied, settings.n, settings.seed, settings.shard_size))
    if len({run.name for run in runs}) < len(runs):
        raise SettingsError("generators: two runs have the same settings; give them different seeds or leave one out")
    steps, key = [], ""
    for one in config.stages:
        about = [key, identity_of(one.stage), one.stage.about, weights if one.stage.needs_potential else ""]
        key = digest(about)
        steps.append(Step(one.name, f"{one.name}-{key}", one.stage.changes, one.gate, one.keep, one.by))
    content = {name: value for name, value in config.content.items() if name != "engine"}
    return Plan(folder, tuple(runs), tuple(steps), config.ranking, content, weights)


def run_name(settings: RunSettings, identity: Any, weights: str) -> str:
    """The name of a run's folder: its label and a key of everything that decides its candidates, but for `n`."""
    return f"{settings.name}-{digest([identity, weights])[:8]}"


def read_plan(folder: Path) -> Plan:
    """The plan in a campaign folder. Names are checked, nothing is imported or run. Raises SettingsError."""
    content = read_json(folder / PLAN)
    try:
        if content["format"] != FORMAT:
            raise SettingsError(f"{folder / PLAN} has format {content['format']}, not {FORMAT}; use its own gendesign")
        runs = tuple(_run(row) for row in content["runs"])
        steps = tuple(_step(row) for row in content["steps"])
        return Plan(folder, runs, steps, Ranking(**content["rank"]), content["content"], str(content["weights"]))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        reason = " ".join(str(error).split())[:100]
        raise SettingsError(f"{folder / PLAN} is damaged ({reason}); run the campaign's command again") from None


def grown_of(folder: Path, run: str) -> tuple[int, ...]:
    """The smaller numbers of candidates that a run's folder was asked for before."""
    path = folder / RUNS / safe(run) / "summary.json"
    return tuple(read_json(path).get("grown", ())) if path.is_file() else ()


def _run(row: Mapping[str, Any]) -> Run:
    varied = {str(key): str(value) for key, value in row["varied"].items()}
    numbers = [int(row[key]) for key in ("n", "seed", "shard_size")]
    if numbers[0] < 1 or numbers[2] < 1:
        raise ValueError("a run has no candidates")
    return Run(safe(row["name"]), varied, *numbers, tuple(map(int, row["grown"])))


def _step(row: Mapping[str, Any]) -> Step:
    own: Sequence[str] = ("name", "folder", "changes")
    gate = Gate(**{key: value for key, value in row.items() if key not in own})
    keep = tuple(Filter.parse(text) for text in gate.keep)
    by = tuple(Objective.parse(text) for text in gate.by)
    return Step(safe(row["name"]), safe(row["folder"]), bool(row["changes"]), gate, keep, by)
