"""A campaign's file and `key=value` words -> checked settings, runs and stages; every mistake is one line."""

import copy
import dataclasses
import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from gendesign.campaign.filters import Filter, Objective
from gendesign.campaign.layout import cleaned, safe
from gendesign.campaign.settings import Gate, Ranking, Settings
from gendesign.campaign.stages import CampaignStage
from gendesign.errors import SettingsError, UserError
from gendesign.fields import KEY, settings_of, shown
from gendesign.run.conf import conf_folder, load, options
from gendesign.run.schema import TARGET, schema

EXPERIMENTS, KINDS, ENGINES = "campaign", "stage", "engine"  # folders of conf/
SECTIONS = ("generators", "stages", "rank", "engine")
OF_GENERATOR = ("n", "settings", "grid", "arguments", TARGET)
USE = "use"  # names an option of conf/ in place of a section, or as its start
ONE_MODEL = ("potential", "device", "dtype", "head", "trust_pickle")  # keys of the campaign, not of one generator
OWNED = ("output", "workers", "relaxation", "screening")  # of `gendesign generate`, which a campaign sets itself


@dataclass(frozen=True)
class RunSettings:
    """One run of the grid: its name, the words of `gendesign generate`, or a generator of the user's own.

    target: the class of the user's own generator, with `arguments`; empty for one of gendesign.
    """

    name: str
    words: tuple[str, ...]
    varied: Mapping[str, str]
    n: int
    seed: int
    shard_size: int
    target: str = ""
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class StageSettings:
    """One stage: its name, the object that computes, who enters and who leaves."""

    name: str
    stage: CampaignStage
    gate: Gate
    keep: tuple[Filter, ...]
    by: tuple[Objective, ...]


@dataclass(frozen=True)
class Config:
    """A campaign. `content`: the plain settings it was made of, as campaign.json holds them."""

    content: Mapping[str, Any]
    settings: Settings
    runs: tuple[RunSettings, ...]
    stages: tuple[StageSettings, ...]
    ranking: Ranking
    by: tuple[Objective, ...]
    engine: Mapping[str, Any]


def read(source: str | Path | Mapping[str, Any], words: Sequence[str] = ()) -> dict[str, Any]:
    """The plain settings of a file, or of a mapping, after `key=value` words. Raises SettingsError."""
    content = copy.deepcopy(dict(source)) if isinstance(source, Mapping) else _from_file(Path(source))
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise SettingsError(f"'{word}' is not key=value; see gendesign campaign --help")
        _set(content, key, text)
    return content


def experiment(name: str) -> Path:
    """The file of a campaign that comes with gendesign; raises SettingsError."""
    known = options(EXPERIMENTS)
    if name not in known:
        raise SettingsError(f"experiment={name} is unknown{_near(name, known)}; allowed: {', '.join(known)}")
    return conf_folder() / EXPERIMENTS / f"{name}.yaml"


def configure(content: Mapping[str, Any], allow: Sequence[str] = ()) -> Config:
    """Check plain settings and make their objects. `allow`: modules of the user's own whose classes may be named."""
    unknown = sorted(content.keys() - settings_of(Settings).keys() - set(SECTIONS))
    if unknown:
        known = [*settings_of(Settings), *SECTIONS]
        raise SettingsError(f"unknown key '{unknown[0]}'{_near(unknown[0], known)}; allowed: {', '.join(known)}")
    _refuse_targets(content, allow)
    settings = _made(Settings, {key: content[key] for key in content if key not in SECTIONS}, "")
    runs = tuple(run for name, entry in _section(content, "generators").items() for run in _runs(name, entry, settings))
    if not runs:
        raise SettingsError("generators: there is none; give at least one, such as generators.small.n=100")
    stages = tuple(_stage(name, entry) for name, entry in _section(content, "stages").items())
    ranking = _made(Ranking, _section(content, "rank"), "rank")
    by = tuple(Objective.parse(text, "rank.by") for text in ranking.by)
    return Config(dict(content), settings, runs, stages, ranking, by, engine_of(content))


def engine_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the engine: those of conf/engine/NAME.yaml and what the campaign changes."""
    given = content.get("engine", "local")
    given = {USE: given} if isinstance(given, str) else dict(given or {})
    name = given.pop(USE, "local")
    if name not in options(ENGINES):
        raise SettingsError(f"engine={name} is unknown{_near(name, options(ENGINES))}; "
                            f"allowed: {', '.join(options(ENGINES))}")  # fmt: skip
    return {"name": name, **load(conf_folder() / ENGINES / f"{name}.yaml"), **given}


def identity_of(thing: Any) -> Any:
    """The settings of an object that decide its results, as plain values."""
    if not dataclasses.is_dataclass(thing) or isinstance(thing, type):
        return [identity_of(item) for item in thing] if isinstance(thing, list | tuple) else thing
    rows = {TARGET: f"{type(thing).__module__}.{type(thing).__qualname__}"}
    for field in dataclasses.fields(thing):
        if field.init and (KEY not in field.metadata or field.metadata[KEY].identity):
            rows[field.name] = identity_of(getattr(thing, field.name))
    return rows


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist; give a campaign's YAML file, or experiment=NAME") from None
    except Exception as error:  # of the parser, of interpolations, of the file system
        reason = " ".join(str(error).split())[:120]
        raise SettingsError(f"{path} cannot be read as YAML ({reason}); correct it") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds no keys; give generators, stages and rank")
    return content


def _set(content: dict[str, Any], key: str, text: str) -> None:
    """Set `a.b.c`; settings of a generator stay literal, all else is read as YAML."""
    literal = key.startswith("generators.") and ".settings." in key
    try:
        value = text if literal else yaml.safe_load(text)
    except yaml.YAMLError:
        raise SettingsError(f"{key}={text}: this is no value; quote it or write lists as [a,b]") from None
    _put(content, _path(key), value, f"{key}={text}")


def _put(section: dict[str, Any], path: Sequence[str], value: Any, said: str) -> None:
    """Set the value at the end of `path`; a name that stands for a whole section becomes its start."""
    *above, last = path
    for name in above:
        if isinstance(section.get(name), str):
            section[name] = {USE: section[name]}
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            raise SettingsError(f"{said}: {name} is no section; see gendesign campaign --help")
    if isinstance(section.get(last), dict) and not isinstance(value, dict):
        section[last] = {USE: value}
    else:
        section[last] = value


def _path(key: str) -> list[str]:
    """The parts of a key; within `settings.` and `grid.` of a generator the rest is one key."""
    parts = key.split(".")
    if len(parts) > 3 and parts[0] == "generators" and parts[2] in ("settings", "grid"):
        return [*parts[:3], ".".join(parts[3:])]
    return parts


def _section(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = content.get(name) or {}
    if not isinstance(value, Mapping):
        raise SettingsError(f"{name}={shown(value)}: this is a section; give its keys")
    return dict(value)


def _made(cls: Any, values: Mapping[str, Any], place: str) -> Any:
    """An instance of a dataclass of settings; names and types are checked, mistakes name their key."""
    known = settings_of(cls)
    for key in values:
        if key not in known:
            raise SettingsError(
                f"{place}{'.' if place else ''}{key} is unknown{_near(key, known)}; allowed: {', '.join(known)}"
            )
    try:
        return cls(**values)
    except UserError as error:
        raise SettingsError(f"{place + '.' if place and not str(error).startswith(place) else ''}{error}") from None
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{place or 'campaign'}: a value cannot be used ({' '.join(str(error).split())})") from None


def _runs(name: str, entry: Any, settings: Settings) -> list[RunSettings]:
    place = f"generators.{name}"
    safe(name)
    if not isinstance(entry, Mapping):
        raise SettingsError(f"{place}: give n, settings and grid")
    if unknown := [key for key in entry if key not in OF_GENERATOR]:
        raise SettingsError(f"{place}.{unknown[0]} is unknown; allowed: {', '.join(OF_GENERATOR)}")
    n = entry.get("n", 20)
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise SettingsError(f"{place}.n={shown(n)}: give a whole number of 1 or more")
    base = {str(key): _word(value) for key, value in (entry.get("settings") or {}).items()}
    grid = {str(key): value for key, value in (entry.get("grid") or {}).items()}
    if owned := [key for key in (*base, *grid) if key in OWNED or key.partition(".")[0] in OWNED[2:]]:
        raise SettingsError(f"{place}: {owned[0]} is set by the campaign itself; relaxation and screening are stages")
    if own := [key for key in (*base, *grid) if key in ONE_MODEL]:
        raise SettingsError(f"{place}: a campaign has one potential for all generators; give {own[0]} at the top")
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise SettingsError(f"{place}.grid.{key}={shown(values)}: the grid has no run; give a list of values")
    runs = []
    for chosen in itertools.product(*grid.values()):
        varied = {key: _word(value) for key, value in zip(grid, chosen, strict=True)}
        keys = {**base, **varied}
        label = ",".join([name, *(f"{key.rpartition('.')[2]}={value}" for key, value in varied.items())])
        runs.append(_run(cleaned(label), keys, varied, n, entry, settings))
    return runs


def _run(
    label: str, keys: dict[str, str], varied: Mapping[str, str], n: int, entry: Mapping[str, Any], settings: Settings
) -> RunSettings:
    numbers = {"seed": 0, "shard_size": settings.shard_size}
    for key in numbers:
        text = keys.get(key, str(numbers[key]))
        if not text.isdecimal() or (key == "shard_size" and int(text) < 1):
            raise SettingsError(f"generators: {key}={text}: give a whole number")
        numbers[key] = int(text)
    target, own = str(entry.get(TARGET, "")), dict(entry.get("arguments") or {})
    own |= {key: value for key, value in varied.items() if target and key not in numbers}
    shared = {f"{key}={_word(getattr(settings, key))}" for key in ("potential", "device", "dtype", "head",
              "outside_domain", "trust_pickle")}  # fmt: skip
    words = [f"{key}={value}" for key, value in {**keys, "n": str(n), "shard_size": str(numbers["shard_size"])}.items()]
    words += [word for word in sorted(shared) if word.partition("=")[0] not in keys]
    words += ["relaxation=null", "screening=null"]
    return RunSettings(label, tuple(words), dict(varied), n, **numbers, target=target, arguments=own)


def _word(value: Any) -> str:
    return shown(value)


def _stage(name: str, entry: Any) -> StageSettings:
    from gendesign.run.build import make  # torch takes seconds to import

    place = f"stages.{name}"
    safe(name)
    entry = {"kind": entry} if isinstance(entry, str) else copy.deepcopy(dict(entry or {}))
    for key in [key for key in entry if "." in str(key)]:  # as on the command line
        _put(entry, key.split("."), entry.pop(key), f"{place}.{key}")
    kind = entry.pop("kind", name)
    if TARGET not in entry and kind not in options(KINDS):
        raise SettingsError(f"{place}: kind={kind} is unknown{_near(str(kind), options(KINDS))}; "
                            f"allowed: {', '.join(options(KINDS))}")  # fmt: skip
    gate_keys = settings_of(Gate)
    gate = _made(Gate, {key: value for key, value in entry.items() if key in gate_keys}, place)
    own = {key: value for key, value in entry.items() if key not in gate_keys}
    start = {} if TARGET in own else load(conf_folder() / KINDS / f"{kind}.yaml")
    section = _merged(start, own, place)
    _refuse_unknown(section, place)
    try:
        stage = make(OmegaConf.create(section))
    except UserError as error:
        raise SettingsError(f"{place}: {error}") from None
    if not isinstance(stage, CampaignStage):
        raise SettingsError(f"{place}: {section[TARGET]} is no stage; inherit gendesign.campaign.stages.CampaignStage")
    keep = tuple(Filter.parse(text, f"{place}.keep") for text in gate.keep)
    return StageSettings(name, stage, gate, keep, tuple(Objective.parse(text, f"{place}.by") for text in gate.by))


def _merged(start: Mapping[str, Any], own: Mapping[str, Any], place: str) -> dict[str, Any]:
    """`own` over `start`; a name, or `use: NAME`, stands for conf/KEY/NAME.yaml."""
    merged = copy.deepcopy(dict(start))
    for key, value in own.items():
        if isinstance(value, str) and isinstance(merged.get(key), dict):
            value = {USE: value}
        if not isinstance(value, Mapping):
            merged[key] = value
            continue
        value = dict(value)
        base = merged.get(key) if isinstance(merged.get(key), dict) else {}
        if USE in value:
            option = str(value.pop(USE))
            if option not in options(key):
                raise SettingsError(f"{place}.{key}={option} is unknown; allowed: {', '.join(options(key))}")
            base = load(conf_folder() / key / f"{option}.yaml")
        elif TARGET in value and value[TARGET] != base.get(TARGET):
            base = {}
        merged[key] = _merged(base, value, f"{place}.{key}")
    return merged


def _refuse_unknown(section: Mapping[str, Any], place: str) -> None:
    """Raise SettingsError for a key that the class of a section has not."""
    known = schema().get(section.get(TARGET, ""), {})
    for key, value in section.items():
        if key != TARGET and known and key not in known:
            raise SettingsError(f"{place}.{key} is unknown{_near(key, known)}; allowed: {', '.join(known)}")
        if isinstance(value, Mapping):
            _refuse_unknown(value, f"{place}.{key}")


def _refuse_targets(section: Any, allow: Sequence[str]) -> None:
    """Raise SettingsError for a class that is neither a setting of gendesign nor in an allowed module."""
    if isinstance(section, Mapping):
        target = section.get(TARGET)
        module = str(target).rpartition(".")[0]
        if target is not None and target not in schema() and module not in allow:
            raise SettingsError(
                f"{TARGET}={target}: no class of settings of gendesign; allow={module} permits a module of yours"
            )
    if isinstance(section, Mapping | list | tuple):
        for value in section.values() if isinstance(section, Mapping) else section:
            _refuse_targets(value, allow)


def _near(word: str, known: Any) -> str:
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
