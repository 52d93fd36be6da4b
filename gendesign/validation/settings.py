"""Settings of the validation of a potential."""

from dataclasses import dataclass

from gendesign.fields import check_bounds, setting

TESTS = (
    "errors",
    "softening",
    "dimers",
    "geometries",
    "vibrations",
    "torsions",
    "drift",
    "stability",
    "crystals",
    "phonons",
)


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """Tests of a potential and their size. Raises UserError for values out of bounds."""

    tests: tuple[str, ...] = setting(
        (), "tests to make, such as [errors,torsions]; [] for all that apply", allowed=TESTS
    )
    molecules: int = setting(12, "molecules for geometries and dynamics", least=1)
    vibrations: int = setting(4, "of these, molecules whose frequencies are compared", least=1)
    torsions: int = setting(6, "rotatable bonds whose profiles are compared", least=1)
    crystals: int = setting(4, "crystals of different composition among the structures of the files", least=1)
    temperature: float = setting(1000.0, "temperature of the stability test", unit="K", above=0)
    time: float = setting(2.0, "length of the stability test", unit="ps", above=0)
    drift_time: float = setting(2.0, "length of the dynamics at constant energy, at 300 K", unit="ps", above=0)
    timestep: float = setting(0.5, "time step of all dynamics", unit="fs", above=0)
    together: tuple[str, ...] = setting(
        ("relaxed", "md300", "md600"), 'classes whose errors are also given as one, "combined"'
    )
    seed: int = setting(0, "random seed of velocities and displacements", least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "")
