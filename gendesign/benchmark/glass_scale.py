"""Analysis of a very large model in a process of its own: CPU seconds by part and the largest memory.

python -m gendesign.benchmark.glass_scale FILE|ATOMS      # a structure, or diamond with displacements
"""

import json
import resource
import sys
import time

import numpy as np
from ase import Atoms
from ase.build import bulk

from gendesign.analysis.choices import cutoffs_of, r_max_of
from gendesign.analysis.reading import read_models
from gendesign.analysis.results import Found
from gendesign.analysis.settings import Analysis
from gendesign.analysis.stages import Case, add_coordination, add_defects, add_distributions, add_rings

PARTS = {"coordination": add_coordination, "g(r) and angles": add_distributions, "rings": add_rings,
         "defect classes": add_defects}  # fmt: skip
DISPLACEMENT = 0.15  # Angstrom


def displaced(n_atoms: int) -> Atoms:
    """Diamond of about `n_atoms`, each displaced at random: as many bonds as an amorphous model has."""
    atoms = bulk("Si", "diamond", 5.431, cubic=True).repeat(max(1, round((n_atoms / 8) ** (1 / 3))))
    atoms.positions += np.random.default_rng(0).normal(scale=DISPLACEMENT, size=atoms.positions.shape)
    return atoms


def measure(atoms: Atoms) -> dict[str, float]:
    """Atoms, CPU seconds of every part, and GiB of this process."""
    settings, out = Analysis(), {"atoms": float(len(atoms))}
    case, found = Case(atoms, settings, cutoffs_of(atoms, settings)[0], r_max_of([atoms], settings)), Found("large")
    for name, act in PARTS.items():
        begun = time.process_time()
        act(case, found)
        out[name] = time.process_time() - begun
    out["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return out


if __name__ == "__main__":
    word = sys.argv[1]
    print(json.dumps(measure(displaced(int(word)) if word.isdigit() else read_models([word])[0].atoms)))
