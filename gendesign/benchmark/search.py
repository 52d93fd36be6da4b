"""The searches of the perovskite benchmark. Each one has a results folder, which the same command completes.

A search does the same as `gendesign generate generator=perovskite`, with the number of starts and the cells of the
benchmark. The number of model calls is stored among the verdicts, so that it is known for interrupted runs too.
"""

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from omegaconf import DictConfig, OmegaConf

from gendesign.errors import UserError
from gendesign.generate.perovskite.build import units
from gendesign.generate.perovskite.compound import Compound, compose
from gendesign.generate.perovskite.known_cell import KnownCell
from gendesign.generate.perovskite.settings import Composition, RandomStarts
from gendesign.potential.adapters import TorchSimModel
from gendesign.potential.protocol import PotentialLike
from gendesign.potential.zoo import hash_of
from gendesign.run import pipeline
from gendesign.run.build import Structures, build_stages, make
from gendesign.run.folder import check_folder, open_folder
from gendesign.run.merge import CANDIDATES, VERDICTS
from gendesign.run.progress import Bar
from gendesign.run.records import read_candidates, read_verdicts
from gendesign.run.settings import resolve
from gendesign.run.stages import Stages
from gendesign.screening.perovskite import COPY, STOPPED
from gendesign.structure.graph import Batch
from gendesign.structure.types import Candidate, Prediction, Verdict

CALLS, EVALUATIONS = "model_calls", "structure_evaluations"
NO_FAILURE = (STOPPED, COPY)  # beginnings of the reasons of candidates that are intact


class Metered:
    """A potential that counts its calls and the structures in them."""

    def __init__(self, potential: PotentialLike) -> None:
        self.potential, self.calls, self.structures = potential, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.potential, name)

    def as_torchsim(self, *, stress: bool = False) -> TorchSimModel:
        """A torch-sim model whose calls are counted."""
        return TorchSimModel(self, stress)

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """Evaluate the potential and count the call; see `PotentialLike.evaluate`."""
        self.calls += 1
        self.structures += structures.n_systems if isinstance(structures, Batch) else len(structures)
        return self.potential.evaluate(structures, stress=stress)

    def read(self, index: int) -> list[Verdict]:
        """Both counts since the last reading, as verdicts of candidate `index`."""
        counts = {CALLS: self.calls, EVALUATIONS: self.structures}
        self.calls = self.structures = 0
        return [Verdict(index, check, None, float(count)) for check, count in counts.items() if count]


@dataclass(frozen=True)
class Material:
    """A layered perovskite by its cation (SMILES or file), metal and halide."""

    cation: str
    metal: str
    halide: str

    @classmethod
    def parse(cls, text: str) -> "Material":
        """A material from "CATION METAL HALIDE". Raises UserError for any other text."""
        words = str(text).split()
        if len(words) != 3:
            raise UserError(
                f"perovskites.compositions: '{text}' is not CATION METAL HALIDE; write such as CCCC[NH3+] Pb I"
            )
        return cls(*words)

    @property
    def text(self) -> str:
        """The material as "CATION METAL HALIDE"."""
        return f"{self.cation} {self.metal} {self.halide}"

    @property
    def compound(self) -> Compound:
        """The compound that the generator builds."""
        return compose(Composition(self.cation, self.metal, self.halide))

    @property
    def atoms(self) -> int:
        """Atoms per formula unit."""
        compound = self.compound
        return compound.spacers * len(compound.cation.numbers) + compound.metals + compound.sites

    @property
    def folder(self) -> str:
        """The text as a valid name of a folder."""
        plain = re.sub(r"[/\\]", lambda slash: "%" + format(ord(slash[0]), "X"), self.text)  # E and Z differ in these
        return re.sub(r"[^\w.=,+%-]", "_", plain)


@dataclass(frozen=True)
class Search:
    """One search.

    settings: those of `gendesign generate`. path: results folder. structures: existing structures to relax instead of
    random starts, or None.
    """

    settings: DictConfig
    path: Path
    structures: tuple[Candidate, ...] | None = None

    def identity(self, weights: str) -> dict[str, Any]:
        """The settings, files and weights that identify the search."""
        keys = ["generator", "relaxation", "screening", "dtype"]
        keys += ["n", "seed", "shard_size"] if self.structures is None else []  # nothing is drawn if structures exist
        settings = OmegaConf.to_container(self.settings, resolve=True)
        files = {} if self.structures is None else {"structures": digest([c.atoms for c in self.structures])}
        cation = Path(os.path.expanduser(str(settings["generator"]["composition"]["cation"])))
        files |= {"cation": hash_of(cation)} if cation.is_file() else {}
        chosen = {key: settings[key] for key in keys}
        return {"verb": "benchmark perovskites", "settings": chosen, "files": files, "weights": weights}

    def check(self, potential: PotentialLike) -> None:
        """Raise UserError for settings and folders that this search cannot use, before any search starts."""
        check_folder(self.path, self.identity(potential.weights_hash))
        if self.structures is None:
            make(self.settings.generator, potential=potential)

    def stages(self, potential: PotentialLike) -> tuple[Stages, int]:
        """The stages of the search and the number of candidates."""
        generator = None if self.structures is None else Structures(self.structures, "given")
        return build_stages(self.settings, [], potential, generator)

    def run(self, potential: PotentialLike) -> "SearchResult":
        """Complete the search in its folder and return the result."""
        settings, meter = self.settings, Metered(potential)
        stages, n = self.stages(meter)
        print(f"{self.path.parent.name} {self.path.name}: {n} starts into {self.path}", file=sys.stderr)
        with (
            open_folder(self.path, self.identity(potential.weights_hash)) as folder,
            Bar(n, settings.shard_size, stages.names) as bar,
        ):
            done = pipeline.run(
                _counted(stages, meter), folder, n=n, seed=settings.seed, shard_size=settings.shard_size, progress=bar
            )
        return SearchResult.read(self.path, done["timings"]["seconds"])


@dataclass(frozen=True)
class SearchResult:
    """The result and the cost of a search.

    ranked: unique intact structures in ascending order of energy. starts: number of random starts. failures: starts
    that broke, exploded or could not be placed, without those eliminated by halving and copies. calls, evaluations:
    model calls, and structures in them. minutes: time of all finished shards.
    """

    ranked: tuple[Candidate, ...]
    starts: int
    failures: int
    calls: int
    evaluations: int
    minutes: float

    @classmethod
    def read(cls, path: Path, seconds: dict[str, float]) -> "SearchResult":
        """Read the result from a completed results folder; `seconds` are those of its stages."""
        verdicts = read_verdicts(path / VERDICTS)
        candidates = {c.index: c for c in read_candidates(path / CANDIDATES, verdicts)}
        checks = ("rank", "valid", "finished")
        rank, valid, finished = ({v.candidate: v for v in verdicts if v.check == check} for check in checks)
        ranks = sorted((verdict.value, index) for index, verdict in rank.items() if valid[index].passed)
        reasons = [v.reason for v in finished.values() if not v.passed]
        broken = sum(v.passed is False and finished[i].passed is True for i, v in valid.items())
        counts = {check: sum(int(v.value) for v in verdicts if v.check == check) for check in (CALLS, EVALUATIONS)}
        return cls(
            tuple(candidates[index] for _, index in ranks),
            len(candidates),
            broken + sum(not reason.startswith(NO_FAILURE) for reason in reasons),
            counts[CALLS],
            counts[EVALUATIONS],
            sum(seconds.values()) / 60,
        )

    @property
    def best(self) -> Candidate | None:
        """The structure of lowest energy, None without any."""
        return self.ranked[0] if self.ranked else None

    @property
    def best_converged(self) -> Candidate | None:
        """The structure of lowest energy whose relaxation converged, None without any."""
        return next((candidate for candidate in self.ranked if candidate.info["converged"]), None)


def settings_for(material: Material, cell: str, config: DictConfig, seed: int | None = None) -> DictConfig:
    """Settings of `gendesign generate generator=perovskite` for a material with the values of the benchmark.

    cell: the in-plane cell. seed: that of the benchmark by default.
    """
    benchmark, settings = config.perovskites, resolve("generate", ["generator=perovskite"])
    changed = {
        "n": benchmark.starts, "shard_size": benchmark.shard_size, "dtype": config.dtype,
        "seed": config.seed if seed is None else seed,
        "generator": {
            "composition": {"cation": material.cation, "metal": material.metal, "halide": material.halide},
            "start": {"cells": [cell]},
            "halving": {key: benchmark[key] for key in ("rounds", "steps", "max_atoms")},
        },
        "relaxation": {key: benchmark[key] for key in ("fmax", "max_stress", "max_steps", "max_atoms")},
        "screening": {"decomposition": 0, "competing_phases": 0},  # they cost minutes and change no rank
    }  # fmt: skip
    return OmegaConf.merge(settings, changed)


def in_known_cell(search: Search, known: KnownCell, place: str, starts: int) -> Search:
    """A search for the same material in a fixed published cell with `starts` starts; `place` names its folder."""
    changed = {
        "n": starts, "shard_size": starts, "relaxation": {"cell": False},
        "generator": {"start": {"known_cell": list(known.parameters), "space_group": known.group}},
    }  # fmt: skip
    return Search(OmegaConf.merge(search.settings, changed), search.path.with_name(place))


def fitting_cell(material: Material, allowed: Sequence[str | int] | str | int, most: int) -> str:
    """The first of the `allowed` cells that holds at most `most` atoms. Raises UserError if there is none."""
    compound, atoms = material.compound, material.atoms
    names = RandomStarts(cells=allowed).cells  # raises UserError for unknown cells
    fitting = next((cell for cell in names if units(compound, cell) * atoms <= most), None)
    if fitting is None:
        raise UserError(
            f"perovskites.most_atoms={most}: {material.text} has {atoms} atoms per formula unit, which fit into none "
            f"of the cells {', '.join(names)}; give a larger number, a smaller cell, or leave the composition out"
        )
    return fitting


def _counted(stages: Stages, meter: Metered) -> Stages:
    """The same stages, with the counts of model calls among the verdicts of each shard."""
    screen = stages.screen
    return replace(stages, screen=lambda few: [*screen(few), *meter.read(few[0].index)])


def digest(structures: Sequence[Atoms]) -> str:
    """A hash of numbers, positions and cells, to 1e-6 Angstrom."""
    parts = [(a.numbers.tolist(), np.round(a.positions, 6).tolist(), np.round(a.cell.array, 6).tolist())
             for a in structures]  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()
