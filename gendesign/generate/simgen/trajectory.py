"""The trajectory of a molecule from noise to atoms, written as extended XYZ."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from gendesign.errors import UserError
from gendesign.generate.simgen.state import Swarm
from gendesign.structure.files import write_extxyz
from gendesign.structure.types import Candidate


def make_folder(folder: str) -> None:
    """Make the folder for trajectories; raises UserError before anything is sampled when that fails."""
    try:
        Path(str(folder)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"generator.trajectory={folder} cannot be made ({error.strerror}); give another folder"
        ) from None


@dataclass
class Recorder:
    """Records every step of a swarm, and writes the trajectory of the geometry that became a molecule to `folder`.

    A frame is the first copy of the molecule at a noise level (info `sigma`, Angstrom); the last is the finished
    molecule with its hydrogens, before its relaxation. `copies`: particles of a family.
    """

    folder: Path
    copies: int
    frames: list[tuple[float, np.ndarray, np.ndarray]] = field(default_factory=list)  # sigma, numbers, positions
    stops: np.ndarray | None = None  # (families,) where the atoms of each family end in a frame

    def __call__(self, swarm: Swarm, sigma: float) -> None:
        """Record the first particle of every molecule at the noise level `sigma` in Angstrom."""
        if self.stops is None:
            self.stops = np.cumsum(swarm.sizes.cpu().numpy())
        first = (swarm.particle == 0).cpu()
        self.frames.append((sigma, swarm.numbers.cpu()[first].numpy(), swarm.positions.cpu()[first].numpy()))

    def write(self, index: int, particle: int, first_family: int, finished: Atoms) -> None:
        """The frames of attempt `index`, made from one of its particles."""
        family = first_family + particle // self.copies
        atoms = slice(self.stops[family - 1] if family else 0, self.stops[family])
        frames = [
            Candidate(Atoms(numbers[atoms], positions[atoms]), index, "simgen", info={"sigma": float(sigma)})
            for sigma, numbers, positions in self.frames
        ]
        write_extxyz([*frames, Candidate(finished, index, "simgen")], self.folder / f"{index:06d}.extxyz")
