"""What `gendesign analyse score` measures; read by the command line before anything heavy is imported."""

from dataclasses import dataclass

from gendesign.fields import check_bounds, setting

POTENTIAL = "potential"
METHODS = ("gfn2", "pm6", POTENTIAL)


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """What `gendesign analyse score` measures."""

    checkpoint: str = setting("qm9-diffusion", "diffusion model: bundled, or its folder", file=True)
    data: str | tuple[str, ...] = setting(
        "qm9", "qm9, or files of molecules; those that the training held out are used", file=True
    )
    methods: tuple[str, ...] = setting(
        ("gfn2", "pm6"), "forces to compare with; potential: that of the key potential", allowed=METHODS
    )
    molecules: int = setting(50, "held-out molecules", least=1)
    samples: int = setting(50, "molecules that are generated for figures 2, 3 and 5", least=1)
    levels: int = setting(13, "noise levels of figure 4, from 0.01 to 10 Angstrom", least=3)
    calls: int = setting(64, "calls of the model per generated molecule", least=2)
    sizes: tuple[int, ...] = setting((5, 7, 9, 10, 12, 15, 20), "heavy atoms of figure 6", least=1)
    per_size: int = setting(20, "molecules of each size; 0 leaves figure 6 out", least=0)
    highest: float = setting(0.6, "noise level up to which methods are asked", unit="Angstrom", above=0)

    def __post_init__(self) -> None:
        check_bounds(self, "")
