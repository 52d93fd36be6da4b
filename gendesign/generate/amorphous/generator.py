"""Amorphous: models of glasses and amorphous solids by melting and quenching, or by similarity to references."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from ase import Atoms

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.amorphous.protocol import CUT, LAMMPS, PACK, Protocol, load_protocol
from gendesign.generate.amorphous.similarity import Annealing, SimilarityRoute
from gendesign.generate.amorphous.stages import Bench, run_protocol
from gendesign.generate.amorphous.starts import RANDOM, Starts
from gendesign.lammps.locate import executable
from gendesign.lammps.models import load_model
from gendesign.potential.domain import AMORPHOUS
from gendesign.potential.protocol import PotentialLike
from gendesign.structure.cells import density
from gendesign.structure.generator import ALONE, Generator, ShardContext
from gendesign.structure.types import Candidate

QUENCH, SIMILARITY = "quench", "similarity"


@dataclass(frozen=True)
class Amorphous(Generator):
    """Generator of amorphous models.

        generator = Amorphous(load_potential("diep"), formula="SiO2", n_atoms=216, protocol="quick")
        models = list(generator.generate(range(8), seed=0))

    Every candidate states the stages that made it in its history and in info: cooling_rate (K/ps, the slowest), density
    (g/cm3), protocol, start. Raises UserError, before anything is computed, for settings that make no sense, elements
    that a potential of a stage lacks, and an engine that is not installed.
    """

    potential: PotentialLike
    formula: str | None = setting(None, "formula such as SiO2, Si2O3 or Si, or a ratio such as Si:O=1:1.5")
    n_atoms: int | None = setting(None, "atoms of a model; null: about 216, or as many as the file has", least=2)
    density: float | None = setting(
        None, "density at the start; null: measured for Si and SiO2 (between them for SiO_x), or that of the file",
        unit="g/cm3", above=0,
    )  # fmt: skip
    start: str = setting(
        RANDOM, "where a model begins: random (packing), diamond, quartz, cristobalite, beta_cristobalite, or a file",
        file=True,
    )  # fmt: skip
    min_distances: tuple[str, ...] = setting(
        (), "minimum distances of a random packing by pair, such as [Si-O=1.5,O-O=2.1]", unit="Angstrom"
    )
    route: str = setting(
        QUENCH, "quench runs the protocol; similarity anneals towards reference environments, without melting",
        allowed=(QUENCH, SIMILARITY),
    )  # fmt: skip
    protocol: str = setting(
        "melt_quench",
        "stages of the quench: a name of conf/protocol (quick, silicon_slow, silica_slow, ...), or a file",
        file=True,
    )  # fmt: skip
    max_atoms: int = setting(4000, "atoms per batch of molecular dynamics, which bounds the memory", least=1)
    similarity: Annealing | None = field(default_factory=Annealing)
    name: str = "amorphous"
    kind: ClassVar[str] = AMORPHOUS

    def __post_init__(self) -> None:
        check_bounds(self, "generator")
        self.starts.check()
        self.potential.require_elements(self.starts.elements)
        if self.route == SIMILARITY:
            _ = self.by_similarity
        else:
            self._check_engines()

    @cached_property
    def starts(self) -> Starts:
        """The first structures."""
        return Starts(self.formula, self.n_atoms, self.density, self.start, tuple(self.min_distances))

    @cached_property
    def stages(self) -> Protocol:
        """The protocol of the quench."""
        return load_protocol(self.protocol)

    @cached_property
    def by_similarity(self) -> SimilarityRoute:
        """The route without melting."""
        if self.similarity is None:
            raise UserError("generator.route=similarity needs generator/similarity=annealing; leave null out")
        return SimilarityRoute.of(self.similarity, self.potential, self.starts)

    @property
    def holds_cell(self) -> str:
        """Fixed atoms, and directions without a lattice, in a start or after a stage of kind cut."""
        if any(atoms.constraints for atoms in self.starts.structures):
            return "the start has fixed atoms"
        if not all(atoms.pbc.all() for atoms in self.starts.structures):
            return "the start is not periodic in all three directions"
        opened = None if self.route == SIMILARITY else self.stages.opens_cell
        return "" if opened is None else f"stage {opened.title} of the protocol opens the cell along z"

    @property
    def required_elements(self) -> Sequence[str]:
        """Symbols of the models."""
        return self.starts.elements

    def prepare(self) -> None:
        """Describe the references of the similarity route before workers inherit them."""
        if self.route == SIMILARITY:
            _ = self.by_similarity.environments

    def generate_in_run(self, indices: Sequence[int], *, seed: int, context: ShardContext) -> Iterator[Candidate]:
        """`generate` with the kept steps and the progress of the run."""
        return self.generate(indices, seed=seed, context=context)

    def generate(self, indices: Sequence[int], *, seed: int, context: ShardContext = ALONE) -> Iterator[Candidate]:
        """A candidate for every index; all models of a call run together. What `context` holds is not made again."""
        if not len(indices):
            return
        starts = context.get_or_make("starts", lambda: self._starts(indices, seed, context))
        if self.route == SIMILARITY:
            models = self.by_similarity.run(starts, seed, context)
        else:
            bench = Bench(self.potential, self.starts, seed, context, self.max_atoms)
            models = run_protocol(starts, self.stages, bench)
        for model in models:
            yield replace(model, atoms=_plain(model.atoms), info={**model.info, **self._about(model.atoms)})

    def _starts(self, indices: Sequence[int], seed: int, context: ShardContext) -> list[Candidate]:
        out = []
        for done, index in enumerate(indices):
            context.phase("starts", done, len(indices))
            atoms = self.starts.make(index, seed)
            failure = None if atoms is not None else f"no packing at {self.starts.packed_density:g} g/cm3 was found"
            begun = "packed at random" if self.start == RANDOM else f"started from {self.start}"
            out.append(Candidate(atoms or Atoms(), index, self.name, seed, history=(begun,), failure=failure))
        return out

    def _about(self, atoms: Atoms) -> dict[str, Any]:
        """What info says of a model."""
        about: dict[str, Any] = {"route": self.route, "start": self.start}
        if self.route == QUENCH:
            about["protocol"] = self.stages.name
            if self.stages.cooling_rate is not None:
                about["cooling_rate"] = self.stages.cooling_rate
        if len(atoms) and all(atoms.pbc):
            about["density_before_relaxation"] = density(atoms)
        return about

    def _check_engines(self) -> None:
        """Raise UserError for a stage of LAMMPS that cannot run, and a stage that needs a closed cell and has none."""
        opened = False
        for stage in self.stages.stages:
            opened = (opened or stage.kind == CUT) and stage.kind != PACK
            if opened and stage.changes_cell:
                raise UserError(
                    f"generator.protocol={self.protocol}: stage {stage.title} changes the cell, which an earlier stage "
                    "of kind cut opened; give ensemble=langevin, or cell=false for a relaxation"
                )
        for stage in self.stages.stages:
            if stage.engine == LAMMPS and stage.model:
                try:
                    model = load_model(stage.model)
                except UserError as error:
                    raise UserError(f"generator.protocol={self.protocol}, stage {stage.title}: {error}") from None
                if lacking := sorted(set(self.starts.elements) - set(model.elements)):
                    raise UserError(
                        f"generator.protocol={self.protocol}: model {model.name} of stage {stage.title} has no "
                        f"{', '.join(lacking)}, only {', '.join(model.elements)}; choose another protocol"
                    )
        if self.stages.models:
            executable()


def _plain(atoms: Atoms) -> Atoms:
    """The model at rest: velocities and results of the last stage are not those of the run's potential at 0 K."""
    out = atoms.copy()
    if out.has("momenta"):
        del out.arrays["momenta"]
    return out
