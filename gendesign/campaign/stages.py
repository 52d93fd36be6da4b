"""The stages of a campaign: what is computed for candidates, with the columns that it makes.

Each class is the `_target_` of a file in conf/stage. Heavy imports wait until a stage is opened.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ase import Atoms

from gendesign.errors import UserError
from gendesign.fields import check_bounds, section, setting
from gendesign.structure.types import Candidate, Verdict
from gendesign.train.teacher import Teacher

if TYPE_CHECKING:  # torch takes seconds to import, and settings are read without it
    import numpy as np

    from gendesign.potential.protocol import PotentialLike
    from gendesign.structure.generator import Generator

COMMON = frozenset({"formula", "smiles", "smiles_stereo"})  # of every check of molecules
MADE_BY = {  # columns by check of the screening of molecules
    "distances": ("distances",),
    "convergence": ("converged",),
    "stability": ("edm_atoms", "edm_molecule"),
    "validity": ("valid",),
    "posebusters": ("posebusters",),
    "rings": ("ring_sizes", "small_rings"),
    "accessibility": ("sa_score", "unstable_groups"),
    "uncertainty": ("uncertainty", "uncertainty_atom"),
}
TOGETHER = ("uniqueness", "novelty", "diversity")  # these compare candidates: a campaign does so between its stages


@dataclass(frozen=True)
class Lent:
    """What a worker lends a stage: the potential, the generator of the run (made on first use), a scratch folder.

    kept: a folder of the run for numbers that are computed once, or None.
    """

    potential: "PotentialLike"
    generator: Callable[[], "Generator"]
    scratch: Path
    kept: Path | None = None


@dataclass
class Outcome:
    """Candidates in the order given, their verdicts, and arrays (candidates, ...) by name."""

    candidates: list[Candidate]
    verdicts: list[Verdict]
    arrays: dict[str, "np.ndarray"] = field(default_factory=dict)


Measure = Callable[[Sequence[Candidate]], Outcome]


class CampaignStage(ABC):
    """What is done to candidates. Subclasses are frozen dataclasses of settings.

    changes: whether structures change. needs_potential: whether the identity of the stage holds the model's weights.
    """

    changes: ClassVar[bool] = False

    @property
    def needs_potential(self) -> bool:
        """Whether the potential is evaluated."""
        return False

    @property
    def per_run(self) -> bool:
        """Whether it asks for the generator, so that it is opened once for every run."""
        return False

    @property
    @abstractmethod
    def columns(self) -> frozenset[str]:
        """The checks of its verdicts, which filters and objectives may name."""

    def check(self) -> None:  # noqa: B027  most stages need nothing beside the package
        """Raise UserError unless everything that the stage needs is installed."""

    @property
    def about(self) -> str:
        """What the identity of the stage holds beside its settings."""
        return ""

    @abstractmethod
    def open(self, lent: Lent) -> Measure:
        """The function that measures candidates, a few at a time."""


@dataclass(frozen=True)
class Checks(CampaignStage):
    """The checks of a screening that need one candidate only."""

    screening: Any = section("gendesign.screening.Screening")

    def __post_init__(self) -> None:
        together = [name for name in self._molecular if name in TOGETHER]
        if together:
            raise UserError(
                f"screening.checks={','.join(together)} compares candidates with each other; "
                "leave it out and give unique=inchikey or by=[...] to the next stage"
            )

    @property
    def _molecular(self) -> tuple[str, ...]:
        return tuple(getattr(self.screening, "checks", ()))

    @property
    def needs_potential(self) -> bool:
        return bool(self.screening.needs_potential)

    @property
    def per_run(self) -> bool:
        return not hasattr(self.screening, "checks")

    @property
    def columns(self) -> frozenset[str]:
        if not hasattr(self.screening, "checks"):
            from gendesign.screening.perovskite import COMPARED, MEASURES

            compared = {check for key, check in COMPARED.items() if getattr(self.screening, key, 0)}
            return frozenset({"formula", "network", "cations", "valid", "distances", "converged", *MEASURES, *compared})
        names = {column for check in self._molecular for column in MADE_BY.get(check, ())}
        if "strain" in self._molecular:
            names |= {f"{what}_{method}" for what in ("strain", "rmsd") for method in self.screening.strain_methods}
        if self.screening.shape is not None:
            from gendesign.screening.shape import NAME

            names.add(NAME)
        return COMMON | names

    def check(self) -> None:
        if hasattr(self.screening, "strain_methods"):
            from gendesign.screening.energetics import JUDGES, load_judge

            for judge in set(self.screening.strain_methods if "strain" in self._molecular else ()) & set(JUDGES):
                load_judge(judge)

    def open(self, lent: Lent) -> Measure:
        if hasattr(self.screening, "checks"):
            return self._molecules(lent)
        from gendesign.screening import ScreeningContext

        session = self.screening.open(ScreeningContext(lent.generator(), lent.potential, lent.kept or lent.scratch))

        def measure(candidates: Sequence[Candidate]) -> Outcome:
            verdicts = session.screen_each(candidates)
            if hasattr(session, "compare_each"):
                verdicts += session.compare_each(verdicts)
            return Outcome(list(candidates), verdicts)

        return measure

    def _molecules(self, lent: Lent) -> Measure:
        from gendesign.screening.screen import screen_each
        from gendesign.screening.workers import Workers

        workers = Workers(self.screening.workers, self.screening.time_limit)

        def measure(candidates: Sequence[Candidate]) -> Outcome:
            how = dict(potential=lent.potential, settings=self.screening, workers=workers)
            return Outcome(list(candidates), screen_each(candidates, **how))

        return measure


@dataclass(frozen=True)
class RelaxStage(CampaignStage):
    """Relaxation under the potential, beside the generator's environment if it has one."""

    changes: ClassVar[bool] = True
    relaxation: Any = section("gendesign.relaxation.Relaxation")

    @property
    def needs_potential(self) -> bool:
        return True

    @property
    def per_run(self) -> bool:
        return True

    @property
    def columns(self) -> frozenset[str]:
        return frozenset({"converged", "energy", "energy_per_atom"})

    def open(self, lent: Lent) -> Measure:
        from gendesign.processes import SERIAL
        from gendesign.run.conditions import relaxing
        from gendesign.screening.validity import convergence

        relax = relaxing(lent.generator().environment, lent.potential, self.relaxation, SERIAL)

        def measure(candidates: Sequence[Candidate]) -> Outcome:
            relaxed = relax(candidates, lambda done, total: None)
            verdicts = [v for c in relaxed for v in (*convergence(c), *energies(c))]
            return Outcome(relaxed, verdicts)

        return measure


@dataclass(frozen=True)
class Dock(CampaignStage):
    """PoseBusters beside a protein (its configuration `dock`): geometry, internal energy, distances and overlap."""

    host: str | None = setting(None, "PDB file of the protein without the ligand that is replaced", file=True)
    workers: int = setting(1, "processes for PoseBusters; 0: none, and no time limit", least=0, identity=False)
    time_limit: float = setting(120.0, "time for one candidate", unit="s", above=0)

    def __post_init__(self) -> None:
        check_bounds(self, "dock")

    @property
    def columns(self) -> frozenset[str]:
        return frozenset({"dock"})

    @cached_property
    def about(self) -> str:
        return hashlib.sha256(Path(str(self.host)).read_bytes()).hexdigest()

    def check(self) -> None:
        if self.host is None or not Path(self.host).is_file():
            raise UserError(f"host={self.host}: give the PDB file of a protein; python -m gendesign.campaign.pockets "
                            "FOLDER writes four")  # fmt: skip
        from gendesign.screening.plausibility import read_host

        read_host(self.host)

    def open(self, lent: Lent) -> Measure:
        from gendesign.screening.plausibility import failed_checks, posebusters_verdict
        from gendesign.screening.workers import Workers

        workers = Workers(self.workers, self.time_limit)

        def measure(candidates: Sequence[Candidate]) -> Outcome:
            atoms = [Atoms(candidate.atoms.numbers, candidate.atoms.positions) for candidate in candidates]
            answers = workers.map([(failed_checks, (one, "dock", False, self.host)) for one in atoms])
            verdicts = [posebusters_verdict(candidate.index, answer, check="dock")
                        for candidate, answer in zip(candidates, answers, strict=True)]  # fmt: skip
            return Outcome(list(candidates), verdicts)

        return measure


def energies(candidate: Candidate, suffix: str = "") -> list[Verdict]:
    """The energy (eV) that a candidate has in `info`, and its share per atom."""
    energy = candidate.info.get("energy")
    if energy is None or not len(candidate.atoms):
        return []
    per_atom = float(energy) / len(candidate.atoms)
    return [
        Verdict(candidate.index, f"energy{suffix}", None, float(energy), "eV"),
        Verdict(candidate.index, f"energy_per_atom{suffix}", None, per_atom, "eV"),
    ]


@dataclass(frozen=True)
class Descriptors(CampaignStage):
    """The mean descriptor of a candidate's atoms under the potential, for distances between candidates."""

    layers: int = setting(1, "layers of the potential whose descriptors are used", least=1)

    def __post_init__(self) -> None:
        check_bounds(self, "descriptors")

    @property
    def needs_potential(self) -> bool:
        return True

    @property
    def columns(self) -> frozenset[str]:
        return frozenset({"described"})

    def open(self, lent: Lent) -> Measure:
        import numpy as np

        def measure(candidates: Sequence[Candidate]) -> Outcome:
            batch = [candidate.atoms for candidate in candidates]
            rows = lent.potential.descriptors(batch, layers=self.layers).detach().cpu().numpy()
            ends = np.cumsum([len(atoms) for atoms in batch])[:-1]
            means = np.array([part.mean(axis=0) for part in np.split(rows, ends)], dtype=np.float32)
            verdicts = [Verdict(candidate.index, "described", True) for candidate in candidates]
            return Outcome(list(candidates), verdicts, {"descriptors": means})

        return measure


@dataclass(frozen=True)
class LabelStage(CampaignStage):
    """Energy and forces of a teacher: xTB, DFT, or any calculator (teacher.potential=module:function)."""

    teacher: Teacher = section("gendesign.train.teachers.semiempirical.Tblite")
    name: str = setting("teacher", "ending of its columns, such as energy_teacher")
    max_force: float = setting(60.0, "largest force of a structure that counts", unit="eV/Angstrom", above=0)

    def __post_init__(self) -> None:
        check_bounds(self, "label")

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(f"{what}_{self.name}" for what in ("energy", "energy_per_atom", "fmax", "labelled"))

    @cached_property
    def about(self) -> str:
        return str(self.teacher.about)

    def check(self) -> None:
        self.teacher.check(frozenset({"H"}) if "H" in (self.teacher.elements() or {"H"}) else frozenset())

    def open(self, lent: Lent) -> Measure:
        from gendesign.train.teacher import label

        def measure(candidates: Sequence[Candidate]) -> Outcome:
            verdicts: list[Verdict] = []
            for candidate in candidates:
                refused = self.teacher.refuse(candidate.atoms)
                answer = {"failure": refused} if refused else self._label(label, candidate, lent.scratch)
                verdicts += self._verdicts(candidate, answer)
            return Outcome(list(candidates), verdicts)

        return measure

    def _label(self, label: Callable[..., Any], candidate: Candidate, scratch: Path) -> Mapping[str, Any]:
        import numpy as np

        done = label(self.teacher, candidate.atoms, self.max_force, scratch)
        if "failure" in done.info:
            return {"failure": done.info["failure"]}
        return {"energy": done.info["energy"], "fmax": float(np.linalg.norm(done.arrays["forces"], axis=1).max())}

    def _verdicts(self, candidate: Candidate, answer: Mapping[str, Any]) -> list[Verdict]:
        index, name = candidate.index, self.name
        reason = str(answer.get("failure", ""))
        out = [Verdict(index, f"labelled_{name}", not reason, reason=reason)]
        if reason:
            return out
        energy = float(answer["energy"])
        return [
            *out,
            Verdict(index, f"energy_{name}", None, energy, "eV"),
            Verdict(index, f"energy_per_atom_{name}", None, energy / len(candidate.atoms), "eV"),
            Verdict(index, f"fmax_{name}", None, answer["fmax"], "eV/Angstrom"),
        ]
