"""How sampled skeletons are finished: the settings."""

from dataclasses import dataclass, replace

from gendesign.fields import check_bounds, setting


@dataclass(frozen=True)
class Finish:
    """Settings of the finisher (finisher.py).

    The choice among the copies of a molecule, and every sweep, weigh its energy less the chemical potentials against
    the composition and the unsaturation drawn for it. Energy alone would end at the same few saturated molecules.
    """

    finalists: int = setting(8, "hydrogenated copies per molecule that are relaxed roughly", least=1)
    rough_steps: int = setting(10, "steps of that rough relaxation", least=0)
    # the first tries every element at every heavy atom, the others those that bring the composition nearer to its goal
    sweeps: int = setting(3, "passes in which every molecule may change the element of one heavy atom", least=0)
    off_composition: float = setting(
        1.0, "cost of each atom off the composition drawn from the references", unit="eV", least=0
    )
    off_unsaturation: float = setting(
        1.0, "cost of each ring or pi bond more or less than in the reference drawn", unit="eV", least=0
    )
    off_stability: float | None = setting(
        None,
        "cost of each group that does not survive in a flask, such as an enol; null: 1 from 15 heavy atoms on, 0 below",
        unit="eV",
        least=0,
    )
    tautomers: int | None = setting(
        None,
        "tautomers of the chosen molecule that are compared with it; null: 6 from 15 heavy atoms on, 0 below",
        least=0,
    )
    off_shape: float = setting(
        10.0, "cost of having nothing in common with the shape of the ligand in whose place molecules are", unit="eV",
        least=0,
    )  # fmt: skip
    temperature: float = setting(
        0.3, "temperature of the choice between copies; 0.001 takes the best", unit="eV", above=0
    )

    def __post_init__(self) -> None:
        check_bounds(self, "generator.finishing")

    def sized(self, large: bool) -> "Finish":
        """With the numbers that are null as `large` molecules, or small ones, need them."""
        stability, count = (1.0, 6) if large else (0.0, 0)
        return replace(
            self,
            off_stability=stability if self.off_stability is None else self.off_stability,
            tautomers=count if self.tautomers is None else self.tautomers,
        )
