"""Settings of a search for hybrid perovskites; nothing heavy is imported, and all defaults and bounds are here."""

from dataclasses import dataclass

import numpy as np

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting, shown

METALS = ("Pb", "Sn")
CELLS = {"1": 1, "sqrt2": 2, "2x2": 4}  # metals per layer
ORIENTATIONS = ("shared", "each", "both")


@dataclass(frozen=True)
class Composition:
    """What is searched: A'_2 A_(n-1) M_n X_(3n+1) of thickness n (one A' where its charge is +2), or AMX3.

    `compound.compose` reads the texts and balances the charges; it raises UserError for what it cannot use.
    """

    cation: str = setting(
        help="organic cation of charge +1 or +2: SMILES, abbreviation (MA, BA, PEA) or structure file", file=True
    )
    metal: str = setting("Pb", "Pb or Sn", allowed=METALS)
    halide: str = setting("I", "Cl, Br, I, or a mixture by its numbers, such as I3Br")
    thickness: str | int = setting("1", "octahedra per layer, 1 to 6; 3d for AMX3")
    a_site: str = setting("MA", "cation in the cages of layers thicker than 1: MA, FA, Cs or a SMILES", file=True)
    conformers: int = setting(20, "conformers of the cation that starts are drawn from, at most", least=1, most=1000)

    def __post_init__(self) -> None:
        check_bounds(self, "generator.composition")


@dataclass(frozen=True)
class RandomStarts:
    """How the random starts of a search are drawn.

    With `known_cell` and `space_group` all starts are made in that cell, which is held: cells, layers, orientations,
    padding, densest_of and symmetry are then not used. 3D perovskites have no layer groups, so that symmetry is not
    used for them either.
    """

    cells: tuple[str, ...] = setting(
        ("sqrt2",),
        "in-plane cells: 1, sqrt2 or 2x2 octahedra (1, 2, 4 metals); one of several is drawn for each start",
        allowed=tuple(CELLS),
    )
    layers: int = setting(1, "inorganic layers per cell", least=1, most=20)
    tilt: float = setting(15.0, "largest tilt of the octahedra", unit="degrees", least=0, most=40)
    tilted: float = setting(0.7, "share of starts with tilted octahedra", least=0, most=1)
    distortion: float = setting(
        0.05, "standard deviation of random displacements of the inorganic atoms", unit="Angstrom", least=0, most=1
    )
    orientations: str = setting(
        "both",
        "of the cations: one for all but for reflections (shared), one for each, or both (half of the starts so)",
        allowed=ORIENTATIONS,
    )
    cation_angle: float = setting(
        45.0, "largest angle between a cation's axis and the layer normal", unit="degrees", least=0, most=90
    )
    padding: float = setting(1.5, "largest gap above contact between layers", unit="Angstrom", least=0, most=20)
    contact: float = setting(0.7, "share of the van der Waals distance that atoms keep", least=0.3, most=1)
    densest_of: int = setting(3, "arrangements made for each start, the densest of which it is", least=1, most=1000)
    redraws: int = setting(100, "arrangements tried before a start fails", least=1, most=100_000)
    symmetry: float = setting(
        0.5, "share of starts whose layers obey a layer group; not for thickness 3d", least=0, most=1
    )
    known_cell: tuple[float, ...] = setting(
        (), "measured cell in which all starts are made: [a,b,c] in Angstrom, or these and three angles in degrees"
    )
    space_group: str | None = setting(
        None, "Hermann-Mauguin symbol of the known cell in the same setting, such as Pbca; needed with known_cell"
    )

    def __post_init__(self) -> None:
        cells = (self.cells,) if isinstance(self.cells, str | int) else tuple(self.cells)
        object.__setattr__(self, "cells", tuple(map(str, cells)))
        if not self.cells:
            raise UserError(f"generator.start.cells=[]: give one or more of {', '.join(CELLS)}")
        check_bounds(self, "generator.start")
        known_cell = [] if self.known_cell is None else np.ravel(self.known_cell).tolist()
        object.__setattr__(self, "known_cell", tuple(known_cell))
        if bool(self.known_cell) != bool(self.space_group):
            raise UserError(
                f"generator.start.known_cell={shown(self.known_cell)}, generator.start.space_group="
                f"{shown(self.space_group)}: give both or neither"
            )


@dataclass(frozen=True)
class Halving:
    """Successive halving: the starts of one shard are relaxed a little, compared, and the lowest continue."""

    rounds: int = setting(2, "rounds of relaxation and comparison; 0 for none", least=0, most=20)
    steps: int = setting(20, "optimizer steps in each round", least=1, most=100_000)
    keep: float = setting(0.35, "share of the candidates that continues after each round", above=0, most=1)
    pressure: float = setting(
        1.0, "pressure in these rounds; the final relaxation has its own", unit="GPa", least=0, most=20
    )
    max_atoms: int = setting(
        320, "atoms per batch, the share of one worker; it bounds the memory, and on a GPU more is faster", least=1
    )

    def __post_init__(self) -> None:
        check_bounds(self, "generator.halving")


@dataclass(frozen=True)
class Evolution:
    """Evolutionary search: the random starts of a shard are followed by mutants of the lowest crystals.

    For layered perovskites without a known cell; not used for others.
    """

    share: float = setting(
        0.5, "share of the candidates of a shard that are mutants of the lowest ones; not for thickness 3d",
        least=0, below=1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_bounds(self, "generator.evolution")

    def starts(self, candidates: int) -> int:
        """How many of so many candidates are random starts; the others are mutants."""
        return candidates - int(self.share * candidates)
