"""Judge candidates: what each one is by itself (`screen_each`), then what it is in its set (`screen_set`)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.screening.accessibility import accessibility
from gendesign.screening.energetics import (
    NOT_MEASURED,
    STRAIN_METHODS,
    Strain,
    potential_strain,
    reference_strain,
    unmeasured,
)
from gendesign.screening.plausibility import failed_checks
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
from gendesign.structure.types import Candidate, Verdict

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
POSEBUSTERS = ("mol", "mol_fast")


@dataclass(frozen=True)
class Screening:
    """Which checks run and how.

    `time_limit` counts for the checks of one candidate in worker processes together, and again for its strain under
    the potential. `zwitterions`: see structure.bonds.perceive; `shape_target` and `shape_least`: see screening.shape.
    Raises UserError for values out of bounds and for a target that cannot be used.
    """

    checks: tuple[str, ...] = setting(CHECKS, "checks to run", allowed=CHECKS)
    posebusters: str = setting(
        "mol", "configuration of PoseBusters: mol, or mol_fast without the energy ratio", allowed=POSEBUSTERS
    )
    strain_methods: tuple[str, ...] = setting(STRAIN_METHODS, "methods that measure strain", allowed=STRAIN_METHODS)
    fmax: float = setting(0.02, "largest force after the relaxation that measures strain", unit="eV/Angstrom", above=0)
    max_steps: int = setting(200, "steps of that relaxation", least=1)
    workers: int = setting(
        1, "processes for PoseBusters, GFN2-xTB and PM6; 0: none, and no time limit", least=0, identity=False
    )
    time_limit: float = setting(
        120.0,
        "time for PoseBusters, GFN2-xTB and PM6 of one candidate, and again for its strain under the potential",
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
        self.shape  # noqa: B018  a target that cannot be used is named before anything runs

    @cached_property
    def shape(self) -> ShapeCheck | None:
        """The comparison with the target's shape, None without one."""
        return None if self.shape_target is None else ShapeCheck(self.shape_target, self.shape_least)


DEFAULT = Screening()


def screen(
    candidates: Sequence[Candidate],
    *,
    potential=None,
    settings: Screening = DEFAULT,
    reference: Reference | None = None,
) -> list[Verdict]:
    """All checks of `settings` on all candidates; any number of verdicts each, and never an exception for a bad one."""
    verdicts = screen_each(candidates, potential=potential, settings=settings)
    return verdicts + screen_set(candidates, verdicts, settings=settings, reference=reference)


def screen_each(
    candidates: Sequence[Candidate],
    *,
    potential=None,
    settings: Screening = DEFAULT,
    workers: Workers | None = None,
) -> list[Verdict]:
    """The checks that need one candidate only, in the order of the candidates.

    `workers` lets several calls share their processes; without it they are started and stopped here. Strain under the
    potential needs `potential`. Periodic candidates get the generic checks; molecular ones pass None there.
    """
    if workers is None:
        with Workers(settings.workers, settings.time_limit) as own:
            return screen_each(candidates, potential=potential, settings=settings, workers=own)
    perceived = [None if is_periodic(c) else perceive_candidate(c, settings.zwitterions) for c in candidates]
    slow = _slow_checks(candidates, perceived, potential, settings, workers)
    unsure = {}
    if "uncertainty" in settings.checks:
        limits = settings.energy_deviation, settings.atom_deviation
        unsure = uncertainty(candidates, potential, settings.uncertainty, *limits)
    verdicts = []
    for i, (candidate, found) in enumerate(zip(candidates, perceived, strict=True)):
        if "distances" in settings.checks:
            verdicts += distances(candidate)
        if "convergence" in settings.checks:
            verdicts += convergence(candidate)
        verdicts += _molecular(candidate, found, settings) + slow[i] + unsure.get(i, [])
        if settings.shape is not None:
            verdicts += settings.shape([candidate])
    return verdicts


def screen_set(
    candidates: Sequence[Candidate],
    verdicts: Sequence[Verdict],
    *,
    settings: Screening = DEFAULT,
    reference: Reference | None = None,
) -> list[Verdict]:
    """Uniqueness, novelty and diversity of all candidates together, from the SMILES among their `verdicts`."""
    found = {(v.candidate, v.check): v.value for v in verdicts if v.check in ("smiles", "smiles_stereo")}
    indices = [candidate.index for candidate in candidates]
    keys = {i: found.get((i, "smiles")) for i in indices}
    stereo = {i: found.get((i, "smiles_stereo")) for i in indices}
    out = []
    if "uniqueness" in settings.checks:
        out += uniqueness(keys)
    if "novelty" in settings.checks:
        out += novelty(keys, stereo, reference)
    if "diversity" in settings.checks:
        out += diversity(keys)
    periodic = {candidate.index for candidate in candidates if is_periodic(candidate)}
    return [replace(v, reason=PERIODIC) if v.reason == INVALID and v.candidate in periodic else v for v in out]


def _molecular(candidate: Candidate, found, settings: Screening) -> list[Verdict]:
    """The quick checks of molecules."""
    if found is None:
        pairs = (("stability", "edm_molecule"), ("validity", "valid"))
        names = [name for check, name in pairs if check in settings.checks]
        formula = Verdict(candidate.index, "formula", None, candidate.atoms.get_chemical_formula("hill"))
        return [formula, *(Verdict(candidate.index, name, None, reason=PERIODIC) for name in names)]
    out = identity(candidate, found)
    if "stability" in settings.checks:
        out += stability(candidate)
    if "validity" in settings.checks:
        out += validity(candidate, found)
    if "rings" in settings.checks:
        out += rings(candidate, found)
    if "accessibility" in settings.checks:
        out += accessibility(candidate, found)
    return out


def _slow_checks(candidates, perceived, potential, settings: Screening, workers: Workers) -> list[list[Verdict]]:
    """PoseBusters and strain: molecules go to the workers, all others get the reason why not."""
    out: list[list[Verdict]] = [[] for _ in candidates]
    good = [i for i, found in enumerate(perceived) if found is not None and found.mol is not None]
    tasks, places = [], []
    for i in good:
        atoms = candidates[i].atoms
        if "posebusters" in settings.checks:
            tasks.append((failed_checks, (_bare(atoms), settings.posebusters, settings.zwitterions)))
            places.append((i, "posebusters"))
        for method in _methods(settings):
            if method != "potential":
                tasks.append((reference_strain, (_bare(atoms), method, settings.fmax, settings.max_steps)))
                places.append((i, method))
    answers = dict(zip(places, workers.map(tasks, [i for i, _ in places]), strict=True))
    if "potential" in _methods(settings):
        molecules = [candidates[i] for i in good]
        if potential is None:
            strains = [Strain(None, None, "no potential given")] * len(good)
        else:
            limit = workers.time_limit if workers.count else math.inf
            strains = potential_strain(molecules, potential, settings.fmax, settings.max_steps, limit)
        answers |= {(i, "potential"): strain for i, strain in zip(good, strains, strict=True)}
    for i, candidate in enumerate(candidates):
        reason = PERIODIC if perceived[i] is None else f"not valid: {perceived[i].reason}"
        if "posebusters" in settings.checks:
            out[i].append(_posebusters_verdict(candidate.index, answers.get((i, "posebusters")), reason))
        for method in _methods(settings):
            out[i] += _strain_verdicts(candidate.index, method, answers.get((i, method), Strain(None, None, reason)))
    return out


def _methods(settings: Screening) -> tuple[str, ...]:
    return settings.strain_methods if "strain" in settings.checks else ()


def _bare(atoms):
    """Without calculator and info, which need not survive the way to another process."""
    return type(atoms)(atoms.numbers, atoms.positions)


def _posebusters_verdict(index: int, answer: tuple[str, ...] | Failure | None, reason: str) -> Verdict:
    if answer is None:
        return Verdict(index, "posebusters", None if reason == PERIODIC else False, reason=reason)
    if isinstance(answer, Failure):
        passed, reason = (None, NOT_MEASURED + answer.reason) if answer.timed_out else (False, answer.reason)
        return Verdict(index, "posebusters", passed, reason=reason)
    return Verdict(index, "posebusters", not answer, reason=", ".join(answer))


def _strain_verdicts(index: int, method: str, answer: Strain | Failure) -> list[Verdict]:
    """Measurements; a number with a reason belongs to a relaxation that did not end in the molecule's own minimum."""
    strain = unmeasured(answer) if isinstance(answer, Failure) else answer
    return [
        Verdict(index, f"strain_{method}", None, strain.energy, "kcal/mol", strain.reason),
        Verdict(index, f"rmsd_{method}", None, strain.rmsd, "Angstrom", strain.reason),
    ]
