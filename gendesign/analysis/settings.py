"""Settings of an analysis. Nothing heavy is imported here."""

from dataclasses import dataclass

from gendesign.fields import check_bounds, setting

PARTS = (
    "coordination",
    "distributions",
    "rings",
    "structure_factor",
    "order",
    "crystallinity",
    "voids",
    "defects",
    "energy",
    "elastic",
    "vibrations",
    "diffusion",
)


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What is computed of every model, with every cutoff. Raises UserError for values out of bounds."""

    parts: tuple[str, ...] = setting(
        (), "parts to compute, such as [rings,voids]; [] for all that apply, without elastic", allowed=PARTS
    )
    species: tuple[str, ...] = setting((), "elements of the types of a LAMMPS data file, such as [O,Si]")
    trajectory: bool = setting(False, "true takes the frames of a file for one trajectory; false for separate models")
    timestep: float = setting(1.0, "time between two frames of a trajectory", unit="fs", above=0)
    cutoffs: tuple[str, ...] = setting(
        (), "bonds, such as [Si-O:2.0], in Angstrom; [] by composition: Si-Si 2.85, Si-O 2.0, else minima of g(r)"
    )
    ideal: tuple[str, ...] = setting((), "bonds of an atom without defect, such as [Si:4,O:2]; [] for Si 4 and O 2")
    bridge: str = setting("auto", "element that links nodes of the network; auto: O in oxides; none: all are nodes")
    r_max: float | None = setting(
        None, "end of g(r); null: half the cell, at most 18, or 10 for more than 5000 atoms", unit="Angstrom", above=0
    )
    r_width: float = setting(0.02, "width of the shells of g(r)", unit="Angstrom", above=0)
    angle_width: float = setting(1.0, "width of the bins of bond angles", unit="degrees", above=0, most=90)
    ring_max: int = setting(12, "longest ring of King's statistics", least=3, most=24)
    primitive_max: int = setting(10, "longest primitive ring", least=3, most=16)
    q_max: float = setting(16.0, "end of S(q)", unit="1/Angstrom", above=0)
    q_width: float = setting(0.05, "width of the shells of wave vectors", unit="1/Angstrom", above=0)
    q_vectors: int = setting(50, "wave vectors averaged in a shell, at most", least=1)
    window: str = setting("lorch", "window of the transform of g(r)", allowed=("lorch", "none"))
    peak_low: float = setting(0.9, "lower end of the range of the first sharp diffraction peak", unit="1/Angstrom")
    peak_high: float = setting(2.6, "upper end of that range", unit="1/Angstrom", above=0)
    order_l: int = setting(6, "degree of the order parameter q_l", least=1, most=12)
    templates: str = setting(
        "neighbours", "how diamond is found: neighbours (second neighbours), ovito", allowed=("neighbours", "ovito")
    )
    probe: float = setting(1.3, "radius of the probe of voids and surfaces; 1.3 is helium", unit="Angstrom", least=0)
    grid: float = setting(0.5, "spacing of the grid of voids", unit="Angstrom", above=0)
    placements: int = setting(200, "random placements that clusters of defects are compared with", least=1)
    reference_crystals: tuple[str, ...] = setting(
        (), "crystals whose relaxed energies are the zero; [] for diamond silicon and quartz", file=True
    )
    strain: float = setting(0.005, "strain of elastic constants", above=0, most=0.05)
    fmax: float = setting(0.01, "largest force where atoms are relaxed", unit="eV/Angstrom", above=0)
    resolution: float = setting(0.5, "resolution of the vibrational density of states", unit="THz", above=0)
    measured_sq: tuple[str, ...] = setting((), "measured S(q) to compare with, a file of two columns", file=True)
    measured_gr: tuple[str, ...] = setting((), "measured g(r) to compare with, a file of two columns", file=True)
    radiation: str = setting("neutron", "radiation of the measured curves", allowed=("neutron", "xray"))
    fit_scale: bool = setting(False, "true scales the computed curve to the measured one")
    figures: bool = setting(True, "false writes no figures")
    atoms: bool = setting(False, "true writes models.extxyz with the classes of every atom")
    seed: int = setting(0, "random seed of samples and random placements", least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "")
