"""The keys of a campaign that belong to no stage and no engine. Nothing heavy is imported here."""

from dataclasses import dataclass

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting

DUPLICATES = ("inchikey", "structure", "descriptor")
ACQUISITIONS = ("rank", "uncertainty", "diversity", "first")
UNIQUE_HELP = (
    "leave copies out: inchikey (molecules), structure (crystals of one composition, StructureMatcher), descriptor "
    "(closer than `distance`, after a stage of kind descriptors)"
)
DISTANCE_HELP = "distance of descriptors, as a share of their spread, below which two candidates are copies"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Keys at the top of a campaign's file; they are the same as those of `gendesign generate`."""

    output: str = setting("results/campaign", "campaign folder; the same command again completes it", identity=False)
    potential: str = setting("organic", "bundled or named model, path of a MACE checkpoint, or module:function")
    device: str = setting(
        "auto", "where the model runs; auto: a GPU if there is one", allowed=("auto", "cpu", "cuda", "cuda:N")
    )
    dtype: str = setting("float32", "floating-point numbers of the model", allowed=("float32", "float64"))
    trust_pickle: bool = setting(False, "true allows unpickling a checkpoint, which runs code from it", identity=False)
    head: str | None = setting(None, "output head of a multi-head model")
    outside_domain: str = setting(
        "refuse", "structures outside the potential's domain", allowed=("refuse", "warn", "ignore")
    )
    shard_size: int = setting(10, "candidates per shard, the unit of work", least=1)

    def __post_init__(self) -> None:
        check_bounds(self, "")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Who enters a stage (`unique`, then `budget`), and who leaves it (`keep`)."""

    keep: tuple[str, ...] = setting((), "conditions to leave the stage, such as valid or 'sa_score <= 4.5'")
    budget: int | None = setting(None, "candidates that enter at most; null: all", least=1)
    acquisition: str = setting("rank", "which candidates enter under a budget", allowed=ACQUISITIONS)
    by: tuple[str, ...] = setting((), "objectives of the acquisition, such as 'min strain_gfn2'; several: Pareto ranks")
    unique: str | None = setting(None, UNIQUE_HELP, allowed=DUPLICATES)
    distance: float = setting(0.01, DISTANCE_HELP, above=0)

    def __post_init__(self) -> None:
        for name in ("keep", "by"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(map(str, value)))
        check_bounds(self, "")
        if self.budget is not None and self.acquisition == "rank" and not self.by:
            raise UserError("acquisition=rank needs objectives; give by, such as by=['min sa_score']")

    @property
    def selects(self) -> bool:
        """Whether all candidates must have arrived before the first may enter."""
        return self.budget is not None or self.unique is not None


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The order of the candidates that passed every stage."""

    by: tuple[str, ...] = setting((), "objectives, such as 'min sa_score'; several: Pareto ranks")
    top: int = setting(100, "best candidates that are written as structures", least=1)
    unique: str | None = setting(None, UNIQUE_HELP, allowed=DUPLICATES)
    distance: float = setting(0.01, DISTANCE_HELP, above=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", (self.by,) if isinstance(self.by, str) else tuple(map(str, self.by)))
        check_bounds(self, "rank")
