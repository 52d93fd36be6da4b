"""The shape of a new MACE network."""

from dataclasses import asdict, dataclass
from typing import Any

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes of a MACE network without the data it is fitted to; raises UserError for values out of bounds."""

    cutoff: float = setting(4.5, "radius of a layer's neighbourhood", unit="Angstrom", above=0)
    channels: int = setting(64, "features per atom and degree", least=1)
    max_ell: int = setting(2, "highest degree of the spherical harmonics", least=1)
    max_l: int = setting(
        0, "highest degree of the features between layers; 0 is evaluated in closed form, which is faster", least=0
    )
    correlation: int = setting(2, "body order of a layer, minus one", least=1)
    layers: int = setting(2, "message-passing layers", least=1)
    n_bessel: int = setting(8, "radial functions", least=1)
    radial_mlp: tuple[int, ...] = setting((64,), "widths of the hidden layers behind the radial functions", least=1)
    readout: int = setting(16, "width of the readout of the last layer", least=1)

    def __post_init__(self) -> None:
        check_bounds(self, "architecture")
        if self.max_l > self.max_ell:
            raise UserError(f"architecture.max_l={self.max_l}: give no more than architecture.max_ell={self.max_ell}")

    def keywords(self) -> dict[str, Any]:
        """The keywords of `potential.mace.new_mace` that belong to the shape."""
        return asdict(self)
