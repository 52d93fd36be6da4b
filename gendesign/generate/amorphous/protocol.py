"""Protocols: files of stages, in conf/protocol or of the user, and how a stage is described in one line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gendesign.dynamics.runs import ENSEMBLES, LANGEVIN, NPT, NVE
from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting, settings_of

MD, RELAX, PACK, STRAIN, CUT = "md", "relax", "pack", "strain", "cut"
KINDS = (MD, RELAX, PACK, STRAIN, CUT)
POTENTIAL, LAMMPS = "potential", "lammps"
ENGINES = (POTENTIAL, LAMMPS)
Pair = tuple[float, ...]
# Keys that a stage of each kind may have, besides name, kind and engine.
OWN = {
    MD: {"model", "ensemble", "temperature", "rate", "duration", "timestep", "pressure", "density", "friction",
         "bulk_modulus"},
    RELAX: {"model", "fmax", "max_steps", "cell", "pressure"},
    PACK: {"density"},
    STRAIN: {"factors"},
    CUT: {"vacuum", "fixed"},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a protocol. A pair of numbers stands for the values at the beginning and the end of the stage."""

    name: str = setting("", "name of the stage in messages and results")
    kind: str = setting(MD, "md, relax (positions or the cell too), pack (a new random packing), strain (the cell and "
                        "the atoms) or cut (a vacuum along z)", allowed=KINDS)  # fmt: skip
    engine: str = setting(POTENTIAL, "potential: all models in one batch under the run's potential; lammps: each model "
                          "in LAMMPS under `model`", allowed=ENGINES)  # fmt: skip
    model: str = setting("", "potential of engine lammps: edip, stillinger_weber, tersoff, munetoh, vashishta, or a "
                         "folder with pair.in")  # fmt: skip
    ensemble: str = setting(LANGEVIN, "langevin or nose_hoover (fixed cell), npt (isotropic cell) or nve",
                            allowed=ENSEMBLES)  # fmt: skip
    temperature: Pair = setting((300.0,), "temperature, or that of the beginning and the end", unit="K", least=0)
    rate: float | None = setting(None, "change of the temperature, in place of a duration", unit="K/ps", above=0)
    duration: float | None = setting(None, "duration, in place of a rate", unit="ps", above=0)
    timestep: float = setting(1.0, "timestep", unit="fs", above=0, most=20)
    pressure: Pair = setting((0.0,), "pressure of npt or of a relaxed cell, or that of beginning and end", unit="GPa")
    density: float | None = setting(
        None, "density at the end, to which the cell changes linearly during md, or that of a packing", unit="g/cm3",
        above=0,
    )  # fmt: skip
    friction: float = setting(5.0, "friction of the Langevin thermostat", unit="1/ps", above=0)
    bulk_modulus: float = setting(50.0, "that of the material, roughly: sets the pace of npt", unit="GPa", above=0)
    fmax: float = setting(0.1, "largest force of a relaxed model", unit="eV/Angstrom", above=0)
    max_steps: int = setting(200, "most steps of a relaxation", least=1)
    cell: bool = setting(False, "whether a relaxation changes the cell")
    factors: Pair = setting((1.0, 1.0, 1.0), "factors of the three lattice vectors", above=0)
    vacuum: float = setting(15.0, "vacuum along z", unit="Angstrom", above=0)
    fixed: float = setting(0.0, "atoms this near to the lower surface are fixed from now on", unit="Angstrom", least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "")
        for name, lengths in {"temperature": (1, 2), "pressure": (1, 2), "factors": (3,)}.items():
            if len(getattr(self, name)) not in lengths:
                raise UserError(f"{name}={list(getattr(self, name))}: give {' or '.join(map(str, lengths))} numbers")
        if self.engine == LAMMPS and self.kind in (MD, RELAX) and not self.model:
            raise UserError("engine=lammps needs model=edip, vashishta or another one")
        if self.engine == POTENTIAL and self.model:
            raise UserError(f"model={self.model} is for engine=lammps; the engine potential uses the run's potential")
        if self.kind == MD:
            self._check_md()

    def _check_md(self) -> None:
        changes = self.ends[0] != self.ends[1]
        if (self.rate is None) == (self.duration is None):
            raise UserError("give either rate (K/ps) or duration (ps)")
        if self.rate is not None and not changes:
            raise UserError(f"rate={self.rate:g} K/ps needs two temperatures, such as temperature: [3000, 300]")
        if self.ensemble == NPT and self.density is not None:
            raise UserError("ensemble=npt controls the pressure, so that density cannot be prescribed; choose one")
        if self.ensemble == NVE and changes:
            raise UserError("ensemble=nve has no thermostat: give one temperature, that of the first velocities")
        if self.ensemble != NPT and any(self.pressure):
            raise UserError(f"pressure={list(self.pressure)} GPa needs ensemble=npt")

    @property
    def ends(self) -> tuple[float, float]:
        """Temperatures at beginning and end, K."""
        return self.temperature[0], self.temperature[-1]

    @property
    def pressures(self) -> tuple[float, float]:
        """Pressures at beginning and end, GPa."""
        return self.pressure[0], self.pressure[-1]

    @property
    def picoseconds(self) -> float:
        """Duration of md in ps, 0 for other kinds."""
        if self.kind != MD:
            return 0.0
        return abs(self.ends[1] - self.ends[0]) / self.rate if self.rate else float(self.duration or 0)

    @property
    def steps(self) -> int:
        """Steps of md."""
        return max(1, round(self.picoseconds * 1000 / self.timestep)) if self.kind == MD else 0

    @property
    def kelvin_per_ps(self) -> float:
        """Rate of the temperature, K/ps, negative for cooling."""
        return (self.ends[1] - self.ends[0]) / self.picoseconds if self.kind == MD and self.picoseconds else 0.0

    @property
    def changes_cell(self) -> bool:
        """Whether the stage needs a cell that is periodic in three directions, and changes it."""
        return (self.kind == MD and self.ensemble == NPT) or (self.kind == RELAX and self.cell)

    @property
    def title(self) -> str:
        """Its name, or its kind."""
        return self.name or self.kind

    def describe(self) -> str:
        """One line with the engine and every number that matters, such as rates."""
        where = f" by {self.model} (lammps)" if self.engine == LAMMPS and self.kind in (MD, RELAX) else ""
        if self.kind == MD:
            first, last = self.ends
            heat = f"{first:g} K" if first == last else f"{first:g} to {last:g} K at {abs(self.kelvin_per_ps):.4g} K/ps"
            press = "" if self.ensemble != NPT else f", {_range(self.pressures)} GPa"
            ends = "" if self.density is None else f", to {self.density:g} g/cm3"
            return (f"{self.title}{where}: {self.ensemble}, {heat}{press}{ends}, {self.picoseconds:.4g} ps in steps of "
                    f"{self.timestep:g} fs")  # fmt: skip
        said = {
            RELAX: f"{'positions and cell' if self.cell else 'positions'} to {self.fmax:g} eV/Angstrom",
            PACK: "random packing",
            STRAIN: f"lattice vectors times {', '.join(f'{x:g}' for x in self.factors)}",
            CUT: f"vacuum of {self.vacuum:g} Angstrom along z"
            + (f", {self.fixed:g} Angstrom fixed" if self.fixed else ""),
        }[self.kind]
        return f"{self.title}{where}: {said}"


@dataclass(frozen=True)
class Protocol:
    """Stages in their order. about: what it is for."""

    name: str
    stages: tuple[Stage, ...]
    about: str = ""

    @property
    def models(self) -> set[str]:
        """Names of the models that stages of LAMMPS need."""
        return {stage.model for stage in self.stages if stage.engine == LAMMPS and stage.model}

    @property
    def opens_cell(self) -> Stage | None:
        """The stage of kind cut after which no packing closes the cell again."""
        opened = None
        for stage in self.stages:
            opened = stage if stage.kind == CUT else None if stage.kind == PACK else opened
        return opened

    @property
    def cooling_rate(self) -> float | None:
        """The slowest rate at which the temperature falls, K/ps; None where it never does."""
        rates = [-stage.kelvin_per_ps for stage in self.stages if stage.kelvin_per_ps < 0]
        return min(rates) if rates else None


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:g}" if ends[0] == ends[1] else f"{ends[0]:g} to {ends[1]:g}"


def protocols_folder() -> Path:
    """conf/protocol: inside an installed package, else beside the package in the repository."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "conf" / "protocol"
    return inside if inside.is_dir() else package.parent / "conf" / "protocol"


def load_protocol(name: str) -> Protocol:
    """A protocol of conf/protocol by its name, or the file of a path. Raises UserError of one line for a wrong one."""
    shipped = {path.stem: path for path in sorted(protocols_folder().glob("*.yaml"))}
    path = shipped.get(name, Path(name).expanduser())
    if not path.is_file():
        known = ", ".join(shipped)
        raise UserError(
            f"generator.protocol={name}: no such protocol or file; allowed are {known}, or a file of stages"
        )
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
    except (OmegaConfBaseException, YAMLError, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"protocol {path.name} cannot be read ({reason[:150]}); write YAML with a list stages"
        ) from error
    stages = content.get("stages") if isinstance(content, Mapping) else None
    if not isinstance(stages, Sequence) or isinstance(stages, str) or not stages:
        raise UserError(
            f"protocol {path.name}: it needs a list stages, each with its keys; see conf/protocol/quick.yaml"
        )
    made = tuple(_stage(path.name, number, stage) for number, stage in enumerate(stages, start=1))
    return Protocol(path.stem if path in shipped.values() else str(name), made, str(content.get("about", "")))


def _stage(file: str, number: int, content: Any) -> Stage:
    place = f"protocol {file}, stage {number}"
    if not isinstance(content, Mapping):
        raise UserError(f"{place}: it is no section of keys; write for example - temperature: 300")
    place += f" ({content['name']})" if content.get("name") else ""
    known = {field.name for field in fields(Stage)}
    if strange := sorted(set(map(str, content)) - known):
        raise UserError(f"{place}: unknown key '{strange[0]}'; its keys are {', '.join(sorted(known))}")
    kind = content.get("kind", MD)
    needless = sorted(set(content) - {"name", "kind", "engine"} - OWN.get(kind, known))
    if needless:
        raise UserError(f"{place}: a stage of kind {kind} has no {needless[0]}; leave it out")
    pairs = {name for name, field in Stage.__dataclass_fields__.items() if field.type in ("Pair", Pair)}
    values = {key: _pair(value) if key in pairs else value for key, value in content.items()}
    for key, value in values.items():
        _check_type(place, key, value)
    try:
        return Stage(**values)
    except UserError as error:
        raise UserError(f"{place}: {str(error).removeprefix('.')}") from None


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,)


def _check_type(place: str, key: str, value: Any) -> None:
    default = Stage.__dataclass_fields__[key].default
    about = settings_of(Stage)[key]
    for part in value if isinstance(value, tuple) else (value,):
        wants_text, number = isinstance(default, str), isinstance(part, int | float) and not isinstance(part, bool)
        right = isinstance(part, str) if wants_text else isinstance(part, bool) if isinstance(default, bool) else number
        if not right:
            wanted = "a text" if wants_text else "true or false" if isinstance(default, bool) else about.wanted()
            raise UserError(f"{place}: {key}={part}: give {wanted}")
