"""How a potential is distilled."""

from dataclasses import dataclass

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting, shown

MODELS, SIZES = ("pod",), ("small", "medium", "large")


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The student, its labels and its fit; raises UserError for values out of bounds."""

    model: str = setting("pod", "kind of the student: pod, fitted by LAMMPS in seconds", allowed=MODELS)
    size: str = setting("medium", "terms of the student; large needs about 1,000 structures", allowed=SIZES)
    cutoff: float = setting(5.0, "radius of the student", unit="Angstrom", above=1)
    copies: int = setting(0, "strained and displaced copies made of every structure, to learn from", least=0)
    strain: float = setting(0.05, "largest strain of a copy", least=0, below=0.5)
    displacement: float = setting(0.1, "standard deviation of displacements of a copy", unit="Angstrom", least=0)
    test_share: float = setting(0.2, "share of the structures that is held out and measured", above=0, below=1)
    max_force: float = setting(30.0, "structures with a larger force are left out", unit="eV/Angstrom", above=0)
    energy_weight: float = setting(100.0, "weight of energies in the fit; forces have 1", above=0)
    repulsion: tuple[float, float] = setting(
        (0.8, 1.3),
        "distances between which the ZBL repulsion fades out; structures with shorter pairs are left out",
        unit="Angstrom",
        above=0,
    )

    def __post_init__(self) -> None:
        check_bounds(self, "")
        if len(self.repulsion) != 2 or not self.repulsion[0] < self.repulsion[1] < self.cutoff:
            raise UserError(f"repulsion={shown(self.repulsion)}: give two distances, the smaller first, below cutoff")
