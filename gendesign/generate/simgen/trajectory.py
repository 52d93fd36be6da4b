"""The trajectory of a molecule from noise to atoms, written as extended XYZ, and step by step while it grows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from gendesign.errors import UserError
from gendesign.generate.simgen.state import Swarm
from gendesign.structure.files import write_extxyz
from gendesign.structure.types import Candidate

GROWING = "growing-*.jsonl"  # in the folder: the molecules that are being sampled, a line for each noise level


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
    molecule with its hydrogens, before its relaxation. `copies`: particles of a family, of which a molecule has
    `families`. Until `end` a file there holds the steps of the attempts `index`, one line of JSON each: `sigma` and,
    for each attempt, its index, the atomic numbers and the positions of its first copy in its first family.
    """

    folder: Path
    copies: int
    families: int = 1
    index: Sequence[int] = ()
    frames: list[tuple[float, np.ndarray, np.ndarray]] = field(default_factory=list)  # sigma, numbers, positions
    stops: np.ndarray | None = None  # (families,) where the atoms of each family end in a frame

    def __call__(self, swarm: Swarm, sigma: float) -> None:
        """Record the first particle of every molecule at the noise level `sigma` in Angstrom."""
        if self.stops is None:
            self.stops = np.cumsum(swarm.sizes.cpu().numpy())
        first = (swarm.particle == 0).cpu()
        self.frames.append((sigma, swarm.numbers.cpu()[first].numpy(), swarm.positions.cpu()[first].numpy()))
        self._show(*self.frames[-1])

    @property
    def _growing(self) -> Path:
        return self.folder / GROWING.replace("*", f"{self.index[0]:06d}")

    def _show(self, sigma: float, numbers: np.ndarray, positions: np.ndarray) -> None:
        """Append a step to the file of the molecules that grow."""
        if not self.index:
            return
        molecules = []
        for k, index in enumerate(self.index):
            atoms = self._atoms(k * self.families)
            molecules.append([index, numbers[atoms].tolist(), positions[atoms].round(3).tolist()])
        with self._growing.open("w" if len(self.frames) == 1 else "a") as file:
            file.write(json.dumps({"sigma": sigma, "molecules": molecules}) + "\n")

    def end(self) -> None:
        """All molecules are written: the file of those that grow is removed."""
        if self.index:
            self._growing.unlink(missing_ok=True)

    def _atoms(self, family: int) -> slice:
        """The atoms of a family in a frame."""
        return slice(self.stops[family - 1] if family else 0, self.stops[family])

    def write(self, index: int, particle: int, first_family: int, finished: Atoms) -> None:
        """The frames of attempt `index`, made from one of its particles."""
        atoms = self._atoms(first_family + particle // self.copies)
        frames = [
            Candidate(Atoms(numbers[atoms], positions[atoms]), index, "simgen", info={"sigma": float(sigma)})
            for sigma, numbers, positions in self.frames
        ]
        write_extxyz([*frames, Candidate(finished, index, "simgen")], self.folder / f"{index:06d}.extxyz")
