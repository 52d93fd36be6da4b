"""The way of a molecule from noise to atoms, written as extended XYZ."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from gendesign.errors import UserError
from gendesign.generate.simgen.state import Swarm
from gendesign.structure.files import write_extxyz
from gendesign.structure.types import Candidate


def prepare(folder: str) -> None:
    """Make the folder for trajectories; raises UserError before anything is sampled when that fails."""
    try:
        Path(str(folder)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"generator.trajectory={folder} cannot be made ({error.strerror}); give another folder"
        ) from None


@dataclass
class Track:
    """Watches a swarm, and writes the way of the geometry that became a molecule to `folder`.

    A frame is the survivor of the molecule's copies at a noise level (info `sigma`, Angstrom); the last is the finished
    molecule with its hydrogens, before its relaxation.
    """

    folder: Path
    copies: int
    seen: list[tuple[float, np.ndarray, np.ndarray]] = field(default_factory=list)
    stops: np.ndarray | None = None

    def __call__(self, swarm: Swarm, sigma: float) -> None:
        if self.stops is None:
            self.stops = np.cumsum(swarm.sizes.cpu().numpy())
        first = (swarm.particle == 0).cpu()
        self.seen.append((sigma, swarm.numbers.cpu()[first].numpy(), swarm.positions.cpu()[first].numpy()))

    def write(self, index: int, particle: int, first_family: int, finished: Atoms) -> None:
        """The frames of attempt `index`, made from one of its particles."""
        row = first_family + particle // self.copies
        own = slice(self.stops[row - 1] if row else 0, self.stops[row])
        frames = [
            Candidate(Atoms(numbers[own], positions[own]), index, "simgen", info={"sigma": float(sigma)})
            for sigma, numbers, positions in self.seen
        ]
        write_extxyz([*frames, Candidate(finished, index, "simgen")], self.folder / f"{index:06d}.extxyz")
