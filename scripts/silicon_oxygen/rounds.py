"""A round of active learning: quenches by the fit itself, whose frames are labelled and join the training.

    python -m scripts.silicon_oxygen.rounds NAME ROUND     # the exported fit in training/silox/NAME, round 1, 2, ...
    python -m scripts.silicon_oxygen.label round-ROUND
    python -m scripts.silicon_oxygen.train NEXT init=training/silox/NAME steps=2500 learning_rate=0.0015
Writes training/silox/structures/round-ROUND, shard by shard. A frame at which a model runs away is kept as well: there
the fit is wrong.
"""

import sys
from functools import partial

import numpy as np
import torch
from ase import Atoms

from gendesign.dynamics import Conditions, run_dynamics
from gendesign.generate.amorphous.composition import counts, cubic_edge
from gendesign.generate.amorphous.packing import Distances, pack
from gendesign.potential import load_potential
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.counter_random import keys
from gendesign.train.label import label_shards
from scripts.silicon_oxygen.structures import ROOT, STRUCTURES

MODELS = (
    ("Si", 64, 2.20), ("Si", 64, 2.33), ("Si", 64, 2.55), ("Si:O=1:0.5", 72, 2.3), ("SiO", 72, 2.25),
    ("Si2O3", 75, 2.3), ("SiO2", 72, 2.0), ("SiO2", 72, 2.2), ("SiO2", 72, 2.6),
)  # fmt: skip
PER_SHARD = 3
HOT, COLD, TIMESTEP = 3500.0, 300.0, 1.5  # K, K, fs
PIECES, STEPS = 8, 450  # frames of a model and steps between them


def quenches(potential_path: str, number: int, index: int) -> list[Atoms]:
    """Frames of the quenches of one shard of models."""
    potential = load_potential(potential_path, device="cpu", dtype="float32")
    chosen = MODELS[index * PER_SHARD : (index + 1) * PER_SHARD]
    starts = []
    for k, (formula, n, density) in enumerate(chosen):
        composition = counts(formula, n)
        rng = np.random.default_rng([9, number, index, k])
        packed = pack(composition, cubic_edge(composition, density), Distances.of(list(composition)), rng)
        starts.append(packed)
    current = [c.atoms for c in relax(starts, potential, Relaxation(max_steps=40, fmax=1.0))]
    out: list[Atoms] = []
    for piece in range(PIECES):
        share = [max(0.0, (piece + end - 1) / (PIECES - 1)) for end in (0, 1)]  # the first piece stays hot
        low, high = (HOT + (COLD - HOT) * min(1.0, s) for s in share)
        conditions = Conditions("langevin", (low, high), STEPS, timestep=TIMESTEP, friction=20.0)
        key = keys(number, torch.arange(len(current)) + 10 * index)
        outcomes = run_dynamics(current, potential, conditions, keys=key, first_step=piece * STEPS)
        for (formula, _, density), outcome in zip(chosen, outcomes, strict=True):
            frame = Atoms(outcome.atoms.numbers, outcome.atoms.positions, cell=outcome.atoms.cell, pbc=True)
            frame.wrap()
            material = "silicon" if formula == "Si" else "silica" if formula == "SiO2" else "suboxide"
            frame.info = {"kind": f"{material} own", "group": f"own-{number}-{formula}-{density}"}
            out.append(frame)
        current = [outcome.atoms for outcome in outcomes]
    return out


def main(name: str, number: str) -> None:
    """Make the frames of a round."""
    shards = range(len(MODELS) // PER_SHARD)
    label_shards(partial(quenches, str(ROOT / name), int(number)), shards, STRUCTURES / f"round-{number}", workers=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
