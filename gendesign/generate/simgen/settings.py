"""The settings of SimGen: its keyword arguments, which are the keys generator.* of the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ase import Atoms

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.simgen.cohesion import Cohesion
from gendesign.generate.simgen.finish import Finish
from gendesign.generate.simgen.heun import Heun
from gendesign.generate.simgen.prior import Prior
from gendesign.generate.simgen.shape_files import Pocket
from gendesign.generate.simgen.skeleton import VALENCE
from gendesign.objective import Objective
from gendesign.structure.types import Score


@dataclass(frozen=True, kw_only=True)
class SimGenSettings:
    """What SimGen can be asked for; structures may be given in place of the files that hold them.

    `prior`, `guidance`, `objective`, `integrator`, `finishing` and `cohesion` are objects of their own, which
    conf/generator chooses by groups. Raises UserError for values that make no sense by themselves; `resolve` in
    problem.py checks what they mean together.
    """

    n_heavy_atoms: str | int = setting(
        "auto",
        "heavy atoms, without those of fragments: 9, or a range such as 5-12, drawn evenly; auto takes them from the "
        "formula, the fragments or the molecule that is the shape, and is 9 otherwise",
    )
    elements: Sequence[str] = setting(
        help="elements of the heavy atoms", factory=lambda: ["C", "N", "O"], allowed=tuple(VALENCE)
    )
    formula: str | None = setting(None, "exact formula, such as C7H8N2O2")
    counts: str | None = setting(None, 'limits on the number of atoms by element, such as "N0-2 O1"')
    forbidden: Sequence[str] = setting(
        (), "SMARTS that no molecule may contain, [A,B]; [[#7]-[#7]] for one that begins with a bracket"
    )
    reference: str | Sequence[str] | None = setting(
        (), "files of molecules to resemble (structures or SMILES); none means the bundled ones", file=True
    )
    bundled: str = setting(
        "auto",
        "the bundled references, without generator.reference; auto: druglike from 15 heavy atoms on, small below",
        allowed=("auto", "small", "druglike"),
    )
    reference_weights: Sequence[float] = setting((), "share of each file of generator.reference")
    likeness: float = setting(1.0, "temperature of the similarity kernel: lower is closer to the references", above=0)
    importance: str | None = setting(None, 'weight of the similarity by element, such as "N2 O0.5"')
    fragments: str | Sequence[Atoms] | None = setting(
        None, "file of fragments to grow on or to link, one structure each", file=True
    )
    building_blocks: str = setting(
        "auto",
        "molecules whose ring systems and groups are rigid parts of the new ones: references, a file, or none; auto: "
        "references from 15 heavy atoms on",
        file=True,
    )
    attachments: Sequence[int] = setting((), "hydrogens of the fragments to replace, counted from 0 over the file")
    host: str | Atoms | None = setting(
        None, "file of a structure that molecules must not overlap, in sampling and relaxation", file=True
    )
    hydrogen_bonds: float = setting(
        0.0,
        "energy of a hydrogen bond with the host in relaxation and in the choice among an attempt's candidates; above "
        "0 N and O are drawn to its partners in sampling as well",
        unit="eV",
        least=0,
    )
    objective_weight: float = setting(
        1.0, "weight of the objective: a candidate gains objective_weight * log(score)", unit="eV", least=0
    )
    steps: int | None = setting(
        None, "noise levels; fewer than 40 are for trials only; null: by the number of heavy atoms", least=2
    )
    particles: int | None = setting(
        None, "copies of each molecule among which elements are tried; null: by the number of heavy atoms", least=1
    )
    families: int | None = setting(
        None,
        "independent geometries among which the copies are divided; the best becomes the molecule; null: by the number "
        "of heavy atoms",
        least=1,
    )
    swap_every: int = setting(3, "steps between two swaps of elements", least=1)
    swap_share: float = setting(0.2, "share of a copy's atoms whose element is swapped", least=0, most=1)
    max_atoms: int = setting(
        4000, "atoms per model call, which bounds the memory; halved when it does not fit", least=1
    )
    trajectory: str | None = setting(None, "folder for the trajectory of every molecule, extended XYZ", identity=False)

    prior: Prior | None = None
    guidance: Sequence[Score] = ()
    objective: Objective | None = None
    integrator: Heun = field(default_factory=Heun)
    finishing: Finish = field(default_factory=Finish)
    cohesion: Cohesion = field(default_factory=Cohesion)

    def __post_init__(self) -> None:
        check_bounds(self, "generator")
        if not self.elements:
            raise UserError(f"generator.elements=[]: give at least one of {' '.join(VALENCE)}")
        if self.particles and self.families and self.particles % self.families:
            raise UserError(f"generator.families={self.families} must divide generator.particles={self.particles}")
        if self.objective is not None and self.objective.diversity_filter is not None:
            raise UserError(
                "objective: a diversity filter makes a candidate depend on earlier ones; leave diversity_filter out"
            )
        if self.hydrogen_bonds and self.host is None and not _has_pocket(self.prior):
            raise UserError(
                f"generator.hydrogen_bonds={self.hydrogen_bonds} has no host to bind to; give generator.host or "
                "generator/prior=pocket"
            )
        if self.reference_weights and not self.reference:
            raise UserError("generator.reference_weights are the shares of files; give generator.reference as well")
        if self.formula is not None and self.counts is not None:
            raise UserError("generator.formula and generator.counts are both given; a formula leaves no counts open")
        if self.formula is not None and self.fragments is not None:
            raise UserError(
                "generator.formula and generator.fragments are both given; limit the new atoms by generator.counts"
            )


def _has_pocket(prior: Prior | None) -> bool:
    return isinstance(getattr(prior, "shape", None), Pocket)
