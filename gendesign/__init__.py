"""Design molecules and materials in three dimensions with one machine-learned interatomic potential.

>>> from gendesign import SimGen, load_potential, relax, screen
"""

from importlib import import_module
from typing import Any

# Loaded on first use: importing torch takes seconds, and a mistyped command must be answered at once.
_HOMES = {
    "load_potential": "gendesign.potential",
    "Potential": "gendesign.potential",
    "Committee": "gendesign.potential",
    "Rigidity": "gendesign.potential",
    "label_files": "gendesign.train",
    "train_files": "gendesign.train",
    "SimGen": "gendesign.generate.simgen",
    "Agent": "gendesign.generate.rl.agent",
    "Perovskite": "gendesign.generate.perovskite.generator",
    "Objective": "gendesign.objective",
    "relax": "gendesign.relaxation",
    "Relaxation": "gendesign.relaxation",
    "screen": "gendesign.screening",
    "Screening": "gendesign.screening",
    "read_structures": "gendesign.structure.files",
    "write_sdf": "gendesign.structure.files",
    "Candidate": "gendesign.structure.types",
    "Verdict": "gendesign.structure.types",
    "UserError": "gendesign.errors",
}
__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gendesign' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
