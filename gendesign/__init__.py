"""Design molecules and materials in three dimensions with one machine-learned interatomic potential.

>>> from gendesign import SimGen, load_potential, relax, screen
"""

from gendesign.lazy import lazy_names

# Loaded on first use: importing torch takes seconds, and a mistyped command must be answered at once.
_MODULES = {
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
__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
__version__ = "0.2.0"
