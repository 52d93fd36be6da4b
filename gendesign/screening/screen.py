"""Checks of candidates: of each one by itself (`screen_each`), then of all of them together (`screen_set`)."""

import atexit
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from ase import Atoms

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.processes.spread import Task
from gendesign.screening.accessibility import accessibility
from gendesign.screening.energetics import (
    ALL_STRAIN_METHODS,
    JUDGES,
    STRAIN_METHODS,
    Strain,
    judge_strain,
    load_judge,
    potential_strain,
    reference_strain,
    unmeasured,
)
from gendesign.screening.method import ScreeningContext, ScreeningSession
from gendesign.screening.plausibility import failed_checks, posebusters_verdict
from gendesign.screening.poses import PoseCheck
from gendesign.screening.references import known_molecules, reference_scores, table_rows
from gendesign.screening.rings import rings
from gendesign.screening.shape import ShapeCheck
from gendesign.screening.uncertainty import uncertainty
from gendesign.screening.uniqueness import INVALID, Reference, diversity, novelty, uniqueness
from gendesign.screening.validity import (
    PERIODIC,
    convergence,
    distances,
    identity,
    is_periodic,
    perceive_candidate,
    stability,
    validity,
)
from gendesign.screening.workers import Failure, Workers
from gendesign.structure.bonds import Perceived
from gendesign.structure.generator import PhaseReport, no_report
from gendesign.structure.macromolecules import is_macromolecule
from gendesign.structure.types import Candidate, TableRow, Verdict

if TYPE_CHECKING:  # torch takes seconds to import
    from gendesign.potential.protocol import PotentialLike

CHECKS = (
    "distances",
    "convergence",
    "stability",
    "validity",
    "posebusters",
    "strain",
    "rings",
    "accessibility",
    "uncertainty",
    "uniqueness",
    "novelty",
    "diversity",
)
HEADLINES = ("valid", "PoseBusters", "unique among valid", "novel among valid", "diversity")
POSEBUSTERS = ("mol", "mol_fast")


@dataclass(frozen=True)
class Screening:
    """Which checks run and how.

    `time_limit` counts for the checks of one candidate in worker processes together, and again for its strain under
    each potential. `zwitterions`: see structure.bonds.perceive; `shape_target` and `shape_least`: see screening.shape.
    Raises UserError for values out of bounds and for an unusable target.
    """

    checks: tuple[str, ...] = setting(CHECKS, "checks to run", allowed=CHECKS)
    posebusters: str = setting(
        "mol", "configuration of PoseBusters: mol, or mol_fast without the energy ratio", allowed=POSEBUSTERS
    )
    strain_methods: tuple[str, ...] = setting(STRAIN_METHODS, "methods that measure strain", allowed=ALL_STRAIN_METHODS)
    fmax: float = setting(0.02, "largest force after the relaxation that measures strain", unit="eV/Angstrom", above=0)
    max_steps: int = setting(200, "steps of that relaxation", least=1)
    workers: int = setting(
        1, "processes for PoseBusters, GFN2-xTB and PM6; 0: none, and no time limit", least=0, identity=False
    )
    time_limit: float = setting(
        120.0,
        "time for PoseBusters, GFN2-xTB and PM6 of one candidate, and again for its strain under each potential",
        unit="s",
        above=0,
    )
    zwitterions: bool = setting(
        False, "true: neutral molecules with formal charges anywhere (betaines, mesoions, ylides) count as valid"
    )
    uncertainty: str | None = setting(
        None, "folder of the potential's rigidity.yaml; null: beside the bundled checkpoint, if it has one"
    )
    energy_deviation: float | None = setting(
        None, "largest deviation of the energy that passes; null: 95 % of held-out structures pass",
        unit="eV per atom", above=0,
    )  # fmt: skip
    atom_deviation: float | None = setting(
        None, "largest deviation of one atom's energy that passes; null: 95 % of held-out structures pass",
        unit="eV", above=0,
    )  # fmt: skip
    host: str | None = setting(
        None, "protein or other host beside which candidates lie: contacts, clashes, hydrogen bonds, PoseBusters' dock",
        file=True,
    )  # fmt: skip
    host_residue: str | None = setting(
        None, "residue of the host's file that is taken out: NAME, NAME:CHAIN or NAME:CHAIN:NUMBER"
    )
    shape_target: str | None = setting(
        None, "molecule, points or closed mesh whose shape candidates are compared with, in place", file=True
    )
    shape_least: float | None = setting(
        None, "smallest shape Tanimoto that passes; null measures only", least=0, most=1
    )

    def __post_init__(self) -> None:
        for key in ("checks", "strain_methods"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        check_bounds(self, "screening")
        if self.shape_least is not None and self.shape_target is None:
            raise UserError(f"shape_least={self.shape_least} has nothing to compare with; give shape_target as well")
        if self.host_residue is not None and self.host is None:
            raise UserError(f"host_residue={self.host_residue} has no file to be taken out of; give host as well")
        self.shape, self.pose and self.pose.host  # noqa: B018  unusable files are named before anything runs

    @cached_property
    def shape(self) -> ShapeCheck | None:
        """The comparison with the target's shape, None without one."""
        return None if self.shape_target is None else ShapeCheck(self.shape_target, self.shape_least)

    @cached_property
    def pose(self) -> PoseCheck | None:
        """How candidates lie beside the host, None without one."""
        return None if self.host is None else PoseCheck(self.host, self.host_residue)

    @property
    def docks(self) -> bool:
        """Whether PoseBusters judges candidates beside the host, which it knows from PDB and mmCIF files only."""
        return self.host is not None and "posebusters" in self.checks and is_macromolecule(self.host)

    @property
    def needs_potential(self) -> bool:
        """Whether a check evaluates the potential."""
        strain = "strain" in self.checks and "potential" in self.strain_methods
        return strain or "uncertainty" in self.checks

    def open(self, context: ScreeningContext) -> "MoleculeScreening":
        """The screening of one run (screening/method.py). Raises UserError for a judge that is not installed."""
        for judge in set(_methods(self)) & set(JUDGES):
            load_judge(judge)
        # One set of processes for all checks; beside a GPU all workers of the run are idle otherwise.
        beside_gpu = context.potential.device.type != "cpu"
        count = max(self.workers, context.spread.count) if beside_gpu else self.workers
        return MoleculeScreening(
            self,
            context.potential,
            Workers(count, self.time_limit),
            partial(known_molecules, context.generator),
            {} if context.generator.own_references is not None else reference_scores(),
        )


DEFAULT = Screening()


def screen(
    candidates: Sequence[Candidate],
    *,
    potential: "PotentialLike | None" = None,
    settings: Screening = DEFAULT,
    reference: Reference | None = None,
) -> list[Verdict]:
    """All checks of `settings` on all candidates: any number of verdicts each, never an exception for a bad one."""
    verdicts = screen_each(candidates, potential=potential, settings=settings)
    return verdicts + screen_set(candidates, verdicts, settings=settings, reference=reference)


def screen_each(
    candidates: Sequence[Candidate],
    *,
    potential: "PotentialLike | None" = None,
    settings: Screening = DEFAULT,
    workers: Workers | None = None,
) -> list[Verdict]:
    """The checks that need one candidate only, in the order of the candidates.

    workers: processes that several calls share; without them they are started and stopped here. potential: needed for
    strain under the potential. Checks of molecules have `passed` None for periodic candidates.
    """
    if workers is None:
        with Workers(settings.workers, settings.time_limit) as started:
            return screen_each(candidates, potential=potential, settings=settings, workers=started)
    perceived = [None if is_periodic(c) else perceive_candidate(c, settings.zwitterions) for c in candidates]
    slow = _slow_checks(candidates, perceived, potential, settings, workers)
    deviations: dict[int, list[Verdict]] = {}
    if "uncertainty" in settings.checks:
        limits = settings.energy_deviation, settings.atom_deviation
        deviations = uncertainty(candidates, potential, settings.uncertainty, *limits)
    verdicts: list[Verdict] = []
    for i, (candidate, molecule) in enumerate(zip(candidates, perceived, strict=True)):
        if "distances" in settings.checks:
            verdicts += distances(candidate)
        if "convergence" in settings.checks:
            verdicts += convergence(candidate)
        verdicts += _molecular(candidate, molecule, settings) + slow[i] + deviations.get(i, [])
        for check in (settings.shape, settings.pose):
            verdicts += [] if check is None else check([candidate])
    return verdicts


def screen_set(
    candidates: Sequence[Candidate],
    verdicts: Sequence[Verdict],
    *,
    settings: Screening = DEFAULT,
    reference: Reference | None = None,
) -> list[Verdict]:
    """Uniqueness, novelty and diversity of all candidates together, from the SMILES among their `verdicts`."""
    texts = {(v.candidate, v.check): v.value for v in verdicts if isinstance(v.value, str)}
    indices = [candidate.index for candidate in candidates]
    keys = {i: texts.get((i, "smiles")) for i in indices}
    stereo = {i: texts.get((i, "smiles_stereo")) for i in indices}
    out = []
    if "uniqueness" in settings.checks:
        out += uniqueness(keys)
    if "novelty" in settings.checks:
        out += novelty(keys, stereo, reference)
    if "diversity" in settings.checks:
        out += diversity(keys)
    periodic = {candidate.index for candidate in candidates if is_periodic(candidate)}
    return [replace(v, reason=PERIODIC) if v.reason == INVALID and v.candidate in periodic else v for v in out]


def _molecular(candidate: Candidate, molecule: Perceived | None, settings: Screening) -> list[Verdict]:
    """The quick checks of molecules; `molecule` is None for periodic candidates."""
    if molecule is None:
        pairs = (("stability", "edm_molecule"), ("validity", "valid"))
        names = [name for check, name in pairs if check in settings.checks]
        formula = Verdict(candidate.index, "formula", None, candidate.atoms.get_chemical_formula("hill"))
        return [formula, *(Verdict(candidate.index, name, None, reason=PERIODIC) for name in names)]
    out = identity(candidate, molecule)
    if "stability" in settings.checks:
        out += stability(candidate)
    if "validity" in settings.checks:
        out += validity(candidate, molecule)
    if "rings" in settings.checks:
        out += rings(candidate, molecule)
    if "accessibility" in settings.checks:
        out += accessibility(candidate, molecule)
    return out


def _slow_checks(
    candidates: Sequence[Candidate],
    perceived: Sequence[Perceived | None],
    potential: "PotentialLike | None",
    settings: Screening,
    workers: Workers,
) -> list[list[Verdict]]:
    """PoseBusters and strain: of valid molecules by the workers; all others get the reason why not."""
    out: list[list[Verdict]] = [[] for _ in candidates]
    good = [i for i, molecule in enumerate(perceived) if molecule is not None and molecule.mol is not None]
    tasks: list[Task] = []
    places: list[tuple[int, str]] = []
    for i in good:
        atoms = candidates[i].atoms
        if "posebusters" in settings.checks:
            tasks.append((failed_checks, (_bare(atoms), settings.posebusters, settings.zwitterions)))
            places.append((i, "posebusters"))
        if settings.docks:
            beside = settings.zwitterions, settings.host, settings.host_residue
            tasks.append((failed_checks, (_bare(atoms), "dock", *beside)))
            places.append((i, "dock"))
        for method in _methods(settings):
            if method != "potential" and method not in JUDGES:
                tasks.append((reference_strain, (_bare(atoms), method, settings.fmax, settings.max_steps)))
                places.append((i, method))
    answers = dict(zip(places, workers.map(tasks, [i for i, _ in places]), strict=True))
    limit = workers.time_limit if workers.count else math.inf
    answers |= _potential_strains(candidates, good, potential, settings, limit)
    for i, candidate in enumerate(candidates):
        molecule = perceived[i]
        reason = PERIODIC if molecule is None else f"not valid: {molecule.reason}"
        if "posebusters" in settings.checks:
            out[i].append(posebusters_verdict(candidate.index, answers.get((i, "posebusters")), reason))
        if settings.docks:
            out[i].append(posebusters_verdict(candidate.index, answers.get((i, "dock")), reason, "dock"))
        for method in _methods(settings):
            out[i] += _strain_verdicts(candidate.index, method, answers.get((i, method), Strain(None, None, reason)))
    return out


def _potential_strains(
    candidates: Sequence[Candidate],
    good: Sequence[int],
    potential: "PotentialLike | None",
    settings: Screening,
    limit: float,
) -> dict[tuple[int, str], Strain]:
    """Strain of the candidates at positions `good` under the potential and the judges, by position and method.

    limit: seconds for a candidate under each of them.
    """
    molecules = [candidates[i] for i in good]
    how = settings.fmax, settings.max_steps, limit
    answers: dict[tuple[int, str], Strain] = {}
    for method in _methods(settings):
        if method in JUDGES:
            strains = judge_strain(molecules, method, *how)
        elif method != "potential":
            continue
        elif potential is None:
            strains = [Strain(None, None, "no potential given")] * len(good)
        else:
            strains = potential_strain(molecules, potential, *how)
        answers |= {(i, method): strain for i, strain in zip(good, strains, strict=True)}
    return answers


def _methods(settings: Screening) -> tuple[str, ...]:
    return settings.strain_methods if "strain" in settings.checks else ()


def _bare(atoms: Atoms) -> Atoms:
    """Without calculator and info, which other processes do not need."""
    return Atoms(atoms.numbers, atoms.positions)


def _strain_verdicts(index: int, method: str, answer: Strain | Failure) -> list[Verdict]:
    """Measurements; a number with a reason belongs to a relaxation that did not end in the molecule's own minimum."""
    strain = unmeasured(answer) if isinstance(answer, Failure) else answer
    return [
        Verdict(index, f"strain_{method}", None, strain.energy, "kcal/mol", strain.reason),
        Verdict(index, f"rmsd_{method}", None, strain.rmsd, "Angstrom", strain.reason),
    ]


@dataclass(frozen=True)
class MoleculeScreening(ScreeningSession):
    """The screening of one run of molecules: its processes, and what candidates are compared with.

    known: returns the molecules that do not count as novel; scores: the references' own scores, by row of the table.
    """

    settings: Screening
    potential: "PotentialLike"
    workers: Workers
    known: Callable[[], Reference | None]
    scores: Mapping[str, float]

    def __post_init__(self) -> None:
        atexit.register(self.workers.close)

    @cached_property
    def reference(self) -> Reference | None:
        """Molecules that do not count as novel, read when the first set is screened: they are tens of thousands."""
        return self.known()

    def screen_each(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """See the function `screen_each`."""
        return screen_each(candidates, potential=self.potential, settings=self.settings, workers=self.workers)

    def screen_set(
        self, candidates: Sequence[Candidate], verdicts: Sequence[Verdict], phase: PhaseReport = no_report
    ) -> list[Verdict]:
        """See the function `screen_set`."""
        return screen_set(candidates, verdicts, settings=self.settings, reference=self.reference)

    def summarise(self, verdicts: Sequence[Verdict], n: int) -> list[TableRow]:
        """Shares and medians, each with the references' own."""
        return table_rows(verdicts, n, self.scores)

    @property
    def headlines(self) -> Sequence[str]:
        """Validity, novelty, diversity, and the strain under a method that did not make the molecules."""
        independent = [method for method in self.settings.strain_methods if method != "potential"]
        method = next(iter(independent), "potential")
        return (*HEADLINES, f"median strain {method}")

    def close(self) -> None:
        """Stop the processes of the checks."""
        self.workers.close()
        atexit.unregister(self.workers.close)
